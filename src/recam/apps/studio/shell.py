"""What all panels share: the session, the server, how errors are said, who draws when."""

from __future__ import annotations

import html
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recam.apps.studio.guard import Guard
from recam.apps.studio.session import Session
from recam.apps.studio.uploads import keep
from recam.apps.studio.view3d import View3D
from recam.types import RecamError

BRAND = (150, 60, 190)


class Shell:
    """The page without its panels; ``page.Page`` adds those."""

    status: Any
    """HTML at the top: what is open, what runs, what went wrong."""
    monitor: Any
    make: Any
    bring: Any

    def __init__(
        self, session: Session, server: Any, guard: Guard, max_upload: int, dark: bool
    ) -> None:
        self.session, self.server, self.guard = session, server, guard
        self.max_upload, self.dark = max_upload, dark
        self.lock = threading.RLock()
        self.wanted: set[str] = {"project", "scene", "aim", "job", "takes", "frame"}
        self.wake = threading.Event()
        self.closed = False
        self.threads: list[threading.Thread] = []
        self.view = View3D(server)

    def want(self, *what: str) -> None:
        """Have something drawn again soon."""
        with self.lock:
            self.wanted.update(what)
        self.wake.set()

    def on(self, control: Any, errors: Any, act: Callable[[Any], object]) -> None:
        """Do something when the user changes a control; what the user can fix is said in
        ``errors``, an HTML element beside it."""

        def called(event: Any) -> None:
            if getattr(event, "client_id", None) is None:
                return  # set by this server, not by the user
            self.attempt(errors, lambda: act(event))

        listen = getattr(control, "on_click", None) or getattr(control, "on_update", None)
        listen = getattr(control, "on_upload", None) or listen
        listen = getattr(control, "on_trigger", None) or listen
        assert listen is not None
        listen(called)

    def attempt(self, errors: Any, act: Callable[[], Any]) -> bool:
        """Do something and say in ``errors`` what went wrong; whether it went well."""
        try:
            act()
        except (RecamError, ValueError, OSError) as error:
            self.say_error(errors, " ".join(str(error).split()))
            return False
        except Exception as error:
            traceback.print_exc()
            self.say_error(errors, f"internal error: {type(error).__name__}: {error}")
            return False
        if errors is not self.status:
            errors.content = ""
        return True

    def say_error(self, where: Any, text: str) -> None:
        """A red line."""
        if where is self.status:
            self.trouble = text
            self.want("job")
        else:
            where.content = red(text)

    trouble = ""

    def reset_view(self, client: Any) -> None:
        """A client's 3D view over the source camera's shoulder."""
        if self.view.previewer is None:
            return
        position, look, up = self.view.start_view()
        with client.atomic():
            client.camera.up_direction = up
            client.camera.position = position
            client.camera.look_at = look

    def theme(self, dark: bool) -> None:
        """Dark or light, for all tabs."""
        self.dark = dark
        self.server.gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=BRAND
        )

    def upload(self, event: Any) -> tuple[str, Path]:
        """Keep what was uploaded: its kind and its generated path."""
        file = event.target.value
        folder = self.session.workspace.folder / "uploads"
        return keep(file.content, folder, self.max_upload)

    def close(self) -> None:
        """Stop drawing."""
        self.closed = True
        self.wake.set()
        for thread in self.threads:
            thread.join(timeout=5.0)


def red(text: str) -> str:
    """An error as HTML."""
    return f"<span style='color:#e5484d'>{html.escape(text)}</span>"


def small(content: str) -> str:
    """HTML in the panels' small print."""
    return f"<div style='font-size:.85em;line-height:1.45;padding:.2em .9em .5em'>{content}</div>"


def table(rows: list[tuple[str, str]]) -> str:
    """Rows of a name and a value as HTML."""
    cells = "".join(
        f"<tr><td style='opacity:.65;padding-right:1em;white-space:nowrap'>{html.escape(n)}</td>"
        f"<td>{html.escape(v)}</td></tr>"
        for n, v in rows
    )
    return f"<table style='border-spacing:0 .1em'>{cells}</table>"
