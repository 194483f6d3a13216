"""Which web pages may open a WebSocket, and which of them count as this machine's own."""

from __future__ import annotations

import pytest

from entrepot.model.errors import Refused
from entrepot.net.origins import Origins
from entrepot.net.pages import Pages

LOCAL, ELSEWHERE, NO = (True, False), (True, True), (False, True)


@pytest.mark.parametrize(
    ("origins", "origin", "host", "expected"),
    [
        ([], b"", "127.0.0.1:15674", LOCAL),
        ([], b"", "broker.example.com", LOCAL),  # no browser
        ([], b"https://evil.example.com", "127.0.0.1:15674", NO),
        ([], b"null", "127.0.0.1:15674", NO),
        ([], b"http://localhost:3000", "localhost:15674", NO),
        ([], b"http://localhost:15674", "localhost:15674", LOCAL),
        ([], b"http://127.0.0.1:15674", "127.0.0.1:15674", LOCAL),
        ([], b"http://10.0.0.7:15674", "10.0.0.7:15674", LOCAL),  # the address that it came in on
        ([], b"http://10.0.0.8:15674", "10.0.0.8:15674", ELSEWHERE),
        ([], b"http://broker.example.com:15674", "broker.example.com:15674", ELSEWHERE),  # a name may have been made to lead here
        ([], b"http://known.example.com", "known.example.com", LOCAL),
        ([], b"http://LOCALHOST", "localhost", LOCAL),
        ([], b"\xff\xfe", "localhost", NO),
        ([], b"localhost", "localhost", NO),
        (["https://app.example.com"], b"https://app.example.com", "127.0.0.1:15674", LOCAL),
        (["https://app.example.com"], b"http://app.example.com", "127.0.0.1:15674", NO),
        (["https://app.example.com"], b"https://app.example.com:8443", "127.0.0.1:15674", NO),
        (["*"], b"https://evil.example.com", "127.0.0.1:15674", ELSEWHERE),
        (["*"], b"null", "127.0.0.1:15674", ELSEWHERE),
        (["*", "https://app.example.com"], b"https://app.example.com", "127.0.0.1:15674", LOCAL),
    ],
)
def test_who_may_speak(origins: list[str], origin: bytes, host: str, expected: tuple[bool, bool]) -> None:
    pages = Pages(["known.example.com"])
    assert Origins("k", origins).may_speak(origin, host, "10.0.0.7", pages) == expected


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", ""])
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(Refused, match=r"^websocket_origins: "):
        Origins("websocket_origins", [origin])
