"""A client of stomp.py that waits for what it expects: frames come on a thread of stomp.py's own, and are taken here one by one."""

from __future__ import annotations

import os
import queue
import secrets
import time
from typing import Any

import stomp

DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "20"))
CONNECTIONS = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}


def new_name(prefix: str = "q") -> str:
    return f"stomp.{prefix}.{secrets.token_hex(6)}"


class Peer(stomp.ConnectionListener):  # type: ignore[misc]
    """One connection, and what it has heard."""

    def __init__(self, address: tuple[str, int], host: str, version: str = "1.2", headers: dict[str, str] | None = None, **how: Any) -> None:
        self.version = version
        self.messages: queue.Queue[Any] = queue.Queue()
        self.receipts: list[str] = []
        self.errors: queue.Queue[Any] = queue.Queue()
        self.ended = False
        self.receipt = 0
        if version != "1.0":
            how["vhost"] = host
        self.connection = CONNECTIONS[version]([address], reconnect_attempts_max=1, auto_decode=how.pop("auto_decode", True), **how)
        self.connection.set_listener("", self)
        self.connection.connect("guest", "guest", wait=True, headers={"host": host, **(headers or {})})

    # what stomp.py calls

    def on_message(self, frame: Any) -> None:
        self.messages.put(frame)

    def on_receipt(self, frame: Any) -> None:
        self.receipts.append(frame.headers["receipt-id"])

    def on_error(self, frame: Any) -> None:
        self.errors.put(frame)

    def on_disconnected(self) -> None:
        self.ended = True

    # what tests call

    def new_receipt(self) -> str:
        self.receipt += 1
        return f"receipt-{self.receipt}"

    def await_receipt(self, receipt: str) -> None:
        self.wait(lambda: receipt in self.receipts or not self.errors.empty(), f"the receipt {receipt}")
        assert self.errors.empty(), self.errors.get().body

    def wait(self, condition: Any, what: str = "") -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < give_up, f"not within {DEADLINE_S} s: {what or condition}"
            time.sleep(0.005)

    def send(self, destination: str, body: Any = "", headers: dict[str, str] | None = None, **more: Any) -> None:
        """SEND, and wait until it is durable."""
        receipt = self.new_receipt()
        self.connection.send(destination, body, headers={"receipt": receipt, **(headers or {})}, **more)
        self.await_receipt(receipt)

    def subscribe(self, destination: str, key: str = "1", ack: str = "auto", headers: dict[str, str] | None = None) -> None:
        """SUBSCRIBE, and wait until it is done."""
        receipt = self.new_receipt()
        arguments = {"ack": ack, "headers": {"receipt": receipt, **(headers or {})}}
        if self.version == "1.0":
            self.connection.subscribe(destination, **arguments)
        else:
            self.connection.subscribe(destination, key, **arguments)
        self.await_receipt(receipt)

    def unsubscribe(self, key: str = "1", destination: str = "", headers: dict[str, str] | None = None) -> None:
        receipt = self.new_receipt()
        if self.version == "1.0":
            self.connection.unsubscribe(destination, headers={"receipt": receipt, **(headers or {})})
        else:
            self.connection.unsubscribe(key, headers={"receipt": receipt, **(headers or {})})
        self.await_receipt(receipt)

    def ack(self, frame: Any, key: str = "1", negative: bool = False, **more: Any) -> None:
        """ACK or NACK of a message."""
        act = self.connection.nack if negative else self.connection.ack
        if self.version == "1.2":
            act(frame.headers["ack"], **more)
        elif self.version == "1.1":
            act(frame.headers["message-id"], key, **more)
        else:
            act(frame.headers["message-id"], **more)

    def settle(self, frame: Any, **how: Any) -> None:
        """ACK or NACK, and wait until that is durable."""
        receipt = self.new_receipt()
        self.ack(frame, receipt=receipt, **how)
        self.await_receipt(receipt)

    def take(self, count: int = 1) -> list[Any]:
        """The next messages."""
        return [self.messages.get(timeout=DEADLINE_S) for _ in range(count)]

    def none(self) -> bool:
        """Whether nothing is there: whatever was sent before this is asked has come by now."""
        receipt = self.new_receipt()
        self.connection.begin(transaction=receipt, headers={"receipt": receipt})
        self.await_receipt(receipt)
        return self.messages.empty()

    def error(self) -> Any:
        """The ERROR that ends the connection."""
        found = self.errors.get(timeout=DEADLINE_S)
        self.wait(lambda: self.ended, "the end of the connection")
        return found

    def close(self) -> None:
        if self.connection.is_connected():
            receipt = self.new_receipt()
            self.connection.disconnect(receipt=receipt)
        self.wait(lambda: not self.connection.is_connected(), "the end of the connection")
