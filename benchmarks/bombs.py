"""Small files that ask for gigabytes: what reading each takes, and what is said.

    python benchmarks/bombs.py [--only NAME …]

Each file is read by a process of its own. Prints its size, what was said, processor seconds and
largest resident memory, the program's own included (its row comes first). Linux and macOS.
"""

from __future__ import annotations

import argparse
import io
import os
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path


def png(path: Path, width: int, height: int, bits: int) -> None:
    """One colour, deflated a row at a time: a true picture, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width * 3 * bits // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def png16(path: Path) -> None:
    png(path, 9_900, 9_900, 16)  # within the limit of pixels


def png_large(path: Path) -> None:
    png(path, 30_000, 30_000, 8)


def jpeg_that_lies(path: Path) -> None:
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (64, 64)).save(made, "JPEG")
    data = bytearray(made.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 30_000, 3_300)
    path.write_bytes(data)


def gif(path: Path) -> None:
    from PIL import Image

    frame = Image.new("P", (5_000, 5_000))
    frame.save(path, save_all=True, append_images=[frame] * 60, duration=40, optimize=False)


def npz(path: Path, name: str, shape: tuple[int, ...]) -> None:
    import numpy as np

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    size = 8 * int(np.prod(shape))
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as out,
    ):
        out.write(head.getvalue())
        for _ in range(size // 2**24):
            out.write(bytes(2**24))
        out.write(bytes(size % 2**24))


def depth_npz(path: Path) -> None:
    npz(path, "depths", (3, 10_000, 12_500))


def poses_npz(path: Path) -> None:
    npz(path, "cam_c2w", (20_000_000, 4, 4))


def array_nobody_asked_for(path: Path) -> None:
    import numpy as np

    np.savez_compressed(path, depths=np.ones((2, 24, 32)))
    npz(path, "other", (3, 10_000, 12_500))


def exr(path: Path) -> None:
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    import cv2
    import numpy as np

    cv2.imwrite(str(path), np.zeros((9_900, 9_900), np.float32))


def tiff(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (9_900, 9_900)).save(path, compression="tiff_adobe_deflate")


def webp(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (9_900, 9_900)).save(path, lossless=True, method=0)


def still(path: Path) -> None:
    """By its suffix: AVIF, HEIC, JPEG 2000 or JPEG."""
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    options = {".avif": {"speed": 10}, ".heic": {"quality": 10}}.get(path.suffix, {})
    Image.new("RGB", (9_900, 9_900)).save(path, **options)  # type: ignore[arg-type]


def film(path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 8_192, 8_192, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((12_288, 8_192), np.uint8), "yuv420p")
        for _ in range(8):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_small(path: Path) -> object:
    from recam.media import read_video

    return read_video(path, max_side=64)


def read_the_depth(path: Path) -> object:
    from recam.reconstruct import read_depth

    return read_depth(path, 2, 24, 32)


def read_the_cameras(path: Path) -> object:
    from recam.camera_files import read_cameras

    return read_cameras(path)


def nothing(path: Path) -> None:
    import recam.camera_files
    import recam.media
    import recam.reconstruct  # noqa: F401


BOMBS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object]]] = {
    "nothing": ("x.txt", lambda path: path.write_text("x") and None, nothing),
    "PNG, 16 bits, 9,900 x 9,900": ("a.png", png16, read_small),
    "PNG, 30,000 x 30,000": ("a.png", png_large, read_small),
    "JPEG whose header lies": ("a.jpg", jpeg_that_lies, read_small),
    "GIF, 61 frames of 5,000 x 5,000": ("a.gif", gif, read_small),
    "TIFF, 9,900 x 9,900": ("a.tif", tiff, read_small),
    "WebP, 9,900 x 9,900": ("a.webp", webp, read_small),
    "AVIF, 9,900 x 9,900": ("a.avif", still, read_small),
    "HEIC, 9,900 x 9,900": ("a.heic", still, read_small),
    "JPEG 2000, 9,900 x 9,900": ("a.jp2", still, read_small),
    "JPEG, 9,900 x 9,900": ("a.jpg", still, read_small),
    "film, 8 frames of 8,192 x 8,192": ("a.mp4", film, read_small),
    "npz of zeros as depth": ("a.npz", depth_npz, read_the_depth),
    "npz of zeros as poses": ("a.npz", poses_npz, read_the_cameras),
    "npz, an array nobody asked for": ("a.npz", array_nobody_asked_for, read_the_depth),
    "EXR, 9,900 x 9,900, as depth": ("a.exr", exr, read_the_depth),
}


def in_own_process(work: Callable[[Path], object], path: Path) -> tuple[str, float, float]:
    """What a fork says (empty: all is well), processor seconds, largest memory in bytes."""
    get, put = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(get)
        try:
            work(path)
            said = b""
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".encode()
        os.write(put, said[:2000])
        os._exit(0)
    os.close(put)
    said = os.fdopen(get, "rb").read().decode()
    _, status, usage = os.wait4(pid, 0)
    if status:
        said = f"ended by {status}"
    unit = 1 if sys.platform == "darwin" else 1024
    return said, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(BOMBS))
    options = parser.parse_args()
    print("| file | its size | processor, s | memory, GB | said |\n|---|---:|---:|---:|---|")
    for name in options.only:
        file, make, read = BOMBS[name]
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / file
            said, _, _ = in_own_process(make, path)
            if said:
                print(f"| {name} | not made: {said} |")
                continue
            said, seconds, peak = in_own_process(read, path)
            size = path.stat().st_size
            said = said.replace(str(path), file) or "read"
            print(f"| {name} | {size / 1e3:.0f} kB | {seconds:.1f} | {peak / 1e9:.2f} | {said} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
