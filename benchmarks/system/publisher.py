"""A publishing connection: a reel of identical encoded messages, stamped in place and sent with one write.

Body: u64 publisher << 48 | sequence, u64 CLOCK_MONOTONIC nanoseconds (both little-endian), then the filler. A message's sequence
number is its confirm's delivery tag less 1.
"""

from __future__ import annotations

from array import array

import cython

from benchmarks.system.connection import Connection
from benchmarks.system.latency import Histogram
from benchmarks.system.tally import Tally

if not cython.compiled:
    from benchmarks.system.kernel import now_ns, same
    from entrepot.model.octets import get_u64_be_ba, put_u64_le

_ACK = bytes.fromhex("0100010000000d003c0050")  # up to the delivery tag
FAULTS = {"": 0, "gap": 1, "duplicate": 2, "reorder": 3}


class Publisher(Connection):
    """Publishes `messages` in turn: whole encoded publishes of one length, their bodies' first byte at `body_at`, one for each
    route it feeds. Each route counts as a publisher of its own, numbered from `number`, with sequence numbers of its own: message n
    of this connection is number n // routes of route n % routes. So whoever reads one queue of many sees no gaps.

    `window`: messages unconfirmed at most; 0: no confirms. `batch`: goes on when so many of the window are free.
    `interval_ns`: 0, or the time from one message to the next of an open load whose first is due at `first_due_ns`.
    """

    def __init__(
        self, fd: int, tally: Tally, poller: object, frame_max: int, *,
        number: int, messages: list[bytes], body_at: int, window: int, batch: int, confirm_us: Histogram, reel_size: int = 262144, fault: str = "",
    ) -> None:  # fmt: skip
        Connection.__init__(self, fd, tally, poller, frame_max)
        self.number = number
        self.routes = len(messages)
        self.stride = len(messages[0])
        self.body_at = body_at
        self.window = window
        self.batch = batch
        self.reel_count = max(1, reel_size // self.stride)
        if window:
            self.reel_count = min(self.reel_count, window)
        turns = (self.reel_count + self.routes - 1) // self.routes
        self.reel_count = turns * self.routes
        self.outbox = bytearray(b"".join(messages) * turns)
        slots = 1 << max(window, 1).bit_length()
        self.slots_mask = slots - 1
        self.sent_ns = memoryview(array("Q", bytes(8 * slots)))
        self.next = 0
        self.lowest = 0
        self.outstanding = 0
        self.latency = confirm_us
        self.interval_ns = 0
        self.first_due_ns = 0
        self.fault = FAULTS[fault]
        self.ack = _ACK
        self.refused: list[int] = []

    def pace(self, interval_ns: int, first_due_ns: int) -> None:
        """Makes this an open load."""
        self.interval_ns = interval_ns
        self.first_due_ns = first_due_ns

    def due_ns(self) -> int:
        """When the next message of an open load is due."""
        return self.first_due_ns + self.next * self.interval_ns

    def pump(self) -> int:
        """Publishes what may be published now."""
        if self.failed or self.finishing:
            return 0
        while self.out_pos == self.out_end:
            wanted = self.reel_count
            if self.window:
                room = self.window - self.outstanding
                if room < self.batch and self.outstanding:
                    return 0
                if wanted > room:
                    wanted = room
                span = self.lowest + self.slots_mask + 1 - self.next  # confirms out of order may leave an old one unanswered
                if wanted > span:
                    wanted = span
            now = now_ns()
            if self.interval_ns:
                due = self.first_due_ns + self.next * self.interval_ns
                if due > now:
                    return 0
                ripe = (now - due) // self.interval_ns + 1
                if wanted > ripe:
                    wanted = ripe
            wanted = self.tally.may_publish(wanted)
            if wanted <= 0:
                return 0
            place = 0
            if self.routes > 1:  # a message's place in the reel is its route's
                place = self.next % self.reel_count
                if wanted > self.reel_count - place:
                    wanted = self.reel_count - place
            self._stamp(place, wanted, now)
            self.out_pos = place * self.stride
            self.out_end = self.out_pos + wanted * self.stride
            if self.tally.budget >= 0:
                self.tally.budget -= wanted
            self.tally.published += wanted
            try:
                self.flush()
            except OSError as error:
                self.fail(str(error))
        return 0

    def _stamp(self, place: int, count: int, now: int) -> int:
        at = self.body_at + place * self.stride
        sequence = self.next
        stamp = now
        for _ in range(count):
            if self.interval_ns:
                stamp = self.first_due_ns + sequence * self.interval_ns
            publisher = self.number
            number = sequence
            if self.routes > 1:
                publisher += sequence % self.routes
                number = sequence // self.routes
            if self.fault:
                number = self._wrong(number)
            put_u64_le(self.outbox, at, publisher << 48 | number)
            put_u64_le(self.outbox, at + 8, stamp)
            if self.window:
                self.sent_ns[sequence & self.slots_mask] = stamp
            at += self.stride
            sequence += 1
        if self.window:
            self.outstanding += count
        self.next = sequence
        return 0

    def _wrong(self, sequence: int) -> int:
        """A wrong number now and then, to see that the check finds it: 1 leaves numbers out, 2 repeats them, 3 swaps two."""
        step = sequence % 1000
        if self.fault == 1:
            return sequence + sequence // 1000
        if self.fault == 2:
            return sequence - sequence // 1000
        if step == 500:
            return sequence + 1
        if step == 501:
            return sequence - 1
        return sequence

    def consume(self, end: int) -> int:
        pos = 0
        now = now_ns()
        while True:
            if end - pos >= 21 and same(self.inbox, pos, self.ack, 0, 11) and self.inbox[pos + 20] == 0xCE:
                self._confirm(get_u64_be_ba(self.inbox, pos + 11), (self.inbox[pos + 19] & 1) != 0, now, True)
                step = 21
            else:
                step = self.frame(pos, end)
                if step == 0:
                    break
            pos += step
        self.pump()
        return pos

    def method(self, method: int, pos: int, length: int) -> bool:
        if method == 0x003C0078 and length >= 13:  # basic.nack
            self._confirm(get_u64_be_ba(self.inbox, pos + 11), (self.inbox[pos + 19] & 1) != 0, now_ns(), False)
            return True
        if method == 0x003C0050 and length >= 13:  # basic.ack
            self._confirm(get_u64_be_ba(self.inbox, pos + 11), (self.inbox[pos + 19] & 1) != 0, now_ns(), True)
            return True
        if method == 0x003C0032:  # basic.return
            self.tally.returned += 1
            return True
        return False

    def drained(self) -> int:
        return self.pump()

    def _confirm(self, tag: int, multiple: bool, now: int, positive: bool) -> int:
        """Tag 0 with `multiple` means all so far (1.8.3.13)."""
        last = tag - 1
        if tag == 0 and multiple:
            last = self.next - 1
        if self.window == 0 or (tag == 0 and not multiple) or last >= self.next:
            self.tally.unexpected_confirms += 1
            return 0
        at = self.lowest if multiple else last
        if at > last or (not multiple and last < self.lowest):
            self.tally.unexpected_confirms += 1
            return 0
        counted = 0
        run = 0
        run_ns = 0
        while at <= last:
            stamp = self.sent_ns[at & self.slots_mask]
            if stamp:
                self.sent_ns[at & self.slots_mask] = 0
                counted += 1
                if not positive:
                    self.refused.append(at)
                elif stamp == run_ns:
                    run += 1
                else:
                    if run:
                        self.latency.add(now - run_ns, run)
                    run_ns = stamp
                    run = 1
            elif not multiple:
                self.tally.unexpected_confirms += 1
            at += 1
        if run:
            self.latency.add(now - run_ns, run)
        if multiple:
            self.lowest = last + 1
        while self.lowest < self.next and self.sent_ns[self.lowest & self.slots_mask] == 0:
            self.lowest += 1
        self.outstanding -= counted
        if positive:
            self.tally.confirmed += counted
        else:
            self.tally.refused += counted
        self.tally.last_confirm_ns = now
        return 0

    def unconfirmed(self) -> list[int]:
        """Sequence numbers sent and neither confirmed nor refused."""
        return [at for at in range(self.lowest, self.next) if self.sent_ns[at & self.slots_mask]] if self.window else []
