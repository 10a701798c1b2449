"""Who may talk to the studio, and what it may fetch."""

from pathlib import Path

import pytest

from recam.apps.studio.guard import COOKIE, MAX_PART, Guard

LOCAL = Guard(frozenset({"127.0.0.1", "localhost"}))
CLOSED = Guard(frozenset({"box.lan"}), token="t0ken-t0ken")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "127.0.0.1:8765"}, True),
        ({"Host": "localhost:8765", "Origin": "http://localhost:8765"}, True),
        ({"Host": "evil.example:8765"}, False),  # DNS rebinding
        ({"Host": "127.0.0.1:8765", "Origin": "http://evil.example"}, False),  # another site
        ({"Host": "127.0.0.1:8765", "Origin": "null"}, False),
        ({"Host": "127.0.0.1:8765", "Origin": "http://127.0.0.1:9999"}, False),
        ({}, False),
    ],
)
def test_only_this_page_may_talk_to_this_server(headers: dict[str, str], allowed: bool) -> None:
    assert (LOCAL.refuses(headers, "/") is None) == allowed
    answer = LOCAL.answer({**headers, "Upgrade": "websocket"}, "/")
    assert (answer is None) == allowed and (allowed or answer[0] == 403)  # type: ignore[index]


def test_a_token_is_asked_for_once() -> None:
    host = {"Host": "box.lan:8765"}
    assert CLOSED.answer(host, "/")[0] == 403  # type: ignore[index]
    assert CLOSED.answer(host, "/?token=wrong")[0] == 403  # type: ignore[index]
    assert CLOSED.answer({**host, "Upgrade": "websocket"}, "/")[0] == 403  # type: ignore[index]
    status, headers, _ = CLOSED.answer(host, "/?token=t0ken-t0ken")  # type: ignore[misc]
    assert status == 303 and headers["Location"] == "./"
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    with_cookie = {**host, "Cookie": cookie.partition(";")[0]}
    assert CLOSED.answer(with_cookie, "/") is None
    assert CLOSED.answer({**with_cookie, "Upgrade": "websocket"}, "/") is None
    assert CLOSED.answer({**host, "Cookie": f"{COOKIE}=wrong"}, "/")[0] == 403  # type: ignore[index]


def test_only_published_files_are_fetched(tmp_path: Path) -> None:
    film, secret = tmp_path / "result.mp4", tmp_path / "secret.txt"
    film.write_bytes(bytes(range(200)))
    secret.write_text("secret")
    host = {"Host": "127.0.0.1:1"}
    address = "/" + LOCAL.publish(film)
    assert LOCAL.publish(film) == address[1:]
    status, headers, body = LOCAL.answer(host, address)  # type: ignore[misc]
    assert (status, headers["Content-Type"], len(body)) == (200, "video/mp4", 200)
    key = address.split("/")[2]
    for path in (
        "/media/x/result.mp4", f"/media/{key}x/result.mp4", "/media/../secret.txt",
        f"/media/{tmp_path}/secret.txt", "/media//etc/passwd",
    ):  # fmt: skip
        assert LOCAL.answer(host, path)[0] == 404  # type: ignore[index]
    # What comes after the key is only the name to save it under.
    assert LOCAL.answer(host, f"/media/{key}/../../secret.txt")[2] == body  # type: ignore[index]
    film.unlink()
    assert LOCAL.answer(host, address)[0] == 404  # type: ignore[index]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", (0, 9)), ("bytes=190-", (190, 199)), ("bytes=-5", (195, 199)),
        ("bytes=0-999", (0, 199)), ("bytes=200-", None), ("bytes=9-3", None),
        ("bytes=a-b", None), ("bytes=0-1,5-6", None), ("lines=0-1", None),
    ],
)  # fmt: skip
def test_parts_of_a_film(asked: str, part: tuple[int, int] | None, tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(bytes(range(200)))
    address = "/" + LOCAL.publish(film)
    status, headers, body = LOCAL.answer({"Host": "localhost", "Range": asked}, address)  # type: ignore[misc]
    if part is None:
        assert status == 200 and len(body) == 200
    else:
        assert status == 206 and body == bytes(range(part[0], part[1] + 1))
        assert headers["Content-Range"] == f"bytes {part[0]}-{part[1]}/200"
    assert MAX_PART > 0
