"""Depth from other programs' files: each layout written by hand, and what is refused."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recam.camera_files import write_cameras
from recam.geometry import quaternion_from_rotation
from recam.reconstruct.io.exr import _unpacked, read_exr
from recam.reconstruct.io.importers import read_depth, resize_depth
from recam.types import RecamError, SourcePart
from reconstruct_scene import make_cameras

T, H, W = 4, 24, 32


@pytest.fixture
def depth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 9.0, (T, H, W)).astype(np.float32)


def exr_bytes(planes: dict[str, np.ndarray], compression: str = "ZIP") -> bytes:
    """A scanline EXR of channels (sorted by name), float16 or float32."""
    names = sorted(planes)
    h, w = planes[names[0]].shape
    kind = {np.dtype("<f2"): 1, np.dtype("<f4"): 2}

    def attribute(name: str, type_: str, value: bytes) -> bytes:
        return f"{name}\0{type_}\0".encode() + struct.pack("<I", len(value)) + value

    channels = b"".join(
        n.encode() + b"\0" + struct.pack("<4I", kind[planes[n].dtype], 0, 1, 1) for n in names
    )
    code = {"none": 0, "RLE": 1, "ZIPS": 2, "ZIP": 3, "PIZ": 4}[compression]
    window = struct.pack("<4i", 0, 0, w - 1, h - 1)
    header = struct.pack("<II", 20000630, 2)
    header += attribute("channels", "chlist", channels + b"\0")
    header += attribute("compression", "compression", bytes([code]))
    header += attribute("dataWindow", "box2i", window) + b"\0"
    per_chunk = 16 if compression == "ZIP" else 1
    chunks = []
    for first in range(0, h, per_chunk):
        raw = b"".join(
            planes[n][y].tobytes() for y in range(first, min(first + per_chunk, h)) for n in names
        )
        packed = _pack(raw, compression)
        chunks.append(struct.pack("<iI", first, len(packed)) + packed)
    at = len(header) + 8 * len(chunks)
    table = b""
    for chunk in chunks:
        table += struct.pack("<Q", at)
        at += len(chunk)
    return header + table + b"".join(chunks)


def _pack(raw: bytes, compression: str) -> bytes:
    if compression == "none":
        return raw
    data = np.frombuffer(raw, np.uint8)
    split = np.concatenate([data[0::2], data[1::2]]).astype(np.int64)
    split[1:] = (np.diff(split) + 128) % 256
    shuffled = split.astype(np.uint8).tobytes()
    if compression != "RLE":
        packed = zlib.compress(shuffled)
    else:
        packed = b""
        for k in range(0, len(shuffled), 100):  # literal runs, then one repeat
            piece = shuffled[k : k + 100]
            packed += struct.pack("<b", -len(piece)) + piece
    return packed if len(packed) < len(raw) else raw


@pytest.mark.parametrize("compression", ["none", "RLE", "ZIPS", "ZIP"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_exr_of_every_compression(compression: str, dtype: str) -> None:
    y, x = np.mgrid[:37, :20]
    z = (1 + 0.25 * y + 0.5 * (x // 4)).astype(dtype)
    data = exr_bytes({"A": np.zeros_like(z), "Z": z}, compression)
    assert np.array_equal(read_exr(data, "test.exr"), z.astype(np.float32))


def test_exr_with_repeats() -> None:
    """Runs of equal bytes, which the writer above does not make."""
    raw = b"\x3c" * 160
    split = np.frombuffer(raw, np.uint8)
    shuffled = np.concatenate([split[0::2], split[1::2]]).astype(np.int64)
    shuffled[1:] = (np.diff(shuffled) + 128) % 256
    packed, k = b"", 0
    while k < len(shuffled):
        n = 1
        while k + n < len(shuffled) and shuffled[k + n] == shuffled[k] and n < 128:
            n += 1
        packed += struct.pack("<b", n - 1) + bytes([shuffled[k]])
        k += n
    assert len(packed) < len(raw) and _unpacked(packed, len(raw), "RLE") == raw


def test_exr_refusals_say_what_they_met() -> None:
    z = np.ones((4, 4), "<f2")
    with pytest.raises(ValueError, match="PIZ is not read here"):
        read_exr(exr_bytes({"Z": z}, "PIZ"), "a.exr")
    with pytest.raises(ValueError, match="channels B, G"):
        read_exr(exr_bytes({"B": z, "G": z}), "a.exr")
    with pytest.raises(ValueError, match="truncated"):
        read_exr(exr_bytes({"Z": z})[:-4], "a.exr")
    with pytest.raises(ValueError, match="not an EXR"):
        read_exr(b"\x89PNG0000000000", "a.exr")


def assert_same(source, depth: np.ndarray, rtol: float = 1e-6) -> None:
    assert source.depth.shape == depth.shape and bool(source.valid.all())
    assert np.allclose(source.depth.numpy(), depth, rtol=rtol)


def test_megasam_npz_brings_its_cameras(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    for name, stored in (("a_droid.npz", depth), ("a_sgd_cvd_hr.npz", depth.astype(np.float16))):
        np.savez(
            tmp_path / name, depths=stored, images=np.zeros((T, H, W, 3), np.uint8),
            intrinsic=cameras.intrinsics[0].numpy(), cam_c2w=cameras.world_from_cam.numpy(),
        )  # fmt: skip
        source = read_depth(tmp_path / name, T, H, W)
        assert_same(source, depth, 1e-3)
        assert source.metric is None and source.cameras is not None
        assert torch.allclose(source.cameras.cam_from_world, cameras.cam_from_world)


def test_cameras_are_for_the_size_asked(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    write_cameras(cameras, tmp_path / "camera.npz", "gen3c")
    np.savez(tmp_path / "depth.npz", depth=depth.astype(np.float16))
    source = read_depth(tmp_path, T, 2 * H, 2 * W)
    assert source.depth.shape == (T, 2 * H, 2 * W)
    assert source.cameras is not None
    assert torch.allclose(
        source.cameras.intrinsics, cameras.resized(2 * H, 2 * W).intrinsics, rtol=1e-5
    )


def test_cognvs_folder(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    folder = tmp_path / "seq" / "cam_info"
    folder.mkdir(parents=True)
    np.save(folder / "megasam_depth.npy", depth)
    np.save(folder / "megasam_intrinsics.npy", cameras.intrinsics[0].numpy())
    np.save(folder / "megasam_c2ws.npy", cameras.world_from_cam.numpy())
    for path in (tmp_path / "seq", folder):
        source = read_depth(path, T, H, W)
        assert_same(source, depth)
        assert source.cameras is not None


def test_vipe_zip_is_metric(tmp_path: Path, depth: np.ndarray) -> None:
    (tmp_path / "depth").mkdir()
    file = tmp_path / "depth" / "clip.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for i in (1, 0, 3, 2):  # names, not their order in the archive, count
            archive.writestr(f"{i:05d}.exr", exr_bytes({"Z": depth[i].astype("<f2")}))
    for path in (file, tmp_path):
        source = read_depth(path, T, H, W)
        assert_same(source, depth, 1e-3)
        assert source.metric is True and source.cameras is None


def test_vista4d_folder(tmp_path: Path, depth: np.ndarray) -> None:
    folder = tmp_path / "recon_and_seg"
    (folder / "depths").mkdir(parents=True)
    for i in range(T):
        (folder / "depths" / f"{i:04d}.exr").write_bytes(exr_bytes({"Z": depth[i]}, "ZIPS"))
    write_cameras(make_cameras(T, H, W), folder / "cameras.npz", "vista4d")
    for path in (tmp_path, folder):
        source = read_depth(path, T, H, W)
        assert_same(source, depth)
        assert source.cameras is not None


def test_vista4d_masks_say_what_moves_and_what_is_sky(tmp_path: Path, depth: np.ndarray) -> None:
    for name in ("depths", "dynamic_mask", "sky_mask"):
        (tmp_path / name).mkdir()
    for i in range(T):
        (tmp_path / "depths" / f"{i:04d}.exr").write_bytes(exr_bytes({"Z": depth[i]}, "ZIPS"))
        moving, sky = np.zeros((2, H, W), np.uint8)
        moving[8:12, 4 + i : 9 + i] = 255
        sky[:5] = 255
        cv2.imwrite(str(tmp_path / "dynamic_mask" / f"{i:04d}.png"), moving)
        cv2.imwrite(str(tmp_path / "sky_mask" / f"{i:04d}.png"), sky)
    source = read_depth(tmp_path, T, H, W)
    assert source.dynamic is not None and source.dynamic.dtype == torch.bool
    assert source.dynamic[2].nonzero().min(0).values.tolist() == [8, 6]
    assert int(source.dynamic[2].sum()) == 20
    assert float(source.depth[:, :5].min()) > 10 * float(source.depth[:, 5:].max()) / 9
    assert torch.equal(source.depth[:, 5:], torch.from_numpy(depth[:, 5:]))
    (tmp_path / "dynamic_mask" / "0000.png").unlink()
    with pytest.raises(ValueError, match="3 masks for 4 depth maps"):
        read_depth(tmp_path, T, H, W)


def test_megasam_reconstructions_folder(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    wxyz = quaternion_from_rotation(cameras.cam_from_world[:, :3, :3]).numpy()
    poses = np.concatenate([cameras.cam_from_world[:, :3, 3].numpy(), wxyz[:, [1, 2, 3, 0]]], 1)
    four = cameras.intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]].numpy()
    np.save(tmp_path / "images.npy", np.zeros((T, 3, H, W), np.uint8))
    np.save(tmp_path / "disps.npy", 1 / (depth + 1e-6))
    np.save(tmp_path / "poses.npy", poses.astype(np.float32))
    np.save(tmp_path / "intrinsics.npy", four.astype(np.float32))
    np.save(tmp_path / "motion_prob.npy", np.ones((T, H // 8, W // 8), np.float32))
    source = read_depth(tmp_path, T, H, W)
    assert_same(source, depth, 1e-4)
    assert source.cameras is not None and source.dynamic is None
    assert torch.allclose(source.cameras.cam_from_world, cameras.cam_from_world, atol=1e-5)
    assert torch.allclose(source.cameras.intrinsics, cameras.intrinsics, rtol=1e-5)
    part = SourcePart("clip", None, torch.tensor([1, 3]))
    some = read_depth(tmp_path, 2, H, W, part)
    assert some.cameras is not None
    assert torch.allclose(some.cameras.cam_from_world, cameras.cam_from_world[1::2], atol=1e-5)
    np.save(tmp_path / "poses.npy", poses[:, :6])
    with pytest.raises(ValueError, match=r"poses\.npy \(N,7\)"):
        read_depth(tmp_path, T, H, W)


def test_colmap_dense_workspace(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    names = [f"{i:03d}.png" for i in range(T)]
    write_cameras(cameras, tmp_path / "sparse", "colmap", names=names)
    maps = tmp_path / "stereo" / "depth_maps"
    maps.mkdir(parents=True)
    for i, name in enumerate(names):
        for kind, factor in (("geometric", 1.0), ("photometric", 3.0)):
            body = (factor * depth[i]).astype("<f4").tobytes()
            (maps / f"{name}.{kind}.bin").write_bytes(f"{W}&{H}&1&".encode() + body)
    source = read_depth(tmp_path, T, H, W)
    assert_same(source, depth)
    assert source.cameras is not None
    assert torch.allclose(source.cameras.cam_from_world, cameras.cam_from_world, atol=1e-9)
    for file in maps.glob("*.geometric.bin"):
        file.unlink()
    assert np.allclose(read_depth(tmp_path, T, H, W).depth.numpy(), 3 * depth)
    (maps / f"{names[0]}.photometric.bin").write_bytes(b"12&")
    with pytest.raises(ValueError, match="width&height&channels"):
        read_depth(tmp_path, T, H, W)


def test_nerfstudio_frames_that_name_depth(tmp_path: Path, depth: np.ndarray) -> None:
    cameras = make_cameras(T, H, W)
    names = [f"images/frame_{i}.png" for i in range(T)]
    write_cameras(cameras, tmp_path / "transforms.json", "nerfstudio", names=names)
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "depth").mkdir()
    for i, frame in enumerate(content["frames"]):
        frame["depth_file_path"] = f"depth/frame_{i}.png"
        stored = (1000 * depth[i]).round().astype(np.uint16)
        cv2.imwrite(str(tmp_path / "depth" / f"frame_{i}.png"), stored)
    content["frames"].reverse()  # names, not their order in the file, count
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    for path in (tmp_path, tmp_path / "transforms.json"):
        source = read_depth(path, T, H, W)
        assert np.allclose(source.depth.numpy(), depth, atol=6e-4)
        assert source.cameras is not None
        assert torch.allclose(source.cameras.cam_from_world, cameras.cam_from_world, atol=1e-9)
    content["depth_unit_scale_factor"] = 0.002
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    assert np.allclose(read_depth(tmp_path, T, H, W).depth.numpy(), 2 * depth, atol=2e-3)
    del content["frames"][0]["depth_file_path"]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="3 of 4 frames"):
        read_depth(tmp_path, T, H, W)


def test_stacks_and_inverse_depth_by_name(tmp_path: Path, depth: np.ndarray) -> None:
    np.save(tmp_path / "stack.npy", depth)
    np.save(tmp_path / "disparity.npy", 1 / depth)
    np.savez(tmp_path / "one.npz", whatever=depth, other=np.zeros(3))
    np.savez(tmp_path / "disps.npz", disps=1 / depth)
    for name in ("stack.npy", "disparity.npy", "one.npz", "disps.npz"):
        assert_same(read_depth(tmp_path / name, T, H, W), depth, 1e-5)


def test_folder_of_png_in_millimetres(tmp_path: Path, depth: np.ndarray) -> None:
    millimetres = np.rint(depth * 1000).astype(np.uint16)
    millimetres[:, :2] = 0
    millimetres[:, 2:4] = 65535
    for i in range(T):
        cv2.imwrite(str(tmp_path / f"frame-{i}.depth.png"), millimetres[i])
        cv2.imwrite(str(tmp_path / f"frame-{i}.color.png"), np.zeros((H, W, 3), np.uint8))
    source = read_depth(tmp_path, T, H, W)
    assert source.metric is True
    assert not bool(source.valid[:, :4].any()) and bool(source.valid[:, 4:].all())
    assert np.allclose(source.depth[:, 4:].numpy(), depth[:, 4:], atol=6e-4)
    assert bool((source.depth[:, :4] == 0).all())


def test_normalised_and_8_bit_png_are_refused(tmp_path: Path, depth: np.ndarray) -> None:
    normalised = (depth / depth.max() * 65535).astype(np.uint16)
    for i in range(T):
        cv2.imwrite(str(tmp_path / f"{i}.png"), normalised[i])
    with pytest.raises(ValueError, match="millimetres"):
        read_depth(tmp_path, T, H, W)
    for i in range(T):
        cv2.imwrite(str(tmp_path / f"{i}.png"), (normalised[i] >> 8).astype(np.uint8))
    with pytest.raises(ValueError, match="16-bit"):
        read_depth(tmp_path, T, H, W)


def test_bad_values_are_masked_or_refused(tmp_path: Path, depth: np.ndarray) -> None:
    depth[:, 0], depth[:, 1], depth[:, 2], depth[:, 3] = np.nan, np.inf, 0, -1
    np.save(tmp_path / "d.npy", depth)
    source = read_depth(tmp_path / "d.npy", T, H, W)
    assert not bool(source.valid[:, :4].any()) and bool(source.valid[:, 4:].all())
    assert bool(torch.isfinite(source.depth).all())
    assert any("not valid" in note for note in source.notes)
    np.save(tmp_path / "d.npy", np.full_like(depth, np.nan))
    with pytest.raises(ValueError, match=r"100.0 % of the depth is NaN"):
        read_depth(tmp_path / "d.npy", T, H, W)


def test_what_does_not_fit_is_refused(tmp_path: Path, depth: np.ndarray) -> None:
    np.save(tmp_path / "d.npy", depth)
    with pytest.raises(ValueError, match="for a video of"):
        read_depth(tmp_path / "d.npy", 5, H, W)
    with pytest.raises(ValueError, match="whole picture"):
        read_depth(tmp_path / "d.npy", T, H, 2 * W)
    np.save(tmp_path / "flat.npy", depth[0])
    with pytest.raises(ValueError, match="1 for a video of 4 frames"):
        read_depth(tmp_path / "flat.npy", T, H, W)
    np.savez(tmp_path / "two.npz", a=depth, b=depth)
    with pytest.raises(ValueError, match=r"a \(3-D\), b \(3-D\)"):
        read_depth(tmp_path / "two.npz", T, H, W)
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(ValueError, match="expected a MegaSAM npz"):
        read_depth(tmp_path / "text.txt", T, H, W)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    for missing in ("broken.npz", "nowhere"):
        with pytest.raises((RecamError, ValueError), match=missing):
            read_depth(tmp_path / missing, T, H, W)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no depth"):
        read_depth(tmp_path / "empty", T, H, W)


def test_resizing_makes_nothing_between_two_surfaces() -> None:
    depth = np.where(np.arange(20) < 10, 1.0, 5.0)[None].repeat(16, 0).astype(np.float32)
    for h, w in ((32, 40), (8, 10), (37, 51)):
        out, valid = resize_depth(depth, np.ones_like(depth, bool), h, w)
        assert valid.all() and set(np.unique(out.round(4))) <= {1.0, 5.0}
    ramp = np.linspace(1, 1.2, 20, dtype=np.float32)[None].repeat(16, 0)
    out, _ = resize_depth(ramp, np.ones_like(ramp, bool), 64, 80)
    assert np.abs(np.diff(out[32])).max() < 0.006  # smooth, not in steps


def test_npz_of_objects_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "o.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="plain numbers"):
        read_depth(tmp_path / "o.npy", T, H, W)
