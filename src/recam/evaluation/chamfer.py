"""3D consistency: whether generated views show the same space as the source does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recam.geometry import align_similarity, unproject
from recam.reconstruct import reconstruct
from recam.types import Cameras, Progress, RecamError, Scene, Video, no_progress


@dataclass(frozen=True)
class ChamferDistance:
    """Mean distances between two point sets, each point to the nearest of the other set.

    accuracy: from the first to the second; completeness: from the second to the first; chamfer:
    the mean of both.
    """

    accuracy: float
    completeness: float
    chamfer: float


def chamfer_distance(
    points: Tensor, reference: Tensor, max_distance: float | None = None
) -> ChamferDistance:
    """Between point sets [k, 3] and [m, 3] (Fan et al. 2017, with distances, not squares).

    max_distance: a point farther than this counts as this far, so that what only one side can see
    does not outweigh all else; None = no limit. Raises ValueError for an empty set.
    """
    from scipy.spatial import cKDTree

    for name, cloud in (("points", points), ("reference", reference)):
        if cloud.ndim != 2 or cloud.shape[1] != 3 or not len(cloud):
            raise ValueError(f"{name} have shape {list(cloud.shape)}; expected some [k, 3]")
    a, b = points.double().numpy(), reference.double().numpy()
    there, _ = cKDTree(b).query(a)
    back, _ = cKDTree(a).query(b)
    if max_distance is not None:
        there, back = np.minimum(there, max_distance), np.minimum(back, max_distance)
    accuracy, completeness = float(there.mean()), float(back.mean())
    return ChamferDistance(accuracy, completeness, (accuracy + completeness) / 2)


def static_points(scene: Scene, max_points: int = 100_000, seed: int = 0) -> Tensor:
    """World points float64 [k ≤ max_points, 3] of what stands still in a scene, drawn evenly.

    Raises ValueError when nothing in the scene stands still with a valid depth.
    """
    chosen = scene.valid & ~scene.dynamic & (scene.depth > 0)
    index = chosen.flatten().nonzero()[:, 0]
    if not len(index):
        raise ValueError("the scene has no valid, still pixel to make points of")
    if len(index) > max_points:
        order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))
        index = index[order[:max_points]].sort().values
    h, w = scene.cameras.height, scene.cameras.width
    points = []
    for i in range(len(scene)):
        own = index[(index >= i * h * w) & (index < (i + 1) * h * w)] - i * h * w
        if len(own):
            world = unproject(scene.depth[i : i + 1].double(), scene.cameras[i : i + 1])
            points.append(world.view(-1, 3)[own])
    return torch.cat(points)


def consistency_3d(
    generated: Scene,
    source: Scene,
    wanted: Cameras | None = None,
    max_fraction: float = 0.1,
    max_points: int = 100_000,
) -> ChamferDistance:
    """Chamfer distance between reconstructions of generated views and of their source.

    Over what stands still, in fractions of the source's median depth; a point farther than
    ``max_fraction`` counts as that far, since new views see what the source could not. Compare it
    with that of the true views, which is the least that the reconstruction can reach.
    wanted: cameras [t of generated] that the generated views were made for, in the source's world;
    the generated reconstruction is then brought there by the similarity transform between its own
    cameras and these. None: both are in one world already.
    """
    unit = float(source.depth[source.valid & ~source.dynamic & (source.depth > 0)].median())
    points, reference = (static_points(scene, max_points) for scene in (generated, source))
    if wanted is not None:
        points = _into_world_of(points, generated.cameras, wanted)
    return chamfer_distance(points / unit, reference / unit, max_fraction)


def consistency_scores(
    result: Video, wanted: Cameras, source: Scene, progress: Progress = no_progress
) -> tuple[dict[str, float], str]:
    """{"chamfer": consistency_3d of a result's reconstruction, from its pictures alone}, and a note
    where there is none (NaN): pictures that cannot be reconstructed, a camera that stands."""
    try:
        scene = reconstruct(result, progress=progress)
        return {"chamfer": consistency_3d(scene, source, wanted).chamfer}, ""
    except (RecamError, ValueError) as error:
        return {"chamfer": math.nan}, f"no 3D consistency: {error}"


def _into_world_of(points: Tensor, cameras: Cameras, wanted: Cameras) -> Tensor:
    """Points moved by the similarity that takes cameras to the wanted ones.

    Fitted to each camera's centre and to points one path length ahead, right and below, so that
    the rotation is told also where the path is straight.
    """
    if len(cameras) != len(wanted) or len(wanted) < 2:
        raise ValueError(f"{len(cameras)} cameras for {len(wanted)} wanted; give 2 or more of each")
    marks = []
    for each in (cameras, wanted):
        size = float((each.centers - each.centers.mean(0)).norm(dim=1).mean())
        if size < 1e-9:
            raise ValueError("cameras that do not move cannot tell the scale of a reconstruction")
        axes = each.cam_from_world[:, :3, :3]
        marks.append(torch.cat([each.centers[:, None], each.centers[:, None] + size * axes], 1))
    scale, rotation, shift = align_similarity(marks[0].reshape(-1, 3), marks[1].reshape(-1, 3))
    return scale * points @ rotation.T + shift
