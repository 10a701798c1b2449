"""HDR and wide-gamut pictures to sRGB, by tables, one pass over the pixels.

Imported only when a source needs it, since numba takes a while to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recam.runtime.jit import kernel

Transfer = Literal["pq", "hlg", "sdr"]

WHITE_NITS = 203.0
"""Luminance that becomes SDR white: diffuse white of HDR programmes (ITU-R BT.2408)."""
HLG_PEAK_NITS = 1000.0
_TABLE = 4096

# Linear light to linear BT.709, from the primaries' chromaticities (BT.2020; Display P3 with D65).
_TO_BT709 = {
    "bt2020": ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008350),
               (-0.018151, -0.100579, 1.118730)),
    "p3": ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0),
           (-0.019638, -0.078636, 1.098274)),
    "bt709": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}  # fmt: skip
_BT2020_LUMA = (0.2627, 0.6780, 0.0593)


def pq_to_nits(signal: np.ndarray) -> np.ndarray:
    """PQ signal in [0, 1] to display luminance in cd/m² (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = np.asarray(signal, np.float64) ** (1 / m2)
    return 10000.0 * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """Display luminance in cd/m² to PQ signal in [0, 1]; inverse of :func:`pq_to_nits`."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (np.asarray(nits, np.float64) / 10000.0) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """HLG signal in [0, 1] to scene light in [0, 1] (ITU-R BT.2100, inverse OETF)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.asarray(signal, np.float64)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def srgb_to_linear(signal: np.ndarray) -> np.ndarray:
    """sRGB signal to linear light, both in [0, 1] (IEC 61966-2-1)."""
    signal = np.asarray(signal, np.float64)
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB signal, both in [0, 1]; inverse of :func:`srgb_to_linear`."""
    linear = np.asarray(linear, np.float64)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def compress_highlights(nits: np.ndarray, peak_nits: float) -> np.ndarray:
    """Luminance up to ``peak_nits`` into [0, WHITE_NITS]; dark and middle tones stay as they are.

    The EETF of ITU-R BT.2390 §5.4.1 (a Hermite spline above a knee, in PQ space).
    """
    if peak_nits <= WHITE_NITS:
        return np.minimum(nits, WHITE_NITS)
    peak = float(nits_to_pq(np.array(peak_nits)))
    signal = np.minimum(nits_to_pq(nits) / peak, 1.0)
    top = float(nits_to_pq(np.array(WHITE_NITS))) / peak
    knee = 1.5 * top - 0.5
    t = np.maximum(signal - knee, 0.0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * top
    )
    return pq_to_nits(np.where(signal < knee, signal, spline) * peak)


@dataclass(frozen=True)
class ToneMap:
    """How the 16-bit R, G, B of a source become sRGB.

    peak_nits: brightest luminance of the source, that of SDR white for an SDR source.
    """

    transfer: Transfer
    primaries: Literal["bt2020", "p3", "bt709"]
    peak_nits: float


def tone_map_reference(rgb16: np.ndarray, tone_map: ToneMap) -> np.ndarray:
    """uint16 [3, h, w] (65535 = full signal) to uint8 sRGB [3, h, w]. Slow and plain."""
    signal = rgb16.astype(np.float64) / 65535.0
    match tone_map.transfer:
        case "pq":
            nits = pq_to_nits(signal)
        case "hlg":  # with the OOTF of a 1000 cd/m² display, whose system gamma is 1.2
            scene = hlg_to_scene(signal)
            luma = np.tensordot(_BT2020_LUMA, scene, axes=1)
            nits = HLG_PEAK_NITS * luma**0.2 * scene
        case "sdr":
            nits = WHITE_NITS * srgb_to_linear(signal)
    brightest = np.maximum(nits.max(0), 1e-6)  # one gain for all three keeps the hue
    gain = compress_highlights(brightest, tone_map.peak_nits) / brightest
    matrix = np.array(_TO_BT709[tone_map.primaries])
    linear = np.tensordot(matrix, nits * gain / WHITE_NITS, axes=1)
    return np.rint(255 * linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)


class ToneMapper:
    """The fast form of :func:`tone_map_reference`: its curves as tables, made once per source."""

    def __init__(self, tone_map: ToneMap) -> None:
        codes = np.arange(65536) / 65535.0
        decode = {"pq": pq_to_nits, "hlg": hlg_to_scene, "sdr": srgb_to_linear}[tone_map.transfer]
        scale = WHITE_NITS if tone_map.transfer == "sdr" else 1.0
        steps = np.linspace(0, 1, _TABLE)
        self._decode = (scale * decode(codes)).astype(np.float32)
        self._top = {"pq": 10000.0, "hlg": HLG_PEAK_NITS, "sdr": WHITE_NITS}[tone_map.transfer]
        brightest = np.maximum(self._top * steps**2, 1e-6)  # squared: finer steps in the dark
        gain = compress_highlights(brightest, tone_map.peak_nits) / brightest / WHITE_NITS
        self._gain = gain.astype(np.float32)
        is_hlg = tone_map.transfer == "hlg"
        ootf = HLG_PEAK_NITS * (steps**2) ** 0.2 if is_hlg else np.zeros(0)
        self._ootf = ootf.astype(np.float32)
        self._matrix = np.array(_TO_BT709[tone_map.primaries], np.float32)
        self._encode = np.rint(255 * linear_to_srgb(codes)).astype(np.uint8)

    def __call__(self, red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
        """uint16 [h, w] each to uint8 sRGB [3, h, w]."""
        out = np.empty((3, *red.shape), np.uint8)
        _map_pixels(
            red, green, blue, self._decode, self._ootf, self._gain, np.float32(self._top),
            self._matrix, self._encode, out,
        )  # fmt: skip
        return out


@kernel
def _map_pixels(red, green, blue, decode, ootf, gain, top, matrix, encode, out):
    steps = np.float32(gain.shape[0] - 1)
    for y in range(red.shape[0]):
        for x in range(red.shape[1]):
            r, g, b = decode[red[y, x]], decode[green[y, x]], decode[blue[y, x]]
            scale = np.float32(1.0)
            if ootf.shape[0] > 0:
                luma = np.float32(0.2627) * r + np.float32(0.6780) * g + np.float32(0.0593) * b
                scale = ootf[min(int(np.sqrt(luma) * steps + np.float32(0.5)), ootf.shape[0] - 1)]
            position = np.sqrt(max(r, g, b) * scale / top) * steps
            index = min(int(position), gain.shape[0] - 2)
            scale *= gain[index] + (position - index) * (gain[index + 1] - gain[index])
            for c in range(3):
                value = (matrix[c, 0] * r + matrix[c, 1] * g + matrix[c, 2] * b) * scale
                value = min(max(value, np.float32(0.0)), np.float32(1.0))
                out[c, y, x] = encode[int(value * np.float32(65535.0) + np.float32(0.5))]
