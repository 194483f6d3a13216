"""Fetch: one Read over what the connection fetches; it waits at the broker and costs nothing meanwhile.

A request of very many partitions is read in turns, and so is its answer written (net/turns.py); the broker goes over them in several ticks.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import cython

from entrepot.broker.calls.port import DONE
from entrepot.model.entry import CODEC_KAFKA
from entrepot.protocols.kafka.exchange import Exchange

if not cython.compiled:
    from entrepot.broker.calls.partition_calls import make_close_parts, make_read
    from entrepot.protocols.kafka.fetch_codec import TopicsReading, begin_answer, decode_head, encode_error, encode_fetch, encode_parts, end_answer
    from entrepot.protocols.kafka.primitives import Reader

PIECE = 256  # topics and partitions that are read, or written, between two looks at whether the turn is over

_CODEC = CODEC_KAFKA
_DONE = DONE
_PIECE = PIECE
_FEW = 16  # partitions, which cost next to nothing


def fetch(exchange: Exchange, reader: Reader) -> None:
    """Handler of Fetch."""
    session = exchange.session
    sessions = session.fetches
    version = exchange.version
    request = decode_head(reader, version)
    full = request.session_epoch <= 0
    code = sessions.enter(request, version >= 13)
    if code:
        session.count_error(exchange)
        writer = exchange.writer()
        encode_error(writer, version, code)
        exchange.encoded(writer)
        return
    exchange.state = full
    table = sessions.table
    reading = TopicsReading(reader, version, table)
    if not reading.read(_PIECE):
        exchange.keep(reading)
        exchange.run(_reading_on(exchange, request, reading))
    elif len(reading.gone) > 0 or (full and table.seen_count < table.count):
        exchange.run(_closing(exchange, request, reading.gone))
    else:
        _ask(exchange, request)


def _reading_on(exchange: Exchange, request: Any, reading: Any) -> Generator[int, None, None]:
    """The rest of a long request."""
    yield _PIECE
    while not reading.read(_PIECE):
        yield _PIECE
    exchange.release()
    yield from _closing(exchange, request, reading.gone)


def _closing(exchange: Exchange, request: Any, gone: list[Any]) -> Generator[int, None, None]:
    """What is not fetched any more is closed, and the rest asked for."""
    session = exchange.session
    if exchange.state:
        gone = gone + session.fetches.table.forget_unseen()
    for at in range(0, len(gone), _PIECE):
        session.attachment.submit(make_close_parts(0, gone[at : at + _PIECE]))
        yield _PIECE
    _ask(exchange, request)


def _ask(exchange: Exchange, request: Any) -> None:
    session = exchange.session
    parts = session.fetches.table.all_parts()
    if not parts:
        _answer(exchange)
        return
    if len(parts) > _FEW:
        session.turns.spend(len(parts))
    max_bytes = min(request.max_bytes, session.settings.fetch_size_max)
    exchange.submit([make_read(0, _CODEC, parts, request.min_bytes, max_bytes, request.max_wait_ms, request.committed)], have_read)


def have_read(exchange: Exchange, calls: list[Any]) -> None:
    """The Read has its outcome."""
    call = calls[0]
    if call.outcome != _DONE:
        for part in call.parts:
            part.error = call.error
    _answer(exchange)


def _answer(exchange: Exchange) -> None:
    session = exchange.session
    sessions = session.fetches
    table = sessions.table
    if table.count > _PIECE:
        exchange.run(_answering(exchange))
        return
    writer = exchange.writer()
    if encode_fetch(writer, exchange.version, table, sessions.id, not exchange.state):
        session.count_error(exchange)
    exchange.encoded(writer)


def _answering(exchange: Exchange) -> Generator[int, None, None]:
    """A long answer."""
    session = exchange.session
    sessions = session.fetches
    version = exchange.version
    writer = exchange.writer()
    errors = steps = 0
    for topic in begin_answer(writer, version, sessions.table, sessions.id, not exchange.state):
        count = len(topic.in_answer)
        for at in range(0, count, _PIECE):
            errors += encode_parts(writer, version, topic, at, min(at + _PIECE, count))
            steps += min(_PIECE, count - at)
            if steps >= _PIECE:
                yield steps
                steps = 0
                writer.seal_full()
    end_answer(writer, version)
    if errors:
        session.count_error(exchange)
    exchange.encoded(writer)
