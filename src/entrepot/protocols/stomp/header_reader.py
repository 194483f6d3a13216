"""HeaderReader: the header lines of a frame that is hot (SEND, ACK, NACK), in the buffer where they have arrived, read in one pass.

What the broker goes by comes into a place of its own; all else of a SEND into the block that is stored (headers.py has its form). Of what the broker goes
by, where it is repeated, the first holds.
"""

from __future__ import annotations

import cython

from entrepot.net.receive_buffer import ReceiveBuffer
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import EXPIRES, HAS_LENGTH, PERSISTENT, TEMP_REPLY

if not cython.compiled:
    from entrepot.model.octets import copy_ba, take_ba

LINES_MAX = 1000
SHORT_MAX = 1024  # octets of an id that is sent back, and of a transaction's and a destination's
OTHER, SEND, ACK, NACK = 0, 1, 2, 3

_LINES_MAX, _SHORT_MAX = LINES_MAX, SHORT_MAX
_SEND = SEND
_V10, _V11, _V12 = headers.V10, headers.V11, headers.V12
_HAS_LENGTH, _PERSISTENT, _EXPIRES, _TEMP_REPLY = HAS_LENGTH, PERSISTENT, EXPIRES, TEMP_REPLY
_NUMBER_MAX = 1 << 62


class HeaderReader(ReceiveBuffer):
    """`version`: 0 before CONNECT. `ack_prefix`: what a message-id of this connection begins with; behind it, and in an ack header, is
    `subscription-delivery`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.ack_prefix = b""
        self._kind = OTHER  # of the frame that is read
        self._block = bytearray(1024)
        self._block_size = 0
        self._bits = 0
        self._length = -1
        self._destination = b""
        self._transaction = b""
        self._receipt = b""
        self._id = b""
        self._message_id = b""
        self._requeue = True
        self._seen = 0  # of what holds once, what was there
        self._subscription_of = 0
        self._delivery_of = 0

    def _read_headers(self, pos: int, body: int, keeps: bool) -> int:
        """Read the header lines of a SEND, ACK or NACK from `pos`: what the broker goes by into its place and, if `keeps`, all others into the block."""
        buffer = self._buffer
        strips = self.version != _V11
        trims = self.version == _V10
        self._block_size = 0
        self._bits = 0
        self._length = -1
        self._destination = self._transaction = self._id = self._message_id = b""
        self._requeue = True
        self._seen = 0
        if len(self._block) < body - pos:
            self._block = bytearray(2 * (body - pos))
        odd = False  # a backslash, a carriage return, an octet that is not ASCII, a blank that 1.0 does not count
        first = pos
        colon = -1
        count = 0
        at = pos
        for octet in take_ba(buffer, pos, body - pos):  # C walks over bytes by a pointer, over a bytearray by a call for each octet
            if octet == 10:
                stop = at
                if strips and stop > first and buffer[stop - 1] == 13:
                    stop -= 1
                if stop == first:
                    break
                if colon <= first:
                    raise StompError(
                        "malformed header", f"A header line has no name or no colon: {headers.shown(take_ba(buffer, first, min(stop - first, 80)))}"
                    )
                if trims and colon + 1 < stop and (_is_blank(buffer[colon + 1]) or _is_blank(buffer[stop - 1])):
                    odd = True
                count += 1
                if not self._special(first, colon, stop) and keeps:
                    copy_ba(self._block, self._block_size, buffer, first, at + 1 - first)
                    self._block_size += at + 1 - first
                first = at + 1
                colon = -1
            elif octet == 58:
                if colon < 0:
                    colon = at
            elif octet == 92 or octet >= 128 or octet < 0 or octet == 13:  # below 0: in C an octet above 127 is
                odd = True
            at += 1
        if count > _LINES_MAX:
            raise StompError("too many headers", f"A frame has more than {_LINES_MAX} headers.")
        if odd:
            self._make_canonical()
        return 0

    def _special(self, first: int, colon: int, stop: int) -> bool:
        """A header line that the broker goes by: take note of it. Whether it is not to be stored."""
        size = colon - first
        value = colon + 1
        octet = self._buffer[first]
        if octet == 100 and size == 11 and self._is(first, b"destination"):
            if not self._seen & 1:
                self._seen |= 1
                self._destination = self._short(value, stop)
                return False
            return True
        if octet == 114:
            if size == 7 and self._is(first, b"receipt"):
                if not self._seen & 2:
                    self._seen |= 2
                    self._receipt = self._short(value, stop)
                return True
            if size == 7 and self._is(first, b"requeue"):
                self._requeue = not (stop - value == 5 and self._is(value, b"false"))
                return False
            if size == 8 and self._is(first, b"reply-to"):
                if stop - value > 12 and (self._is(value, b"/temp-queue/") or self._is(value, b"/temp-topic/")):
                    self._bits |= _TEMP_REPLY
                return False
            return size == 11 and self._is(first, b"redelivered")
        if octet == 116 and size == 11 and self._is(first, b"transaction"):
            if not self._seen & 4:
                self._seen |= 4
                self._transaction = self._short(value, stop)
            return True
        if octet == 99 and size == 14 and self._is(first, b"content-length"):
            if self._length < 0:  # the first of them
                self._length = self._digits(value, stop)
                self._bits |= _HAS_LENGTH
            return True
        if octet == 112 and size == 10 and self._is(first, b"persistent"):
            if stop - value == 4 and self._is(value, b"true"):
                self._bits |= _PERSISTENT
            return False
        if (octet == 101 and size == 7 and self._is(first, b"expires")) or (octet == 101 and size == 10 and self._is(first, b"expiration")):
            self._bits |= _EXPIRES
            return False
        if octet == 105 and size == 2 and self._is(first, b"id"):
            if not self._seen & 8 and self._kind != _SEND:
                self._seen |= 8
                self._id = self._short(value, stop)
            return False
        if octet == 109 and size == 10 and self._is(first, b"message-id"):
            if not self._seen & 16 and self._kind != _SEND:
                self._seen |= 16
                self._message_id = self._short(value, stop)
            return True
        if octet == 115 and size == 12 and self._is(first, b"subscription"):
            return True
        return octet == 97 and size == 3 and self._is(first, b"ack")

    def _is(self, at: int, word: bytes) -> bool:
        """Whether `word` stands at `at`."""
        buffer = self._buffer
        index = 0
        while index < len(word) and buffer[at + index] == word[index]:
            index += 1
        return index == len(word)

    def _short(self, value: int, stop: int) -> bytes:
        if stop - value > _SHORT_MAX:
            raise StompError("header too long", f"An id or a destination has more than {_SHORT_MAX} octets.")
        return take_ba(self._buffer, value, stop - value)

    def _digits(self, value: int, stop: int) -> int:
        buffer = self._buffer
        number = 0
        at = value
        while at < stop and (buffer[at] == 32 or buffer[at] == 9):
            at += 1
        if at == stop or stop - at > 18:
            raise StompError("malformed header", "A content-length is no number.")
        while at < stop:
            if buffer[at] < 48 or buffer[at] > 57:
                raise StompError("malformed header", "A content-length is no number.")
            number = number * 10 + (buffer[at] - 48)
            at += 1
        return number

    def _make_canonical(self) -> int:
        """What was read has octets that are looked at more closely. Raises StompError."""
        version = self.version
        block = b"".join(
            b"%b:%b\n" % (headers.canonical(name, version), headers.canonical(value, version))
            for name, value in headers.lines(take_ba(self._block, 0, self._block_size), version != _V11)
        )
        if len(self._block) < len(block):
            self._block = bytearray(2 * len(block))
        self._block[: len(block)] = block
        self._block_size = len(block)
        self._destination = headers.unescape(headers.canonical(self._destination, version))
        self._transaction = headers.unescape(headers.canonical(self._transaction, version))
        headers.canonical(self._receipt, version)
        if version == _V10:
            self._receipt = self._receipt.strip(b" \t")
            self._message_id = self._message_id.strip(b" \t")
        self._id = headers.unescape(headers.canonical(self._id, version))
        self._message_id = headers.unescape(headers.canonical(self._message_id, version))
        return 0

    def _parse_id(self) -> bool:
        """Read `subscription-delivery` of the header id or, before 1.2, of message-id behind the prefix, into _subscription_of and _delivery_of."""
        text = self._id
        at = 0
        if self.version != _V12:
            text = self._message_id
            at = len(self.ack_prefix)
            if not text.startswith(self.ack_prefix):
                return False
        size = len(text)
        self._delivery_of = 0
        number = 0
        first = at
        dash = False
        if size - at > 40:
            return False
        while at < size:
            octet = text[at]
            if 48 <= octet <= 57 and number < _NUMBER_MAX // 10 - 1:
                number = number * 10 + (octet - 48)
            elif octet == 45 and not dash and at > first:
                dash = True
                self._subscription_of = number
                number = 0
                first = at + 1
            else:
                return False
            at += 1
        self._delivery_of = number
        return dash and at > first


def _is_blank(octet: int) -> bool:
    return octet == 32 or octet == 9
