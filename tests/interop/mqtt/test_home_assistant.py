"""The pattern of Home Assistant's MQTT discovery: retained configurations, availability by will, birth, states and commands."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from mqtt_client import Peer, Will, new_name, seen

Connect = Callable[..., Peer]


class Device:
    """A sensor and a switch that announce themselves, and again whenever Home Assistant says that it was born."""

    def __init__(self, connect: Connect, root: str, name: str, version: str) -> None:
        self.base, self.root = f"{root}/devices/{name}", root
        self.available = f"{self.base}/available"
        self.peer = connect(version, client_id=new_name("d"), will=Will(self.available, b"offline", 1, retain=True), keep_alive=30)
        self.peer.subscribe(f"{root}/status", 1)
        self.peer.subscribe(f"{self.base}/set", 1)
        self.name = name
        self.announce()

    def announce(self) -> None:
        for component, more in (
            ("sensor", {"unit_of_measurement": "\u00b0C", "state_topic": f"{self.base}/state"}),
            ("switch", {"command_topic": f"{self.base}/set"}),
        ):
            config = {"unique_id": f"{self.name}-{component}", "availability_topic": self.available, "device": {"identifiers": [self.name]}, **more}
            self.peer.publish(f"{self.root}/{component}/{self.name}/config", json.dumps(config), 1, retain=True)
        self.peer.publish(self.available, b"online", 1, retain=True)


def configurations(messages: list[object]) -> dict[str, dict[str, object]]:
    found = {topic: json.loads(payload) for topic, payload, _, _ in seen(messages) if topic.endswith("/config")}
    return {config["unique_id"]: config for config in found.values()}


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_discovery(connect: Connect, version: str) -> None:
    root = new_name("ha")
    devices = [Device(connect, root, f"device{number}", version) for number in range(3)]

    def home() -> Peer:
        peer = connect(version, will=Will(f"{root}/status", b"offline", 1, retain=True))
        peer.subscribe(f"{root}/+/+/config", 1)
        return peer

    assistant = home()
    found = assistant.take(6)
    assert all(message.retain for message in found)
    configs = configurations(found)
    assert set(configs) == {f"device{number}-{component}" for number in range(3) for component in ("sensor", "switch")}
    for config in configs.values():
        assistant.subscribe(str(config["availability_topic"]), 1)
    assert [(message.payload, bool(message.retain)) for message in assistant.take(6)] == [(b"online", True)] * 6

    # its birth: the devices say all of it once more, which is no retained message to who is subscribed
    assistant.publish(f"{root}/status", b"online", 1, retain=True)
    for device in devices:
        assert device.peer.one().payload == b"online"
        device.announce()
    again = assistant.take(9)
    assert (set(configurations(again)), any(message.retain for message in again)) == (set(configs), False)

    # states in, commands out
    assistant.subscribe(str(configs["device1-sensor"]["state_topic"]))
    devices[1].peer.publish(f"{devices[1].base}/state", b"21.5", 0)
    assert assistant.one().payload == b"21.5"
    assistant.publish(str(configs["device2-switch"]["command_topic"]), b"ON", 1)
    assert seen([devices[2].peer.one()]) == [(f"{devices[2].base}/set", b"ON", 1, False)]

    # a device is cut off; another is taken away
    devices[0].peer.drop()
    assert seen([assistant.one()]) == [(devices[0].available, b"offline", 1, False)]
    for component in ("sensor", "switch"):
        devices[1].peer.publish(f"{root}/{component}/device1/config", b"", 1, retain=True)
    assert [message.payload for message in assistant.take(2)] == [b"", b""]
    devices[1].peer.close()

    # Home Assistant crashes and starts anew: its will tells the devices, and it finds what there is
    assistant.drop()
    assert devices[2].peer.one().payload == b"offline"
    assistant = home()
    configs = configurations(assistant.rest())
    assert set(configs) == {f"device{number}-{component}" for number in (0, 2) for component in ("sensor", "switch")}
    for number, state in ((0, b"offline"), (2, b"online")):
        assistant.subscribe(str(configs[f"device{number}-sensor"]["availability_topic"]), 1)
        assert seen([assistant.one()]) == [(devices[number].available, state, 1, True)]
    for topic in [
        f"{root}/status",
        *(device.available for device in devices),
        *(f"{root}/{part}/device{n}/config" for part in ("sensor", "switch") for n in (0, 2)),
    ]:
        assistant.publish(topic, b"", 1, retain=True)
