"""Direct reply-to: the asker's reply queue takes the place of the name that stands for it, in every record of a run."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_streams import PROPERTIES
from amqp_wire import record, short
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import BasicProperties

from both_modes import both
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

BELOW = "entrepot.protocols.amqp091.properties"
mode = pytest.mark.parametrize("module", both("entrepot.protocols.amqp091.reply_to", BELOW), ids=["installed", "interpreted"])

NAME = "amq.rabbitmq.reply-to"
QUEUE = f"{NAME}.0123456789"


def packed(body: bytes, **values: Any) -> bytes:
    return record(b"".join(BasicProperties(**values).encode()), body)


@mode
@given(st.lists(st.tuples(st.binary(max_size=50), st.sampled_from([None, "", NAME, f"{NAME}.", f"{NAME[:-1]}x", "amq.gen-1"]), st.booleans()), max_size=8))
def test_only_that_name_is_replaced(module: Any, records: list[tuple[bytes, str | None, bool]]) -> None:
    def run(replies: str) -> bytes:
        return b"".join(
            packed(
                body,
                reply_to=replies if reply_to == NAME else reply_to,
                headers={"a": NAME} if headers else None,
                priority=3,
                correlation_id=NAME,
                timestamp=5,
                message_id="m",
            )
            for body, reply_to, headers in records
        )

    before = run(NAME)
    after = module.with_reply_queue(before, len(records), short(QUEUE.encode()))
    assert after == run(QUEUE)
    if after == before:
        assert after is before


@mode
@pytest.mark.parametrize("properties", PROPERTIES)
def test_other_properties_stay(module: Any, properties: bytes) -> None:
    data = record(properties, b"body") + packed(b"ask", reply_to=NAME) + record(properties, b"")
    expected = record(properties, b"body") + packed(b"ask", reply_to=QUEUE) + record(properties, b"")
    assert module.with_reply_queue(data, 3, short(QUEUE.encode())) == expected


@mode
def test_no_reply_queue(module: Any) -> None:
    plain = packed(b"x", reply_to="elsewhere")
    assert module.with_reply_queue(plain, 1, b"") is plain
    with pytest.raises(AmqpError, match="fast reply consumer does not exist") as caught:
        module.with_reply_queue(plain + packed(b"x", reply_to=NAME), 2, b"")
    assert caught.value.reply_code == ReplyCode.PRECONDITION_FAILED
