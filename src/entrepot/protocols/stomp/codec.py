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

from entrepot.protocols.stomp import control, headers
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import HAS_LENGTH, PERSISTENT, AckRange, Frame, SendRun
from entrepot.protocols.stomp.header_reader import ACK, LINES_MAX, NACK, OTHER, SEND, SHORT_MAX, HeaderReader

if not cython.compiled:
    from entrepot.model.octets import copy_ba, put_u32_be, same_ba, take_ba

RUN_MAX_COUNT = 1024
RUN_MAX_BYTES = 64 * 1024
RECORD_HEAD = 9  # octets of a packed record before its headers

_RUN_COUNT, _RUN_BYTES, _LINES_MAX, _SHORT_MAX, _RECORD_HEAD = RUN_MAX_COUNT, RUN_MAX_BYTES, LINES_MAX, SHORT_MAX, RECORD_HEAD
_COMMAND_MAX = 32
_QUIET_READS = 128
_V10, _V11, _V12 = headers.V10, headers.V11, headers.V12
_HAS_LENGTH, _PERSISTENT = HAS_LENGTH, PERSISTENT
_NOTHING, _RUN, _ACKS = 0, 1, 2
_OTHER, _SEND, _ACK, _NACK = OTHER, SEND, ACK, NACK


class Decoder(HeaderReader):
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
        self.error: StompError | None = None
        # the frame at the front, as far as it is here, from its start: where its body begins (0: not known), how far that and the end of that were looked for
        self._head = 0
        self._scanned = 0
        self._line = 0
        self._has_command = False
        self._searched = 0
        self._name = ""
        self._said: dict[str, str] = {}
        # where the header block that was read last lies in the buffer (-1: nowhere any more)
        self._model = -1
        self._model_size = 0
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
        elif self._count and self._ends_run(need):
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

    def _ends_run(self, need: int) -> bool:
        """Whether the open run is full, or asks for receipts otherwise than the frame that was read: a run asks for them of all of its records, or of none."""
        if self._count >= _RUN_COUNT or self._packed + need > _RUN_BYTES or len(self._receipts) > _RUN_BYTES:
            return True
        return (self._seen & 2 != 0) != (len(self._receipts) != 0)

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
        self._name = control.command_of(command, self.version)
        block = control.checked(block, _LINES_MAX)
        is_first = self.version == 0
        if not is_first:
            self._receipt = control.receipt_in(block, self.version, _SHORT_MAX)
        said = headers.table(block, self.version)
        self._length = control.length_in(said)
        self._said = said
        if is_first:
            self.version = headers.negotiated(said.get("accept-version"))
        return 0

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


def _overrun() -> StompError:
    return StompError("too much unfinished", "Connections hold more of unfinished messages than limits.unfinished_bytes, and this one has sent the least.")
