"""What a reshoot was said to take before the start, and what it took.

    python benchmarks/memory_estimate.py FILM [--sizes 128x96x8 …] [--quality draft] [--out FILE]

FILM is brought to each size (width x height x frames; frames again from the first where it is too
short) and reshot in a process of its own, whose largest resident memory is compared. A size that
--out has is not done again. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

SIZES = ("128x96x8", "288x192x12", "480x270x24", "854x480x12", "854x480x48", "1280x720x10",
         "1920x1080x6", "3840x2160x3")  # fmt: skip


def brought_to(film: Path, width: int, height: int, num: int, place: Path) -> None:
    import cv2
    import torch

    from recam.media import read_video, write_video
    from recam.types import video_from_frames

    frames = read_video(film, num_frames=num).frames
    order = [i % len(frames) for i in range(num)]
    pictures = [
        cv2.resize(
            frames[i].permute(1, 2, 0).contiguous().numpy(), (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for i in order
    ]  # fmt: skip
    stack = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])
    write_video(video_from_frames(stack.contiguous()), place, crf=12)


def in_own_process(work: object, *arguments: object) -> tuple[int, float, float]:
    """Exit status, largest resident memory in bytes and processor seconds of a fork of here, whose
    own memory counts at most as much as the libraries that it needs anyway."""
    pid = os.fork()
    if not pid:
        code = 70
        try:
            work(*arguments)  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return (
        os.waitstatus_to_exitcode(status),
        usage.ru_maxrss * unit,
        usage.ru_utime + usage.ru_stime,
    )


def reshoot(film: Path, out: Path, quality: str) -> None:
    from recam.apps import cli

    cli.main(["reshoot", str(film), "--yaw", "10", "--quality", quality, "--quiet", "-o", str(out)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--out", type=Path, default=Path("memory.json"))
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.exists() else {}
    from recam.media.input import memory_needed

    print("| size | estimated, GB | measured, GB | estimate too high by | processor, s |")
    print("|---|---:|---:|---:|---:|")
    for size in options.sizes:
        name = f"{size} {options.quality}"
        with tempfile.TemporaryDirectory() as scratch:
            film = Path(scratch) / "film.mp4"
            width, height, num = map(int, size.split("x"))
            in_own_process(brought_to, options.film, width, height, num, film)
            if name not in rows:
                os.environ["RECAM_CACHE"] = scratch
                code, peak, seconds = in_own_process(
                    reshoot, film, Path(scratch) / "out", options.quality
                )
                rows[name] = {"exit": code, "bytes": peak, "seconds": seconds}
                options.out.write_text(json.dumps(rows, indent=1) + "\n")
        row, needed = rows[name], memory_needed(height, width, num)
        print(
            f"| {name} | {needed / 1e9:.2f} | {row['bytes'] / 1e9:.2f} | "
            f"{100 * (needed / row['bytes'] - 1):+.0f} % | {row['seconds']:.0f} |", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
