"""Bytes off a STOMP connection become events: runs of SENDs, ranges of acknowledgements, single frames.

A frame is a command line, header lines `name:value`, an empty line, a body and a NUL; the body is `content-length` octets, or what stands before the next
NUL. Line ends between frames are heart-beats. Decoder.feed() returns a list of

    SendRun      consecutive SENDs to one destination in one transaction
    AckRange     consecutive ACKs (or NACKs) of neighbouring deliveries of one subscription
    Frame        any other frame
    StompError   only as the last event: the peer broke the protocol; everything before it holds, and feed() raises it from now on

Any split of the input gives the same events, but for where runs and ranges end. Which version is spoken the decoder learns from CONNECT itself, so that what
is sent behind it at once is understood. Line ends: carriage return and line feed in CONNECT, in 1.2, and, as clients do it, in 1.0.

Bounded: the command line, the header block, its lines, ids that are sent back (SHORT_MAX), bodies. Each octet is looked for the end of a frame once.
"""

from __future__ import annotations

import cython

from entrepot.net.receive_buffer import ReceiveBuffer
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import EXPIRES, HAS_LENGTH, PERSISTENT, TEMP_REPLY, AckRange, Frame, SendRun

if not cython.compiled:
    from entrepot.model.octets import copy_ba, put_u32_be, same_ba, take_ba

RUN_MAX_COUNT = 1024
RUN_MAX_BYTES = 64 * 1024
LINES_MAX = 1000
SHORT_MAX = 1024  # octets of an id that is sent back, and of a transaction's and a destination's
RECORD_HEAD = 9  # octets of a packed record before its headers
COMMANDS = frozenset({"SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT", "CONNECT", "STOMP"})

_RUN_COUNT, _RUN_BYTES, _LINES_MAX, _SHORT_MAX, _RECORD_HEAD = RUN_MAX_COUNT, RUN_MAX_BYTES, LINES_MAX, SHORT_MAX, RECORD_HEAD
_COMMAND_MAX = 32
_QUIET_READS = 128
_V10, _V11, _V12 = headers.V10, headers.V11, headers.V12
_HAS_LENGTH, _PERSISTENT, _EXPIRES, _TEMP_REPLY = HAS_LENGTH, PERSISTENT, EXPIRES, TEMP_REPLY
_NOTHING, _RUN, _ACKS = 0, 1, 2
_OTHER, _SEND, _ACK, _NACK = 0, 1, 2, 3
_NUMBER_MAX = 1 << 62


class Decoder(ReceiveBuffer):
    """Of one connection; fill writable() and say feed(count), or push(bytes).

    `version`: 0 before CONNECT. `ack_prefix`: what a message-id of this connection begins with; behind it, and in an ack header, is
    `subscription-delivery`. Limits: `header_max` (octets of command and headers), `message_size_max` (of a body). `error` ended decoding, if one did.
    """

    def __init__(self, header_max: int = 65_536, message_size_max: int = 128 * 1024 * 1024) -> None:
        if not 1024 <= header_max <= 1 << 20:
            raise ValueError(f"header_max is {header_max}; give 1024 to 1048576")
        if not 0 <= message_size_max <= 0x7FFFFFFF:
            raise ValueError(f"message_size_max is {message_size_max}; give 0 to 2147483647")
        super().__init__()
        self.header_max = header_max
        self.message_size_max = message_size_max
        self.version = 0
        self.ack_prefix = b""
        self.error: StompError | None = None
        # the frame at the front, as far as it is here, from its start: where its body begins (0: not known), how far that and the end of that were looked for
        self._head = 0
        self._scanned = 0
        self._line = 0
        self._has_command = False
        self._searched = 0
        self._kind = _OTHER
        self._name = ""
        self._said: dict[str, str] = {}
        # what the header block that was read last says, and where it lies in the buffer (-1: nowhere any more)
        self._model = -1
        self._model_size = 0
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
        self._seen = 0
        # the open run or range
        self._open = _NOTHING
        self._run_destination = b""
        self._run_transaction = b""
        self._count = 0
        self._body_bytes = 0
        self._flags = 0
        self._pack = bytearray()
        self._pack_capacity = 0
        self._packed = 0
        self._receipts = bytearray()
        self._subscription = 0
        self._lo = 0
        self._hi = 0
        self._negative = False
        self._run_requeue = True
        self._subscription_of = 0
        self._delivery_of = 0

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held for buffers."""
        return self._capacity + self._pack_capacity + len(self._block)

    def push(self, data: bytes) -> list[object]:
        """feed() for bytes that were read elsewhere; the same events."""
        events: list[object] = []
        pos = 0
        while pos < len(data):
            room = self.writable()
            step = min(len(room), len(data) - pos)
            room[:step] = data[pos : pos + step]
            pos += step
            events.extend(self.feed(step))
            if self.error is not None:
                break
        return events

    def feed(self, count: int) -> list[object]:
        """Events of what is complete, after `count` more bytes were written at the front of writable().

        Raises the StompError that an earlier call returned as its last event.
        """
        if self.error is not None:
            raise self.error
        self.received(count)
        if self._quiet >= _QUIET_READS and self._pack_capacity:
            self._pack = bytearray()
            self._pack_capacity = 0
        events: list[object] = []
        try:
            self._decode(events)
            self._flush(events)
        except StompError as error:
            error.receipt = headers.echoed(self._receipt, self.version)
            self.error = error
            self._flush(events)
            events.append(error)
        return events

    def overrun(self) -> StompError | None:
        """All connections together hold too much of what is unfinished: give back what is held here.

        The error that ends the connection; None where nothing here is unfinished.
        """
        if self._start == self._end:
            self.release()
            return None
        if self.error is None:
            self.error = _overrun()
        self.drop()
        return self.error

    def front(self) -> bytes:
        """The first octets of what is here and not taken."""
        return take_ba(self._buffer, self._start, min(self._end - self._start, 16))

    def release(self) -> int:
        """Shrink to the least memory; call it when the connection has been idle for a while."""
        self._pack = bytearray()
        self._pack_capacity = 0
        return self.shrink()

    def _decode(self, events: list[object]) -> int:
        buffer = self._buffer
        pos = self._start
        end = self._end
        self._model = -1
        while True:
            between = self._head == 0 and self._scanned == 0
            while between and pos < end and (buffer[pos] == 10 or buffer[pos] == 13):
                if buffer[pos] == 13:
                    if end - pos < 2:
                        break
                    if buffer[pos + 1] != 10:
                        raise StompError("malformed frame", "A carriage return without a line feed stands between two frames.")
                    pos += 1
                pos += 1
            self._start = pos
            if pos == end or (between and buffer[pos] == 13):
                break
            after = self._frame(events, pos)
            if after == 0:
                break
            pos = after
            self._start = pos
            self._head = self._scanned = self._line = self._searched = self._total = 0
            if self.share is not None:
                self.share.finished()
        return 0

    def _frame(self, events: list[object], pos: int) -> int:
        """The frame at `pos`; the position behind its NUL, 0 where it is not all here."""
        if self._head == 0:
            if self._model >= 0 and self._model_size <= self._end - pos and same_ba(self._buffer, pos, self._model, self._model_size):
                self._head = self._model_size  # its headers are, octet by octet, those of the frame before
            else:
                body = self._headers_end(pos)
                if body == 0:
                    return 0
                self._model = -1
                self._begin(pos, body)
                self._head = body - pos
                if self._kind == _SEND:
                    self._model = pos
                    self._model_size = self._head
        at = self._body_end(pos, pos + self._head)
        if at == 0:
            return 0
        if self._kind == _SEND:
            self._send(events, pos + self._head, at - pos - self._head)
        elif self._kind == _OTHER:
            self._flush(events)
            events.append(Frame(self._name, self._said, at - pos))
        elif not self._extends(self._kind == _NACK):
            self._begin_range(events, self._kind == _NACK)
        return at + 1

    # --- headers ---------------------------------------------------------------------------------------------------------------------

    def _headers_end(self, pos: int) -> int:
        """Where the body of the frame at `pos` begins; 0 where the end of its headers is not here. Raises StompError where they are too long."""
        buffer = self._buffer
        end = self._end
        at = pos + self._scanned
        stop = min(end, pos + self.header_max)
        line = self._line  # octets of the line so far, but for a carriage return that ends it
        first = self._scanned == 0 or not self._has_command
        while at < stop:
            octet = buffer[at]
            if octet == 10:
                if line == 0 and at > pos:
                    self._has_command = False
                    return at + 1
                line = 0
                first = False
            elif octet == 13:
                if at + 1 == end:
                    break
                if buffer[at + 1] != 10:
                    line += 1
            elif octet == 0:
                raise StompError("malformed frame", "A frame ends before its headers do: an empty line is missing.")
            else:
                line += 1
                if first and line > _COMMAND_MAX:
                    raise StompError("unknown command", f"No command: {headers.shown(take_ba(buffer, pos, _COMMAND_MAX))}")
            at += 1
        if at - pos >= self.header_max:
            raise StompError("headers too long", f"Command and headers have more than {self.header_max} octets.")
        self._scanned = at - pos
        self._line = line
        self._has_command = not first
        return 0

    def _begin(self, pos: int, body: int) -> int:
        """Read command and headers of the frame at `pos`. Raises StompError."""
        buffer = self._buffer
        at = pos
        while buffer[at] != 10:
            at += 1
        stop = at - 1 if at > pos and buffer[at - 1] == 13 and self.version != _V11 else at
        command = take_ba(buffer, pos, stop - pos)
        self._receipt = b""
        if self.version and command == b"SEND":
            self._kind = _SEND
            self._read_headers(at + 1, body, True)
            if not self._destination:
                raise StompError("missing destination", "SEND needs the header destination.")
            return 0
        if self.version and (command == b"ACK" or (command == b"NACK" and self.version != _V10)):
            self._kind = _ACK if len(command) == 3 else _NACK
            self._read_headers(at + 1, body, False)
            if not self._parse_id():
                wanted = "id" if self.version == _V12 else "message-id"
                raise StompError("no such message", f"The header {wanted} names no message that this connection was sent.")
        else:
            self._kind = _OTHER
            self._other(command, take_ba(buffer, at + 1, body - at - 2))
        if self._length > 0:
            raise StompError("malformed frame", f"A body is not for {command.decode()}.")
        self._length = 0
        return 0

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
        while True:
            octet = buffer[at]
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
            elif octet == 92 or octet >= 128 or octet == 13:
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
                if stop - value > 12 and self._is(value, b"/temp-queue/"):
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

    # --- bodies ----------------------------------------------------------------------------------------------------------------------

    def _body_end(self, pos: int, body: int) -> int:
        """Where the NUL of the frame at `pos` is, whose body begins at `body`; 0 where it is not here. Raises StompError."""
        buffer = self._buffer
        end = self._end
        size = self._length
        if size >= 0:
            if size > self.message_size_max:
                raise self._too_large()
            if size >= end - body:
                self._total = body - pos + size + 1
                return 0
            if buffer[body + size] != 0:
                if self._kind != _SEND:
                    raise StompError("malformed frame", "A body is for SEND alone.")
                raise StompError("malformed frame", f"A body is followed by 0x{buffer[body + size]:02x} instead of NUL: its content-length is wrong.")
            return body + size
        found = buffer.find(b"\0", max(body, pos + self._searched), end)
        if found < 0:
            if end - body > self.message_size_max:
                raise self._too_large()
            self._searched = end - pos
            self._total = 2 * (end - pos)
            return 0
        if found - body > self.message_size_max:
            raise self._too_large()
        return found

    def _too_large(self) -> StompError:
        return StompError("message too large", f"A body has more than {self.message_size_max} octets.")

    # --- SEND ------------------------------------------------------------------------------------------------------------------------

    def _send(self, events: list[object], body: int, size: int) -> int:
        """The SEND whose headers were read, with its body."""
        need = _RECORD_HEAD + self._block_size + size
        if self._open != _RUN or self._destination != self._run_destination or self._transaction != self._run_transaction:
            self._flush(events)
            self._open = _RUN
            self._run_destination = self._destination
            self._run_transaction = self._transaction
        elif self._count and (self._count >= _RUN_COUNT or self._packed + need > _RUN_BYTES):
            self._emit_run(events)
        self._flags |= self._bits
        self._note_receipt()
        self._count += 1
        self._body_bytes += size
        if need > _RUN_BYTES:  # alone: its body is not copied twice
            need -= size
        if need > self._pack_capacity - self._packed:
            self._grow_pack(need)
        pack = self._pack
        packed = self._packed
        put_u32_be(pack, packed, self._block_size)
        put_u32_be(pack, packed + 4, size)
        pack[packed + 8] = self._bits & (_HAS_LENGTH | _PERSISTENT)
        copy_ba(pack, packed + 9, self._block, 0, self._block_size)
        packed += 9 + self._block_size
        self._packed = packed
        if need < _RECORD_HEAD + self._block_size + size:
            with memoryview(self._buffer)[body : body + size] as part:
                return self._append_run(events, b"".join((take_ba(pack, 0, packed), part)))
        copy_ba(pack, packed, self._buffer, body, size)
        self._packed = packed + size
        return 0

    def _grow_pack(self, need: int) -> int:
        capacity = max(self._pack_capacity, 1024)
        while need > capacity - self._packed:
            capacity *= 2
        pack = bytearray(capacity)
        copy_ba(pack, 0, self._pack, 0, self._packed)
        self._pack = pack
        self._pack_capacity = capacity
        return 0

    def _emit_run(self, events: list[object]) -> int:
        """The open run is an event; another one to the same destination is begun."""
        data = take_ba(self._pack, 0, self._packed)
        return self._append_run(events, data)

    def _append_run(self, events: list[object], data: bytes) -> int:
        receipts = bytes(self._receipts)
        events.append(SendRun(self._run_destination, self._run_transaction, data, self._count, self._body_bytes, self._flags, receipts))
        self._packed = self._count = self._body_bytes = self._flags = 0
        if receipts:
            self._receipts = bytearray()
        return 0

    # --- ACK, NACK -------------------------------------------------------------------------------------------------------------------

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

    def _extends(self, negative: bool) -> bool:
        """Whether the acknowledgement that was read goes on with the open range: it does so then."""
        if (
            self._open != _ACKS
            or self._delivery_of != self._hi + 1
            or self._subscription_of != self._subscription
            or negative != self._negative
            or self._requeue != self._run_requeue
            or self._transaction != self._run_transaction
            or len(self._receipts) > _RUN_BYTES
        ):
            return False
        self._hi = self._delivery_of
        self._note_receipt()
        return True

    def _begin_range(self, events: list[object], negative: bool) -> int:
        self._flush(events)
        self._open = _ACKS
        self._subscription = self._subscription_of
        self._lo = self._hi = self._delivery_of
        self._negative = negative
        self._run_requeue = self._requeue
        self._run_transaction = self._transaction
        self._note_receipt()
        return 0

    def _note_receipt(self) -> int:
        if self._seen & 2:
            self._receipts += b"RECEIPT\nreceipt-id:"
            self._receipts += self._receipt
            self._receipts += b"\n\n\0"
        return 0

    # --- all others ------------------------------------------------------------------------------------------------------------------

    def _other(self, command: bytes, block: bytes) -> int:
        """Command and headers of a frame that is rare, or of none. Raises StompError."""
        name = command.decode("latin-1")
        if name not in COMMANDS:
            raise StompError("unknown command", f"No command of STOMP: {headers.shown(command)}")
        if name == "NACK" and self.version == _V10:
            raise StompError("unknown command", "STOMP 1.0 has no NACK.")
        is_first = name in ("CONNECT", "STOMP")
        if is_first == (self.version != 0):
            raise StompError("unexpected frame", f"{name} is not expected {'again' if is_first else 'before CONNECT'}.")
        if block.endswith(b"\r"):  # of the empty line
            block = block[: len(block) - 1]
        if block.count(b"\n") > _LINES_MAX:
            raise StompError("too many headers", f"A frame has more than {_LINES_MAX} headers.")
        self._receipt = b"" if is_first else self._receipt_in(block)
        said = headers.table(block, 0 if is_first else self.version)
        self._length = self._length_in(said.get("content-length", "0"))
        self._name = name
        self._said = said
        if is_first:
            self.version = headers.negotiated(said.get("accept-version"))
        return 0

    def _length_in(self, text: str) -> int:
        text = text.strip()
        if not text.isdecimal() or not text.isascii() or len(text) > 18:
            raise StompError("malformed header", "A content-length is no number.")
        return int(text)

    def _receipt_in(self, block: bytes) -> bytes:
        """The header receipt as it came, for an ERROR about the frame."""
        for name, value in headers.lines(block, self.version != _V11):
            if name == b"receipt":
                if len(value) > _SHORT_MAX:
                    raise StompError("header too long", f"An id has more than {_SHORT_MAX} octets.")
                return value.strip(b" \t") if self.version == _V10 else value
        return b""

    def _flush(self, events: list[object]) -> int:
        opened = self._open
        self._open = _NOTHING
        if opened == _RUN:
            if self._count:
                self._emit_run(events)
        elif opened == _ACKS:
            receipts = bytes(self._receipts)
            if receipts:
                self._receipts = bytearray()
            events.append(AckRange(self._subscription, self._lo, self._hi, self._negative, self._run_requeue, self._run_transaction, receipts))
        return 0


def _is_blank(octet: int) -> bool:
    return octet == 32 or octet == 9


def _overrun() -> StompError:
    return StompError("too much unfinished", "Connections hold more of unfinished messages than limits.unfinished_bytes, and this one has sent the least.")
