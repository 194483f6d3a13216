"""What goes out on an AMQP 0-9-1 connection: deliveries from packed records, acknowledgements, ready-made frames.

A delivery is a method frame, a content header frame and, for a body that is not empty, body frames of at most frame_max - 8 bytes. A
*template* is all that is equal for the deliveries of one (consumer, route): the whole method frame, with eight bytes kept for the
delivery tag at `tag_at` (-1: none), and the first three octets of the header frame (type and channel). One exists for basic.deliver,
basic.get-ok and basic.return each; Output.deliver() writes any of them.

A header frame is never split (the specification has no way to), so a property list that another connection published under a larger
frame_max goes out as it is.
"""

from __future__ import annotations

import cython

from entrepot.net.output_buffer import REFERENCED_BODY_MIN_BYTES, OutputBuffer

if not cython.compiled:
    from entrepot.model.octets import copy, get_u16_be, get_u32_be, put_u16_be, put_u32_be, put_u64_be
    from entrepot.protocols.amqp091.properties import find_header, property_at, value_end

OFFSET_HEADER = b"x-stream-offset"
COUNT_HEADER = b"x-delivery-count"

_FRAME_END = 0xCE
_REFERENCED_MIN = REFERENCED_BODY_MIN_BYTES
_HEADERS = 0x2000
_NUMBER_SIZE = 10  # of a header that is a number, besides its name: the name's length, type octet, i64
_HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class Output(OutputBuffer):
    """Frames waiting to be written to one connection, in order. `size` is how many bytes wait.

    Bodies of REFERENCED_BODY_MIN_BYTES and more (per body frame) are not copied: their part refers to the record data it was given.
    """

    def ack(self, channel: int, tag: int, multiple: bool) -> int:
        """Append basic.ack: a publisher confirm."""
        return self._confirm(0x003C0050, channel, tag, 1 if multiple else 0)

    def nack(self, channel: int, tag: int, multiple: bool) -> int:
        """Append basic.nack: a publisher's message that was not taken."""
        return self._confirm(0x003C0078, channel, tag, 1 if multiple else 0)

    def heartbeat(self) -> int:
        """Append a heartbeat."""
        return self.raw(_HEARTBEAT_FRAME)

    def deliver(self, data: bytes, pos: int, count: int, template: bytes, tag_at: int, first_tag: int, channel: int, frame_max: int) -> int:
        """Append `count` deliveries, tagged first_tag and up, of the packed records of `data` from `pos`; return the next position."""
        template_size = len(template)
        body_max = frame_max - 8
        buffer = self._buffer
        filled = self._filled
        capacity = self._capacity
        tag = first_tag
        while count > 0:
            properties_size = get_u32_be(data, pos)
            body_size = get_u32_be(data, pos + 4)
            pos += 8
            need = template_size + properties_size + 17
            whole = body_size < _REFERENCED_MIN and body_size <= body_max
            if whole:
                need += body_size + 8
            if need > capacity - filled:
                self._filled = filled
                self._room(need)
                buffer = self._buffer
                filled = self._filled
                capacity = self._capacity
            copy(buffer, filled, template, 0, template_size)
            if tag_at >= 0:
                put_u64_be(buffer, filled + tag_at, tag)
            filled += template_size
            put_u32_be(buffer, filled, properties_size + 12)
            put_u32_be(buffer, filled + 4, 0x003C0000)
            put_u32_be(buffer, filled + 8, 0)
            put_u32_be(buffer, filled + 12, body_size)
            copy(buffer, filled + 16, data, pos, properties_size)
            pos += properties_size
            filled += 16 + properties_size
            buffer[filled] = _FRAME_END
            filled += 1
            if not whole:
                self._filled = filled
                self._body(data, pos, body_size, channel, body_max)
                buffer = self._buffer
                filled = self._filled
                capacity = self._capacity
            elif body_size:
                buffer[filled] = 3
                put_u16_be(buffer, filled + 1, channel)
                put_u32_be(buffer, filled + 3, body_size)
                copy(buffer, filled + 7, data, pos, body_size)
                filled += 7 + body_size
                buffer[filled] = _FRAME_END
                filled += 1
            pos += body_size
            tag += 1
            count -= 1
        self._filled = filled
        return pos

    def deliver_numbered(
        self,
        data: bytes,
        pos: int,
        count: int,
        template: bytes,
        tag_at: int,
        first_tag: int,
        channel: int,
        frame_max: int,
        header: bytes,
        number: int,
        step: int,
    ) -> int:
        """deliver() with a header of that name (i64: `number`, of each next message `step` more) put into each message, in place of one it had."""
        template_size = len(template)
        tag = first_tag
        while count > 0:
            properties_size = get_u32_be(data, pos)
            body_size = get_u32_be(data, pos + 4)
            pos += 8
            self._room(template_size + properties_size + 21 + len(header) + _NUMBER_SIZE)
            buffer = self._buffer
            filled = self._filled
            copy(buffer, filled, template, 0, template_size)
            if tag_at >= 0:
                put_u64_be(buffer, filled + tag_at, tag)
            filled += template_size
            size_at = filled
            put_u32_be(buffer, filled + 4, 0x003C0000)
            put_u32_be(buffer, filled + 8, 0)
            put_u32_be(buffer, filled + 12, body_size)
            self._filled = filled + 16
            self._numbered_properties(data, pos, properties_size, header, number)
            pos += properties_size
            filled = self._filled
            put_u32_be(buffer, size_at, filled - size_at - 4)
            buffer[filled] = _FRAME_END
            self._filled = filled + 1
            if body_size:
                self._body(data, pos, body_size, channel, frame_max - 8)
            pos += body_size
            tag += 1
            number += step
            count -= 1
        return pos

    def _confirm(self, method: int, channel: int, tag: int, bits: int) -> int:
        if self._capacity - self._filled < 21:
            self._room(21)
        buffer = self._buffer
        filled = self._filled
        buffer[filled] = 1
        put_u16_be(buffer, filled + 1, channel)
        put_u32_be(buffer, filled + 3, 13)
        put_u32_be(buffer, filled + 7, method)
        put_u64_be(buffer, filled + 11, tag)
        buffer[filled + 19] = bits
        buffer[filled + 20] = _FRAME_END
        self._filled = filled + 21
        return 0

    def _body(self, data: bytes, pos: int, size: int, channel: int, body_max: int) -> int:
        """Append body frames for data[pos:pos+size], large ones by reference."""
        while size > 0:
            step = min(size, body_max)
            referenced = step >= _REFERENCED_MIN
            self._room(8 if referenced else 8 + step)
            buffer = self._buffer
            filled = self._filled
            buffer[filled] = 3
            put_u16_be(buffer, filled + 1, channel)
            put_u32_be(buffer, filled + 3, step)
            filled += 7
            if referenced:
                self._filled = filled
                self._refer(data, pos, step)
                filled = 0
            else:
                copy(buffer, filled, data, pos, step)
                filled += step
            buffer[filled] = _FRAME_END
            self._filled = filled + 1
            pos += step
            size -= step
        return 0

    def _numbered_properties(self, data: bytes, pos: int, size: int, header: bytes, number: int) -> int:
        """Append the property list data[pos:pos+size] with a header that is a number; there is room for it."""
        buffer = self._buffer
        filled = self._filled
        stop = pos + size
        flags = get_u16_be(data, pos)
        table = property_at(data, pos, _HEADERS)
        put_u16_be(buffer, filled, flags | _HEADERS)
        copy(buffer, filled + 2, data, pos + 2, table - pos - 2)  # content type and encoding come before the headers
        filled += table - pos
        size_at = filled
        filled += 4
        buffer[filled] = len(header)
        copy(buffer, filled + 1, header, 0, len(header))
        filled += 1 + len(header)
        buffer[filled] = 0x6C  # l
        put_u64_be(buffer, filled + 1, number)
        filled += 9
        if flags & _HEADERS:
            rest = table + 4
            table_end = rest + get_u32_be(data, table)
            own = find_header(data, table, header)
            if own >= 0:
                copy(buffer, filled, data, rest, own - rest)
                filled += own - rest
                rest = value_end(data, own + 1 + data[own])
            copy(buffer, filled, data, rest, table_end - rest)
            filled += table_end - rest
            table = table_end
        put_u32_be(buffer, size_at, filled - size_at - 4)
        copy(buffer, filled, data, table, stop - table)
        self._filled = filled + stop - table
        return 0


def deliver_template(consumer_tag: bytes, redelivered: bool, key: bytes, channel: int) -> tuple[bytes, int]:
    """(template, tag_at) of basic.deliver; `key` as PublishRun's: raw exchange and routing key short strings."""
    head = b"\x00\x3c\x00\x3c" + _short(consumer_tag)
    return _template(head, b"\x00" * 8 + _bit(redelivered) + key, channel), 7 + len(head)


def get_ok_template(redelivered: bool, key: bytes, message_count: int, channel: int) -> tuple[bytes, int]:
    """(template, tag_at) of basic.get-ok; `message_count` is how many are left ready."""
    head = b"\x00\x3c\x00\x47"
    return _template(head, b"\x00" * 8 + _bit(redelivered) + key + min(message_count, 0xFFFFFFFF).to_bytes(4, "big"), channel), 11


def return_template(reply_code: int, reply_text: bytes, key: bytes, channel: int) -> tuple[bytes, int]:
    """(template, -1) of basic.return."""
    return _template(b"\x00\x3c\x00\x32" + reply_code.to_bytes(2, "big"), _short(reply_text) + key, channel), -1


def _template(head: bytes, tail: bytes, channel: int) -> bytes:
    number = channel.to_bytes(2, "big")
    return b"".join((b"\x01", number, (len(head) + len(tail)).to_bytes(4, "big"), head, tail, b"\xce\x02", number))


def _short(text: bytes) -> bytes:
    if len(text) > 255:
        raise ValueError(f"short string of {len(text)} bytes; it holds 255")
    return bytes([len(text)]) + text


def _bit(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"
