"""Workers end with the process that started them: at the end, on an error, when it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recam.runtime.workers import is_running, worker_pool


def _gone(pid: int) -> bool:
    """Whether a process ends within seconds (one that is not yet waited for counts as ended)."""
    for _ in range(100):
        if not is_running(pid):
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(") ")[2][:1] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_results_and_a_normal_end() -> None:
    with worker_pool(2) as pool:
        numbers = {pool.submit(os.getpid).result() for _ in range(4)}
    assert os.getpid() not in numbers and all(_gone(pid) for pid in numbers)


def test_an_error_does_not_wait_for_what_is_begun() -> None:
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 60.0)
        raise KeyboardInterrupt
    assert _gone(pid) and time.monotonic() - begun < 40


@pytest.mark.skipif(os.name != "posix", reason="this system has no such signal")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGHUP"])
def test_killing_the_main_process_ends_its_workers(tmp_path: Path, name: str) -> None:
    code = """
import os
import time
from recam.runtime.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        numbers = [pool.submit(os.getpid).result()]
        jobs = [pool.submit(time.sleep, 60.0) for _ in range(2)]
        print(*numbers, flush=True)
        jobs[0].result()
"""
    script = tmp_path / "main.py"
    script.write_text(code)
    main = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    pid = int(main.stdout.readline())
    assert is_running(pid)
    main.send_signal(getattr(signal, name))
    rest, _ = main.communicate(timeout=20)  # comes back only when nobody holds the pipe any more
    assert rest == "" and _gone(pid)
