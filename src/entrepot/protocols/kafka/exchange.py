"""One request that is being answered, from its first byte taken until its answer's turn comes.

A handler gets the Exchange. It answers at once (answer, encoded or no_answer), or asks the broker first: ask(requests, then) calls
then(exchange, calls) when every call has completed, however they were delayed or reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cython

from entrepot.broker.port import UNKNOWN
from entrepot.protocols.kafka.primitives import Writer

if TYPE_CHECKING:
    from entrepot.protocols.kafka.apis import Api
    from entrepot.protocols.kafka.session import Session

if not cython.compiled:
    from entrepot.broker.port import Call, make_ask

_UNKNOWN = UNKNOWN


class Exchange:
    """See the module. `version` and `flexible` are the request's; `state` and `wanted` are the handler's own."""

    def __init__(self, session: Session, api: Api, version: int, flexible: bool, correlation_id: int) -> None:
        self.session: Any = session
        self.api: Any = api
        self.version = version
        self.flexible = flexible
        self.correlation_id = correlation_id
        self.state: Any = None
        self.wanted: Any = None  # the request's fields that say what the answer is to tell besides
        self.parts: list[bytes | bytearray] | None = None  # the answer, once there is one
        self.size = 0  # bytes of it
        self._calls: list[Call] = []
        self._left = 0
        self._then: Callable[[Exchange, list[Any]], object] | None = None

    # ---- asking the broker

    def ask(self, requests: list[Any], then: Callable[[Exchange, list[Any]], object]) -> int:
        """Submit an Ask for each request; then(exchange, calls) once all have completed, their outcomes known."""
        return self.submit([make_ask(0, request) for request in requests], then)

    def submit(self, calls: list[Call], then: Callable[[Exchange, list[Any]], object]) -> int:
        """As ask(), of calls of any kind."""
        self._calls = calls
        self._then = then
        self._left = len(calls)
        if not calls:
            then(self, calls)
            return 0
        asked = self.session.asked
        attachment = self.session.attachment
        for call in calls:
            asked[call] = self
        for call in calls:
            attachment.submit(call)
        return 0

    def completed(self, call: Call) -> int:
        """One of its calls has its outcome."""
        if call.outcome == _UNKNOWN:
            self.session.outcome_unknown(self)
            return 0
        self._left -= 1
        if self._left == 0:
            calls = self._calls
            then = self._then
            self._calls = []
            self._then = None
            then(self, calls)  # type: ignore[misc]
        return 0

    # ---- answering

    def writer(self) -> Writer:
        """A response that begins with this request's header (version 1 where it is flexible; ApiVersions never)."""
        writer = Writer()
        writer.i32(self.correlation_id)
        if self.flexible and self.api.key != 18:
            writer.uvarint(0)
        return writer

    def answer(self, values: dict[str, Any]) -> int:
        """The response as a dict."""
        writer = self.writer()
        self.api.response_plan(self.version).write(writer, values)
        return self.encoded(writer)

    def encoded(self, writer: Writer) -> int:
        """The response, written."""
        self.size = writer.size
        self.parts = writer.finish()
        self.session.queued_bytes += self.size
        self.session.answered()
        return 0

    def no_answer(self) -> int:
        """The client expects none."""
        self.parts = []
        self.session.answered()
        return 0
