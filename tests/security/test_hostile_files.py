"""Attacks by files that people hand on: nothing but the named file is opened, and nothing hangs."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from av.sidedata.sidedata import Type as SideDataType

from media_samples import encode_film, encode_tone, loudness, moving_frames
from recam.media import MediaWarning, VideoWriter, probe, read_video, write_video
from recam.media.container import open_media
from recam.media.convert import UPRIGHT, _turn_of
from recam.reconstruct import load_scene, save_scene
from recam.runtime.files import parse_json, read_bytes, read_json, require_file
from recam.types import Cameras, RecamError, Scene, Video

PIPES = hasattr(os, "mkfifo")


@contextmanager
def listening() -> Iterator[tuple[int, list[object]]]:
    """A port on this machine, and who has called it."""
    calls: list[object] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)

        def answer() -> None:
            try:
                calls.append(server.accept())
            except OSError:
                return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls


def small_scene(audio_path: str | None) -> Scene:
    num, h, w = 25, 48, 64
    frames = torch.from_numpy(moving_frames(num, h, w))
    video = Video(frames, torch.arange(num, dtype=torch.float64) / 25 + 1.0, audio_path)
    eye = torch.eye(4, dtype=torch.float64).repeat(num, 1, 1)
    k = torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], dtype=torch.float64)
    masks = torch.ones(num, h, w, dtype=torch.bool)
    depth = torch.full((num, h, w), 2.0)
    return Scene(video, Cameras(eye, k.repeat(num, 1, 1), h, w), depth, masks, ~masks, depth / 2)


def with_audio_path(folder: Path, name: str) -> Path:
    """A scene as an attacker would hand it on."""
    save_scene(small_scene(None), folder)
    record = json.loads((folder / "scene.json").read_text())
    record["video"]["audio_path"] = name
    (folder / "scene.json").write_text(json.dumps(record))
    return folder


def test_a_scene_carries_its_own_sound(tmp_path: Path) -> None:
    film = encode_tone(tmp_path / "tone.mp4", "aac")
    save_scene(small_scene(str(film)), tmp_path / "scene")
    video = load_scene(tmp_path / "scene").video
    assert video.audio_path == str((tmp_path / "scene" / "sound.mka").resolve())
    write_video(video, tmp_path / "out.mp4")  # frames of seconds 1 to 2 of a tone that swells
    assert loudness(tmp_path / "out.mp4", 0.5) == pytest.approx(0.8 * 1.5 / 3, abs=0.03)


def test_a_scene_names_a_web_address(tmp_path: Path) -> None:
    with listening() as (port, calls):
        folder = with_audio_path(tmp_path / "s", f"http://127.0.0.1:{port}/a.mp4")
        with pytest.warns(MediaWarning, match="sound left out"):
            assert load_scene(folder).video.audio_path is None
        # An attacker's film by itself, and a name that FFmpeg would take for an address.
        for name in (f"http://127.0.0.1:{port}/a.mp4", f"tcp://127.0.0.1:{port}"):
            with pytest.raises(RecamError, match="no such file"):
                open_media(Path(name))
    assert not calls


@pytest.mark.parametrize(
    "where", ["/etc/passwd", "../other.mp4", "link.mp4", "sub/../../other.mp4"]
)
def test_a_scene_names_a_file_elsewhere(tmp_path: Path, where: str) -> None:
    encode_tone(tmp_path / "other.mp4", "aac", duration_s=0.2)
    folder = with_audio_path(tmp_path / "s", where)
    (folder / "link.mp4").symlink_to(tmp_path / "other.mp4")
    with pytest.warns(MediaWarning, match="outside"):
        assert load_scene(folder).video.audio_path is None


@pytest.mark.skipif(not PIPES, reason="this system has no named pipes")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    for name, kind in (("pipe", "a pipe"), ("zero", "a device"), ("folder", "a folder")):
        path = tmp_path / f"{name}.mp4"
        for door in (require_file, read_json, open_media, lambda p: read_bytes(p, 10)):
            with pytest.raises(RecamError, match=f"{path}: is {kind}; expected a regular file"):
                door(path)
    folder = with_audio_path(tmp_path / "s", "pipe.mp4")
    os.mkfifo(folder / "pipe.mp4")
    with pytest.warns(MediaWarning, match="a pipe"):
        assert load_scene(folder).video.audio_path is None
    with VideoWriter(tmp_path / "o.mp4", audio_path=tmp_path / "pipe.mp4") as writer:
        writer.write(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert any("a pipe" in note for note in writer.notes)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation '
    'id="0" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m3u8"])
def test_a_list_of_files_called_a_film(tmp_path: Path, kind: str, suffix: str) -> None:
    secret = encode_film(tmp_path / "secret.mp4", moving_frames(3, 48, 64))
    film = tmp_path / f"film{suffix}"
    film.write_text(PLAYLISTS[kind].format(secret.name))
    for read in (probe, read_video):
        with pytest.raises(RecamError, match="film"):
            read(film)


def test_names_that_ffmpeg_would_take_for_protocols(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.mp4", "concat:a|b.mp4", "-i.mp4", "subfile,,start,0,end,9,,:x.mp4"):
        encode_film(tmp_path / "plain.mp4", moving_frames(3, 48, 64)).rename(tmp_path / name)
        with open_media(Path(name)) as container:
            assert len(list(container.decode(video=0))) == 3


def test_texts_that_end_a_parser(tmp_path: Path) -> None:
    for text, reason in (
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' + "9" * 10_000 + "}", "not a file of its kind"),
        ("{", r"line 1"),
    ):
        with pytest.raises(ValueError, match=reason):
            parse_json(text, tmp_path / "x.json")
    (tmp_path / "large.json").write_text("[" + "1," * 600_000 + "1]")
    with pytest.raises(RecamError, match="larger than 1 MB"):
        read_json(tmp_path / "large.json", 1 << 20)


@pytest.mark.parametrize("matrix", [(1, 1, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (2, 1, 1, 1)])
def test_a_rotation_tag_that_shears_is_ignored(matrix: tuple[int, int, int, int]) -> None:
    """Found by the fuzz suite: its determinant is 1 too."""
    a, b, c, d = (65536 * value for value in matrix)
    data = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    frame = SimpleNamespace(side_data={SideDataType.DISPLAYMATRIX: data})
    notes: list[str] = []
    assert _turn_of(frame, notes) == UPRIGHT and "ignored" in notes[0]
