"""Dense, smooth, steady inverse depth out of noisy and incomplete measurements.

Two operations that alternate: ``tgv_inpaint`` fills one frame, smooth inside surfaces and broken at
image edges; ``fuse`` lets all frames that see the same still surface agree on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from recam.arrays import F32, U8
from recam.runtime.jit import kernel

EDGE_CONTRAST, EDGE_POWER, EDGE_FLOOR = 9.0, 0.85, 0.02
ITERATIONS = (83, 56, 44, 44, 44)
"""Primal-dual steps per pyramid level, finest first. What is known has then not spread everywhere,
and masks of what moves count on it: with half as many they miss two thirds of it where cameras are
given. They are 150, 100, 80, 80 and 80 steps without relaxation, closer than a tenth more of these
would be."""
RELAXATION = 1.8
"""How far each step goes, in units of the method's own."""
CONTRASTS = 4096
"""Steps that contrasts are rounded to for their table of weights."""


@dataclass(frozen=True)
class Smoothness:
    """Weights of total generalised variation, for values of order 1 and a data weight 1 / σ².

    bend: of a change of slope, so that slanted planes cost nothing.
    jump: of a step between neighbours, lowered where the image has an edge.
    """

    jump: float = 0.6
    bend: float = 1.5


def tgv_inpaint(value: F32, weight: F32, rgb: U8, smooth: Smoothness, level: int = 0) -> F32:
    """Minimise Σ w/2 (u − value)² + jump Σ g |∇u − v| + bend Σ |∇v| over u and the slopes v.

    value, weight: float32 [h, w]; weight 0 = nothing known (the value is not read then).
    rgb: uint8 [h, w, 3], whose edges lower g. Second-order total generalised variation (Bredies
    et al. 2010) guided by the image (Ferstl et al. 2013), by the primal-dual method of Chambolle
    and Pock, over-relaxed (Condat 2013), from coarse to fine. level: how often the picture was
    halved before; ``weight`` stays that of a pixel of the large one, and the result is what its
    pyramid would have at that level.
    Returns float32 [h, w], defined everywhere.
    """
    weight = (4**level * weight).astype(np.float32)
    levels = [(np.where(weight > 0, value, 0).astype(np.float32), weight, rgb)]
    while len(levels) + level < len(ITERATIONS) and min(levels[-1][0].shape) >= 16:
        levels.append(_half_size(*levels[-1]))
    coarse, coarse_weight, _ = levels[-1]
    state = np.zeros((3, *coarse.shape), np.float32)
    state[0] = float((coarse * coarse_weight).sum()) / max(float(coarse_weight.sum()), 1e-12)
    for number in range(len(levels) - 1, -1, -1):
        value, weight, rgb = levels[number]
        if state.shape[1:] != value.shape:
            size = (value.shape[1], value.shape[0])
            finer = [cv2.resize(a, size, interpolation=cv2.INTER_LINEAR) for a in state]
            state = np.stack([finer[0], 0.5 * finer[1], 0.5 * finer[2]])  # slopes are per pixel
        # A coarse pixel carries four weights; the edges it crosses are twice as long.
        own, iterations = weight / 2 ** (number + level), ITERATIONS[number + level]
        state = _solve_level(state, value, own, rgb, smooth, iterations)
    return state[0]


def _half_size(value: F32, weight: F32, rgb: U8) -> tuple:
    size = ((value.shape[1] + 1) // 2, (value.shape[0] + 1) // 2)
    mean_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(weight * value, size, interpolation=cv2.INTER_AREA)
    return (
        total / np.maximum(mean_weight, 1e-12),
        4 * mean_weight,
        cv2.resize(rgb, size, interpolation=cv2.INTER_AREA),
    )


@cache
def _weight_of_contrast() -> F32:
    contrast = np.linspace(0, 1, CONTRASTS + 1, dtype=np.float32)
    return np.maximum(np.exp(-EDGE_CONTRAST * contrast**EDGE_POWER), EDGE_FLOOR)


def _edge_weights(rgb: U8) -> tuple[F32, F32]:
    table = _weight_of_contrast()
    image = cv2.GaussianBlur(rgb.astype(np.float32) / 255, (0, 0), 0.7)
    weights = []
    for axis in (1, 0):
        red, green, blue = (np.abs(np.diff(channel, axis=axis)) for channel in cv2.split(image))
        contrast = np.maximum(np.maximum(red, green), blue)
        g = table[(contrast * np.float32(CONTRASTS) + np.float32(0.5)).astype(np.int32)]
        # Nothing flows over the border of the picture.
        weights.append(np.pad(g, [(0, int(axis == 0)), (0, int(axis == 1))]).astype(np.float32))
    return weights[0], weights[1]


def _solve_level(start: F32, value: F32, weight: F32, rgb: U8, smooth: Smoothness, n: int) -> F32:
    """n steps from u and its two slopes [3, h, w]; returns the like."""
    around = ((1, 1), (1, 1))
    gx, gy = (np.pad(g, around) for g in _edge_weights(rgb))
    state = np.pad(start, ((0, 0), *around), mode="edge")
    dual = np.zeros((5, *state.shape[1:]), np.float32)
    _primal_dual(
        state, state.copy(), dual, gx, gy, np.pad(weight, around), np.pad(value, around),
        np.float32(smooth.jump), np.float32(smooth.bend), n,
    )  # fmt: skip
    return np.ascontiguousarray(state[:, 1:-1, 1:-1])


@kernel
def _primal_dual(state, ahead, dual, gx, gy, weight, value, jump, bend, iterations):
    tau, one = np.float32(1 / math.sqrt(12.0)), np.float32(1)
    keep = one / (one + tau * weight)
    pull = tau * weight * value * keep
    for _ in range(iterations):
        _descend(state, ahead, dual, gx, gy, keep, pull, tau)
        _ascend(ahead, dual, gx, gy, jump, bend, tau)


@kernel
def _descend(state, ahead, dual, gx, gy, keep, pull, tau):
    u, vx, vy = state[0], state[1], state[2]
    px, py, qxx, qyy, qxy = dual[0], dual[1], dual[2], dual[3], dual[4]
    h, w = u.shape
    two, relaxation = np.float32(2), np.float32(RELAXATION)
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            div = gx[y, x] * px[y, x] - gx[y, x - 1] * px[y, x - 1]
            div += gy[y, x] * py[y, x] - gy[y - 1, x] * py[y - 1, x]
            old = u[y, x]
            new = (old + tau * div) * keep[y, x] + pull[y, x]
            u[y, x] = old + relaxation * (new - old)
            ahead[0, y, x] = two * new - old
        for x in range(1, w - 1):
            old = vx[y, x]
            div = qxx[y, x] - qxx[y, x - 1] + qxy[y, x] - qxy[y - 1, x]
            new = old + tau * (gx[y, x] * px[y, x] + div)
            vx[y, x] = old + relaxation * (new - old)
            ahead[1, y, x] = two * new - old
            old = vy[y, x]
            div = qyy[y, x] - qyy[y - 1, x] + qxy[y, x] - qxy[y, x - 1]
            new = old + tau * (gy[y, x] * py[y, x] + div)
            vy[y, x] = old + relaxation * (new - old)
            ahead[2, y, x] = two * new - old
    for k in range(1, 3):
        for x in range(w):
            ahead[k, h - 1, x] = ahead[k, h - 2, x]
        for y in range(h):
            ahead[k, y, w - 1] = ahead[k, y, w - 2]


@kernel
def _ascend(ahead, dual, gx, gy, jump, bend, tau):
    u, vx, vy = ahead[0], ahead[1], ahead[2]
    px, py, qxx, qyy, qxy = dual[0], dual[1], dual[2], dual[3], dual[4]
    h, w = u.shape
    two, half, relaxation = np.float32(2), np.float32(0.5), np.float32(RELAXATION)
    stay = np.float32(1) - relaxation
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            a = px[y, x] + tau * gx[y, x] * (u[y, x + 1] - u[y, x] - vx[y, x])
            b = py[y, x] + tau * gy[y, x] * (u[y + 1, x] - u[y, x] - vy[y, x])
            scale = relaxation * jump / max(jump, math.sqrt(a * a + b * b))
            px[y, x] = stay * px[y, x] + scale * a
            py[y, x] = stay * py[y, x] + scale * b
        for x in range(1, w - 1):
            a = qxx[y, x] + tau * (vx[y, x + 1] - vx[y, x])
            b = qyy[y, x] + tau * (vy[y + 1, x] - vy[y, x])
            c = qxy[y, x] + tau * half * (vx[y + 1, x] - vx[y, x] + vy[y, x + 1] - vy[y, x])
            scale = relaxation * bend / max(bend, math.sqrt(a * a + b * b + two * c * c))
            qxx[y, x] = stay * qxx[y, x] + scale * a
            qyy[y, x] = stay * qyy[y, x] + scale * b
            qxy[y, x] = stay * qxy[y, x] + scale * c
    for x in range(w):
        qyy[h - 2, x] = 0
        qxy[h - 2, x] = 0
    for y in range(h):
        qxx[y, w - 2] = 0
        qxy[y, w - 2] = 0
