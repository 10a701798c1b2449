"""From evidence of motion to regions: smooth over time, with outlines from the colours."""

from __future__ import annotations

import math

import cv2
import numpy as np

from recam.arrays import F32, U8, Mask
from recam.flow.dense import FlowSet
from recam.reconstruct.depth.tgv import Smoothness
from recam.runtime.parallel import parallel_frames
from recam.types import no_progress

MIN_AREA = 0.0006
"""Smaller moving things, as a part of the picture, are taken for noise."""

BAND_PX = 6

SNAP = Smoothness(jump=1.0, bend=20.0)


def share_over_time(evidence: F32, belief: F32, flows: FlowSet) -> tuple[F32, F32]:
    """Evidence averaged with that of the nearest frames along the flow, weighted by belief; and
    the mean belief."""
    out, trust = np.empty_like(evidence), np.empty_like(evidence)
    grid = pixel_grid(flows.height, flows.width)

    def job(i: int) -> None:
        """The weighted means of frame i."""
        total, weight, num = evidence[i] * belief[i], belief[i].copy(), np.ones_like(belief[i])
        for k in flows.offsets[:3]:
            for j in (i - k, i + k):
                if not flows.has(i, j):
                    continue
                flow, confidence = (x.numpy() for x in flows.get(i, j))
                there = 0.5 * confidence * at_pixels(belief[j], grid + flow, cv2.INTER_LINEAR)
                total += there * at_pixels(evidence[j], grid + flow, cv2.INTER_LINEAR)
                weight += there
                num += 0.5 * confidence
        # What surely moves just now counts, however still it stood before.
        now = np.where(evidence[i] > 0.5, 0.8 * evidence[i] * belief[i], 0)
        out[i] = np.maximum(total / np.maximum(weight, 1e-6), now)
        trust[i] = np.maximum(weight / num, now)

    parallel_frames(job, range(len(evidence)), no_progress, "")
    return out, trust


def at_pixels(field: F32, at: F32, interpolation: int) -> F32:
    """The field at pixel indices (x, y) [h, w, 2]; 0 outside."""
    return np.asarray(cv2.remap(field, at[..., 0], at[..., 1], interpolation), np.float32)


def pixel_grid(height: int, width: int) -> F32:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], -1)


def regions(smooth: F32) -> Mask:
    """Connected regions above 0.4 that reach 0.75 somewhere, without specks and pinholes."""
    h, w = smooth.shape
    candidate = cv2.morphologyEx(
        (smooth > 0.4).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    num, labels, stats, _ = cv2.connectedComponentsWithStats(candidate, connectivity=4)
    strong = np.bincount(labels[smooth > 0.75], minlength=num)
    keep = (stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * h * w) & (strong >= 0.2 * MIN_AREA * h * w)
    keep[0] = False
    return without_specks(keep[labels])


def refine_mask_grabcut(found: Mask, rgb: U8, certain: Mask | None = None) -> Mask:
    """Move the borders of regions [h, w] to where the colours change.

    GrabCut (Rother et al. 2004) on each region's surroundings. Its border may move outwards by
    BAND_PX; inwards by as much, or, where ``certain`` [h, w] is given, up to what is certain.
    """
    out = found.copy()
    num, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    h, w = found.shape
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1, 2 * BAND_PX + 1))
    for label in range(1, num):
        left, top, width, height = stats[label, :4]
        pad = 2 * BAND_PX + 4
        box = (
            slice(max(top - pad, 0), min(top + height + pad, h)),
            slice(max(left - pad, 0), min(left + width + pad, w)),
        )
        region = (labels[box] == label).astype(np.uint8)
        inner, outer = cv2.erode(region, disc, borderValue=1), cv2.dilate(region, disc)
        if inner.sum() < 30:
            inner = cv2.erode(region, np.ones((3, 3), np.uint8), borderValue=1)
        if certain is not None:
            core = (certain[box] & (inner > 0)).astype(np.uint8)
            inner = core if core.sum() >= 0.1 * inner.sum() else inner
        if inner.sum() < 10 or (outer == 0).sum() < 30:
            continue
        state = np.where(region > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        state[inner > 0] = cv2.GC_FGD
        state[outer == 0] = cv2.GC_BGD
        cv2.setRNGSeed(0)  # its colour models start from k-means
        behind, front = np.zeros((1, 65)), np.zeros((1, 65))
        picture = np.ascontiguousarray(rgb[box])
        cv2.grabCut(picture, state, (0, 0, 1, 1), behind, front, 1, cv2.GC_INIT_WITH_MASK)
        inside = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
        others = found[box] & (region == 0)
        out[box] = np.where(outer > 0, inside | others, out[box])
    return without_specks(out)


def without_specks(found: Mask) -> Mask:
    """Neither regions nor holes below MIN_AREA."""
    for value in (True, False):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            (found == value).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] < MIN_AREA * found.size
        small[0] = False
        found = np.where(small[labels], not value, found)
    return found


def average_along_flow(rho: F32, dynamic: Mask, flows: FlowSet) -> F32:
    """``rho`` [t, h, w], averaged where ``dynamic`` over what the flow says is the same thing."""
    grid = pixel_grid(flows.height, flows.width)
    out = rho.copy()

    def job(i: int) -> None:
        """Average frame i with the frames around it."""
        if not dynamic[i].any():
            return
        total, weight = rho[i].copy(), np.ones_like(rho[i])
        for k in flows.offsets:
            for j in (i - k, i + k):
                if not flows.has(i, j):
                    continue
                flow, confidence = (x.numpy() for x in flows.get(i, j))
                at = grid + flow
                moves = at_pixels(dynamic[j].astype(np.float32), at, cv2.INTER_NEAREST)
                there = at_pixels(rho[j], at, cv2.INTER_NEAREST)
                w = confidence * moves * math.exp(-k / 8)
                total += w * there
                weight += w
        out[i] = np.where(dynamic[i], total / weight, rho[i])

    parallel_frames(job, range(len(rho)), no_progress, "")
    return out
