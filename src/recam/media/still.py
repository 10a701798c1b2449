"""Still pictures and animations through Pillow and pillow-heif: to sRGB, 8 bits, upright."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from recam.media.convert import UPRIGHT, Turn, over_black, turned, wide_gamut_mapper
from recam.media.isobmff import CleanAperture, ItemProperties, item_properties
from recam.media.limits import DEFAULT_MAX_PIXELS, check_pixels
from recam.types import RecamError

FORMATS = (
    "PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA",
)  # fmt: skip
"""What Pillow may take a file for; the rest of its decoders stays out of reach."""
ANIMATED = {"PNG", "GIF", "WEBP", "AVIF"}
"""Formats whose several pictures are moments; those of others are pages or views."""
OVER_BLACK = "transparent parts shown over black"

_ORIENTATION = 0x0112
# EXIF's numbers as signs of a display matrix (see Turn): 6 is a turn by 90° clockwise.
_TURNS: dict[int, Turn] = {
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip
_QUARTER_TURNS = (_TURNS[1], _TURNS[8], _TURNS[3], _TURNS[6])
_STRIP_BYTES = 16 << 20
_MIN_DELAY_MS = 10
"""GIFs that ask for less are shown by browsers at ten a second."""
_USUAL_DELAY_MS = 100.0
_DNG_VERSION, _PLANAR = 50706, 284


@contextmanager
def opened_picture(path: Path) -> Iterator[Any]:
    """Yields the Pillow image of a file with only its header read; its size is allowed.

    Raises:
        RecamError: it cannot be opened, or is no picture, too large or damaged; also for what goes
            wrong within the block.
    """
    import pillow_heif

    Image.init()
    pillow_heif.register_heif_opener()
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked right below
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of side data that Pillow cannot read
            with Image.open(path, formats=_formats(path)) as image:
                check_pixels(image.width, image.height, path, image.format)
                _refuse_tiffs(image, path)
                _refuse_empty_jpeg(image, path)
                yield image
    except RecamError as error:
        if str(path) in str(error):
            raise
        raise RecamError(f"{path}: {error}") from error
    except MemoryError as error:
        raise RecamError(f"{path}: not enough memory for a picture of this size") from error
    except OSError as error:
        raise RecamError(_told(path, error)) from error
    except Exception as error:  # decoders of damaged files raise anything
        raise RecamError(_broken(path)) from error
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _formats(path: Path) -> list[str]:
    """TGA has no mark of its own: only a file that is named so may be one."""
    named = path.suffix.lower() == ".tga"
    return [f for f in FORMATS if named or f != "TGA"]


def _told(path: Path, error: OSError) -> str:
    if error.errno is not None:
        return f"cannot read {path}: {error.strerror}"
    return _broken(path)


def _broken(path: Path) -> str:
    return f"{path} is not a picture that can be read, or a part of it is missing"


def _refuse_tiffs(image: Any, path: Path) -> None:
    """Cameras' raw files are TIFFs whose first picture is a small preview; and Pillow mixes up
    separate planes of more than 8 bits."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    if _DNG_VERSION in tags or tags.get(254, 0) & 1:
        raise RecamError(f"{path} is a camera's raw file; develop it to TIFF, PNG or JPEG first")
    if tags.get(_PLANAR) == 2 and _bits_of(image) > 8:
        raise RecamError(
            f"{path} keeps its colours in separate planes of {_bits_of(image)} bits; save it "
            "interleaved (as most programs do) or as PNG"
        )


def _refuse_empty_jpeg(image: Any, path: Path) -> None:
    """A JPEG spends at least a bit on each 8×8 block; its decoder fills up with grey."""
    if image.format == "JPEG" and image.width * image.height > 512 * path.stat().st_size:
        raise RecamError(
            f"{path} says that it is {image.width}×{image.height} pixels, but holds data for "
            "fewer; it is damaged"
        )


def is_animation(path: Path) -> bool:
    """Whether a picture file holds several moments. Raises RecamError when it cannot be read."""
    with opened_picture(path) as image:
        return image.format in ANIMATED and _first_moment(image) + 1 < _num_pictures(image)


def _num_pictures(image: Any) -> int:
    """Of a damaged file, those up to the damage."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 2  # there are more; reading tells how many


def _first_moment(image: Any) -> int:
    """An animated PNG may begin with a still for programs that show no animations."""
    return int(bool(getattr(image, "default_image", False)))


def decode_picture(path: Path, max_side: int | None = None) -> tuple[np.ndarray, list[str], Turn]:
    """uint8 [3, h, w] sRGB of a picture file, upright; notes on what was done; and how it was
    turned from the stored to the shown picture.

    max_side: that the caller will scale down to; very large JPEGs are then decoded smaller.

    Raises:
        RecamError: it cannot be read.
    """
    with opened_picture(path) as image:
        if image.format == "PNG" and _num_pictures(image) == 1:
            image.verify()  # its decoder does not look at checksums
    with opened_picture(path) as image:
        properties = _properties(path, image)
        if max_side is not None and image.width * image.height > DEFAULT_MAX_PIXELS // 4:
            image.draft(None, (2 * max_side, 2 * max_side))
        bits = _bits_of(image)
        stored = _TURNS.get(_orientation(image), UPRIGHT)
        if image.format == "HEIF":
            stored = _QUARTER_TURNS[properties.quarter_turns]
        left_to_do = load_picture(image)
        stored = left_to_do if stored == UPRIGHT else stored  # some tags stand behind the pixels
        notes = _notes_of(image, stored, bits)
        frame = as_srgb(image, properties, notes)
        frame = _cropped(frame, properties.clean_aperture, notes)
        return np.ascontiguousarray(turned(frame, left_to_do)), notes, stored


def _orientation(image: Any) -> int:
    with suppress(Exception):  # EXIF that cannot be read
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def load_picture(image: Any) -> Turn:
    """Decodes; returns the turn that is left to do (some decoders turn by themselves)."""
    image.load()
    return _TURNS.get(_orientation(image), UPRIGHT)


def _properties(path: Path, image: Any) -> ItemProperties:
    if image.format not in {"AVIF", "HEIF"}:
        return ItemProperties()
    found = item_properties(path)
    # libheif crops by itself.
    return found if image.format == "AVIF" else replace(found, clean_aperture=None)


def _notes_of(image: Any, turn: Turn, bits: int) -> list[str]:
    notes = []
    if turn != UPRIGHT:
        notes.append("turned upright, as the file says")
    if bits > 8:
        notes.append(f"{bits}-bit reduced to 8-bit")
    pages = _num_pictures(image)
    if pages > 1 and image.format not in {"MPO", "JPEG", *ANIMATED}:
        notes.append(f"the first of its {pages} pictures")
    return notes


def _bits_of(image: Any) -> int:
    """Of a stored sample, as far as Pillow tells; before loading."""
    if "bit_depth" in image.info:
        return int(image.info["bit_depth"])
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        stored = tags.get(258, 8)
        return int(max(stored) if isinstance(stored, tuple) else stored)
    how = image.tile[0][3] if image.tile else ""
    raw = str(how[0] if isinstance(how, tuple) and how else how)
    if image.format == "PPM" and isinstance(how, tuple) and len(how) > 1:
        return max(8, int(how[1]).bit_length())  # its largest value
    return 16 if "16" in raw or image.mode.startswith("I") else 8


def as_srgb(image: Any, properties: ItemProperties, notes: list[str]) -> np.ndarray:
    """uint8 [3, h, w] of a loaded image, in strips, since Pillow's whole copies add up."""
    width, height = image.size
    mapper = wide_gamut_mapper(properties.transfer, properties.primaries, notes)
    profile = None if mapper else _ProfileMap.of(image, notes)
    out = np.empty((3, height, width), np.uint8)
    rows = max(1, _STRIP_BYTES // (8 * width))
    has_alpha = False
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        rgb, alpha = _strip_pixels(strip, image, profile)
        if mapper is not None:
            rgb = mapper(*(plane.astype(np.uint16) * 257 for plane in rgb))
        if alpha is not None and alpha.min() < 255:
            has_alpha = True
            rgb = over_black(rgb, alpha)
        out[:, top : top + rows] = rgb
    if has_alpha:
        notes.append(OVER_BLACK)
    return out


def _strip_pixels(
    strip: Any, image: Any, profile: _ProfileMap | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 [3, h, w] and alpha [h, w] of a part of an image in any of Pillow's modes."""
    if strip.mode.startswith("I") or strip.mode == "F":
        return np.repeat(_deep_grey(strip, image.format)[None], 3, 0), None
    if strip.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in strip.info:
        strip = strip.convert("RGBA")
    elif strip.mode in {"P", "1", "YCbCr", "HSV"}:
        strip = strip.convert("L" if strip.mode == "1" else "RGB")
    alpha = np.asarray(strip.getchannel("A")) if strip.mode == "RGBA" else None
    if alpha is not None:
        strip = strip.convert("RGB")
    if profile is not None:
        strip = profile(strip)
    return np.asarray(strip.convert("RGB")).transpose(2, 0, 1), alpha


def _deep_grey(strip: Any, format: str | None) -> np.ndarray:
    """uint8 [h, w] of grey with more than 8 bits; Pillow brings PGM of any maxval to 65535."""
    values = np.asarray(strip)
    if strip.mode == "F" or (strip.mode == "I" and format not in {"PPM", "PNG", "JPEG2000"}):
        raise RecamError(
            f"it holds {values.dtype} values, which have no white; save it with 8 or 16 bits"
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


class _ProfileMap:
    """The colours of an ICC profile to sRGB."""

    def __init__(self, source: Any, mode: str) -> None:
        self._mode = mode
        self._transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip

    def __call__(self, strip: Any) -> Any:
        return ImageCms.applyTransform(strip.convert(self._mode), self._transform)

    @classmethod
    def of(cls, image: Any, notes: list[str]) -> _ProfileMap | None:
        """None without a profile, for sRGB's own, and, with a note, for one that cannot be used."""
        data = image.info.get("icc_profile")
        if not data:
            return None
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            name = ImageCms.getProfileDescription(profile).strip() or "without a name"
            if "srgb" in name.lower().replace(" ", ""):
                return None
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
            if (mode == "CMYK") != (image.mode == "CMYK"):
                raise ValueError(f"a profile of {mode} for a picture of {image.mode}")
            made = cls(profile, mode)
        except (OSError, KeyError, ValueError, TypeError, ImageCms.PyCMSError):
            notes.append("its colour profile cannot be used and was left aside")
            return None
        notes.append(f"colour profile ({name[:60]}) converted to sRGB")
        return made


def _cropped(frame: np.ndarray, clean: CleanAperture | None, notes: list[str]) -> np.ndarray:
    if clean is None:
        return frame
    left, top, right, bottom = clean.window(frame.shape[2], frame.shape[1])
    notes.append(f"cropped to {right - left}×{bottom - top}, as its clean aperture says")
    return frame[:, top:bottom, left:right]


def animation_frames(path: Path) -> Generator[tuple[np.ndarray, float], None, list[str]]:
    """The moments of an animation as (uint8 [3, h, w] sRGB, seconds); returns what is missing.

    Raises:
        RecamError: not even its first picture can be read.
    """
    with opened_picture(path) as image:
        size, first = image.size, _first_moment(image)
        index, time_ms = first, 0.0
        while True:
            try:
                image.seek(index)
                check_pixels(image.width, image.height, path, image.format)
                turn = load_picture(image)
            except EOFError:
                return _missing_end(path, image.format)
            except (OSError, SyntaxError, ValueError) as error:
                if index == first:
                    raise RecamError(_broken(path)) from error
                return [f"its end is missing: only {index - first} pictures could be read"]
            if image.size != size:
                raise RecamError(f"{path} changes its size on the way")
            yield (
                np.ascontiguousarray(turned(as_srgb(image, ItemProperties(), []), turn)),
                (time_ms / 1000),
            )
            delay_ms = float(image.info.get("duration") or 0)
            too_short = delay_ms <= 0 or (image.format == "GIF" and delay_ms <= _MIN_DELAY_MS)
            time_ms += _USUAL_DELAY_MS if too_short else delay_ms
            index += 1


def _missing_end(path: Path, format: str | None) -> list[str]:
    """A GIF does not say how long it is, but its last byte is known."""
    if format != "GIF":
        return []
    with path.open("rb") as file:
        file.seek(-min(64, path.stat().st_size), os.SEEK_END)
        return [] if file.read().rstrip(b"\0").endswith(b";") else ["its end is missing"]


def animation_times(path: Path) -> tuple[list[float], float]:
    """Seconds at which each moment of an animation begins, and at which the last one ends."""
    with opened_picture(path) as image:
        begins, time_ms = [], 0.0
        for index in range(_first_moment(image), _num_pictures(image)):
            try:
                image.seek(index)
                if image.format in {"WEBP", "AVIF"}:
                    image.load()  # only then is its delay known
            except (EOFError, OSError, SyntaxError, ValueError):
                break
            begins.append(time_ms / 1000)
            delay_ms = float(image.info.get("duration") or 0)
            too_short = delay_ms <= 0 or (image.format == "GIF" and delay_ms <= _MIN_DELAY_MS)
            time_ms += _USUAL_DELAY_MS if too_short else delay_ms
        return begins, time_ms / 1000
