"""Who may talk to the page, and the few files that it may fetch.

viser serves its page and its websocket to whoever asks. Here every request is looked at first:
the Host header must name this server (another site's name that points here is refused: DNS
rebinding), a websocket's Origin must be this page, and with a token the request must carry it (a
link once, a cookie from then on). Media go by generated names that are looked up in a table: no
part of a path comes from the browser.
"""

from __future__ import annotations

import hmac
import http
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

COOKIE = "recam_token"
MAX_PART = 8 << 20
"""Bytes of a film that are sent at once; browsers ask for the next part."""
TYPES = {
    ".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg", ".json": "application/json",
    ".zip": "application/zip",
}  # fmt: skip
SHOWN = {".mp4", ".png", ".jpg"}
"""Types that a browser shows; all others are saved."""


@dataclass
class Guard:
    """What is asked of every request. token: None for a server that only this machine reaches."""

    hosts: frozenset[str]
    token: str | None = None
    script: str = ""
    """Added to the page."""
    files: dict[str, Path] = field(default_factory=dict)

    def publish(self, path: Path, name: str | None = None) -> str:
        """The address, under the page's own, at which a file can be fetched from now on.

        name: what it is called when it is saved.
        """
        key = next((k for k, p in self.files.items() if p == path), None)
        if key is None:
            key = secrets.token_urlsafe(12)
            self.files[key] = path
        stamp = int(path.stat().st_mtime) if path.exists() else 0
        return f"media/{key}/{urllib.parse.quote(name or path.name)}?{stamp}"

    def refuses(self, headers: Any, path: str) -> str | None:
        """Why a request is refused; None when it is not."""
        host = headers.get("Host", "")
        if self.hosts and _name(host) not in self.hosts:
            return f"this server does not go by the name {host!r}"
        origin = headers.get("Origin")
        if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            return "another site's page may not talk to this server"
        if self.token is None:
            return None
        for given in (_cookie(headers), _query(path).get("token", [""])[0]):
            if given and hmac.compare_digest(given.encode(), self.token.encode()):
                return None
        return "the address needs the token that recam studio printed: …/?token=…"

    def answer(self, headers: Any, path: str) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body where this server answers itself; None where viser does."""
        refused = self.refuses(headers, path)
        if refused is not None:
            return 403, {"Content-Type": "text/plain; charset=utf-8"}, refused.encode()
        if headers.get("Upgrade", "").lower() == "websocket":
            return None
        if self.token is not None and "token" in _query(path):
            cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return 303, {"Location": "./", "Set-Cookie": cookie}, b""
        parts = path.partition("?")[0].split("/")
        if len(parts) >= 3 and parts[1] == "media":
            return self._media(parts[2], headers.get("Range"))
        return None

    def _media(self, key: str, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        path = self.files.get(key)
        if path is None or not path.is_file():
            return 404, {"Content-Type": "text/plain"}, b"no such file"
        suffix = path.suffix.lower()
        kind = TYPES.get(suffix, "application/octet-stream")
        headers = {"Content-Type": kind, "X-Content-Type-Options": "nosniff"}
        if suffix not in SHOWN:
            headers["Content-Disposition"] = "attachment"
        size = path.stat().st_size
        part = _range(asked, size)
        with path.open("rb") as file:
            if part is None:
                return 200, {**headers, "Accept-Ranges": "bytes"}, file.read()
            first, last = part
            file.seek(first)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            return 206, headers, file.read(last + 1 - first)


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def _query(path: str) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(path.partition("?")[2])


def _cookie(headers: Any) -> str:
    try:
        found = SimpleCookie(headers.get("Cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _range(asked: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header that asks for one part; None = all of it."""
    if asked is None or not asked.startswith("bytes=") or "," in asked or size == 0:
        return None
    first, _, last = asked.removeprefix("bytes=").partition("-")
    try:
        if not first:
            begin, end = max(0, size - int(last)), size - 1
        else:
            begin, end = int(first), int(last) if last else size - 1
    except ValueError:
        return None
    if begin < 0 or begin >= size or end < begin:
        return None
    return begin, min(end, size - 1, begin + MAX_PART - 1)


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """While this lasts, a viser server that starts asks the guard about every request.

    viser has no such setting, so the function that it serves with is wrapped while it starts.
    """
    from viser.infra import _infra

    server: Any = _infra.websockets.asyncio.server
    serve: Callable[..., Any] = server.serve

    def serving(*args: Any, process_request: Any = None, **options: Any) -> Any:
        return serve(*args, process_request=_with_guard(guard, process_request), **options)

    server.serve = serving
    try:
        yield
    finally:
        server.serve = serve


def _with_guard(guard: Guard, inner: Any) -> Any:
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def process(connection: Any, request: Any) -> Any:
        answer = guard.answer(request.headers, request.path)
        if answer is not None:
            status, headers, body = answer
            headers = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
            phrase = http.HTTPStatus(status).phrase
            return Response(status, phrase, Headers(**headers), body)
        wants_page = request.path.partition("?")[0] in ("/", "/index.html")
        if not (guard.script and wants_page and "Upgrade" not in request.headers):
            return inner(connection, request)
        del request.headers["Accept-Encoding"]  # the page is changed, so not compressed before
        response = inner(connection, request)
        added = f"<script>{guard.script}</script></head>".encode()
        body = response.body.replace(b"</head>", added, 1)
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(body))
        response.headers["Cache-Control"] = "no-store"
        return Response(response.status_code, response.reason_phrase, response.headers, body)

    return process
