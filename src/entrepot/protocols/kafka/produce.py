"""Produce: an Append for all partitions of a request, answered when what was taken is durable.

What is much takes turns, and what is large is checked beside the loop; the connection takes in nothing else until then, so that its batches
keep their order. A request of very many partitions has several Appends.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import cython

from entrepot.broker.calls.port import DONE
from entrepot.model.entry import CODEC_KAFKA
from entrepot.protocols.kafka.batch_errors import InvalidBatch
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.primitives import Malformed
from entrepot.protocols.kafka.produce_codec import CHECKING, INVALID_TXN_STATE, READ, REWRITTEN_AT_ONCE, STEP_BYTES, ProduceRequest
from entrepot.protocols.kafka.record_batch import BATCH_VERSION

if not cython.compiled:
    from entrepot.broker.calls.partition_calls import make_append
    from entrepot.protocols.kafka.primitives import Reader
    from entrepot.protocols.kafka.produce_codec import ProduceReading, encode_produce

APPEND_PARTS = 250  # of one Append; one alone where much may have to be compressed anew
REWRITING_STEPS = 30  # of compressing anew with gzip, by STEP_BYTES
INVALID_REQUIRED_ACKS = int(ErrorCode.INVALID_REQUIRED_ACKS)

_CODEC = CODEC_KAFKA
_CODEC_VERSION = BATCH_VERSION
_DONE = DONE
_READ = READ
_CHECKING = CHECKING
_APPEND_PARTS = APPEND_PARTS
_STEP_BYTES = STEP_BYTES
_REWRITTEN_AT_ONCE = REWRITTEN_AT_ONCE
_REQUEST_STEPS = 4


def produce(exchange: Exchange, reader: Reader) -> None:
    """Handler of Produce. acks 0: not answered, and an error ends the connection; 1 and -1: answered when durable."""
    session = exchange.session
    reading = ProduceReading(reader, exchange.flexible, session.shared.validator, session.attachment)
    how = _read(exchange, reading)
    if how != _READ:
        exchange.keep(reading)
        session.taking = True
        exchange.state = reading
        _wait(exchange, how)
        return
    if len(reading.request.valid) <= _APPEND_PARTS and not _rewrites_much(exchange, reading.request):
        _begin(exchange, reading.request)
    else:
        session.taking = True
        exchange.run(_begin_long(exchange, reading.request))


def _rewrites_much(exchange: Exchange, request: ProduceRequest) -> bool:
    """Whether there are topics that want their batches in some compression, and more than may be compressed anew in one go."""
    attachment = exchange.session.attachment
    if len(request.valid) <= 1 or request.batch_bytes <= _REWRITTEN_AT_ONCE:
        return False
    for topic in request.topics:  # noqa: SIM110 - compiled, it is a loop without a closure
        if attachment.compression_of(topic.name, 0) >= 0:
            return True
    return False


def _read(exchange: Exchange, reading: ProduceReading) -> int:
    """A stretch of the request, as long as the turn allows."""
    turns = exchange.session.turns
    how = reading.read(max(_REQUEST_STEPS, turns.left))
    turns.spend(_REQUEST_STEPS + reading.steps)
    return how


def _wait(exchange: Exchange, how: int) -> None:
    session = exchange.session
    if how == _CHECKING:
        reading = exchange.state
        wanted = session.attachment.compression_of(reading.topic, len(reading.large))
        session.shared.checks.check(reading.large, partial(_checked, exchange), wanted)
    else:
        session.turns.wait(partial(_read_on, exchange))


def _checked(exchange: Exchange, check: Any) -> None:
    if exchange.session.closing:
        exchange.release()
        return
    try:
        exchange.state.checked(check.head, check.batch, check.error, check.unpacked_bytes)
    except Exception as error:
        _failed(exchange, error)
        raise
    exchange.session.turns.wait(partial(_read_on, exchange))


def _read_on(exchange: Exchange) -> None:
    session = exchange.session
    if session.closing:
        exchange.release()
        return
    try:
        how = _read(exchange, exchange.state)
        if how != _READ:
            _wait(exchange, how)
        else:
            exchange.run(_begin_long(exchange, exchange.state.request))
    except Malformed as error:
        session.fail(str(error))
        exchange.release()
    except Exception as error:
        _failed(exchange, error)
        raise


def _failed(exchange: Exchange, error: Exception) -> None:
    """Our bug, in a turn of the loop's own: the request would never be answered, so the connection ends."""
    exchange.session.fail(f"a Produce failed by a bug: {error!r}")
    exchange.release()


def _begin_long(exchange: Exchange, request: ProduceRequest) -> Generator[int, None, None]:
    """As _begin(), in pieces. What is behind the request may begin afterwards."""
    if not _refuse(exchange, request):
        yield from exchange.submitting(_appends(exchange, request), appended, 4 * min(_APPEND_PARTS, len(request.valid)))
    exchange.release()
    exchange.session.taken()


def _appends(exchange: Exchange, request: ProduceRequest) -> Iterator[Any]:
    """One part at a time where they may have to be compressed anew, and are much."""
    count = 1 if _rewrites_much(exchange, request) else _APPEND_PARTS
    for at in range(0, len(request.valid), count):
        call = make_append(0, _CODEC, _CODEC_VERSION, request.valid[at : at + count], request.acks != 0)
        yield call
        exchange.session.turns.spend(REWRITING_STEPS * call.rewritten_bytes // _STEP_BYTES)


def _begin(exchange: Exchange, request: ProduceRequest) -> None:
    if not _refuse(exchange, request):
        call = make_append(0, _CODEC, _CODEC_VERSION, request.valid, request.acks != 0)
        exchange.submit([call], appended)
        if call.rewritten_bytes:
            exchange.session.turns.spend(REWRITING_STEPS * call.rewritten_bytes // _STEP_BYTES)


def _refuse(exchange: Exchange, request: ProduceRequest) -> bool:
    """Whether nothing of it is to be appended: it is answered then."""
    exchange.state = request
    if request.acks < -1 or request.acks > 1:
        _refuse_all(request, InvalidBatch(INVALID_REQUIRED_ACKS, f"acks is {request.acks}; 0, 1 and -1 are possible"))
    elif request.transactional_id is not None:
        _refuse_all(request, InvalidBatch(INVALID_TXN_STATE, "transactions are not supported"))
    if len(request.valid) == 0:
        _answer(exchange)
        return True
    return False


def appended(exchange: Exchange, calls: list[Any]) -> None:
    """Every Append has its outcome."""
    for call in calls:
        if call.outcome != _DONE:
            for part in call.parts:
                part.error = call.error
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
