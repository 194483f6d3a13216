"""pika's SelectConnection: everything in callbacks, nothing waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
from harness import DEADLINE_S

COUNT = 500


class Conversation:
    """Declares, publishes COUNT messages without waiting, consumes them with a prefetch, acknowledges every tenth with `multiple`."""

    def __init__(self, url: str, queue: str) -> None:
        self.queue = queue
        self.received: list[bytes] = []
        self.confirmed = 0
        self.finished = False
        self.error: BaseException | None = None
        self.channel: Any = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_open_error_callback=self.on_failure,
            on_close_callback=lambda connection, reason: connection.ioloop.stop(),
        )

    def run(self) -> None:
        self.connection.ioloop.call_later(DEADLINE_S, self.connection.ioloop.stop)
        self.connection.ioloop.start()

    def on_failure(self, connection: Any, error: BaseException) -> None:
        self.error = error
        connection.ioloop.stop()

    def on_channel(self, channel: Any) -> None:
        self.channel = channel
        channel.confirm_delivery(self.on_confirm)
        channel.queue_declare(self.queue, durable=True, callback=self.on_declared)

    def on_declared(self, _: Any) -> None:
        for number in range(COUNT):
            self.channel.basic_publish("", self.queue, b"%d" % number)
        self.channel.basic_qos(prefetch_count=25, callback=lambda _: self.channel.basic_consume(self.queue, self.on_message))

    def on_confirm(self, frame: Any) -> None:
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        self.confirmed = max(self.confirmed, frame.method.delivery_tag)
        self.maybe_finish()

    def on_message(self, channel: Any, method: Any, _: Any, body: bytes) -> None:
        self.received.append(body)
        if method.delivery_tag % 10 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        self.maybe_finish()

    def maybe_finish(self) -> None:
        if len(self.received) == COUNT and self.confirmed == COUNT and not self.finished:
            self.finished = True
            self.connection.close()


def test_select_connection(amqp_url: str, name: Callable[..., str]) -> None:
    conversation = Conversation(amqp_url, name())
    conversation.run()
    assert conversation.error is None
    assert conversation.finished
    assert conversation.received == [b"%d" % number for number in range(COUNT)]


def test_refused_in_a_callback(amqp_url: str) -> None:
    reasons: list[Any] = []

    def on_channel(channel: Any) -> None:
        channel.add_on_close_callback(lambda _, reason: (reasons.append(reason), connection.close()))
        channel.queue_declare("interop.nowhere", passive=True)

    connection = pika.SelectConnection(
        pika.URLParameters(amqp_url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel),
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )
    connection.ioloop.call_later(DEADLINE_S, connection.ioloop.stop)
    connection.ioloop.start()
    assert [reason.reply_code for reason in reasons] == [404]
