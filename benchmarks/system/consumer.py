"""A consuming connection: checks every delivery, acknowledges, and measures its age.

Whatever is the same in all deliveries of one queue (method frame but for the tag, content header, frame heads, filler) is compared
with a delivery that was checked octet by octet before; only what differs is looked at one by one.
"""

from __future__ import annotations

from array import array

import cython

from benchmarks.system.connection import Connection
from benchmarks.system.latency import Histogram
from benchmarks.system.ledger import Ledger
from benchmarks.system.tally import Tally

if not cython.compiled:
    from benchmarks.system.kernel import get_u64_le_ba, now_ns, same
    from entrepot.model.octets import copy, copy_ba, get_u16_be_ba, get_u64_be_ba, put_u64_be, take_ba

_ACK = bytes.fromhex("0100010000000d003c0050000000000000000000ce")
_ACKS_SIZE = 131_072
_PUBLISHERS = 16384


class Consumer(Connection):
    """Takes deliveries of bodies of `filler`'s size, whose octets from 16 on are filler's.

    `ack_every`: acknowledges each so many (multiple over 1); 0: never. `auto_ack`: the broker expects none.
    """

    def __init__(
        self, fd: int, tally: Tally, poller: object, frame_max: int, *,
        filler: bytes, ledger: Ledger, ack_every: int, auto_ack: bool, end_to_end: Histogram,
    ) -> None:  # fmt: skip
        Connection.__init__(self, fd, tally, poller, frame_max)
        self.outbox = bytearray(_ACKS_SIZE)
        self.ack = _ACK
        self.filler = filler
        self.size = len(filler)
        self.ledger = ledger
        self.latency = end_to_end
        self.ack_every = 0 if auto_ack else ack_every
        self.since_ack = 0
        self.last_tag = 0
        self.expected = memoryview(array("Q", bytes(8 * _PUBLISHERS)))
        # a delivery that was checked in full: bytes, and where its tag and its body are
        self.template = b""
        self.stride = 0
        self.tag_at = 0
        self.head_at = 0
        # the delivery under way, frame by frame; start: -1 once its beginning has left the inbox
        self.state = 0  # 0 nothing, 1 method seen, 2 header seen
        self.start = -1
        self.tag_at_now = 0
        self.tag = 0
        self.body_size = 0
        self.redelivered = False
        self.body_at = 0
        self.body_seen = 0
        self.body_damaged = False
        self.head = 0
        self.stamp = 0
        self.now = 0
        # the run under way: neighbouring numbers of one publisher with one time
        self.run = 0
        self.run_head = 0
        self.run_ns = 0

    def consume(self, end: int) -> int:
        pos = 0
        self.now = now_ns()
        inbox = self.inbox
        template = self.template
        while True:
            stride = self.stride
            if (
                stride
                and self.state == 0
                and end - pos >= stride
                and same(inbox, pos, template, 0, self.tag_at)
                and same(inbox, pos + self.tag_at + 8, template, self.tag_at + 8, self.head_at - self.tag_at - 8)
                and same(inbox, pos + self.head_at + 16, template, self.head_at + 16, stride - self.head_at - 16)
            ):
                tag = get_u64_be_ba(inbox, pos + self.tag_at)
                head = get_u64_le_ba(inbox, pos + self.head_at)
                stamp = get_u64_le_ba(inbox, pos + self.head_at + 8)
                if tag != self.last_tag + 1:
                    self.tally.wrong_tags += 1
                self.last_tag = tag
                if head == self.run_head + self.run and stamp == self.run_ns and self.run:
                    self.run += 1
                else:
                    self._end_run()
                    self.run_head = head
                    self.run_ns = stamp
                    self.run = 1
                self.since_ack += 1
                if self.since_ack == self.ack_every:
                    self._acknowledge()
                pos += stride
            else:
                step = self.frame(pos, end)
                if step == 0:
                    break
                pos += step
                template = self.template
        self._end_run()
        if self.state and pos:
            self.start = -1  # the inbox moves
        self._send_acks()
        return pos

    def _end_run(self) -> int:
        """Checks the run and counts its latency."""
        if self.run:
            self.note(self.run_head, self.run_ns, self.run)
            self.run = 0
        return 0

    def note(self, head: int, stamp: int, count: int) -> int:
        """Takes note of `count` deliveries that begin with this number."""
        publisher = head >> 48
        first = head & 0xFFFFFFFFFFFF
        self.tally.delivered += count
        self.tally.last_delivery_ns = self.now
        if stamp > self.now or publisher >= 16384 or self.ledger.stream(publisher).note(first, count):
            self.tally.damaged += count
            return 0
        if self.redelivered:
            self.tally.redelivered += count
        elif first < self.expected[publisher]:
            self.tally.reordered += 1
        self.expected[publisher] = first + count
        self.latency.add(self.now - stamp, count)
        return 0

    def method(self, method: int, pos: int, length: int) -> bool:
        if method != 0x003C003C:  # basic.deliver
            return False
        if self.state:
            raise ValueError("a delivery within a delivery")
        tag_at = pos + 12 + self.inbox[pos + 11]
        if tag_at + 9 > pos + 7 + length:
            raise ValueError("basic.deliver ends within its arguments")
        self._end_run()
        self.start = pos
        self.tag_at_now = tag_at - pos
        self.tag = get_u64_be_ba(self.inbox, tag_at)
        self.redelivered = (self.inbox[tag_at + 8] & 1) != 0
        self.state = 1
        return True

    def content(self, kind: int, pos: int, length: int) -> int:
        if kind == 2:
            if self.state != 1 or length < 14:
                raise ValueError("a content header out of place")
            size = get_u64_be_ba(self.inbox, pos + 11)
            if size > 1_073_741_824:
                raise ValueError(f"a body of {size} bytes")
            self.body_size = size
            self.body_seen = 0
            self.body_damaged = self.body_size != self.size or get_u16_be_ba(self.inbox, pos + 7) != 60
            self.state = 2
        else:
            if self.state != 2 or length > self.body_size - self.body_seen:
                raise ValueError("a content body out of place")
            self._body(pos + 7, length)
        if self.state == 2 and self.body_seen == self.body_size:
            self._whole(pos + length + 8)
        return 0

    def _body(self, at: int, count: int) -> int:
        if self.body_seen == 0:
            self.body_at = at
            if count < 16:
                self.body_damaged = True
            else:
                self.head = get_u64_le_ba(self.inbox, at)
                self.stamp = get_u64_le_ba(self.inbox, at + 8)
                if not self.body_damaged and not same(self.inbox, at + 16, self.filler, 16, count - 16):
                    self.body_damaged = True
        elif not self.body_damaged and not same(self.inbox, at, self.filler, self.body_seen, count):
            self.body_damaged = True
        self.body_seen += count
        return 0

    def _whole(self, end: int) -> int:
        """A delivery is complete; its last frame ends at `end`."""
        self.state = 0
        if self.tag != self.last_tag + 1:
            self.tally.wrong_tags += 1
        self.last_tag = self.tag
        if self.body_damaged:
            self.tally.damaged += 1
            self.tally.delivered += 1
            self.tally.last_delivery_ns = self.now
        else:
            self.note(self.head, self.stamp, 1)
            if self.start >= 0 and not self.redelivered and end - self.body_at == self.size + 1:
                self.template = take_ba(self.inbox, self.start, end - self.start)
                self.stride = end - self.start
                self.tag_at = self.tag_at_now
                self.head_at = self.body_at - self.start
        self.redelivered = False
        self.since_ack += 1
        if self.since_ack == self.ack_every:
            self._acknowledge()
        return 0

    def _acknowledge(self) -> int:
        """Appends an acknowledgement of all up to the last delivery to what is unsent."""
        self.since_ack = 0
        if self.finishing:
            return 0
        if len(self.outbox) - self.out_end < 21:
            self._make_room()
        at = self.out_end
        copy(self.outbox, at, self.ack, 0, 21)
        put_u64_be(self.outbox, at + 11, self.last_tag)
        if self.ack_every > 1:
            self.outbox[at + 19] = 1
        self.out_end = at + 21
        return 0

    def _make_room(self) -> int:
        """For more acknowledgements; reading never stops for a broker that does not read them, or both would wait."""
        unsent = self.out_end - self.out_pos
        if unsent > 67_108_864:
            raise ValueError("the broker has not read 64 MiB of acknowledgements")
        if unsent > len(self.outbox) >> 1:
            self.outbox.extend(bytes(len(self.outbox)))
        copy_ba(self.outbox, 0, self.outbox, self.out_pos, unsent)
        self.out_pos = 0
        self.out_end = unsent
        return 0

    def _send_acks(self) -> int:
        if self.out_pos < self.out_end:
            self.flush()
            if self.out_pos == self.out_end and not self.finishing:
                self.out_pos = 0
                self.out_end = 0
        return 0

    def leave(self, cancel: bytes) -> None:
        """Acknowledges what is left and cancels the consumer; deliveries under way are still taken in, and checked."""
        if not self.failed and self.ack_every and self.since_ack:
            self.ack_every = 2 if self.since_ack > 1 else 1
            self._acknowledge()
        self.ask(cancel, 0x003C001F)
