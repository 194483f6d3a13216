"""What the decoder makes of the frames that a client sends; codec.py says when each comes."""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u32_be, take

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class ProtocolHeader:
    """The connection's first eight bytes. Unless `supported`, answer with PROTOCOL_HEADER and close; feed() takes no more."""

    def __init__(self, data: bytes, supported: bool) -> None:
        self.data = data
        self.supported = supported


class PublishRun:
    """`count` messages, published one after another on `channel` with equal method frames.

    `key` is the raw exchange short string and the raw routing key short string. `data` is packed records, one after another: u32be
    properties size, u32be body size, properties (flag word and values, checked), body. `body_bytes` sums the bodies;
    `property_flags_or` combines the flag words of all; where `alike`, all have the same properties, octet by octet. At most RUN_MAX_COUNT
    messages and, unless it is a single one, RUN_MAX_BYTES of data.
    """

    def __init__(
        self,
        channel: int,
        key: bytes,
        mandatory: bool,
        immediate: bool,
        data: bytes,
        count: int,
        body_bytes: int,
        property_flags_or: int,
        alike: bool,
    ) -> None:
        self.channel = channel
        self.key = key
        self.mandatory = mandatory
        self.immediate = immediate
        self.data = data
        self.count = count
        self.body_bytes = body_bytes
        self.property_flags_or = property_flags_or
        self.alike = alike

    def cut(self, count: int) -> PublishRun:
        """Keep the first `count` messages, and return the others, of which there are some."""
        data = self.data
        pos = body_bytes = 0
        for _ in range(count):
            size = get_u32_be(data, pos + 4)
            body_bytes += size
            pos += 8 + get_u32_be(data, pos) + size
        rest = PublishRun(
            self.channel,
            self.key,
            self.mandatory,
            self.immediate,
            take(data, pos, len(data) - pos),
            self.count - count,
            self.body_bytes - body_bytes,
            self.property_flags_or,
            self.alike,
        )
        self.data = take(data, 0, pos)
        self.count = count
        self.body_bytes = body_bytes
        return rest


class AckRange:
    """Delivery tags lo..hi, each acknowledged on its own; or, if `multiple`, all up to hi, where lo was the first of several such tags.

    hi 0 with `multiple` means all there are; where it had to wait for its turn, lo is the first tag that was not out yet when it came.
    """

    def __init__(self, channel: int, lo: int, hi: int, multiple: bool) -> None:
        self.channel = channel
        self.lo = lo
        self.hi = hi
        self.multiple = multiple


class NackRange:
    """As AckRange for basic.nack or basic.reject, whichever `method` is the id of; `requeue` as the client asked."""

    def __init__(self, channel: int, lo: int, hi: int, multiple: bool, requeue: bool, method: int) -> None:
        self.channel = channel
        self.lo = lo
        self.hi = hi
        self.multiple = multiple
        self.requeue = requeue
        self.method = method


class Control:
    """One method frame: `method` is class id << 16 | method id, `payload` all of it with those four bytes."""

    def __init__(self, channel: int, method: int, payload: bytes) -> None:
        self.channel = channel
        self.method = method
        self.payload = payload


class TooLarge:
    """A message of `body_size` bytes exceeds the limit; its body is skipped. Close the channel with 406."""

    def __init__(self, channel: int, body_size: int) -> None:
        self.channel = channel
        self.body_size = body_size
