"""Start the studio: the server, who may reach it, and the project that it shows first."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from recam.apps.studio import facts
from recam.apps.studio.guard import Guard, guarded
from recam.apps.studio.page import Page
from recam.apps.studio.session import Session
from recam.apps.studio.uploads import MAX_UPLOAD_MB, bound_uploads
from recam.apps.studio.workspace import Workspace, default_workspace
from recam.types import RecamError, Scene

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass
class Studio:
    """A running studio. url: what to open; with a token in it where one is asked for."""

    session: Session
    page: Page
    server: Any
    url: str
    temporary: tempfile.TemporaryDirectory[str] | None = None
    """A workspace that goes with the studio."""

    def close(self) -> None:
        """Stop the jobs and the server; the workspace stays."""
        self.session.close()
        self.page.close()
        with _without_banner():
            self.server.stop()
        if self.temporary is not None:
            self.temporary.cleanup()

    def _repr_html_(self) -> str:
        """The page itself, in a notebook."""
        return f"<iframe src='{self.url}' width='100%' height='640' style='border:0'></iframe>"


def start(
    workspace: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    max_upload_mb: int = MAX_UPLOAD_MB,
) -> Studio:
    """A studio that serves from threads of its own until it is closed.

    Raises RecamError where viser is not installed, or a host other than this machine has no token.
    """
    try:
        import viser
    except ImportError as error:
        raise RecamError("the page needs viser: pip install 'recam[studio]'") from error
    if host not in LOCAL and token is None:
        raise RecamError(f"--host {host} lets others in: give a --token too, or “new” for one")
    if token == "new":
        token = secrets.token_urlsafe(18)
    if token is not None and len(token) < 8:
        raise RecamError("a token of fewer than 8 characters is guessed soon; “new” makes one")
    hosts = frozenset((*LOCAL, "[::1]", host)) if host not in ("0.0.0.0", "::") else frozenset()
    if token is None:
        hosts = frozenset((*LOCAL, "[::1]"))
    script = resources.files("recam.apps.studio").joinpath("page.js").read_text(encoding="utf-8")
    guard = Guard(hosts, token, script)
    session = Session(Workspace(workspace or default_workspace()))
    with guarded(guard), _without_banner():
        server = viser.ViserServer(host=host, port=port, verbose=False, label="recam studio")
    page = Page(session, server, guard, max_upload_mb * 1_000_000)
    bound_uploads(
        server, max_upload_mb * 1_000_000, lambda text: page.say_error(page.bring.errors, text)
    )
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host
    query = f"/?token={token}" if token else ""
    return Studio(session, page, server, f"http://{shown}:{server.get_port()}{query}")


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """viser tells of itself on stdout; the page's address is told by ``run``, token and all."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        yield


def run(
    video: Path | None,
    workspace: Path | None,
    host: str,
    port: int,
    token: str | None,
    max_upload_mb: int,
    open_browser: bool,
) -> None:
    """``recam studio``: until it is stopped."""
    studio = start(workspace, host=host, port=port, token=token, max_upload_mb=max_upload_mb)
    try:
        if video is not None:
            open_source(studio.session, video)
        else:
            studio.session.resume()
        print(studio.url, flush=True)
        print(f"workspace: {studio.session.workspace.folder}", file=sys.stderr)
        print(f"jobs: {facts.limits()}", file=sys.stderr)
        print("Ctrl-C stops it; nothing in the workspace is lost", file=sys.stderr)
        if open_browser:
            webbrowser.open(studio.url)
        threading.Thread(target=_warm_up, daemon=True).start()
        while True:
            time.sleep(3600)
    finally:
        studio.close()


def open_source(session: Session, video: Path) -> None:
    """Open a file, a folder of pictures or a scene; again, if the workspace has it already.

    Raises RecamError for what cannot be read.
    """
    if not video.exists():
        raise RecamError(f"{video}: no such file or folder")
    for identity, _ in session.workspace.recent(200):
        project = session.workspace.open_project(identity)
        if project.state.sources == (str(video.resolve()),):
            session.open_recent(identity)
            return
    session.open((video,), video.name)


def _warm_up() -> None:
    """Compile what previews need while the user still looks around."""
    import torch

    from recam.apps.studio.preview import Previewer
    from recam.configs import PathConfig
    from recam.geometry import intrinsics_from_fov
    from recam.types import Cameras, video_from_frames

    h, w, t = 24, 32, 3
    poses = torch.eye(4, dtype=torch.float64).repeat(t, 1, 1)
    poses[:, 0, 3] = torch.arange(t) * 0.1
    cameras = Cameras(poses, intrinsics_from_fov(50.0, h, w).repeat(t, 1, 1), h, w)
    frames = (torch.rand(t, 3, h, w) * 255).to(torch.uint8)
    depth = torch.full((t, h, w), 2.0)
    mask = torch.ones(t, h, w, dtype=torch.bool)
    scene = Scene(video_from_frames(frames), cameras, depth, mask, ~mask, torch.ones(t, h, w))
    previewer = Previewer(scene, 2.0)
    previewer.prepare()
    previewer.frame(previewer.path(PathConfig("orbit", yaw=10.0)), 2)


def open_viewer(
    scene: Scene | str | Path, *, workspace: str | Path | None = None, port: int = 8765
) -> Studio:
    """``recam.studio(scene)``: the studio for a scene or a file, which a notebook shows.

    scene: a ``Scene``, a film, a picture, or a folder that ``recam reconstruct`` wrote. workspace:
    where takes are kept; default: a temporary folder that goes with the studio. Close it with
    ``close()``. Raises RecamError for what cannot be read, and where viser is not installed.
    """
    temporary = None
    if workspace is None:
        temporary = tempfile.TemporaryDirectory(prefix="recam-studio-")
        workspace = temporary.name
    studio = start(Path(workspace), port=port)
    studio.temporary = temporary
    if isinstance(scene, Scene):
        studio.session.open_scene(scene)
    else:
        open_source(studio.session, Path(scene))
    return studio
