"""The page in a real browser, the whole way: bring, aim, preview, make, save."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import studio_browser
from recam.apps.studio.launch import Studio, start
from recam.apps.studio.workspace import Workspace
from recam.media import probe, write_video
from studio_browser import Tab
from studio_scene import small_clip

ZIP = """async () => {
  const files = [new File(["one"], "1.png"), new File([new Uint8Array([0, 255])], "zwei ü.png")];
  const zip = await recamZip("frames", files);
  return [zip.name, [...new Uint8Array(await zip.arrayBuffer())]];
}"""
missing = studio_browser.missing()
in_a_browser = pytest.mark.skipif(missing is not None, reason=str(missing))
pytest.importorskip("viser", reason="viser is not installed (pip install 'recam[studio]')")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with studio_browser.browser() as found:
        yield found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    write_video(small_clip(12).video, path)
    return path


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    made = start(tmp_path / "ws", port=8790, max_upload_mb=3)
    yield made
    made.close()


def coarse(studio: Studio) -> None:
    """The geometry of what is open at a size that takes seconds."""
    project = studio.session.need_project()
    project.update(reconstruct=replace(project.state.reconstruct, size=64, depth_model="stage"))


@in_a_browser
def test_the_whole_way(chromium: Any, studio: Studio, film: Path) -> None:
    session, monitor = studio.session, studio.page.monitor
    monitor.show_view("Source")  # 3D is dear without a GPU
    tab = Tab(chromium, studio.url, calm=True)
    # Bring, and reconstruct; the page answers meanwhile.
    tab.upload(film)
    tab.says("not reconstructed")
    tab.says("144 × 96")
    coarse(studio)
    tab.choose("Scene", "draft only")
    tab.press("Reconstruct")
    tab.waits(lambda: session.queue.running is not None)
    tab.open("Scene")
    tab.says("Nothing is reconstructed yet")
    tab.waits(lambda: session.queue.running is None)
    assert session.last_job is not None and session.last_job.error == ""
    tab.says("draft scene")
    # A preset: the preview follows, and undo goes back.
    tab.open("Aim")
    tab.waits(lambda: "never seen" in monitor.caption.content)
    before = tab.picture()
    tab.set_number("Yaw °", 30)
    tab.set_number("Frame", 11)
    tab.waits(lambda: session.aim.preset.yaw == 30 and monitor.frame == 11)
    tab.waits(lambda: tab.picture() != before)
    tab.press("Undo")
    tab.waits(lambda: tab.number("Yaw °") == 20)
    tab.press("Redo")
    tab.waits(lambda: tab.number("Yaw °") == 30)
    # Three keys captured from the view.
    tab.choose("Path", "Keys")
    for frame in (0, 5, 11):
        tab.set_number("Frame", frame)
        tab.waits(lambda: monitor.frame == frame)  # noqa: B023
        tab.press("Key from this view (K)" if frame == 5 else "Key from the source camera")
        tab.waits(lambda: any(k.frame == frame for k in session.aim.keys))  # noqa: B023
    assert [k.frame for k in session.aim.keys] == [0, 5, 11]
    # Make it, and save the film.
    tab.open("Make")
    tab.choose("Model", "propagate")
    tab.press("Make it")
    tab.waits(lambda: session.queue.running is None and session.last_job.label != "Draft")  # type: ignore[union-attr]
    assert session.last_job.error == ""
    tab.waits(lambda: tab.chosen("Take") == "1 · keys")
    tab.waits(lambda: tab.page.locator("video").count() == 1)
    tab.says("Save").click()
    with tab.page.expect_download() as saved:
        tab.page.get_by_role("link", name="clip-1-result.mp4").click()
    whole = film.with_name("saved.mp4")
    saved.value.save_as(whole)
    assert probe(whole).num_frames == 12
    # Reloading keeps everything; another tab shows the same.
    tab.page.reload()
    tab.says("draft scene")
    tab.open("Aim")
    tab.waits(lambda: tab.chosen("Path") == "Keys")
    other = Tab(chromium, studio.url, calm=True)
    other.open("Aim")
    other.choose("Path", "Preset")
    tab.waits(lambda: tab.chosen("Path") == "Preset")
    tab.set_number("Yaw °", 11)
    other.waits(lambda: other.number("Yaw °") == 11)
    assert tab.errors == other.errors == []
    other.close()
    tab.close()


@in_a_browser
def test_bad_uploads_and_cancel(chromium: Any, studio: Studio, film: Path, tmp_path: Path) -> None:
    text, large = tmp_path / "notes.mp4", tmp_path / "large.mp4"
    text.write_bytes(b"\x00\x01 not a film")
    large.write_bytes(bytes(4_000_000))
    uploads = studio.session.workspace.folder / "uploads"
    tab = Tab(chromium, studio.url, calm=True)
    name, zipped = tab.page.evaluate(ZIP)  # what a dropped folder goes as
    with zipfile.ZipFile(io.BytesIO(bytes(zipped))) as archive:
        assert archive.testzip() is None and archive.namelist() == ["1.png", "zwei ü.png"]
        assert name == "frames.zip" and archive.read("zwei ü.png") == b"\x00\xff"
    tab.upload(text)
    tab.says("neither a film")
    tab.upload(large)
    tab.says("at most 3 MB")
    assert not list(uploads.iterdir())
    tab.upload(film)
    tab.says("not reconstructed")
    assert [p.suffix for p in uploads.iterdir()] == [".mp4"]
    tab.press("Reconstruct")
    tab.waits(lambda: studio.session.queue.running is not None)
    tab.press("Cancel")
    tab.waits(lambda: studio.session.queue.running is None)
    tab.says("Draft: cancelled")
    tab.close()
    again = Workspace(studio.session.workspace.folder).last()  # what a new server would open
    assert again is not None and again.state.name == "clip.mp4"


def test_another_site_is_refused(studio: Studio) -> None:
    request = urllib.request.Request(studio.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
    with urllib.request.urlopen(studio.url) as page:
        assert b"dragover" in page.read()
