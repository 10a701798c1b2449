"""Two hundred frames by windows: no seam where they meet, and memory that does not grow."""

import gc

import torch

from recam.completers import open_completer, resolve_config
from recam.configs import CompleteConfig, PathConfig, ReshootConfig
from recam.synthetic import synthetic_clip
from recam.tasks import reshoot as reshoot_task
from recam.trajectories import path_for_scene


def _tensor_bytes() -> int:
    """Bytes of all tensors that are alive, each storage once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def test_windows_leave_no_seam_and_memory_is_flat() -> None:
    scene, _ = synthetic_clip(7, 200, 48, 80, "orbit", "room")
    window = 48
    config = ReshootConfig(
        path=PathConfig("arc", yaw=12), complete=CompleteConfig(window=window, overlap=8)
    )
    path = path_for_scene(scene, config.path)
    change: list[torch.Tensor] = []  # mean absolute difference to the frame before
    in_holes: list[torch.Tensor] = []  # the same, where either frame has a hole
    borders = [i - 1 for i in range(window, len(path), window)]
    alive: list[int] = []
    last = last_known = None
    completer = open_completer(resolve_config(config.complete, "reshoot"))
    for rendering, frames in reshoot_task.complete_along(scene, path, config, completer, {}):
        joined = frames if last is None else torch.cat([last, frames])
        known = rendering.known if last is None else torch.cat([last_known, rendering.known])
        apart = (joined[1:].float() - joined[:-1].float()).abs().mean(1)
        hole = ((known[1:] < 0.5) | (known[:-1] < 0.5)).float()
        change += list(apart.mean((1, 2)))
        in_holes += list((apart * hole).sum((1, 2)) / hole.sum((1, 2)).clamp(min=1))
        assert len(rendering) <= window
        last, last_known = frames[-1:].clone(), rendering.known[-1:].clone()
        del rendering, frames, joined, known, apart, hole
        alive.append(_tensor_bytes())
    assert len(change) == 199 and len(borders) == 4
    # Holes are small and differ along the path, so that few borders tell only that none stands out.
    for changes, least in ((change, 0.9), (in_holes, 0.0)):
        at_border = torch.stack([changes[i] for i in borders]).mean()
        elsewhere = torch.stack([c for i, c in enumerate(changes) if i not in borders]).mean()
        assert least < float(at_border / elsewhere) < 1.1
    # The first window has no frames of one before.
    assert max(alive[1:]) < 1.02 * alive[1] and alive[1] < 1.2 * alive[0]
