"""The page in a real browser, the whole way: bring, aim, preview, make, save."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import studio_browser
from recam.apps.studio.launch import Studio, start
from recam.apps.studio.workspace import Workspace
from recam.media import probe, write_video
from recam.reconstruct import save_scene
from studio_browser import Tab
from studio_scene import small_clip

pytestmark = [
    pytest.mark.skipif(studio_browser.missing() is not None, reason=str(studio_browser.missing())),
    pytest.mark.skipif(
        not os.environ.get("RECAM_BROWSER"), reason="minutes in a browser: RECAM_BROWSER=1 runs it"
    ),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with studio_browser.browser() as found:
        yield found


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = start(tmp_path / "ws", port=8790, max_upload_mb=3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    save_scene(small_clip(), folder)
    return folder


def test_aim_preview_make_save(chromium: Any, studio: Studio, scene_folder: Path) -> None:
    studio.session.open((scene_folder,), "clip")
    tab = Tab(chromium, studio.url)
    tab.says("full scene")
    tab.says("0.0% never seen")
    # A preset: the preview follows, and undo goes back.
    tab.open("Aim")
    before = tab.picture()
    tab.set_number("Yaw °", 30)
    tab.set_number("Frame", 7)
    tab.waits(lambda: studio.session.aim.preset.yaw == 30)
    tab.waits(lambda: tab.picture() != before)
    tab.waits(lambda: tab.page.get_by_text("0.0% never seen").count() == 0)
    tab.press("Undo")
    tab.waits(lambda: tab.number("Yaw °") == 20)
    tab.press("Redo")
    tab.waits(lambda: tab.number("Yaw °") == 30)
    # Three keys captured from the view.
    tab.choose("Path", "Keys")
    for frame in (0, 3, 7):
        tab.set_number("Frame", frame)
        tab.waits(lambda frame=frame: studio.page.monitor.frame == frame)  # type: ignore[misc]
        tab.press("Key from the source camera" if frame == 0 else "Key from this view (K)")
        tab.waits(lambda frame=frame: any(k.frame == frame for k in studio.session.aim.keys))  # type: ignore[misc]
    assert [k.frame for k in studio.session.aim.keys] == [0, 3, 7]
    # Make it, and save the film.
    tab.open("Make")
    tab.choose("Model", "propagate")
    tab.press("Make it")
    tab.waits(lambda: bool(studio.session.need_project().state.takes))
    tab.waits(lambda: tab.chosen("Take") == "1 · keys")
    tab.waits(lambda: tab.page.locator("video").count() == 1)
    tab.says("Save").click()
    with tab.page.expect_download() as saved:
        tab.page.get_by_role("link", name="clip-1-result.mp4").click()
    film = Path(saved.value.path())
    whole = film.with_suffix(".mp4")
    film.rename(whole)
    assert probe(whole).num_frames == 8
    # Reloading keeps everything; another tab shows the same.
    tab.page.reload()
    tab.says("full scene")
    tab.open("Aim")
    tab.waits(lambda: tab.chosen("Path") == "Keys")
    other = Tab(chromium, studio.url)
    other.open("Aim")
    other.choose("Path", "Preset")
    tab.waits(lambda: tab.chosen("Path") == "Preset")
    tab.set_number("Yaw °", 11)
    other.waits(lambda: other.number("Yaw °") == 11)
    other.close()
    assert tab.errors == []
    tab.close()


def test_bad_uploads_and_cancel(chromium: Any, studio: Studio, tmp_path: Path) -> None:
    text, large, film = tmp_path / "notes.mp4", tmp_path / "large.mp4", tmp_path / "good.mp4"
    text.write_bytes(b"\x00\x01 not a film")
    large.write_bytes(bytes(4_000_000))
    write_video(small_clip().video, film)
    tab = Tab(chromium, studio.url)
    tab.upload(text)
    tab.says("neither a film")
    tab.upload(large)
    tab.says("at most 3 MB")
    assert not list((studio.session.workspace.folder / "uploads").iterdir())
    tab.upload(film)
    tab.says("not reconstructed")
    tab.says("144 × 96")
    assert [p.suffix for p in (studio.session.workspace.folder / "uploads").iterdir()] == [".mp4"]
    tab.press("Reconstruct")
    tab.waits(lambda: studio.session.queue.running is not None)
    clock = time.perf_counter()  # the page answers while the job runs
    tab.open("Scene")
    tab.says("Nothing is reconstructed yet")
    assert time.perf_counter() - clock < 60
    tab.press("Cancel")
    tab.waits(lambda: studio.session.queue.running is None)
    tab.says("Draft: cancelled")
    tab.close()
    again = Workspace(studio.session.workspace.folder).last()  # what a new server would open
    assert again is not None and again.state.name == "good.mp4"


def test_another_site_is_refused(studio: Studio) -> None:
    request = urllib.request.Request(studio.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
    with urllib.request.urlopen(studio.url) as page:
        assert b"dragover" in page.read()
