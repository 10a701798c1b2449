"""A scene on disk: save, load, and hand over to other programs.

A scene folder holds ``scene.json`` (version, sizes, report; written last, so that a folder with it
is complete), ``scene.safetensors`` (cameras, depth, masks), ``video.safetensors`` (the frames as
they are, losslessly and ready to be memory-mapped; not in the cache, which finds the video itself)
and ``sound.mka`` (the sound of these frames). Folders are handed on, so nothing outside of one is
ever opened, whatever its ``scene.json`` names.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import write_cameras
from recam.camera_files.arrays import write_megasam
from recam.camera_files.gltf import write_gltf
from recam.camera_files.usd import write_usd
from recam.configs import SceneFormat
from recam.geometry import motion_of, unproject
from recam.media import MediaWarning, write_exr, write_image, written_whole
from recam.media.sound import copy_sound
from recam.reconstruct.io.scene_checks import (
    FILE_VERSION,
    checked_cameras,
    checked_frames,
    checked_maps,
    read_record,
)
from recam.runtime.files import require_file
from recam.runtime.records import shown
from recam.runtime.tensors import load_tensors
from recam.runtime.whole import put_in_place, remove, temporary_beside
from recam.types import Cameras, RecamError, Scene, Video

FRAMES_FILE = "video.safetensors"
SOUND_FILE = "sound.mka"
MAX_POINTS = 1_000_000
"""Points of an exported cloud, at most."""
MEGASAM_DEPTH = (1e-3, 1e2)
"""MegaSAM's own files clip depth to this range of float16."""


def save_scene(scene: Scene, folder: str | Path, *, with_frames: bool = True) -> None:
    """Write a scene to a folder; :func:`load_scene` gives it back exactly.

    with_frames: also the video's frames; without them load_scene needs the video.

    Depth is kept as float32, since far depths overflow float16; masks as bits. Files that are
    there already are replaced, others in the folder stay.

    Raises RecamError when the folder cannot be written to, ValueError when the report is not JSON.
    """
    folder = Path(folder)
    record: dict[str, Any] = {
        "format": "recam scene",
        "version": FILE_VERSION,
        "num_frames": len(scene),
        "video": {
            "height": scene.video.height,
            "width": scene.video.width,
            "times_s": scene.video.times_s.tolist(),
            "audio_path": None,
        },
        "geometry": {"height": scene.cameras.height, "width": scene.cameras.width},
        "metres_per_unit": scene.metres_per_unit,
        "camera_motion": scene.camera_motion,
        "depth_source": scene.depth_source,
        "report": scene.report,
    }
    try:
        json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the scene's report cannot be written as JSON: {error}") from error
    tensors = {
        "cam_from_world": scene.cameras.cam_from_world,
        "intrinsics": scene.cameras.intrinsics,
        "depth": scene.depth,
        "valid": _packed(scene.valid),
        "dynamic": _packed(scene.dynamic),
        "confidence": scene.confidence.to(torch.float32),
    }
    if (folder / "scene.json").exists():
        (folder / "scene.json").unlink()  # until all is written, this is no scene
    _save_tensors(tensors, folder / "scene.safetensors")
    (folder / SOUND_FILE).unlink(missing_ok=True)
    if with_frames:
        _save_tensors({"frames": scene.video.frames}, folder / FRAMES_FILE)
        if _save_sound(scene.video, folder / SOUND_FILE):
            record["video"]["audio_path"] = SOUND_FILE
    else:
        (folder / FRAMES_FILE).unlink(missing_ok=True)
    with written_whole(folder / "scene.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_scene(folder: str | Path, video: Video | None = None) -> Scene:
    """The scene that :func:`save_scene` wrote.

    video: the frames of a scene that was stored without its own; others are memory-mapped, and of
    this no more is taken than where its sound is. Without it, sound that lies in the folder goes
    with the frames; other places are never looked at, and a MediaWarning says so.

    Raises RecamError for a folder without a complete scene or from a newer version, or without
    frames where no video is given; ValueError for
    a video of another size or length, or files that do not fit together.
    """
    folder = Path(folder)
    about = read_record(folder)
    path = folder / "scene.safetensors"
    tensors = _load_tensors(path)
    cameras, maps = checked_cameras(tensors, about, path), checked_maps(tensors, about, path)
    if (folder / FRAMES_FILE).exists():
        frames = checked_frames(_load_tensors(folder / FRAMES_FILE), about, folder / FRAMES_FILE)
        sound = _own_sound(folder, about.audio_path) if video is None else video.audio_path
        video = Video(frames, about.times_s, sound)
    elif video is None:
        raise RecamError(f"{folder}: holds no frames of its video; give the video as well")
    if (len(video), video.height, video.width) != (about.num_frames, *about.video):
        raise ValueError(
            f"{folder}: made from {about.num_frames} frames of {about.video[1]}×{about.video[0]} "
            f"px, but the video has {len(video)} of {video.width}×{video.height}"
        )
    return Scene(
        video=video, cameras=cameras, depth=maps["depth"], valid=maps["valid"],
        dynamic=maps["dynamic"], confidence=maps["confidence"],
        metres_per_unit=about.metres_per_unit,
        camera_motion=about.camera_motion or motion_of(cameras),
        depth_source=about.depth_source, report=about.report,
    )  # fmt: skip


def _save_sound(video: Video, path: Path) -> bool:
    """Keep the sound of these frames with them; False when they have none."""
    if video.audio_path is None or len(video) == 0:
        return False
    start_s, end_s = float(video.times_s[0]), float(video.times_s[-1]) + 1 / video.fps
    temporary = temporary_beside(path)
    try:
        copied = copy_sound(Path(video.audio_path), temporary, start_s, end_s)
        if copied:
            put_in_place(temporary, path)
    finally:
        remove(temporary)
    return copied


def _own_sound(folder: Path, name: str | None) -> str | None:
    """The sound that a scene names, when it is a regular file in the scene's own folder."""
    if name is None:
        return None
    try:
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()):
            return str(require_file(path))
        reason = "it lies outside of the scene's folder"
    except (RecamError, OSError, ValueError) as error:
        reason = str(error)
    warnings.warn(f"{folder}: sound left out ({shown(name)}): {reason}", MediaWarning, 3)
    return None


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with written_whole(path) as temporary:
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path)
    except RecamError as error:
        raise RecamError(f"{error}; make the scene again") from error


def _packed(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.numpy()))


def export_scene(scene: Scene, path: str | Path, format: SceneFormat) -> None:
    """Write a scene for another program.

    ply: a file with a cloud of coloured points: what stands still in up to 12 frames, and what
        moves in the middle one. World axes are the scene's (OpenCV: y down).
    colmap: a folder with ``images/`` and ``sparse/0/``, a binary model with the cloud's points.
    nerfstudio: a folder with ``images/``, ``transforms.json`` and ``points.ply`` (OpenGL world).
    megasam: an npz with images, depths, intrinsic and cam_c2w at the depth's size.
    3dgs: a folder for training Gaussian splats: colmap's and nerfstudio's files in one, the points
        of what stands still alone, and ``masks/`` (black = moves) where anything does.
    usd, gltf: a file with the animated camera and the cloud (y up).
    exr: a folder with ``depth/`` (Z, scene units, 0 = unknown) and ``dynamic/`` (Y, 1 = moves), a
        picture a frame of the depth's own size.

    Raises ValueError for an unknown format or cameras that the format cannot hold; RecamError when
    it cannot be written.
    """
    path = Path(path)
    match format:
        case "ply":
            _write_ply(path, *scene_points(scene))
        case "colmap":
            _export_colmap(scene, path)
        case "nerfstudio":
            _export_nerfstudio(scene, path)
        case "megasam":
            _export_megasam(scene, path)
        case "3dgs":
            _export_splatting(scene, path)
        case "usd":
            write_usd(
                path, _full_cameras(scene), scene.video.times_s, torch.arange(len(scene)),
                scene.metres_per_unit, _thinned(*scene_points(scene)),
            )  # fmt: skip
        case "gltf":
            write_gltf(
                path, _full_cameras(scene), scene.video.times_s, scene.metres_per_unit,
                scene_points(scene),
            )  # fmt: skip
        case "exr":
            for i in range(len(scene)):
                depth = torch.where(scene.valid[i], scene.depth[i], 0.0)
                write_exr(path / "depth" / f"{i:06d}.exr", depth, "Z")
                write_exr(path / "dynamic" / f"{i:06d}.exr", scene.dynamic[i], "Y")
        case _:
            formats = ", ".join(get_args(SceneFormat))
            raise ValueError(f"cannot export a scene as {format!r}; expected {formats}")


def scene_points(
    scene: Scene, num_frames: int = 12, with_moving: bool = True
) -> tuple[Tensor, Tensor]:
    """World points float32 [n, 3] and colours uint8 [n, 3] of a scene, thinned to MAX_POINTS.

    with_moving: also what moves, as the middle frame has it.
    """
    t = len(scene)
    picked = np.unique(np.linspace(0, t - 1, min(num_frames, t)).round().astype(int))
    middle = int(picked[len(picked) // 2])
    step = max(1, math.ceil(math.sqrt(len(picked) * scene.depth[0].numel() / MAX_POINTS)))
    points, colors = [], []
    for i in picked.tolist():
        frame = slice(i, i + 1)
        world = unproject(scene.depth[frame].double(), scene.cameras[frame])[0]
        keep = scene.valid[i] & (scene.depth[i] > 0)
        if i != middle or not with_moving:
            keep &= ~scene.dynamic[i]
        small = torch.nn.functional.interpolate(
            scene.video.frames[frame].float(), scene.depth.shape[1:], mode="area"
        )[0].permute(1, 2, 0)
        keep = keep[::step, ::step]
        points.append(world[::step, ::step][keep].float())
        colors.append(small[::step, ::step][keep].round().to(torch.uint8))
    return torch.cat(points), torch.cat(colors)


def _thinned(points: Tensor, colors: Tensor, at_most: int = 100_000) -> tuple[Tensor, Tensor]:
    """Fewer points, for files of text and programs that are slow with many."""
    step = max(1, math.ceil(len(points) / at_most))
    return points[::step], colors[::step]


def _write_ply(path: Path, points: Tensor, colors: Tensor) -> None:
    """Binary little-endian PLY of x y z red green blue."""
    rows = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3)])  # packed: 15 bytes a point
    rows["xyz"], rows["rgb"] = points.numpy(), colors.numpy()
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {color}" for color in ("red", "green", "blue")]
    header = "\n".join([*lines, "end_header", ""])
    with written_whole(path) as temporary:
        temporary.write_bytes(header.encode() + rows.tobytes())


def _full_cameras(scene: Scene) -> Cameras:
    return scene.cameras.resized(scene.video.height, scene.video.width)


def _write_images(scene: Scene, folder: Path) -> list[str]:
    names = [f"frame_{i:06d}.png" for i in range(len(scene))]
    for i, name in enumerate(names):
        write_image(scene.video.frames[i], folder / name)
    return names


def _export_colmap(scene: Scene, path: Path, with_moving: bool = True) -> None:
    import pycolmap

    names = _write_images(scene, path / "images")
    model_folder = path / "sparse" / "0"
    write_cameras(_full_cameras(scene), model_folder, "colmap", names=names)
    model = pycolmap.Reconstruction(str(model_folder))
    points, colors = _thinned(*scene_points(scene, with_moving=with_moving))
    for xyz, rgb in zip(points.double().numpy(), colors.numpy()):
        model.add_point3D(xyz, pycolmap.Track(), rgb)
    model.write(str(model_folder))


def _export_nerfstudio(scene: Scene, path: Path) -> None:
    names = _write_images(scene, path / "images")
    _write_transforms(scene, path, names, {}, with_moving=True)


def _export_splatting(scene: Scene, path: Path) -> None:
    """What moves has no place in splats that stand still: it is masked, and lends no points."""
    _export_colmap(scene, path, with_moving=False)
    names = [f"frame_{i:06d}.png" for i in range(len(scene))]
    masks = {}
    if bool(scene.dynamic.any()):
        size = (scene.video.height, scene.video.width)
        for i, name in enumerate(names):
            moves = scene.dynamic[i : i + 1, None].float()
            static = torch.nn.functional.interpolate(moves, size, mode="bilinear")[0, 0] < 0.5
            masks[name] = f"masks/{name}.png"  # COLMAP's name for the mask of a picture
            write_image(static, path / masks[name])
    _write_transforms(scene, path, names, masks, with_moving=False)


def _write_transforms(
    scene: Scene, path: Path, names: list[str], masks: dict[str, str], with_moving: bool
) -> None:
    """transforms.json and points.ply. masks: by picture, where there are any."""
    write_cameras(
        _full_cameras(scene), path / "transforms.json", "nerfstudio",
        times_s=scene.video.times_s, names=[f"images/{name}" for name in names],
    )  # fmt: skip
    transforms = json.loads((path / "transforms.json").read_text())
    transforms["ply_file_path"] = "points.ply"
    for frame, name in zip(transforms["frames"], names):
        frame |= {"mask_path": masks[name]} if name in masks else {}
    points, colors = scene_points(scene, with_moving=with_moving)
    _write_ply(path / "points.ply", points, colors)
    with written_whole(path / "transforms.json") as temporary:
        temporary.write_text(json.dumps(transforms, indent=1) + "\n")


def _export_megasam(scene: Scene, path: Path) -> None:
    h, w = scene.depth.shape[1:]
    small = [
        torch.nn.functional.interpolate(frame[None].float(), (h, w), mode="area")[0].round()
        for frame in scene.video.frames
    ]
    images = torch.stack(small).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    depth = torch.where(scene.valid, scene.depth, torch.tensor(MEGASAM_DEPTH[1]))
    write_megasam(
        path, scene.cameras, {"images": images, "depths": depth.to(torch.float32).numpy()}
    )
