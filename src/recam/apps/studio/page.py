"""The page: panels around a 3D view, drawn by one thread from what the session says.

Whatever happens (a control, a job, a drag) leaves a word in ``wanted``; the drawing thread takes
the words and draws the newest state, so a fast hand on a slider skips pictures and never queues
them. Two tabs show the same project; each has a 3D view of its own.
"""

from __future__ import annotations

import html
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from recam.apps.studio.guard import Guard
from recam.apps.studio.jobs import Job
from recam.apps.studio.panel_aim import AimPanel
from recam.apps.studio.panel_bring import BringPanel
from recam.apps.studio.panel_edit import EditPanel
from recam.apps.studio.panel_make import MakePanel
from recam.apps.studio.panel_monitor import MonitorPanel
from recam.apps.studio.panel_scene import ScenePanel
from recam.apps.studio.session import Session
from recam.apps.studio.shell import Shell, red, small

PANEL_WIDTH = 380
IDLE_S = 0.5
"""The drawing thread looks at least this often, for jobs and playing."""


class Page(Shell):
    """All of the page. ``close`` stops its threads."""

    def __init__(
        self, session: Session, server: Any, guard: Guard, max_upload: int, dark: bool = True
    ) -> None:
        super().__init__(session, server, guard, max_upload, dark)
        gui = server.gui
        gui.set_panel_label("recam studio")
        self.theme(dark)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(PANEL_WIDTH)
        self.status = gui.add_html("")
        self.bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self.cancel = gui.add_button("Cancel", visible=False, color="red", icon="player-stop")
        self.on(self.cancel, self.status, lambda _: session.queue.cancel())
        tabs = gui.add_tab_group()
        icon = "upload", "cube", "route", "movie", "brush"
        with tabs.add_tab("Bring", icon[0]):
            self.bring = BringPanel(self)
        with tabs.add_tab("Scene", icon[1]):
            self.look = ScenePanel(self)
        with tabs.add_tab("Aim", icon[2]):
            self.aim = AimPanel(self)
        with tabs.add_tab("Make", icon[3]):
            self.make = MakePanel(self)
        with tabs.add_tab("Edit", icon[4]):
            self.edit = EditPanel(self)
        self.monitor = MonitorPanel(self)
        server.on_client_connect(self._connected)
        session.changed = self.want
        self.threads = [
            threading.Thread(target=self._draw, daemon=True),
            threading.Thread(target=self.monitor.count_never_seen, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    # Drawing

    def _draw(self) -> None:
        failed = False
        while not self.closed:
            self.wake.wait(IDLE_S)
            with self.lock:
                words, self.wanted = self.wanted, set()
                self.wake.clear()
            try:
                self._draw_once(words)
                failed = False
            except Exception:
                traceback.print_exc()
                if not failed:  # once more: another thread may have changed what was drawn
                    self.want(*words)
                failed = True
                time.sleep(0.2)

    def _draw_once(self, words: set[str]) -> None:
        session = self.session
        if session.scene is not None and session.scene.previewer is not self.view.previewer:
            words.add("scene")
        if "project" in words:
            self.bring.refresh()
            self.edit.refresh()
        if "scene" in words:
            self._scene()
        if words & {"scene", "aim", "project"}:
            self.aim.refresh()
        if words & {"takes", "project"}:
            self.make.refresh()
        if words & {"job", "project", "scene"} or session.queue.running is not None:
            self._job()
        self.monitor.draw(words)

    def _scene(self) -> None:
        scene = self.session.scene
        self.view.root.visible = scene is not None
        self.look.refresh()
        if scene is None:
            return
        self.view.show_scene(scene.previewer)
        position, look, up = self.view.start_view()
        camera = self.server.initial_camera
        camera.position, camera.look_at, camera.up = position, look, up
        if self.session.need_project().folder != self._viewed:
            self._viewed = self.session.need_project().folder
            for client in self.server.get_clients().values():
                self.reset_view(client)

    _viewed: Path | None = None

    def _job(self) -> None:
        session = self.session
        job = session.queue.running or session.last_job
        running = job is not None and job.state in ("running", "waiting")
        self.bar.visible = self.cancel.visible = running
        self.bar.value = 100 * job.share if job is not None and running else 0.0
        self.status.content = self._status(job)
        self.make.show_progress(job)

    def _status(self, job: Job | None) -> str:
        lines = [f"<b>{html.escape(self._title())}</b>"]
        if job is not None:
            said = html.escape(job.said())
            lines.append(red(job.said()) if job.state == "failed" else said)
            lines += [f"<span style='opacity:.7'>{html.escape(n)}</span>" for n in job.notes[-2:]]
        waiting = self.session.queue.waiting
        if waiting is not None:
            lines.append(html.escape(waiting.said()))
        if self.trouble:
            lines.append(red(self.trouble))
        return small("<br>".join(lines))

    def _title(self) -> str:
        project, scene = self.session.project, self.session.scene
        if project is None:
            return "Drop a film or a picture anywhere, or open one below"
        words = {None: "not reconstructed", "draft": "draft scene", "best": "full scene"}
        which = words[scene.which if scene else None]
        return project.state.name + ("" if self.session.kind == "views" else f" · {which}")

    def _connected(self, client: Any) -> None:
        self.reset_view(client)
        client.camera.on_update(lambda _: self.monitor.canvas_resized(client))
        self.monitor.canvas_resized(client)
