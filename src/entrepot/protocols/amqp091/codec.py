"""Bytes off an AMQP 0-9-1 connection become events: runs of publishes, ranges of acknowledgements, single methods.

A frame is u8 type, u16 channel, u32 payload size, payload, u8 0xCE (specification 4.2.3), all big-endian. Decoder.feed() returns a list of

    ProtocolHeader   the eight bytes before the first frame
    PublishRun       consecutive basic.publish messages of one channel with equal method frames
    AckRange         consecutive basic.ack; NackRange: basic.nack and basic.reject
    Control          any other method, its payload left to methods.decode()
    TooLarge         a message over the limit is being skipped: the channel is to be closed with 406
    AmqpError        only as the last event: the peer broke the protocol; everything before it holds, and feed() raises it from now on

Any split of the input gives the same events, but for where runs and ranges end: neighbours with equal channel (and key) may be merged.

Rules kept here, with RabbitMQ's reply codes: frame size and end octet 501, unknown frame type 501, body longer than declared 501,
arguments that do not decode 501, a malformed property list 502, channel 0 504, unfinished messages on more channels than there may be 504,
a frame out of turn 505, unfinished messages over their limit 506. channel.close and close-ok end an unfinished message of their channel: a client that is told
to close may abandon one.
"""

from __future__ import annotations

import cython

from entrepot.net.receive_buffer import BUFFER_MAX_BYTES, ReceiveBuffer
from entrepot.protocols.amqp091.assembly import Assembly
from entrepot.protocols.amqp091.events import PROTOCOL_HEADER, AckRange, Control, NackRange, ProtocolHeader, PublishRun, TooLarge
from entrepot.protocols.amqp091.properties import NESTING_MAX
from entrepot.protocols.amqp091.reply_codes import AmqpError

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u16_be_ba, get_u32_be_ba, get_u64_be_ba, put_u32_be, same_ba, take_ba
    from entrepot.protocols.amqp091.properties import check_properties

FRAME_END = 0xCE
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8

RUN_MAX_COUNT = 1024
RUN_MAX_BYTES = 64 * 1024

_FRAME_END = FRAME_END
_BUFFER_MAX = BUFFER_MAX_BYTES
_RUN_COUNT = RUN_MAX_COUNT
_RUN_BYTES = RUN_MAX_BYTES
_WHOLE_MAX = 64 * 1024  # a message up to this size is waited for whole; a longer one is assembled frame by frame
_PUBLISH_MAX = 4 + 2 + 256 + 256 + 1
_QUIET_READS = 128

# What is open at the end of what was decoded so far: a run or range that the next frame may still extend.
_NOTHING, _RUN, _ACKS, _NACKS, _REJECTS = 0, 1, 2, 3, 4


class Decoder(ReceiveBuffer):
    """Of one connection; fill writable() and say feed(count), or push(bytes).

    Limits: `frame_max` (bytes of a whole frame as it was tuned; up to as many of payload are taken), `channel_max` (how many channels may be open),
    `message_size_max` (body bytes), `assembly_max_bytes` (bytes held of unfinished messages of all channels together) and
    `nesting_max` of header tables. `frame_max` and `channel_max` may be set again once tuned. `heartbeats` counts heartbeat frames.
    `error` is the AmqpError that ended decoding, if one did.
    """

    def __init__(
        self,
        frame_max: int = 131072,
        channel_max: int = 2047,
        message_size_max: int = 128 * 1024 * 1024,
        assembly_max_bytes: int = 256 * 1024 * 1024,
        nesting_max: int = NESTING_MAX,
    ) -> None:
        if not 4096 <= frame_max <= 0x7FFFFFF0:
            raise ValueError(f"frame_max is {frame_max}; give 4096 to 2147483632")
        if not 0 <= message_size_max <= 0xFFFFFFFF:
            raise ValueError(f"message_size_max is {message_size_max}; give 0 to 4294967295")
        super().__init__()
        self.set_frame_max(frame_max)
        self.channel_max = channel_max
        self.message_size_max = message_size_max
        self.assembly_max_bytes = assembly_max_bytes
        self.nesting_max = nesting_max
        self.heartbeats = 0
        self.error: AmqpError | None = None
        self._greeted = False
        # the open run or range
        self._open = _NOTHING
        self._channel = 0
        self._run_pos = 0
        self._run_size = 0
        self._run_key = b""
        self._run_bits = 0
        self._count = 0
        self._body_bytes = 0
        self._flags_or = 0
        self._alike = True
        self._pack = bytearray()
        self._pack_capacity = 0
        self._packed = 0
        self._lo = 0
        self._hi = 0
        self._multiple = False
        self._requeue = False
        # the property list checked last, in the buffer; -1 when there is none
        self._checked_pos = -1
        self._checked_size = 0
        self._checked_flags = 0
        # messages that did not come in one piece, by channel
        self._assemblies: dict[int, Assembly] = {}
        self._unfinished = 0
        self._feeding = False
        self._overrun = False

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held for buffers and unfinished messages."""
        return self._capacity + self._pack_capacity + self._gathered

    def set_frame_max(self, frame_max: int) -> int:
        """What was tuned."""
        self.frame_max = frame_max
        self._limit = max(_BUFFER_MAX, 2 * frame_max + 64)
        return 0

    def push(self, data: bytes) -> list[object]:
        """feed() for bytes that were read elsewhere; the same events."""
        events: list[object] = []
        size = len(data)
        pos = 0
        while pos < size:
            self.writable()
            step = min(self._capacity - self._end, size - pos)
            copy(self._buffer, self._end, data, pos, step)
            pos += step
            events.extend(self.feed(step))
            if self.error is not None:
                break
        return events

    def feed(self, count: int) -> list[object]:
        """Events of what is complete, after `count` more bytes were written at the front of writable().

        Raises the AmqpError that an earlier call returned as its last event.
        """
        if self.error is not None:
            raise self.error
        self.received(count)
        if self._quiet >= _QUIET_READS and self._pack_capacity:
            self._pack = bytearray()
            self._pack_capacity = 0
        events: list[object] = []
        self._feeding = True
        try:
            self._decode(events)
            self._flush(events)
        except AmqpError as error:
            self.error = error
            self._flush(events)
            events.append(error)
            self._forget()
        finally:
            self._feeding = False
        return events

    def overrun(self) -> AmqpError | None:
        """All connections together hold too much of what is unfinished: give back what is held here.

        The error that ends the connection; None where nothing here is unfinished, and where feed() is under way, which says it itself.
        """
        if self._feeding:
            self._overrun = True
            return None
        if self._unfinished == 0 and self._start == self._end:
            self.release()
            return None
        if self.error is None:
            self.error = _overrun()
        self._forget()
        self.drop()
        return self.error

    def untaken(self) -> bytes | None:
        """The octets that were received and not taken; None, where part of a message was."""
        return None if self._unfinished or self.error is not None else bytes(self._buffer[self._start : self._end])

    def resume(self) -> int:
        """What comes is in the middle of a connection: another decoder has had what was before."""
        self._greeted = True
        return 0

    def release(self) -> int:
        """Shrink to the least memory; call it when the connection has been idle for a while."""
        self._pack = bytearray()
        self._pack_capacity = 0
        return self.shrink()

    def _forget(self) -> int:
        self._assemblies.clear()
        self._unfinished = 0
        self._gathered = 0
        return self._hold()

    def _decode(self, events: list[object]) -> int:
        buffer = self._buffer
        pos = self._start
        end = self._end
        self._checked_pos = -1
        if not self._greeted:
            if end - pos < 8:
                return 0
            greeting = take_ba(buffer, pos, 8)
            pos += 8
            self._start = pos
            self._greeted = True
            events.append(ProtocolHeader(greeting, greeting == PROTOCOL_HEADER))
            if greeting != PROTOCOL_HEADER:
                self.error = AmqpError(501, f"protocol header {greeting!r}; this is {PROTOCOL_HEADER!r}")
                return 0
        payload_max = self.frame_max  # as RabbitMQ: eight bytes more than the specification says, for clients that count the payload alone
        while end - pos >= 7:
            kind = buffer[pos]
            channel = get_u16_be_ba(buffer, pos + 1)
            size = get_u32_be_ba(buffer, pos + 3)
            if size > payload_max:
                raise AmqpError(501, f"frame with {size} bytes of payload; the limit is {payload_max}")
            if size >= end - pos - 7:
                break
            if buffer[pos + 7 + size] != _FRAME_END:
                raise AmqpError(501, f"frame ends with 0x{buffer[pos + 7 + size]:02x} instead of 0xce")
            if self._unfinished and channel in self._assemblies:
                self._continue(events, self._assemblies[channel], kind, pos, size)
                pos += 8 + size
                continue
            if kind == 1:
                if size < 4:
                    raise AmqpError(501, f"method frame of {size} bytes")
                method = get_u32_be_ba(buffer, pos + 7)
                if method == 0x003C0028:
                    after = self._publish(events, channel, pos, size)
                    if after == pos:
                        break
                    pos = after
                    continue
                if method == 0x003C0050:
                    self._ack(events, channel, pos, size)
                elif method == 0x003C0078 or method == 0x003C005A:
                    self._nack(events, channel, pos, size, method)
                else:
                    self._control(events, channel, method, pos, size)
            elif kind == 8:
                if channel:
                    raise AmqpError(505, f"heartbeat on channel {channel}")
                if size:
                    raise AmqpError(501, f"heartbeat with {size} bytes of payload")
                self.heartbeats += 1
            elif kind == 2 or kind == 3:
                raise AmqpError(505, f"content frame of type {kind} on channel {channel}, where a method was expected")
            else:
                raise AmqpError(501, f"frame of unknown type {kind}")
            pos += 8 + size
        self._start = pos
        return 0

    # --- publishes -------------------------------------------------------------------------------------------------------------------

    def _publish(self, events: list[object], channel: int, pos: int, size: int) -> int:
        """Take the message that starts at `pos` if all its frames are here; return what follows, or `pos` where it pays to wait."""
        buffer = self._buffer
        end = self._end
        header = pos + 8 + size
        if channel == 0:
            raise AmqpError(504, "basic.publish on channel 0", 60, 40)
        if size > _PUBLISH_MAX:
            raise AmqpError(501, f"basic.publish of {size} bytes", 60, 40)
        if end - header < 8:
            return pos
        if buffer[header] != 2 or get_u16_be_ba(buffer, header + 1) != channel:
            return self._begin(channel, pos, size)
        header_size = get_u32_be_ba(buffer, header + 3)
        if header_size > _WHOLE_MAX or header_size > self.frame_max - 8 or header_size < 14:
            return self._begin(channel, pos, size)
        if header_size > end - header - 8:
            return pos
        body_size = get_u64_be_ba(buffer, header + 11)
        if buffer[header + 7 + header_size] != _FRAME_END or get_u32_be_ba(buffer, header + 7) != 0x003C0000 or body_size > self.message_size_max:
            return self._begin(channel, pos, size)
        after = header + 8 + header_size
        if body_size:
            if end - after < 8:
                return pos
            if body_size != get_u32_be_ba(buffer, after + 3) or buffer[after] != 3 or get_u16_be_ba(buffer, after + 1) != channel or body_size > self.frame_max:
                return self._begin(channel, pos, size)
            if body_size > end - after - 8:
                return pos if body_size <= _WHOLE_MAX else self._begin(channel, pos, size)
            if buffer[after + 7 + body_size] != _FRAME_END:
                return self._begin(channel, pos, size)
        # The message is whole.
        properties_size = header_size - 12
        need = 8 + properties_size + body_size
        if self._open != _RUN or size != self._run_size or not same_ba(buffer, pos, self._run_pos, size + 8):
            self._flush(events)
            self._open_run(channel, pos, size)
        elif self._count >= _RUN_COUNT or self._packed + need > _RUN_BYTES:
            self._emit_run(events)
        repeats = self._count > 0  # whether this one is, but for its body, the last one again
        if self._checked_pos < 0 or properties_size != self._checked_size or not same_ba(buffer, header + 19, self._checked_pos, properties_size):
            self._checked_pos = -1
            self._checked_flags = check_properties(buffer, header + 19, header + 7 + header_size, self.nesting_max)
            self._checked_pos = header + 19
            self._checked_size = properties_size
            repeats = False
            if self._count:
                self._alike = False
        self._flags_or |= self._checked_flags
        if need > self._pack_capacity - self._packed:
            self._grow_pack(self._packed, need)
        pack = self._pack
        packed = self._packed
        put_u32_be(pack, packed, properties_size)
        put_u32_be(pack, packed + 4, body_size)
        copy_ba(pack, packed + 8, buffer, header + 19, properties_size)
        if body_size:
            copy_ba(pack, packed + 8 + properties_size, buffer, after + 7, body_size)
            after += 8 + body_size
            self._body_bytes += body_size
        self._packed = packed + need
        self._count += 1
        return self._follow(pos, size, header_size, after) if repeats else after

    def _follow(self, model: int, size: int, header_size: int, pos: int) -> int:
        """Take the messages from `pos` that are, but for their bodies, the octets of the one taken at `model`: one comparison is every check of them.

        Return where they end: what another message, a run that is full or a frame not yet here does there, _publish decides.
        """
        buffer = self._buffer
        end = self._end
        pack = self._pack
        packed = self._packed
        channel = self._channel
        body_max = min(self.message_size_max, self.frame_max)
        properties_size = header_size - 12
        left = _RUN_COUNT - self._count
        count = 0
        body_bytes = 0
        while count < left and end - pos - 24 > size + header_size:
            after = pos + 16 + size + header_size
            body_size = get_u32_be_ba(buffer, after + 3)
            if body_size == 0 or body_size > body_max or body_size > end - after - 8 or get_u64_be_ba(buffer, pos + 19 + size) != body_size:
                break
            if not same_ba(buffer, pos, model, size + 19) or not same_ba(buffer, pos + 27 + size, model + 27 + size, properties_size + 1):
                break
            if buffer[after] != 3 or get_u16_be_ba(buffer, after + 1) != channel or buffer[after + 7 + body_size] != _FRAME_END:
                break
            need = 8 + properties_size + body_size
            if packed + need > _RUN_BYTES:
                break
            if need > self._pack_capacity - packed:
                self._grow_pack(packed, need)
                pack = self._pack
            put_u32_be(pack, packed, properties_size)
            put_u32_be(pack, packed + 4, body_size)
            copy_ba(pack, packed + 8, buffer, pos + 27 + size, properties_size)
            copy_ba(pack, packed + 8 + properties_size, buffer, after + 7, body_size)
            packed += need
            body_bytes += body_size
            count += 1
            pos = after + 8 + body_size
        self._packed = packed
        self._count += count
        self._body_bytes += body_bytes
        return pos

    def _open_run(self, channel: int, pos: int, size: int) -> int:
        self._run_key = self._publish_key(pos, size)
        self._run_bits = self._buffer[pos + 6 + size]
        self._run_pos = pos
        self._run_size = size
        self._channel = channel
        self._open = _RUN
        self._reset_run()
        return 0

    def _publish_key(self, pos: int, size: int) -> bytes:
        """Exchange and routing key, of any bytes, of the basic.publish payload at `pos`: u32 method, u16 ticket, short string, short string, bits."""
        buffer = self._buffer
        stop = pos + 7 + size
        if size < 9:
            raise AmqpError(501, f"basic.publish of {size} bytes", 60, 40)
        routing_key = pos + 14 + buffer[pos + 13]
        if routing_key >= stop or routing_key + 2 + buffer[routing_key] != stop:
            raise AmqpError(501, "basic.publish whose strings do not fill it", 60, 40)
        return take_ba(buffer, pos + 13, size - 7)

    def _reset_run(self) -> int:
        self._count = 0
        self._packed = 0
        self._body_bytes = 0
        self._flags_or = 0
        self._alike = True
        return 0

    def _grow_pack(self, packed: int, need: int) -> int:
        capacity = max(self._pack_capacity * 2, 1024)
        while capacity - packed < need:
            capacity *= 2
        pack = bytearray(capacity)
        copy_ba(pack, 0, self._pack, 0, packed)
        self._pack = pack
        self._pack_capacity = capacity
        return 0

    def _emit_run(self, events: list[object]) -> int:
        if self._count:
            run = PublishRun.__new__(PublishRun)
            run.channel = self._channel
            run.key = self._run_key
            run.mandatory = self._run_bits & 1 != 0
            run.immediate = self._run_bits & 2 != 0
            run.data = take_ba(self._pack, 0, self._packed)
            run.count = self._count
            run.body_bytes = self._body_bytes
            run.property_flags_or = self._flags_or
            run.alike = self._alike
            events.append(run)
        return self._reset_run()

    # --- messages that did not come in one piece ---------------------------------------------------------------------------------------

    def _begin(self, channel: int, pos: int, size: int) -> int:
        """Take the method frame alone; what follows is assembled. Raises AmqpError 504 where so many are unfinished that some channel was never opened."""
        if self._unfinished >= self.channel_max:
            raise AmqpError(504, "expected 'channel.open'", 60, 40)
        self._assemblies[channel] = Assembly(channel, self._publish_key(pos, size), self._buffer[pos + 6 + size])
        self._unfinished += 1
        return pos + 8 + size

    def _continue(self, events: list[object], assembly: Assembly, kind: int, pos: int, size: int) -> int:
        buffer = self._buffer
        channel = assembly.channel
        if kind == 1:
            method = get_u32_be_ba(buffer, pos + 7) if size >= 4 else 0
            if method == 0x00140028 or method == 0x00140029:  # channel.close, channel.close-ok
                self._drop(assembly)
                return self._control(events, channel, method, pos, size)
            raise AmqpError(505, f"method frame on channel {channel} inside a message", 60, 40)
        if kind == 2:
            if assembly.has_header:
                raise AmqpError(505, f"second content header on channel {channel}", 60, 40)
            return self._header(events, assembly, pos, size)
        if kind != 3:
            if kind != 8:
                raise AmqpError(501, f"frame of unknown type {kind}")
            raise AmqpError(505, f"heartbeat on channel {channel}")
        if not assembly.has_header:
            raise AmqpError(505, f"content body on channel {channel} before its header", 60, 40)
        if size > assembly.left:
            raise AmqpError(501, f"content body frame of {size} bytes where {assembly.left} were left", 60, 40)
        assembly.left -= size
        if not assembly.skipped:
            self._gather(size)
            assembly.gather(take_ba(buffer, pos + 7, size))
        if assembly.left == 0:
            self._complete(events, assembly)
        return 0

    def _header(self, events: list[object], assembly: Assembly, pos: int, size: int) -> int:
        buffer = self._buffer
        if size < 12:
            raise AmqpError(501, f"content header of {size} bytes", 60, 40)
        if get_u32_be_ba(buffer, pos + 7) != 0x003C0000:
            raise AmqpError(505, f"content header for class {get_u16_be_ba(buffer, pos + 7)}, weight {get_u16_be_ba(buffer, pos + 9)}", 60, 40)
        assembly.flags = check_properties(buffer, pos + 19, pos + 7 + size, self.nesting_max)
        assembly.has_header = True
        assembly.body_size = get_u64_be_ba(buffer, pos + 11)
        assembly.left = assembly.body_size
        if assembly.body_size > self.message_size_max:
            self._flush(events)
            events.append(TooLarge(assembly.channel, assembly.body_size))
            assembly.skipped = True
        else:
            assembly.properties = take_ba(buffer, pos + 19, size - 12)
            self._gather(size - 12)
            if assembly.left == 0:
                self._complete(events, assembly)
        return 0

    def _gather(self, size: int) -> int:
        """Count `size` bytes more of unfinished messages. Raises AmqpError 506."""
        self._gathered += size
        if self._gathered > self.assembly_max_bytes:
            raise AmqpError(506, f"unfinished messages hold more than {self.assembly_max_bytes} bytes", 60, 40)
        if self._gathered > self._free:
            self._hold()
            if self._overrun:
                raise _overrun()
        return 0

    def _complete(self, events: list[object], assembly: Assembly) -> int:
        self._drop(assembly)
        if assembly.skipped:
            return 0
        self._flush(events)
        events.append(assembly.run())
        return 0

    def _drop(self, assembly: Assembly) -> int:
        del self._assemblies[assembly.channel]
        self._unfinished -= 1
        if assembly.has_header and not assembly.skipped:
            before = self._gathered
            self._gathered -= len(assembly.properties) + assembly.body_size - assembly.left
            if before > self._free:
                self._hold()
                if assembly.left == 0 and self.share is not None:
                    self.share.finished()
        return 0

    # --- everything else -------------------------------------------------------------------------------------------------------------

    def _ack(self, events: list[object], channel: int, pos: int, size: int) -> int:
        if size != 13 or channel == 0:
            raise AmqpError(501 if channel else 504, f"basic.ack of {size} bytes on channel {channel}", 60, 80)
        tag = get_u64_be_ba(self._buffer, pos + 11)
        multiple = self._buffer[pos + 19] & 1
        if self._open == _ACKS and channel == self._channel and self._extends(tag, multiple != 0):
            self._hi = tag
            return 0
        self._flush(events)
        self._open_range(_ACKS, channel, tag, multiple != 0)
        return 0

    def _nack(self, events: list[object], channel: int, pos: int, size: int, method: int) -> int:
        if size != 13 or channel == 0:
            raise AmqpError(501 if channel else 504, f"basic.nack or reject of {size} bytes on channel {channel}", 60, method & 0xFFFF)
        tag = get_u64_be_ba(self._buffer, pos + 11)
        bits = self._buffer[pos + 19]
        kind = _NACKS
        if method == 0x003C005A:  # basic.reject has the requeue bit alone
            kind = _REJECTS
            bits = (bits & 1) << 1
        requeue = bits & 2 != 0
        multiple = bits & 1 != 0
        if self._open == kind and channel == self._channel and requeue == self._requeue and self._extends(tag, multiple):
            self._hi = tag
            return 0
        self._flush(events)
        self._open_range(kind, channel, tag, multiple)
        self._requeue = requeue
        return 0

    def _extends(self, tag: int, multiple: bool) -> bool:
        """Whether the open range and this tag are one: the next single one, or a higher "all up to" (tag 0, all, stays alone)."""
        if multiple:
            return self._multiple and self._hi > 0 and tag > self._hi
        return not self._multiple and tag > 0 and tag - 1 == self._hi

    def _open_range(self, kind: int, channel: int, tag: int, multiple: bool) -> int:
        self._open = kind
        self._channel = channel
        self._multiple = multiple
        self._lo = tag
        self._hi = tag
        return 0

    def _control(self, events: list[object], channel: int, method: int, pos: int, size: int) -> int:
        self._flush(events)
        control = Control.__new__(Control)
        control.channel = channel
        control.method = method
        control.payload = take_ba(self._buffer, pos + 7, size)
        events.append(control)
        return 0

    def _flush(self, events: list[object]) -> int:
        """End the open run or range."""
        opened = self._open
        if opened == _NOTHING:
            return 0
        self._open = _NOTHING
        if opened == _RUN:
            self._emit_run(events)
        elif opened == _ACKS:
            ack = AckRange.__new__(AckRange)
            ack.channel = self._channel
            ack.lo = self._lo
            ack.hi = self._hi
            ack.multiple = self._multiple
            events.append(ack)
        else:
            nack = NackRange.__new__(NackRange)
            nack.channel = self._channel
            nack.lo = self._lo
            nack.hi = self._hi
            nack.multiple = self._multiple
            nack.requeue = self._requeue
            nack.method = 120 if opened == _NACKS else 90
            events.append(nack)
        return 0


def _overrun() -> AmqpError:
    return AmqpError(506, "unfinished messages of all connections hold more than limits.unfinished_bytes, and this one's have waited longest", 60, 40)
