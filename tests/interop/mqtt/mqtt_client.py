"""A client of paho-mqtt that waits for what it expects: packets come on a thread of paho's own, messages are taken here one by one."""

from __future__ import annotations

import os
import queue
import secrets
import threading
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5, MQTTv31, MQTTv311
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "20"))
VERSIONS = {"3.1": MQTTv31, "3.1.1": MQTTv311, "5": MQTTv5}


def new_name(prefix: str = "t") -> str:
    """A topic, or a client identifier that MQTT 3.1 allows, that nobody else uses."""
    return f"{prefix}{secrets.token_hex(8)}"


def properties(kind: int, values: dict[str, Any]) -> Properties:
    """Properties of a packet, by paho's names."""
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@dataclass(frozen=True)
class Will:
    """A will: its topic, payload and options, and properties by paho's names."""

    topic: str
    payload: bytes = b"gone"
    qos: int = 1
    retain: bool = False
    properties: dict[str, Any] | None = None


class Refused(Exception):
    """CONNACK says no; `code` is its reason code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused: {code:#x}")
        self.code = code


class Peer:
    """One connection, and what it has heard. `more`: properties of CONNECT by paho's names (MQTT 5)."""

    def __init__(
        self,
        address: tuple[str, int],
        version: str = "5",
        *,
        client_id: str | None = None,
        clean: bool = True,
        keep_alive: int = 60,
        will: Will | None = None,
        user: tuple[str, str] | None = None,
        by_hand: bool = False,
        **more: Any,
    ) -> None:
        self.version, self.is_5 = version, version == "5"
        self.client_id = new_name("c") if client_id is None else client_id
        how: dict[str, Any] = {} if self.is_5 else {"clean_session": clean}
        self.client = Client(CallbackAPIVersion.VERSION2, self.client_id, protocol=VERSIONS[version], reconnect_on_failure=False, manual_ack=by_hand, **how)
        self.messages: queue.Queue[Any] = queue.Queue()
        self.acknowledged: queue.Queue[Any] = queue.Queue()
        self.granted: queue.Queue[Any] = queue.Queue()
        self.answered: queue.Queue[Any] = queue.Queue()
        self.over = threading.Event()
        self.left_with: int | None = None
        self.markers = 0
        self.client.on_connect = lambda _client, _data, flags, code, said: self.answered.put((flags, code, said))
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = self.client.on_unsubscribe = lambda _client, _data, mid, codes, _said: self.granted.put((mid, codes))
        self.client.on_publish = lambda _client, _data, mid, code, said: self.acknowledged.put((mid, code, said))
        self.client.on_disconnect = self._on_disconnect
        if user is not None:
            self.client.username_pw_set(*user)
        if will is not None:
            given = properties(PacketTypes.WILLMESSAGE, will.properties or {}) if self.is_5 else None
            self.client.will_set(will.topic, will.payload, will.qos, will.retain, given)
        if self.is_5:
            self.client.connect(*address, keep_alive, clean_start=clean, properties=properties(PacketTypes.CONNECT, more))
        else:
            self.client.connect(*address, keep_alive)
        self.client.loop_start()
        flags, code, said = self.answered.get(timeout=DEADLINE_S)
        if code.is_failure:
            self.stop()
            raise Refused(code.value)
        self.session_present: bool = flags.session_present
        self.said: dict[str, Any] = said.json() if said is not None else {}

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, code: Any, _said: Any) -> None:
        if not self.over.is_set():  # paho calls it again when it notices that the socket is closed
            self.left_with = int(code.value) if flags.is_disconnect_packet_from_server else None
            self.over.set()

    # sending

    def subscribe(self, topic_filter: str, qos: int = 0, identifier: int | None = None, **options: Any) -> int:
        """SUBSCRIBE, and wait for SUBACK: what was granted, or the reason code. `options`: paho's of SubscribeOptions."""
        if self.is_5:
            given = properties(PacketTypes.SUBSCRIBE, {} if identifier is None else {"SubscriptionIdentifier": identifier})
            error, mid = self.client.subscribe(topic_filter, options=SubscribeOptions(qos, **options), properties=given)
        else:
            error, mid = self.client.subscribe(topic_filter, qos)
        assert error == MQTTErrorCode.MQTT_ERR_SUCCESS
        said, codes = self.granted.get(timeout=DEADLINE_S)
        assert (said, len(codes)) == (mid, 1)
        return int(codes[0].value)

    def unsubscribe(self, topic_filter: str) -> int | None:
        """UNSUBSCRIBE, and wait for UNSUBACK: the reason code; of 3.1.1 it has none."""
        _, mid = self.client.unsubscribe(topic_filter)
        said, codes = self.granted.get(timeout=DEADLINE_S)
        assert said == mid
        return int(codes[0].value) if codes else None

    def publish(self, topic: str, payload: bytes | str = b"", qos: int = 1, retain: bool = False, **more: Any) -> int:
        """PUBLISH, and wait for what answers it: the reason code, 0 for QoS 0. `more`: properties by paho's names."""
        given = properties(PacketTypes.PUBLISH, more) if more else None
        mid = self.client.publish(topic, payload, qos, retain, given).mid
        said, code, _ = self.acknowledged.get(timeout=DEADLINE_S)
        assert said == mid
        return int(code.value)

    def acknowledge(self, message: Any) -> None:
        """PUBACK or PUBREC of a message, if this is done by hand."""
        assert self.client.ack(message.mid, message.qos) == MQTTErrorCode.MQTT_ERR_SUCCESS

    # receiving

    def take(self, count: int = 1) -> list[Any]:
        """The next messages."""
        return [self.messages.get(timeout=DEADLINE_S) for _ in range(count)]

    def one(self) -> Any:
        return self.take()[0]

    def rest(self, *levels: int) -> list[Any]:
        """What is there: whatever was answered to its publisher before this is asked has come by now, of each QoS (or of those named)."""
        self.markers += 1
        text, expected = str(self.markers).encode(), set()
        for qos in levels or (0, 1):
            topic = f"marker/{self.client_id}/{qos}"
            self.subscribe(topic, qos)
            self.publish(topic, text)
            expected.add(topic)
        found = []
        while expected:
            message = self.one()
            if message.topic in expected and message.payload == text:
                expected.remove(message.topic)
            else:
                found.append(message)
        return found

    # ends

    def stop(self) -> None:
        """paho's thread ends, and so do the sockets that it keeps for itself."""
        self.client.loop_stop()
        self.client._reset_sockets()

    def wait_over(self) -> int | None:
        """Until the connection is over: the reason of the broker's DISCONNECT, None if it sent none."""
        assert self.over.wait(DEADLINE_S), "the connection goes on"
        self.stop()
        return self.left_with

    def drop(self) -> None:
        """The connection is cut, without DISCONNECT."""
        found = self.client.socket()
        assert found is not None
        found.shutdown(2)
        assert self.over.wait(DEADLINE_S)
        self.stop()

    def close(self, code: Any = None, **more: Any) -> None:
        """DISCONNECT; `more`: its properties by paho's names."""
        if not self.over.is_set():
            if self.is_5:
                self.client.disconnect(code, properties(PacketTypes.DISCONNECT, more))
            else:
                self.client.disconnect()
            assert self.over.wait(DEADLINE_S)
        self.stop()


def said_of(message: Any) -> dict[str, Any]:
    """The properties of a message, by paho's names."""
    found: dict[str, Any] = message.properties.json() if message.properties is not None else {}
    return found


def seen(messages: list[Any]) -> list[tuple[str, bytes, int, bool]]:
    """Topic, payload, QoS and RETAIN of messages."""
    return [(message.topic, bytes(message.payload), message.qos, bool(message.retain)) for message in messages]
