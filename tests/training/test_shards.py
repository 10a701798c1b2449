"""Pairs in shards: decisions, the same bytes again, and what training draws from them."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recam.configs import ModelConfig, PairsConfig, PretrainConfig
from recam.covisibility import make_pairs
from recam.media import write_video
from recam.synthetic import synthetic_clip
from recam.training.pretrain import pretrain
from recam.training.shards import read
from recam.training.shards.read import ShardStream, as_pair, read_shard
from recam.training.shards.shots import (
    dropped_by,
    find_shots,
    measure,
    parts_of,
    sharpness,
    text_share,
)
from recam.training.shards.write import as_sample, write_shards
from recam.types import Pair, RecamError, Video, video_from_frames

pytest.importorskip("webdataset", reason="needs the scale extra")
pytest.importorskip("scenedetect", reason="needs the scale extra")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    scene = synthetic_clip(11, 4, 48, 64)[0]
    made = make_pairs(scene, np.random.default_rng(0))
    return [next(made) for _ in range(5)]


@pytest.fixture(scope="module")
def shards(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pairs in two shards, with an index."""
    from webdataset import TarWriter

    folder = tmp_path_factory.mktemp("shards")
    entries = []
    for name, part in (("a.tar", slice(3)), ("b.tar", slice(3, 5))):
        with TarWriter(str(folder / name), mtime=0, encoder=False) as tar:
            for i, pair in enumerate(pairs[part]):
                sample = as_sample(pair, slice(4), f"{name[0]}-{i}", {"film": "x"})
                sample.pop("bucket")
                tar.write(sample)
        entries.append({"name": name, "samples": len(pairs[part])})
    (folder / "index.json").write_text(json.dumps({"shards": entries}))
    return folder


def test_a_pair_comes_back_bit_for_bit(pairs: list[Pair], shards: Path) -> None:
    read_back = [as_pair(s) for name in ("a.tar", "b.tar") for s in read_shard(str(shards), name)]
    for pair, again in zip(pairs, read_back, strict=True):
        assert torch.equal(pair.target.frames, again.target.frames)
        assert torch.equal(pair.partial.frames, again.partial.frames)
        assert torch.equal(pair.partial.known, again.partial.known)


def test_webdataset_itself_reads_them(shards: Path) -> None:
    import webdataset

    samples = webdataset.WebDataset(str(shards / "a.tar"), shardshuffle=False).decode("rgb8")
    first = next(iter(samples))
    assert first["film.png"].shape == (4 * 48, 64, 3) and first["depth.npy"].shape == (4, 48, 64)
    assert first["meta.json"]["frames"] == 4 and first["known.png"].dtype == np.uint8


@pytest.mark.parametrize("window", [2, 100])
def test_what_a_step_draws_from_depends_on_its_number_alone(shards: Path, window: int) -> None:
    def shown(stream: ShardStream, step: int) -> list[int]:
        return [int(clip.shown.sum()) for clip in stream.clips_at(step)]

    through = ShardStream(str(shards), window, 1, 3, 0, CPU)
    seen = [shown(through, step) for step in range(12)]
    for step in (7, 2, 11):
        assert shown(ShardStream(str(shards), window, 1, 3, 0, CPU), step) == seen[step]
    if window == 2:  # an epoch has every sample once
        assert len({row[0] for row in seen[:5]}) == 5
        other = ShardStream(str(shards), window, 1, 3, 1, CPU)
        assert [shown(other, step) for step in range(12)] != seen
    else:
        assert all(row == seen[0] for row in seen) and len(seen[0]) == 5


def test_a_network_from_shards_is_the_one_from_memory(
    pairs: list[Pair], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    model = ModelConfig(patch=8, hidden=16, heads=2, blocks=1, stem=8, fills=("pull-push",))
    config = PretrainConfig(
        model=model, steps=3, batch=2, num_frames=2, height=16, width=24, warmup=1, device="cpu",
        evaluate_every=9, num_heldout=0, synthetic_share=0.0,
    )  # fmt: skip
    memory = pretrain(replace(config, out=str(tmp_path / "memory")), pairs)
    streamed = pretrain(replace(config, out=str(tmp_path / "shards"), data=str(shards)))
    assert streamed.read_bytes() == memory.read_bytes()
    without = pretrain(replace(config, out=str(tmp_path / "without")))
    assert without.read_bytes() != memory.read_bytes()


def test_a_shard_that_was_cut_off_is_named(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes((shards / "a.tar").read_bytes()[:-15000])
    with pytest.raises(RecamError, match=r"a\.tar.*write this shard again"):
        [as_pair(s) for s in read_shard(str(tmp_path), "a.tar")]
    with pytest.raises(RecamError, match="no shards there"):
        read.read_index(str(tmp_path))


def textured(
    num: int, seed: int, step: float = 2.0, blur: float = 0.0, cell: int = 24
) -> torch.Tensor:
    """Frames uint8 [num, 3, 90, 160] of a plane that moves by ``step`` pixels a frame."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (120 // cell, 480 // cell, 3), np.uint8)
    plane = cv2.resize(cells, (480, 120), interpolation=cv2.INTER_NEAREST)
    frames = []
    for i in range(num):
        left = round(40 + i * step)
        frame = plane[10:100, left : left + 160]
        frame = cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame
        frames.append(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1))
    return torch.stack(frames)


def test_shots_end_at_cuts_and_are_cut_into_parts(tmp_path: Path) -> None:
    film = torch.cat([textured(20, 1), 255 - textured(20, 2) // 2, textured(18, 3) // 3])
    write_video(video_from_frames(film), tmp_path / "film.mp4")
    assert find_shots(tmp_path / "film.mp4") == [(0, 20), (20, 40), (40, 58)]
    config = PairsConfig(shot_frames=10, parts_per_shot=3)
    assert parts_of((20, 45), config) == [20, 35]
    assert parts_of((0, 100), config) == [0, 45, 90]
    assert parts_of((5, 9), config) == [5]


def test_each_gate_drops_what_it_is_there_for() -> None:
    def gate(frames: torch.Tensor) -> str | None:
        return dropped_by(measure(video_from_frames(frames)), PairsConfig())

    good = textured(6, 5)
    assert gate(good) is None
    assert gate(good[:1].expand(6, -1, -1, -1)) == "static"
    assert gate(textured(6, 5, blur=4.0)) == "blur"
    assert dropped_by({"motion": 0.5}, PairsConfig()) == "motion"
    assert dropped_by({"parallax": 0.01}, PairsConfig(min_parallax=0.02)) == "parallax"
    assert dropped_by({"holes": 0.9}, PairsConfig()) == "holes"
    assert sharpness(np.full((40, 40), 7, np.uint8)) == 0.0


def test_subtitles_are_writing_and_a_moving_texture_is_none() -> None:
    grays = [f.float().mean(0).byte().numpy() for f in textured(6, 7)]
    assert text_share(grays) == 0.0
    titled = []
    for gray in grays:
        picture = cv2.resize(gray, (320, 180))
        cv2.putText(picture, "where have you been", (40, 160), 0, 0.7, 255, 2)
        titled.append(picture)
    assert text_share(titled) > 0.01


def test_the_same_films_give_the_same_bytes_and_every_part_a_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    scene: Video = synthetic_clip(11, 6, 48, 64)[0].video
    write_video(scene, tmp_path / "good.mp4")
    write_video(video_from_frames(scene.frames[:1].expand(6, -1, -1, -1)), tmp_path / "still.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    films = [tmp_path / n for n in ("good.mp4", "still.mp4", "broken.mp4")]
    config = PairsConfig(num_frames=4, shot_frames=6, pairs_per_part=1, min_sharpness=0.0)
    decisions = write_shards(films, tmp_path / "one", config)
    write_shards(films, tmp_path / "two", config)
    assert [d["dropped_by"] for d in decisions] == [None, "static", "unreadable"]
    written = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert written == ["48x64x4.png", "48x64x4.tar", "decisions.jsonl", "shards.json"]
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with tarfile.open(tmp_path / "one" / "48x64x4.tar") as tar:
        kinds = {name.partition(".")[2] for name in tar.getnames()}
    assert kinds == {
        "film.png", "shown.png", "known.png", "depth.npy", "cameras.npz", "meta.json",
    }  # fmt: skip


def test_a_published_model_learns_from_shards(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    from foundation_checkpoints import save_ltx
    from recam.apps.cli import main

    weights = save_ltx(tmp_path / "ltx")
    out = tmp_path / "adapted"
    words = f"--model ltx --weights {weights} --steps 2 --num-pairs 3 --evaluate-every 1"
    main(["pretrain-foundation", "--data", str(shards), "--out", str(out), *words.split()])
    assert capsys.readouterr().out.strip() == str(out / "adapter.safetensors")
    assert (out / "adapter.safetensors").is_file()
    with pytest.raises(SystemExit, match="1"):
        main(["pretrain-foundation", "--out", str(out)])
