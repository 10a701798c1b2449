"""Kernels that were never compiled on this machine, compiled in a second process meanwhile.

The first run of all compiles for the better part of a minute on one core. What it needs late is
made beside what it does first; both find the other's kernels on disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from recam.runtime.jit import lies_on_disk
from recam.runtime.threads import num_cores

SIDE_PX, NUM_FRAMES = 72, 12
"""Of the clip that the kernels are compiled on."""
_running: list[subprocess.Popen] = []


def start_compiling() -> None:
    """Start the second process, once, where kernels are missing, can be kept, and a core is free.

    It ends with this one. Whatever stops it costs time and nothing else: this process compiles what
    it does not find. RECAM_COMPILE_BESIDE=0 keeps it from starting.
    """
    from recam.completion.patch_match import search_matches  # needed last

    if _running or num_cores() < 2 or os.environ.get("RECAM_COMPILE_BESIDE") == "0":
        return
    if lies_on_disk(search_matches) is not False:
        return
    command = [sys.executable, "-c", "from recam.apps.warm_up import run; run()"]
    quiet = subprocess.DEVNULL
    _running.append(
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    )  # its input closes with this process, even on kill -9


def run() -> None:
    """The second process: compile until all is compiled or the first one has ended."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    compile_kernels()


def compile_kernels() -> None:
    """Go once through all that reshooting does, what comes last in a run first, on a small clip."""
    from recam.completers import complete
    from recam.configs import CompleteConfig, PathConfig
    from recam.flow.dense import compute_flows
    from recam.reconstruct import reconstruct
    from recam.reconstruct.second_pass import second_pass
    from recam.reconstruct.static_depth import static_depth
    from recam.render import render
    from recam.synthetic import synthetic_clip
    from recam.trajectories import path_for_scene

    height, width = SIDE_PX, SIDE_PX * 3 // 2
    scene, _ = synthetic_clip(26, NUM_FRAMES, height, width, "orbit", "room")
    flows = compute_flows(scene.video, height, width, (1, 2, 4, 8))
    rgb = scene.video.frames.permute(0, 2, 3, 1).contiguous().numpy()
    prior = (1 / scene.depth).numpy()
    still = static_depth(rgb, flows, scene.cameras, prior)
    second_pass(rgb, flows, scene.cameras, still, prior)
    complete(render(scene, path_for_scene(scene, PathConfig())), CompleteConfig())
    reconstruct(scene.video)
