"""Produce: one Append for all partitions of a request, answered when what was taken is durable."""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.port import DONE
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.protocols.kafka.batch_errors import InvalidBatch
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.produce_codec import INVALID_TXN_STATE, ProduceRequest
from entrepot.protocols.kafka.record_batch import BATCH_VERSION

if not cython.compiled:
    from entrepot.broker.partition_calls import make_append
    from entrepot.protocols.kafka.primitives import Reader
    from entrepot.protocols.kafka.produce_codec import decode_produce, encode_produce

INVALID_REQUIRED_ACKS = int(ErrorCode.INVALID_REQUIRED_ACKS)

_CODEC = CODEC_KAFKA
_CODEC_VERSION = BATCH_VERSION
_DONE = DONE


def produce(exchange: Exchange, reader: Reader) -> None:
    """Handler of Produce. acks 0: not answered, and an error ends the connection; 1 and -1: answered when durable."""
    session = exchange.session
    request = decode_produce(reader, exchange.flexible, session.shared.validator)
    exchange.state = request
    if request.acks < -1 or request.acks > 1:
        _refuse_all(request, InvalidBatch(INVALID_REQUIRED_ACKS, f"acks is {request.acks}; 0, 1 and -1 are possible"))
    elif request.transactional_id is not None:
        _refuse_all(request, InvalidBatch(INVALID_TXN_STATE, "transactions are not supported"))
    if len(request.valid) == 0:
        _answer(exchange)
        return
    call = make_append(0, _CODEC, _CODEC_VERSION, request.valid, request.acks != 0)
    exchange.submit([call], appended)
    if call.rewritten_bytes:
        session.shared.validator.charge(call.rewritten_bytes)


def appended(exchange: Exchange, calls: list[Any]) -> None:
    """The Append has its outcome."""
    call = calls[0]
    if call.outcome != _DONE:
        error = call.error
        if not isinstance(error, (Refused, Unavailable)):
            error = Refused(Reason.INVALID, "the batch was not taken")
        for part in exchange.state.valid:
            part.error = error
    _answer(exchange)


def _refuse_all(request: ProduceRequest, error: InvalidBatch) -> None:
    for topic in request.topics:
        for part in topic.parts:
            part.error = error
    request.valid = []


def _answer(exchange: Exchange) -> None:
    request: ProduceRequest = exchange.state
    exchange.state = None
    session = exchange.session
    if request.acks == 0:
        for topic in request.topics:
            for part in topic.parts:
                if part.error is not None:
                    # As Kafka: there is no other way to tell the producer.
                    session.count_error(exchange)
                    session.fail(f"a batch for {part.topic}-{part.partition} sent with acks=0 was refused: {part.error}")
                    return
        exchange.no_answer()
        return
    writer = exchange.writer()
    if encode_produce(writer, exchange.version, exchange.flexible, request.topics):
        session.count_error(exchange)
    exchange.encoded(writer)
