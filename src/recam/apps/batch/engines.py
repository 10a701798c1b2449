"""Where rows are done: in processes of this machine, or by Ray Data on a cluster.

Both use ``Worker``, so that a row is as well isolated in either: a crash, a hang or a kill of its
process fails that row alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from recam.apps.batch.job import MAY_PASS, failure_kind, finished, run_job, write_record
from recam.apps.batch.rows import Row
from recam.apps.process import one_line
from recam.configs import EngineConfig
from recam.runtime.threads import num_cores
from recam.runtime.workers import worker_pool

Record = dict[str, Any]
Job = Callable[[Row], Record]

FULL_DISK_PAUSE_S = 10.0
"""A worker whose disk is full would fail row after row in no time; the others are to get them."""
AT_ONCE = 100_000
"""Rows that Ray is given together; what it keeps of each stays in the driver's memory."""
THREAD_COUNTS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "RECAM_THREADS",
)  # fmt: skip
MAX_BLOCKS = 2_000
"""Ray's tasks for these; a task is some rows where there are more."""


class Worker:
    """Does rows one after another in a process of its own, where opened models stay open.

    For ``ds.map_batches(Worker, fn_constructor_kwargs={"config": …}, …)``, whose batches have a
    column ``row`` of JSON objects; the result has a column ``record``. Or call ``run`` with a row.
    job: what does a row. folder: where relative paths begin. gpu: the one that the process sees.
    """

    def __init__(
        self, config: EngineConfig, job: Job = run_job, folder: str = ".", gpu: int | None = None
    ) -> None:
        self.config, self.job, self.folder, self.gpu = config, job, folder, gpu
        self._open = ExitStack()
        self._pool: Any = None
        self._pid = 0
        self._stopped = False

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        records = (self.run(json.loads(row)) for row in batch["row"])
        return {"record": [json.dumps(record, default=str) for record in records]}

    def run(self, row: Row) -> Record:
        """The record of a row; one that may pass at another try says so by its kind."""
        if before := finished(row):
            return before
        begun = time.perf_counter()
        try:
            if self._pool is None:
                self._start()
            record = self._pool.submit(self.job, row).result(self.config.timeout)
        except TimeoutError:
            self.close()
            record = self._lost(row, "timeout", f"took over {self.config.timeout:g} s", begun)
        except BrokenProcessPool:
            if self._stopped:  # not the row's fault
                raise
            self.close()
            reason = "its process was killed or crashed (out of memory?)"
            record = self._lost(row, "crash", reason, begun)
        except Exception as error:  # a job's own, which is to have caught it
            record = self._lost(row, failure_kind(error), one_line(error), begun)
        if record.get("kind") == "disk":
            time.sleep(FULL_DISK_PAUSE_S)
        return record

    def close(self) -> None:
        """End the process at once, whatever it does."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._open.close()
        self._pool, self._pid = None, 0

    def stop(self) -> None:
        """``close``, because nobody wants the row any more: nothing is recorded of it."""
        self._stopped = True
        self.close()

    def _start(self) -> None:
        begin = partial(_begin, threads_of(self.config), self.gpu, self.folder)
        self._pool = self._open.enter_context(worker_pool(1, begin))
        self._pid = self._pool.submit(os.getpid).result()

    @staticmethod
    def _lost(row: Row, kind: str, reason: str, begun: float) -> Record:
        seconds = {"total": round(time.perf_counter() - begun, 3)}
        facts = {"status": "failed", "kind": kind, "error": reason, "seconds": seconds}
        return write_record(row, facts)


def _begin(threads: int, gpu: int | None, folder: str) -> None:
    """Set up a worker's process, before it imports what counts the cores."""
    for name in THREAD_COUNTS:
        os.environ[name] = str(threads)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    with suppress(FileNotFoundError):  # on another machine there may be URLs only
        os.chdir(folder)


def threads_of(config: EngineConfig) -> int:
    """Threads of each worker: as asked, else its share of the cores."""
    if config.threads:
        return config.threads
    return max(num_cores() // config.workers, 1) if config.engine == "local" else config.cpus


def run_rows(rows: Iterable[Row], config: EngineConfig, job: Job = run_job) -> Iterator[Record]:
    """The record of every row, as they end. Rows that failed for a reason that may pass are tried
    again after all others, by whichever worker is free, up to config.retries times.

    Stops after the first failure with config.fail_fast. Raises ValueError when Ray is missing.
    """
    engine = _run_local if config.engine == "local" else _run_ray
    for tries_left in range(config.retries, -1, -1):
        again: list[Row] = []
        for record in engine(rows, config, job):
            may_pass = record.get("status") == "failed" and record.get("kind") in MAY_PASS
            if may_pass and tries_left:
                again.append(record["row"])
                continue
            yield record
            if config.fail_fast and record["status"] == "failed":
                return
        if not again:
            return
        rows = again


def _run_local(rows: Iterable[Row], config: EngineConfig, job: Job) -> Iterator[Record]:
    """By config.workers processes here, each with a thread that waits for it."""
    gpus = _num_gpus() if config.workers > 1 else 0
    workers = [Worker(config, job, gpu=i % gpus if gpus else None) for i in range(config.workers)]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def do(row: Row) -> Record:
        worker = free.get()
        try:
            return worker.run(row)
        finally:
            free.put(worker)

    threads = ThreadPoolExecutor(config.workers)
    try:
        waiting: set[Future[Record]] = set()
        for row in rows:
            waiting.add(threads.submit(do, row))
            if len(waiting) > config.workers:  # no more is read than is needed
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _run_ray(rows: Iterable[Row], config: EngineConfig, job: Job) -> Iterator[Record]:
    """By ``Worker`` actors of Ray Data, which starts actors that were lost again elsewhere."""
    with _ray(config) as ray:
        rows = iter(rows)
        while part := list(itertools.islice(rows, AT_ONCE)):
            items = [{"row": json.dumps(row, default=str)} for row in part]
            given = {"config": config, "job": job, "folder": str(Path.cwd())}
            data = ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS))
            done = data.map_batches(
                Worker,
                fn_constructor_kwargs=given,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    size=min(config.workers, len(items)), max_tasks_in_flight_per_actor=2
                ),
                num_cpus=config.cpus,
                num_gpus=config.gpus,
                memory=config.memory_gb * 1e9 if config.memory_gb else None,
            )
            for result in done.iter_rows():
                yield json.loads(result["record"])


@contextmanager
def _ray(config: EngineConfig) -> Iterator[Any]:
    """Ray, connected; where it was not before, only while the block lasts."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--engine ray needs Ray: pip install 'recam[scale]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    ray = importlib.import_module("ray")
    importlib.import_module("ray.data")
    mine = not ray.is_initialized()
    if mine:
        here = config.address == "local"
        options = {"num_cpus": config.workers * config.cpus, "include_dashboard": False}
        try:
            ray.init(config.address, log_to_driver=False, **(options if here else {}))
        except ConnectionError as error:
            raise ValueError(
                f"--address {config.address}: no Ray cluster there, or it asks for a token that is "
                "not here (RAY_AUTH_TOKEN)"
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()
