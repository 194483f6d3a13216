"""One AMQP connection after its blocking set-up: input buffer, output buffer, whole frames to whoever derives from it.

A failed connection (closed by the broker, broken framing) says why in `Tally.failures` and takes no further part.
"""

from __future__ import annotations

import cython

from benchmarks.system.tally import Tally

if not cython.compiled:
    from benchmarks.system.kernel import receive, transmit
    from entrepot.model.octets import copy_ba, get_u16_be_ba, get_u32_be_ba, take_ba

INBOX_SIZE = 262144


class Connection:
    """A set-up connection on channel 1. `poller` is a select.epoll in which the descriptor is registered by watch()."""

    def __init__(self, fd: int, tally: Tally, poller: object, frame_max: int) -> None:
        self.fd = fd
        self.tally = tally
        self.poller = poller
        self.frame_max = frame_max
        self.inbox = bytearray(max(INBOX_SIZE, frame_max + 4096))
        self.inbox_end = 0
        self.outbox = bytearray()
        self.out_pos = 0
        self.out_end = 0
        self.interest = 0
        self.awaiting = 0
        self.failed = False
        self.finishing = False
        self.reads = True

    def watch(self) -> int:
        """Sets what the poller reports: input always (unless `reads` is off), output while something is unsent."""
        wanted = 1 if self.reads else 0
        if self.out_pos < self.out_end:
            wanted |= 4
        if wanted != self.interest and not self.failed:
            if self.interest == 0:
                self.poller.register(self.fd, wanted)  # type: ignore[attr-defined]
            else:
                self.poller.modify(self.fd, wanted)  # type: ignore[attr-defined]
            self.interest = wanted
        return 0

    def ready(self, mask: int) -> int:
        """The poller reported this descriptor."""
        if self.failed:
            return 0
        try:
            if mask & 4:
                self.flush()
                if self.out_pos == self.out_end:
                    self.drained()
            if mask & 0xFFFFFFFB and self.reads:
                self.read()
        except (OSError, ValueError) as error:
            self.fail(str(error))
        return 0

    def read(self) -> int:
        """One receive, and everything whole in it taken in."""
        n = receive(self.fd, self.inbox, self.inbox_end, len(self.inbox) - self.inbox_end)
        if n < 0:
            return 0
        if n == 0:
            raise ValueError("the broker ended the connection")
        self.inbox_end += n
        used = self.consume(self.inbox_end)
        if used:
            if used < self.inbox_end:
                copy_ba(self.inbox, 0, self.inbox, used, self.inbox_end - used)
            self.inbox_end -= used
        return 0

    def consume(self, end: int) -> int:
        """Takes in whole frames of inbox[:end]; how many bytes. Derived classes put their fast path here."""
        pos = 0
        while True:
            step = self.frame(pos, end)
            if step == 0:
                return pos
            pos += step

    def frame(self, pos: int, end: int) -> int:
        """Takes in one frame at `pos`; its size, 0 if it is not whole yet. Raises ValueError on broken framing."""
        if end - pos < 8:
            return 0
        size = get_u32_be_ba(self.inbox, pos + 3)
        if size > self.frame_max - 8:
            raise ValueError(f"a frame of {size} bytes where {self.frame_max - 8} were agreed")
        length = size
        if end - pos - 8 < length:
            return 0
        if self.inbox[pos + 7 + length] != 0xCE:
            raise ValueError("a frame without its end octet")
        kind = self.inbox[pos]
        if kind == 1:
            if length < 4:
                raise ValueError("a method frame without a method")
            method = get_u32_be_ba(self.inbox, pos + 7)
            if not self.method(method, pos, length):
                self.other_method(method, pos + 11)
        elif kind == 2 or kind == 3:
            self.content(kind, pos, length)
        elif kind != 8:
            raise ValueError(f"a frame of unknown type {kind}")
        return length + 8

    def method(self, method: int, pos: int, length: int) -> bool:
        """A method frame at `pos` for the derived class; whether it was one of its own."""
        return False

    def content(self, kind: int, pos: int, length: int) -> int:
        """A content header or body frame at `pos`, for the derived class."""
        return 0

    def drained(self) -> int:
        """Everything that was unsent is sent; for the derived class."""
        return 0

    def other_method(self, method: int, pos: int) -> int:
        """Methods that any connection may meet; `pos` is that of the arguments."""
        if method == self.awaiting:
            self.awaiting = 0
            self.tally.answered += 1
            if method == 0x000A0033:  # connection.close-ok: the broker may end the connection now
                self.reads = False
                self.watch()
        elif method == 0x000A003C:  # connection.blocked
            self.tally.blocked += 1
        elif method == 0x000A003D:  # connection.unblocked
            pass
        elif method == 0x000A0032 or method == 0x00140028:  # connection.close, channel.close
            code = get_u16_be_ba(self.inbox, pos)
            text = take_ba(self.inbox, pos + 3, self.inbox[pos + 2])
            self.fail(f"closed by the broker: {code} {text.decode('utf-8', 'replace')}")
        elif method == 0x003C001E:  # basic.cancel
            self.fail("the broker cancelled the consumer")
        else:
            self.fail(f"unexpected method {method >> 16}.{method & 0xFFFF}")
        return 0

    def flush(self) -> int:
        """Sends what the kernel takes of what is unsent."""
        while self.out_pos < self.out_end:
            n = transmit(self.fd, self.outbox, self.out_pos, self.out_end - self.out_pos)
            if n == 0:
                break
            self.out_pos += n
        if (self.out_pos < self.out_end) != ((self.interest & 4) != 0):
            self.watch()
        return 0

    def ask(self, frame: bytes, answer: int) -> int:
        """Sends a last method after what is unsent; `answer` is awaited, nothing else will be sent."""
        self.finishing = True
        self.outbox = bytearray(take_ba(self.outbox, self.out_pos, self.out_end - self.out_pos) + frame)
        self.out_pos = 0
        self.out_end = len(self.outbox)
        self.awaiting = answer
        if not self.failed:
            try:
                self.flush()
            except OSError as error:
                self.fail(str(error))
        return 0

    def fail(self, reason: str) -> int:
        """Takes this connection out of the run."""
        if not self.failed:
            if self.interest:
                self.poller.unregister(self.fd)  # type: ignore[attr-defined]
            self.interest = 0
            self.failed = True
            self.tally.failures.append(reason)
        return 0
