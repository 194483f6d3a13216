from __future__ import annotations

import pytest

from entrepot.model.errors import Refused
from entrepot.net.pages import Pages

OURS = [
    *(
        "127.0.0.1",
        "127.0.0.1:9324",
        "127.3.2.1:9324",
        "[::1]:9324",
        "[::1]",
        "[::ffff:127.0.0.1]:1",
        "localhost",
        "LocalHost:9324",
        "localhost.",
        "q.localhost:1",
    ),
    *("10.0.0.5:9324", "[::ffff:10.0.0.5]:9324"),  # the address that the connection came in on
    *("broker", "BROKER:9324", "broker.:9324", "entrepot.example.com:443", "192.0.2.7:80", "[2001:db8::7]"),  # given
]
OTHERS = [
    *("", " ", "evil.test", "evil.test:9324", "localhost.evil.test", "evil-localhost", "evillocalhost", "127.0.0.1.evil.test", "x.broker", "broker.evil.test"),
    *("10.0.0.6:9324", "0.0.0.0:9324", "[::]:9324", "[2001:db8::8]", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"),
    *(
        "localhost@evil.test",
        "evil.test#localhost",
        "localhost:x",
        "localhost,evil.test",
        "localhost evil.test",
        "evil.test/localhost",
        "localhost\n",
        "[::1",
        "::1",
    ),
    *("\uff4cocalhost", "\u017f", "localhost:999999"),
]


@pytest.fixture
def pages() -> Pages:
    return Pages(["broker", "Entrepot.Example.com", "192.0.2.7", "[2001:db8::7]"])


@pytest.mark.parametrize("host", OURS)
def test_hosts_that_no_page_can_have(pages: Pages, host: str) -> None:
    assert pages.why_not(host, "10.0.0.5") is None


@pytest.mark.parametrize("host", OTHERS)
def test_hosts_that_a_page_can_have(pages: Pages, host: str) -> None:
    why = pages.why_not(host, "10.0.0.5")
    assert why is not None
    assert "http_hosts" in why


def test_a_wildcard_s_address_is_nobody_s() -> None:
    for local in ("", "127.0.0.1", "::1"):
        assert Pages().why_not("10.0.0.5", local) is not None


def test_pages_and_browsers(pages: Pages) -> None:
    assert pages.why_not("localhost", "127.0.0.1", from_page=True) is not None
    assert pages.why_not("localhost", "127.0.0.1", from_browser=True) is None
    assert pages.why_not("localhost", "127.0.0.1", from_browser=True, reads=False) is not None
    assert pages.why_not("localhost", "127.0.0.1", reads=False) is None


@pytest.mark.parametrize("name", ["", "broker:9324", "http://broker", "*", "a b"])
def test_what_is_no_host(name: str) -> None:
    with pytest.raises(Refused, match="http_hosts"):
        Pages([name])
