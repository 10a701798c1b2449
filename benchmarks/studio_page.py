"""Pictures and figures of the studio's page, in a real browser.

    python benchmarks/studio_page.py pictures docs/images       # a picture of every step
    python benchmarks/studio_page.py recording docs/images/studio.webp
    python benchmarks/studio_page.py sample --size 49 480 854   # makes that scene, once
    python benchmarks/studio_page.py latency --size 49 480 854  # previews: median and worst of 50
    python benchmarks/studio_page.py drop my.mp4                # first useful view after that
    python benchmarks/studio_page.py memory 450                 # of the server, with so many frames

The scene of the pictures is the synthetic sample with its true geometry; the recording
reconstructs its film.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import studio_browser
from recam.apps.studio.aim import key_at, with_key
from recam.apps.studio.launch import Studio, start
from recam.configs import CompleteConfig, InputConfig, PathConfig, ReconstructConfig
from recam.geometry import intrinsics_from_fov
from recam.media import write_video
from recam.reconstruct import load_scene, save_scene
from recam.runtime.cache import cache_folder
from recam.synthetic import demo_clip
from recam.types import Cameras, Scene, video_from_frames
from studio_browser import LAPTOP, PHONE, Tab

WHAT = ("pictures", "recording", "sample", "latency", "drop", "memory")
MOVES = 50
MAX_RECORDING = 3_000_000


def sample(num: int, height: int, width: int) -> Path:
    """A folder with the sample as a scene, kept in the cache."""
    folder = cache_folder() / "studio-sample" / f"{num}-{height}-{width}"
    if not (folder / "scene.json").is_file():
        save_scene(demo_clip(num, height, width)[0], folder)
    return folder


def settled(tab: Tab, studio: Studio, seconds: float = 60.0) -> None:
    """Wait until all is drawn: the newest picture, the graph, the dome."""
    end = time.time() + seconds
    monitor = studio.page.monitor
    while time.time() < end:
        scene = studio.session.scene
        if scene is not None and scene.previewer.static is not None:
            wanted = (scene.previewer, True, studio.session.aim, monitor.num)
            if monitor.counting == wanted and not studio.page.wanted:
                break
        tab.page.wait_for_timeout(200)
    tab.page.wait_for_timeout(9000)  # tabs draw their 3D view every four seconds


def steps(studio: Studio, tab: Tab) -> list[tuple[str, Callable[[], None]]]:
    """Name and what to do, of every picture."""
    session, monitor = studio.session, studio.page.monitor

    def preset(config: PathConfig, frame: int) -> None:
        session.set_aim(replace(session.aim, mode="preset", preset=config))
        monitor.go(frame)

    def keys() -> None:
        previewer = session.need_scene().previewer
        source, focus = previewer.source, previewer.focus_depth
        path = previewer.path(PathConfig("orbit", yaw=-24.0, pitch=8.0, distance=0.15))
        aim = replace(session.aim, keys=())
        last = len(source) - 1
        for frame in (0, last // 2, last):
            pose = path.cameras.cam_from_world[frame]
            aim = with_key(aim, key_at(frame, pose, 48.0, source, focus))
        studio.page.aim.selected = last
        session.set_aim(aim)
        monitor.go(last)

    def made() -> None:
        session.make(CompleteConfig(model="propagate"))
        while session.queue.running is not None:
            tab.page.wait_for_timeout(500)
        assert session.last_job is not None and session.last_job.state == "done", session.last_job

    def compared(way: str) -> Callable[[], None]:
        def act() -> None:
            studio.page.make.way.value = way
            monitor.show_view("Compare")

        return act

    def painted() -> None:
        monitor.show_view("3D")
        edit = studio.page.edit
        edit.on.value = True
        edit._switch(None)
        edit._add(((0.42, 0.45), (0.45, 0.6), (0.43, 0.75)))

    last = monitor.num - 1
    return [
        ("bring", lambda: tab.open("Bring")),
        ("scene", lambda: tab.open("Scene")),
        ("aim", lambda: (preset(PathConfig("orbit", yaw=20.0), last), tab.open("Aim"))[0]),
        ("limit", lambda: session.set_aim(replace(session.aim, limit=0.1))),
        ("keys", lambda: keys()),
        ("new_camera", lambda: monitor.show_view("New camera")),
        ("both", lambda: monitor.show_view("Both")),
        ("make", lambda: (made(), tab.open("Make"), monitor.show_view("3D"))[0]),
        ("wipe", compared("Wipe")),
        ("where_from", compared("Where from")),
        ("slice", compared("Slice over time")),
        ("edit", lambda: (tab.open("Edit"), painted())[0]),
    ]


def pictures(out: Path, num: int, height: int, width: int, only: list[str]) -> None:
    """A picture of every step (or of some), one in light, and the phone's."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, studio_browser.browser() as browser:
        studio = start(Path(folder), port=8792)
        try:
            studio.session.open((sample(num, height, width),), "sample")
            tab = Tab(browser, studio.url, LAPTOP, calm=True)
            for name, act in steps(studio, tab):
                if only and name not in only:
                    continue
                act()
                settled(tab, studio)
                shoot(tab, out / f"studio_{name}.jpg")
            studio.page.edit.stop()
            if not only or "light" in only:
                tab.open("Aim")
                studio.page.theme(False)
                settled(tab, studio)
                shoot(tab, out / "studio_light.jpg")
            tab.close()
            if only and "phone" not in only:
                return
            studio.page.theme(True)
            studio.page.monitor.show_view("New camera")
            phone = Tab(browser, studio.url, PHONE, True, device_scale_factor=2, has_touch=True)
            settled(phone, studio)
            shoot(phone, out / "studio_phone.jpg")
            phone.close()
        finally:
            studio.close()


def shoot(tab: Tab, path: Path) -> None:
    """A screenshot as a JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "a.png"
        tab.shot(png)
        Image.open(png).convert("RGB").save(path, quality=86)
    print(path, flush=True)


def recording(out: Path, num: int, height: int, width: int) -> None:
    """The whole way as an animation of at most MAX_RECORDING bytes: the sample is dropped as a
    film, and its draft is what is seen."""
    frames: list[Image.Image] = []
    scene = load_scene(sample(num, height, width))
    with tempfile.TemporaryDirectory() as folder, studio_browser.browser() as browser:
        studio = start(Path(folder) / "ws", port=8793)
        try:
            tab = Tab(browser, studio.url, (1180, 680), calm=True)

            def hold(times: int = 1) -> None:
                png = Path(folder) / "a.png"
                tab.shot(png)
                frame = Image.open(png).convert("RGB").resize((885, 510), Image.Resampling.LANCZOS)
                frames.extend([frame] * times)

            session, monitor = studio.session, studio.page.monitor
            hold(2)
            film = Path(folder) / "sample.mp4"
            write_video(scene.video, film)
            tab.upload(film)
            tab.says("not reconstructed")
            tab.page.wait_for_timeout(5000)
            hold(3)
            tab.choose("Scene", "draft only")
            tab.press("Reconstruct")
            tab.waits(lambda: session.last_job is not None)
            shown = ""
            while session.scene is None:
                job = session.last_job
                assert job is not None and job.state in ("running", "done"), job
                if job.stage != shown:
                    shown = job.stage
                    hold()
                tab.page.wait_for_timeout(500)
            settled(tab, studio)
            hold(2)
            tab.open("Scene")
            settled(tab, studio)
            hold(2)
            tab.open("Aim")
            for yaw in (20.0, 10.0, 0.0, -12.0, -24.0):
                preset = PathConfig("orbit", yaw=yaw)
                session.set_aim(replace(session.aim, preset=preset))
                monitor.go(monitor.num - 1)
                tab.page.wait_for_timeout(2500)
                hold()
            settled(tab, studio)
            hold(2)
            for frame in np.linspace(0, monitor.num - 1, 7).round().astype(int):
                monitor.go(int(frame))
                tab.page.wait_for_timeout(2000)
                hold()
            todo = dict(steps(studio, tab))
            for name in ("keys", "new_camera", "make", "wipe", "where_from"):
                todo[name]()
                settled(tab, studio)
                hold(2)
        finally:
            studio.close()
    for quality in (70, 55, 40, 25):
        frames[0].save(
            out, save_all=True, append_images=frames[1:], duration=650, loop=0, quality=quality,
            method=6,
        )  # fmt: skip
        if out.stat().st_size <= MAX_RECORDING:
            break
    print(out, out.stat().st_size, "bytes", len(frames), "frames")


WATCH = """() => {
  const image = document.querySelector("img");
  window.changed = [];
  new MutationObserver(() => window.changed.push(performance.now()))
    .observe(image, {attributes: true, attributeFilter: ["src"]});
  addEventListener("input", () => window.began ??= performance.now(), true);
}"""


def latency(num: int, height: int, width: int, view: str) -> None:
    """Seconds from letting go of a control to the new picture, in the browser and in the server.

    view: what the middle shows meanwhile; a browser without a GPU is slow at drawing 3D.
    """
    scene = sample(num, height, width)
    print("server, processor seconds a picture:", summary(server_seconds(scene)), flush=True)
    with tempfile.TemporaryDirectory() as folder, studio_browser.browser() as browser:
        studio = start(Path(folder), port=8794)
        try:
            studio.session.open((scene,), "sample")
            monitor = studio.page.monitor
            monitor.show_view(view)
            tab = Tab(browser, studio.url)
            tab.open("Aim")
            tab.waits(lambda: studio.session.need_scene().previewer.static is not None)
            monitor.go(num - 1)
            tab.waits(lambda: f"Frame {num - 1}" in monitor.caption.content)
            tab.waits(lambda: monitor.shares is not None)  # once for a scene: where to orbit
            tab.page.wait_for_timeout(1000)
            tab.page.evaluate(WATCH)
            seen, rng = [], np.random.default_rng(0)
            box = tab.row("Yaw °").locator("input[type=text]").last
            for _ in range(MOVES):
                before = tab.page.evaluate("window.began = null, window.changed.length")
                box.fill(f"{rng.uniform(-40, 40):.1f}")
                box.press("Enter")
                tab.page.wait_for_function(f"window.changed.length > {before}", polling=20)
                seen.append(tab.page.evaluate(f"window.changed[{before}] - window.began") / 1000)
                tab.page.wait_for_timeout(300)
            print(f"browser, {view} in the middle:", summary(seen), flush=True)
        finally:
            studio.close()


def server_seconds(folder: Path) -> list[float]:
    """Processor seconds that a preview takes, path and picture."""
    from recam.apps.studio.preview import Previewer, small_scene
    from recam.trajectories import focus_depth

    scene = load_scene(folder)
    num = len(scene)
    previewer = Previewer(small_scene(scene), focus_depth(scene))
    previewer.prepare()
    rng = np.random.default_rng(0)
    spent = []
    for move in range(MOVES + 1):
        clock = time.process_time()
        path = previewer.path(PathConfig("orbit", yaw=float(rng.uniform(-40, 40))))
        previewer.frame(path, num - 1)
        if move:  # the first compiles
            spent.append(time.process_time() - clock)
    return spent


def summary(seconds: list[float]) -> str:
    """Median and worst."""
    return f"median {np.median(seconds):.3f} s, worst {max(seconds):.3f} s of {len(seconds)}"


def drop(film: Path) -> None:
    """Time from dropping a film to the draft in 3D and its first preview."""
    with tempfile.TemporaryDirectory() as folder, studio_browser.browser() as browser:
        os.environ["RECAM_CACHE"] = str(Path(folder) / "cache")
        studio = start(Path(folder) / "ws", port=8795)
        try:
            tab = Tab(browser, studio.url, calm=True)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            children_s, own_s = used.ru_utime + used.ru_stime, time.process_time()
            clock = time.perf_counter()
            tab.upload(film)
            tab.says("not reconstructed")
            print(f"read and described: {time.perf_counter() - clock:.1f} s")
            studio.session.reconstruct(draft=True, best=False)
            clicks, stages = [], {"drop": time.time()}
            while studio.session.scene is None:
                began = time.perf_counter()
                tab.open("Scene")
                tab.open("Bring")
                clicks.append((time.perf_counter() - began) / 2)
                tab.page.wait_for_timeout(500)
                job = studio.session.last_job
                assert job is not None and job.state in ("running", "done"), job
                stages.setdefault(job.stage, time.time())
            tab.says("never seen")
            print(f"first useful view: {time.perf_counter() - clock:.1f} s after dropping")
            print({name: round(at - stages["drop"], 1) for name, at in stages.items()})
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            job_s = used.ru_utime + used.ru_stime - children_s
            print(f"processor seconds: job {job_s:.1f}, server {time.process_time() - own_s:.1f}")
            if clicks:
                print("a click while it ran:", summary(clicks))
        finally:
            studio.close()


def memory(num: int) -> None:
    """Resident memory of the server with a clip of so many frames of 480p."""
    from recam.apps.studio.preview import write_small

    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        if os.fork() == 0:  # what makes the small copy is another process
            write_small(
                plain_scene(num), Path(folder) / "small", folder=Path(folder),
                input=InputConfig(), reconstruct=ReconstructConfig(),
            )  # fmt: skip
            os._exit(0)
        os.wait()
        studio = start(Path(folder) / "ws", port=8796)
        project = studio.session.workspace.new_project("long", (Path(folder),))
        (Path(folder) / "small").rename(project.scene_folder("best"))
        studio.session._show(project, None)
        scene = studio.session.need_scene()
        while scene.previewer.static is None:
            time.sleep(0.2)
        path = studio.session.path()
        for i in range(0, num, max(1, num // 20)):
            scene.previewer.frame(path, i)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        side = scene.previewer.scene.video.width
        print(json.dumps({"frames": num, "preview width": side, "peak GB": round(peak, 2)}))
        sys.stdout.flush()
        os._exit(0)


def plain_scene(num: int) -> Scene:
    """A long scene of noise: only its size matters."""
    h, w = 288, 512
    poses = torch.eye(4, dtype=torch.float64).repeat(num, 1, 1)
    poses[:, 0, 3] = torch.linspace(0, 1, num, dtype=torch.float64)
    cameras = Cameras(poses, intrinsics_from_fov(55.0, h, w).repeat(num, 1, 1), h, w)
    frames = torch.randint(0, 255, (1, 3, 480, 854), dtype=torch.uint8).expand(num, -1, -1, -1)
    depth = (2 + torch.rand(1, h, w)).expand(num, -1, -1).contiguous()
    yes = torch.ones(num, h, w, dtype=torch.bool)
    return Scene(
        video_from_frames(frames.contiguous(), 30.0), cameras, depth, yes, ~yes,
        torch.ones(num, h, w),
    )  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*WHAT])
    parser.add_argument("value", nargs="?", default="")
    parser.add_argument("--size", type=int, nargs=3, default=(25, 288, 512))
    parser.add_argument("--only", nargs="*", default=[], help="names of pictures")
    asked = parser.parse_args()
    if asked.what == "pictures":
        pictures(Path(asked.value), *asked.size, asked.only)
    elif asked.what == "recording":
        recording(Path(asked.value), *asked.size)
    elif asked.what == "sample":
        print(sample(*asked.size))
    elif asked.what == "latency":
        latency(*asked.size, asked.value or "3D")
    elif asked.what == "drop":
        drop(Path(asked.value))
    else:
        memory(int(asked.value or 450))


if __name__ == "__main__":
    main()
