"""Direct reply-to: the name that stands for "my own answers", and its place in messages taken by the asker's reply queue.

A client consumes from DIRECT_REPLY_TO and publishes requests with that name as their reply_to. Who serves them meets the name of a queue
that only the asker's channel reads, and that ends with its consumer; an answer is published to it as to any queue.
"""

from __future__ import annotations

import cython

from entrepot.protocols.amqp091.properties import REPLY_TO
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

if not cython.compiled:
    from entrepot.model.octets import get_u32_be, take
    from entrepot.protocols.amqp091.properties import property_at, short_string

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"

_NAME = DIRECT_REPLY_TO.encode()
_REPLY_TO = REPLY_TO


def with_reply_queue(data: bytes, count: int, reply_queue: bytes) -> bytes:
    """`count` packed records, `reply_queue` in place of each reply_to that is DIRECT_REPLY_TO; the same bytes where none is.

    `reply_queue` is a short string with its length octet. Raises AmqpError 406 where it is needed and empty: the channel has no reply consumer.
    """
    parts: list[bytes] = []
    copied = 0
    position = 0
    for _ in range(count):
        properties_size = get_u32_be(data, position)
        body_size = get_u32_be(data, position + 4)
        properties = position + 8
        if short_string(data, properties, _REPLY_TO) == _NAME:
            if not reply_queue:
                raise AmqpError(ReplyCode.PRECONDITION_FAILED, "fast reply consumer does not exist", 60, 40)
            value = property_at(data, properties, _REPLY_TO)
            grown = properties_size + len(reply_queue) - len(_NAME) - 1
            parts.append(take(data, copied, position - copied))
            parts.append(grown.to_bytes(4, "big"))
            parts.append(take(data, position + 4, value - position - 4))
            parts.append(reply_queue)
            copied = value + 1 + len(_NAME)
        position = properties + properties_size + body_size
    if copied == 0:
        return data
    parts.append(take(data, copied, len(data) - copied))
    return b"".join(parts)
