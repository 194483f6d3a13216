"""`$SYS`: figures of the process, for who may see them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mqtt_bench import VERSIONS, Bench, Client
from mqtt_wire import listed, subscribe, unsubscribe

from entrepot.protocols.mqtt.connecting import Settings


class Figures:
    def __init__(self) -> None:
        self.count = 1

    def __call__(self) -> dict[bytes, bytes]:
        return {b"$SYS/broker/version": b"v", b"$SYS/broker/clients/connected": b"%d" % self.count}


@pytest.fixture
def figures() -> Figures:
    return Figures()


def watcher(figures: Figures, version: int = 5, tag: str = "monitoring", **how: object) -> Client:
    client = Bench().connected("c", version, Settings(figures=figures), **how)
    client.session.principal = replace(client.session.principal, tags=frozenset({tag}))
    return client


def heard(client: Client) -> list[tuple[bytes, bytes, bool]]:
    return [(one[1]["topic"], one[1]["payload"], one[1]["retain"]) for one in client.hear() if one[0] == "PUBLISH"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_figures(figures: Figures, version: int, qos: int) -> None:
    client = watcher(figures, version)
    client.feed(subscribe(1, (b"$SYS/broker/#", qos), properties=b"\0" if version == 5 else b""))
    assert heard(client) == [(b"$SYS/broker/version", b"v", True), (b"$SYS/broker/clients/connected", b"1", True)]
    figures.count = 2
    client.session.deadline_reached(20.0)
    assert heard(client) == [(b"$SYS/broker/clients/connected", b"2", False)]
    figures.count = 3
    client.session.deadline_reached(25.0)
    assert heard(client) == []
    client.session.deadline_reached(30.5)
    assert heard(client) == [(b"$SYS/broker/clients/connected", b"3", False)]
    client.feed(unsubscribe(2, b"$SYS/broker/#", properties=b"\0" if version == 5 else b""))
    client.hear()
    figures.count = 4
    client.session.deadline_reached(50.0)
    assert heard(client) == []
    assert not client.session.watches_system


def test_a_filter_s_own(figures: Figures) -> None:
    client = watcher(figures)
    client.feed(subscribe(1, (b"$SYS/+/version", 0), (b"#", 0), properties=listed(b"\x0b\x05")))
    ((_, message),) = [one for one in client.hear() if one[0] == "PUBLISH"]
    assert (message["topic"], message["properties"]) == (b"$SYS/broker/version", b"\x0b\x05")


def test_not_for_everybody(figures: Figures) -> None:
    client = watcher(figures, tag="")
    client.feed(subscribe(1, (b"$SYS/#", 0), properties=b"\0"))
    assert client.hear() == [("SUBACK", 1, [0])]
    client.session.deadline_reached(20.0)
    assert client.hear() == []
