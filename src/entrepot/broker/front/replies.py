"""Replies: AMQP's direct reply-to: answers go straight to the consumer that asked for them, by a name that is no queue's.

    amq.rabbitmq.reply-to.<start of the process, in hex>.<number of the consumer>.<random>

The name says its home, and is taken apart instead of looked up: nothing of it stands in the catalogue, and no route is made or forgotten
for it. Of the default exchange everything under that prefix is a reply. What comes is settled as it is sent: an answer whose asker is
gone has nowhere to go, and one whose asker does not read waits in memory up to a limit and is dropped beyond.

A name of another process's start is that process's matter: an answer goes there, as long as there is a link with that start, and counts as taken.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from typing import Any

from entrepot.broker.calls.port import Attachment, Delivery, Publish
from entrepot.broker.catalogue.routing import REPLY_PREFIX, Router
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.owners import Owner
from entrepot.broker.subscription.consumer import Consumer

KEY_SIZE = 16  # bytes of chance that tell an asker's name from what could be guessed
WAITING_MAX_BYTES = 4 << 20  # of one asker's, while it does not read
ALL_WAITING_MAX_BYTES = 64 << 20  # of all askers'

_START = re.compile(r"[0-9a-f]{16}")
_NAME_MAX = 200  # characters; none that was given here is longer
_RUN_BYTES = 256  # what a run that waits takes besides its records, about
_WAITING_MAX = WAITING_MAX_BYTES
_ALL_WAITING_MAX = ALL_WAITING_MAX_BYTES


class Replies(Owner):
    """All of one process, and the owner that their consumers read at. `owners`: the table of its front, which knows other starts, too.

    `dropped_count`: answers that an asker did not read in time, or that another process has sent too late, or that cannot be sent to one now.
    """

    __slots__ = ("boxes", "dropped_count", "entropy", "hub", "owners", "waiting_bytes")

    def __init__(self, hub: Hub, entropy: Any, owners: Any) -> None:
        self.hub = hub
        self.entropy = entropy
        self.owners = owners
        self.boxes: dict[str, ReplyBox] = {}  # of all namespaces
        self.dropped_count = 0
        self.waiting_bytes = 0

    def open(self, router: Router, consumer_id: int) -> ReplyBox:
        """A name for the answers to a consumer of the router's namespace, and what takes them."""
        key = base64.urlsafe_b64encode(self.entropy.octets(KEY_SIZE)).rstrip(b"=").decode()
        box = ReplyBox(self, router, f"{REPLY_PREFIX}{self.owners.start_id.hex()}.{consumer_id}.{key}")
        router.replies[box.name] = self.boxes[box.name] = box
        return box

    def answer(self, router: Router, call: Publish) -> bool:
        """Publisher.publish() for an address of the default exchange that is a reply's: it is complete."""
        taker = self.taker(router, call.address[2:].decode("utf-8", "surrogateescape"))
        if taker is None:
            call.unroutable = True
        else:
            prefix = self.hub.codec(call.codec).prefix(call.address)
            taker.put(prefix + call.data, len(prefix), call.count, call.codec)
        return True

    def taker(self, router: Router, name: str) -> Any:
        """Who takes what is sent to a name in the router's namespace: a ReplyBox, a FarReplies, or None: nobody."""
        box = router.replies.get(name)
        if box is not None:
            return box
        home = self.home(name)
        return None if home is None else FarReplies(self, home, router.namespace, name)

    def home(self, name: str) -> Any:
        """The owner at home in the other process whose start a name says; None: none that is known."""
        start, point, _ = name[len(REPLY_PREFIX) :].partition(".")
        if not point or len(name) > _NAME_MAX or not _START.fullmatch(start):
            return None
        return self.owners.home_of_start(bytes.fromhex(start))

    # ---- of other processes

    def has(self, namespace: str, name: str) -> bool:
        """Whether somebody here waits for what is sent to a name."""
        box = self.boxes.get(name)
        return box is not None and box.router.namespace == namespace

    def take(self, namespace: str, name: str, codec: int, version: int, data: bytes, position: int, count: int) -> None:
        """Records of an entry that somebody in another process has sent to a name; nobody hears whether its asker is still there."""
        if self.has(namespace, name) and version == self.hub.codec(codec).version:
            self.boxes[name].put(data, position, count, codec)
        else:
            self.dropped_count += count

    # ---- see Owner: what consumers of replies may ask

    def in_form(self, tag: int, codec: int, data: bytes, position: int) -> bytes | None:
        """A whole entry of the codec `codec` as `tag` packs it; None: there is no such form of it."""
        source = self.hub.codec(codec)
        if position != source.start(data) or source.is_long(data):
            return None
        now_ms = self.hub.now_ms()
        batch = source.to_record_batch(data, 0, now_ms)
        return None if batch is None else self.hub.codec(tag).from_record_batch(batch, 0, now_ms, source.address(data))

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """Nothing: all of it is."""

    def credit(self, consumer: Consumer) -> None:
        """The asker reads again."""
        self.hub.mark_dirty(consumer.reads)

    def cancel(self, consumer: Consumer) -> None:
        """It has ended, and with it its name."""
        consumer.reads.remove_consumer(consumer)

    def end(self, consumer: Consumer) -> None:
        """It holds nothing."""
        if consumer.active:
            consumer.reads.remove_consumer(consumer)

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"replies_dropped_total": self.dropped_count, "replies_waiting_bytes": self.waiting_bytes}


class FarReplies:
    """What stands for a consumer of replies in another process, for as long as one publish takes."""

    __slots__ = ("home", "name", "namespace", "replies")

    def __init__(self, replies: Replies, home: Owner, namespace: str, name: str) -> None:
        self.replies = replies
        self.home = home
        self.namespace = namespace
        self.name = name

    def put(self, data: bytes, position: int, count: int, codec: int) -> None:
        """As ReplyBox.put(): taken, whatever becomes of it."""
        if not self.home.reply(self.namespace, self.name, codec, self.replies.hub.codec(codec).version, data, position, count):
            self.replies.dropped_count += count


class ReplyBox(LogOwner):
    """What stands in a queue's place for one consumer of replies. `name` is the routing key that leads here."""

    __slots__ = ("consumer", "name", "offset", "replies", "router", "waiting", "waiting_bytes")

    def __init__(self, replies: Replies, router: Router, name: str) -> None:
        self.dirty = False
        self.replies = replies
        self.router = router
        self.name = name
        self.consumer: Consumer | None = None  # set at once by who opens it; None again when it is gone
        self.offset = 0
        self.waiting: deque[tuple[bytes, int, int]] = deque()  # (entry, position of its records, how many)
        self.waiting_bytes = 0

    def put(self, data: bytes, position: int, count: int, codec: int) -> None:
        """The records of an entry, sent now, or when the asker reads again. What it cannot read is dropped."""
        consumer = self.consumer
        replies = self.replies
        if consumer is None:
            return
        if consumer.codec != codec:
            there = replies.in_form(consumer.codec, codec, data, position)
            if there is None:
                replies.dropped_count += count
                return
            data = there
            position = replies.hub.codec(consumer.codec).start(data)
        size = len(data) + _RUN_BYTES
        if consumer.attachment.writable and not self.waiting:
            self._send(consumer, data, position, count)
        elif self.waiting_bytes + size > _WAITING_MAX or replies.waiting_bytes + size > _ALL_WAITING_MAX:
            replies.dropped_count += count
        else:
            self.waiting.append((data, position, count))
            self.waiting_bytes += size
            replies.waiting_bytes += size

    def _send(self, consumer: Consumer, data: bytes, position: int, count: int) -> None:
        delivery = Delivery.__new__(Delivery)
        delivery.consumer_id = consumer.id
        delivery.token = consumer.token
        delivery.codec = consumer.codec
        delivery.codec_version = self.replies.hub.codec(consumer.codec).version
        delivery.data = data
        delivery.position = position
        delivery.count = count
        delivery.offset = self.offset
        delivery.deliveries = 0
        delivery.redelivered = False
        delivery.counted = False
        delivery.settled = True
        delivery.from_topic = False
        delivery.append_time_ms = 0
        self.offset += count
        self.replies.hub.delivered_count += count
        attachment: Attachment = consumer.attachment
        attachment.sink.deliver(delivery)

    # ---- what a consumer's owner does

    def dispatch(self) -> None:
        """The asker reads again: send what waits."""
        consumer = self.consumer
        while consumer is not None and self.waiting and consumer.attachment.writable:
            data, position, count = self.waiting.popleft()
            self.waiting_bytes -= len(data) + _RUN_BYTES
            self.replies.waiting_bytes -= len(data) + _RUN_BYTES
            self._send(consumer, data, position, count)

    def remove_consumer(self, consumer: Consumer) -> None:
        """The consumer has ended, and with it its name."""
        consumer.active = False
        self.consumer = None
        self.router.replies.pop(self.name, None)
        self.replies.boxes.pop(self.name, None)
        self.replies.waiting_bytes -= self.waiting_bytes
        self.waiting_bytes = 0
        self.waiting.clear()
