"""Clients of paho-mqtt with sessions that are kept, beside crashes: they connect again by themselves, and send again what was not answered."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5, MQTTv311
from paho.mqtt.enums import MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "20")) * 3
WINDOW = 40
FOREVER_S = 0xFFFFFFFF
FORGOTTEN = 0x92  # "no error during recovery" (2.4): of a PUBREL that is sent again, whose identifier was released before


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Looks again and again, for a bounded time."""
    give_up, paused = time.monotonic() + DEADLINE_S, threading.Event()
    while not condition():
        assert time.monotonic() < give_up, f"not within {DEADLINE_S} s: {what}"
        paused.wait(0.01)


class Persistent(Client):
    """Which sends PUBREL again where that is due, however often it has tried to connect meanwhile.

    paho (2.1) publishes such a message again if its first attempt to connect fails, as new to the broker as any: that is twice, and forbidden (4.3.3).
    """

    def _messages_reconnect_reset_out(self) -> None:
        due = [message for message in self._out_messages.values() if message.state == MessageState.MQTT_MS_RESEND_PUBREL]
        super()._messages_reconnect_reset_out()
        for message in due:
            message.state = MessageState.MQTT_MS_RESEND_PUBREL


class Peer:
    """One client, which is there until end(), whatever becomes of its connections. `is_kept`: of version 5, else it is."""

    def __init__(self, port: int, name: str, version: int = MQTTv311, is_kept: bool = True) -> None:
        self.name = name
        is_5 = version == MQTTv5
        self.client = Persistent(CallbackAPIVersion.VERSION2, name, protocol=version, **({} if is_5 else {"clean_session": False}))  # type: ignore[arg-type]
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.on_connect = self._connected
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = FOREVER_S if is_kept else 0
        self.greeted = threading.Event()
        self.refusals: list[str] = []
        self.client.connect("127.0.0.1", port, **({"clean_start": False, "properties": expiry} if is_5 else {}))  # type: ignore[arg-type]
        self.client.loop_start()
        assert self.greeted.wait(DEADLINE_S), f"{name} is not let in"

    def _connected(self, client: object, userdata: object, flags: object, reason: object, properties: object) -> None:
        if getattr(reason, "is_failure", False):
            self.refusals.append(str(reason))
        self.greeted.set()

    def cut(self) -> None:
        """Its connection is gone all of a sudden."""
        at = self.client.socket()
        if at is not None:
            with contextlib.suppress(OSError):
                at.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """DISCONNECT."""
        assert not self.refusals, self.refusals
        self.client.disconnect()
        self.client.loop_stop()


class Publisher(Peer):
    """Publishes 0, 1, 2 … to its topic; `acknowledged`: how many of them were, from the first on."""

    def __init__(self, port: int, name: str, qos: int, version: int = MQTTv311, retain: bool = False) -> None:
        self.qos = qos
        self.retain = retain
        self.sent = 0
        self.acknowledged = 0
        self.failures: list[str] = []
        self._answers: queue.Queue[int] = queue.Queue()
        self._out: dict[int, int] = {}  # identifier -> number
        self._done: set[int] = set()
        self._stop = threading.Event()
        super().__init__(port, name, version)
        self.client.on_publish = self._answered
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _answered(self, client: object, userdata: object, mid: int, reason: object, properties: object) -> None:
        if getattr(reason, "is_failure", False) and reason.value != FORGOTTEN:  # type: ignore[attr-defined]
            self.failures.append(str(reason))
        self._answers.put(mid)

    def _run(self) -> None:
        while not self._stop.is_set() or self._out:
            if len(self._out) < WINDOW and not self._stop.is_set():
                number = self.sent
                self.sent = number + 1
                self._out[self.client.publish(f"crash/{self.name}", b"%d" % number, self.qos, self.retain).mid] = number
                if self._answers.empty():
                    continue
            with contextlib.suppress(queue.Empty):
                self._done.add(self._out.pop(self._answers.get(timeout=1)))
                while self.acknowledged in self._done:
                    self._done.remove(self.acknowledged)
                    self.acknowledged += 1

    def stop(self) -> None:
        """No more; and all of it is answered."""
        self._stop.set()
        wait_until(lambda: not self._out, f"{self.name} hears of {len(self._out)} messages")
        self._thread.join()
        assert not self.failures, self.failures[:5]
        assert self.acknowledged == self.sent


class Subscriber(Peer):
    """What it has heard, by publisher."""

    def __init__(self, port: int, name: str, qos: int, version: int = MQTTv311, is_kept: bool = True) -> None:
        self.qos = qos
        self.heard: dict[str, list[int]] = {}
        super().__init__(port, name, version, is_kept)
        self.client.on_message = self._message
        granted = threading.Event()
        self.client.on_subscribe = lambda *_: granted.set()
        self.client.subscribe("crash/#", qos)
        assert granted.wait(DEADLINE_S), f"{name} is not subscribed"

    def _message(self, client: object, userdata: object, message: object) -> None:
        self.heard.setdefault(message.topic.rpartition("/")[2], []).append(int(message.payload))  # type: ignore[attr-defined]

    def has_all(self, publisher: Publisher) -> bool:
        """Whether it has heard of the last one."""
        return bool(self.heard.get(publisher.name)) and max(self.heard[publisher.name][-WINDOW * 4 :]) == publisher.sent - 1

    def check(self, publisher: Publisher) -> None:
        """Each of its messages, in their order; once, if it is QoS 2 all the way."""
        heard = self.heard[publisher.name]
        first = list(dict.fromkeys(heard))
        lost = sorted(set(range(publisher.sent)) - set(first))
        assert not lost, f"{self.name} has not heard {len(lost)} of {publisher.sent} of {publisher.name}, such as {lost[:5]}"
        assert first == list(range(publisher.sent)), f"{self.name} heard {publisher.name} out of order"
        if self.qos == publisher.qos == 2:
            assert len(heard) == len(first), f"{self.name} heard {len(heard) - len(first)} messages of {publisher.name} again"
