"""Fetch: one Read over what the connection fetches; it waits at the broker and costs nothing meanwhile."""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.port import DONE
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.protocols.kafka.exchange import Exchange

if not cython.compiled:
    from entrepot.broker.partition_calls import make_close_parts, make_read
    from entrepot.protocols.kafka.fetch_codec import decode_head, decode_topics, encode_error, encode_fetch
    from entrepot.protocols.kafka.primitives import Reader

_CODEC = CODEC_KAFKA
_DONE = DONE


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
    table = sessions.table
    gone = decode_topics(reader, version, table)
    if full:
        gone = gone + table.forget_unseen()
    if gone:
        session.attachment.submit(make_close_parts(0, gone))
    exchange.state = full
    parts = table.all_parts()
    if not parts:
        _answer(exchange)
        return
    max_bytes = min(request.max_bytes, session.settings.fetch_size_max)
    exchange.submit([make_read(0, _CODEC, parts, request.min_bytes, max_bytes, request.max_wait_ms, request.committed)], have_read)


def have_read(exchange: Exchange, calls: list[Any]) -> None:
    """The Read has its outcome."""
    call = calls[0]
    if call.outcome != _DONE:
        error = call.error
        if not isinstance(error, (Refused, Unavailable)):
            error = Refused(Reason.INVALID, "the read failed")
        for part in call.parts:
            part.error = error
    _answer(exchange)


def _answer(exchange: Exchange) -> None:
    session = exchange.session
    sessions = session.fetches
    writer = exchange.writer()
    if encode_fetch(writer, exchange.version, sessions.table, sessions.id, not exchange.state):
        session.count_error(exchange)
    exchange.encoded(writer)
