"""What comes from the browser: bounded, known by its content, kept under a generated name."""

from __future__ import annotations

import io
import secrets
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from recam.types import RecamError

MAX_UPLOAD_MB = 2000
MAX_ZIP_FACTOR = 4
"""How many times the upload limit a zip may unpack to."""
MAX_ZIP_FILES = 20_000

FILM, PICTURE, ARCHIVE, DATA = "film", "picture", "archive", "data"
MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1aE\xdf\xa3", FILM, ".mkv"),
    (0, b"\x89PNG\r\n\x1a\n", PICTURE, ".png"),
    (0, b"\xff\xd8\xff", PICTURE, ".jpg"),
    (0, b"GIF8", FILM, ".gif"),
    (0, b"II*\x00", PICTURE, ".tif"),
    (0, b"MM\x00*", PICTURE, ".tif"),
    (0, b"BM", PICTURE, ".bmp"),
    (0, b"v/1\x01", DATA, ".exr"),
    (0, b"\x93NUMPY", DATA, ".npy"),
    (8, b"AVI ", FILM, ".avi"),
    (8, b"WEBP", PICTURE, ".webp"),
    (0, b"\x47\x40", FILM, ".ts"),
    (0, b"\x00\x00\x01\xba", FILM, ".mpg"),
    (0, b"\x00\x00\x01\xb3", FILM, ".mpg"),
    (0, b"FLV\x01", FILM, ".flv"),
    (0, b"0&\xb2u\x8ef\xcf\x11", FILM, ".wmv"),
)
PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
IN_ZIP = {
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".exr", ".npy", ".npz", ".txt",
    ".json", ".bin",
}  # fmt: skip


def sniff(content: bytes) -> tuple[str, str]:
    """Kind (film, picture, archive, data) and suffix of a file, told from its content alone.

    Raises RecamError for anything else.
    """
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        if brand in PICTURE_BRANDS:
            return PICTURE, ".avif" if brand.startswith(b"avi") else ".heic"
        return FILM, ".mov" if brand == b"qt  " else ".mp4"
    for at, magic, kind, suffix in MAGIC:
        if content[at : at + len(magic)] == magic:
            return kind, suffix
    if content[:4] == b"PK\x03\x04":
        return _kind_of_zip(content)
    head = content[:4096]
    if head and b"\x00" not in head:
        try:
            text = head.decode("utf-8", errors="strict" if len(content) <= 4096 else "ignore")
        except UnicodeDecodeError:
            text = ""
        if text.strip():
            return DATA, ".json" if text.lstrip()[0] in "{[" else ".txt"
    raise RecamError("neither a film, a picture, a zip of pictures nor a camera file")


def _kind_of_zip(content: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise RecamError("a zip that is broken; make it again") from error
    if names and all(name.endswith(".npy") for name in names):
        return DATA, ".npz"
    return ARCHIVE, ".zip"


def keep(content: bytes, folder: Path, max_bytes: int) -> tuple[str, Path]:
    """Write an upload under a generated name: its kind and where it is.

    A zip becomes a folder of its files, without its own folders. Raises RecamError for what is
    too large, empty, or not known.
    """
    if not content:
        raise RecamError("the file is empty (0 bytes); choose it again")
    if len(content) > max_bytes:
        raise RecamError(too_large(len(content), max_bytes))
    kind, suffix = sniff(content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (secrets.token_hex(8) + suffix)
    if kind == ARCHIVE:
        return kind, _unpacked(content, path.with_suffix(""), max_bytes)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return kind, path


def _unpacked(content: bytes, folder: Path, max_bytes: int) -> Path:
    """The files of a zip in a folder: base names only, of known types, bounded in all."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [f for f in archive.infolist() if not f.is_dir()]
        files = [f for f in files if PurePosixPath(f.filename).suffix.lower() in IN_ZIP]
        files = [f for f in files if not PurePosixPath(f.filename).name.startswith(".")]
        if not files:
            raise RecamError("a zip without pictures or camera files")
        if len(files) > MAX_ZIP_FILES:
            raise RecamError(f"a zip of {len(files)} files; at most {MAX_ZIP_FILES}")
        if sum(f.file_size for f in files) > MAX_ZIP_FACTOR * max_bytes:
            raise RecamError(too_large(sum(f.file_size for f in files), MAX_ZIP_FACTOR * max_bytes))
        names = [PurePosixPath(f.filename.replace("\\", "/")).name for f in files]
        if len(set(names)) != len(names):
            raise RecamError("a zip with files of the same name; zip one folder")
        folder.mkdir()
        left = MAX_ZIP_FACTOR * max_bytes
        for entry, name in zip(files, names):
            with archive.open(entry) as packed, (folder / name).open("wb") as out:
                while chunk := packed.read(1 << 20):
                    left -= len(chunk)
                    if left < 0:  # its own table of sizes was wrong
                        raise RecamError("a zip that unpacks to more than it says")
                    out.write(chunk)
    return folder


def too_large(size: int, most: int) -> str:
    """The line for an upload that is too large."""
    return (
        f"{size / 1e6:.0f} MB; at most {most / 1e6:.0f} MB are taken (--max-upload). "
        "Or start recam studio with the file's path"
    )


def bound_uploads(server: Any, max_bytes: int, refused: Callable[[str], None]) -> None:
    """Make a viser server drop uploads that are larger than ``max_bytes``, before they fill the
    memory: by the size that they announce, and by what then comes.

    refused: called with a line for the user.
    """
    from viser import _messages

    gui, sockets = server.gui, server._websock_server
    start, part = _messages.FileTransferStartUpload, _messages.FileTransferPart
    sockets.unregister_handler(start, gui._handle_file_transfer_start)
    sockets.unregister_handler(part, gui._handle_file_transfer_part)

    def on_start(client_id: int, message: Any) -> None:
        if message.size_bytes > max_bytes:
            refused(too_large(message.size_bytes, max_bytes))
            return
        gui._handle_file_transfer_start(client_id, message)

    def on_part(client_id: int, message: Any) -> None:
        state = gui._current_file_upload_states.get(message.transfer_uuid)
        if state is None or state["client_id"] != client_id:
            return
        if state["transferred_bytes"] + len(message.content) > state["total_bytes"]:
            gui._current_file_upload_states.pop(message.transfer_uuid, None)
            refused("the upload has more bytes than it said")
            return
        gui._handle_file_transfer_part(client_id, message)

    sockets.register_handler(start, on_start)
    sockets.register_handler(part, on_part)
    # Nobody may ask this server to open a tunnel to the outside.
    if _messages.ShareUrlRequest in sockets._incoming_handlers:
        sockets.unregister_handler(_messages.ShareUrlRequest)
