"""One request that is being answered, from its first byte taken until its answer's turn comes.

A handler gets the Exchange. It answers at once (answer, encoded or no_answer), or asks the broker first: ask(requests, then) calls
then(exchange, calls) when every call has completed, however they were delayed or reordered.

What is long takes turns (net/turns.py): a long request is read in pieces, requests are handed to the broker as far as the turn allows, and an answer is
written in pieces. A handler, and what it gives to ask(), may be a generator itself, of the steps that each of its pieces cost. Others have their
turn in between; this connection's next request waits for this one anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import cython

from entrepot.protocols.kafka.primitives import Malformed, Writer

if TYPE_CHECKING:
    from entrepot.protocols.kafka.apis import Api
    from entrepot.protocols.kafka.session import Session

if not cython.compiled:
    from entrepot.broker.calls.port import Call, make_ask

Steps = int | Callable[[Any], int]
ASK_STEPS = 12  # what one request to the broker costs, unless the handler knows better
LENT_MIN_BYTES = 256 << 10  # a request that is not longer is copied to where it waits for its turn
ANSWER_MAX_BYTES = 64 << 20  # of one answer, records apart: a client that asks for more is to ask in parts

_ANSWER_MAX = ANSWER_MAX_BYTES
_LENT_MIN = LENT_MIN_BYTES


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
        self.is_read = False  # nothing of the request is read any more
        self._held_bytes = 0  # of the room
        self._lends = False  # it is read where it has arrived
        self._is_long = False  # it takes more than one turn
        self._values: dict[str, Any] | None = None  # the request, if it is read in pieces
        self._asked: list[Any] = []  # if it is long: all calls that have completed
        self._calls: list[Call] = []
        self._left = 0
        self._then: Callable[[Exchange, list[Any]], object] | None = None

    # ---- taking turns

    def run(self, work: Any) -> int:
        """Do `work`, a generator of steps, as far as this turn allows, a first piece at least, and the rest later; nothing if it is None."""
        if work is None:
            return 0
        session = self.session
        turns = session.turns
        try:
            while True:
                turns.spend(next(work))
                if turns.left <= 0:
                    self._is_long = True
                    turns.wait(partial(self._run_on, work))
                    break
        except StopIteration:
            pass
        except Malformed:
            self.release()
            raise
        return 0

    def _run_on(self, work: Any) -> None:
        if self.session.closing:
            self.release()
            return
        try:
            self.run(work)
        except Malformed as error:
            self.session.fail(str(error))
        except Exception as error:  # our bug: it would never be answered
            self.session.fail(f"a {self.api.name} failed by a bug: {error!r}")
            self.release()
            raise

    def hold(self, size: int) -> int:
        """So many bytes of the request stay until release(): they take up room (room.py)."""
        self._held_bytes = size
        self.session.shared.room.hold(size)
        return 0

    def keep(self, reader: Any) -> int:
        """The request is read on in later turns: it stays, whatever arrives behind it, and takes up room until release()."""
        framing = self.session.framing
        self.hold(framing.request_bytes)
        if framing.request_bytes > _LENT_MIN:
            framing.lend()
            self._lends = True
        else:
            reader.detach()
        return 0

    def release(self) -> int:
        """Nothing of the request is held any more."""
        if self._lends:
            self._lends = False
            self.session.framing.give_back()
        size = self._held_bytes
        if size:
            self._held_bytes = 0
            self.session.shared.room.release(size)
        return 0

    def leave(self) -> int:
        """It is answered, or given up: what is long of it is let go of little by little."""
        if self._is_long:
            containers: list[Any] = [self._values, self._asked, self._calls]
            if isinstance(self.state, tuple):
                containers.extend(self.state)
            else:
                containers.append(self.state)
            self._values = None
            self._asked = []
            self.state = None
            self.session.turns.leave(containers)
        return 0

    def begin(self, reader: Any) -> int:
        """Read the request, and have its handler answer it. Raises Malformed, at once or from run()."""
        if self.api.elements_max:
            reader.elements_left = self.api.elements_max
        return self.run(self._beginning(reader))

    def _beginning(self, reader: Any) -> Generator[int, None, None]:
        # What is behind the last field is not looked at, as Kafka does not: librdkafka's Metadata request has bytes too many.
        values: dict[str, Any] = {}
        self._values = values
        yield from self.api.request_plan(self.version).reading(reader, values)
        self.is_read = True
        self.release()
        handling = self.api.handler(self, values)
        if handling is not None:
            yield from handling

    # ---- asking the broker

    def ask(self, requests: Iterable[Any], then: Callable[[Exchange, list[Any]], object], steps: Steps = ASK_STEPS) -> int:
        """Submit an Ask for each request; then(exchange, calls) once all have completed, their outcomes known. `steps`: what each request costs.

        Whoever makes the requests from a long list gives None for what in it asks for nothing: it was looked at, in its turn.
        """
        return self.run(self.asking(requests, then, steps))

    def asking(self, requests: Iterable[Any], then: Callable[[Exchange, list[Any]], object], steps: Steps = ASK_STEPS) -> Generator[int, None, None]:
        """ask(), for a handler that is a generator itself."""
        return self.submitting((None if request is None else make_ask(0, request) for request in requests), then, steps)

    def submitting(self, made: Iterable[Call | None], then: Callable[[Exchange, list[Any]], object], steps: Steps) -> Generator[int, None, None]:
        """As ask(), of calls of any kind, in pieces: to be run(), or yielded from."""
        asked = self.session.asked
        attachment = self.session.attachment
        calls: list[Call] = []
        self._calls = calls
        self._then = then
        self._left = 1  # for the end of the requests
        for call in made:
            if call is None:
                yield 1
                continue
            calls.append(call)
            self._left += 1
            asked[call] = self
            cost = steps if isinstance(steps, int) else steps(call.request)  # type: ignore[attr-defined]
            attachment.submit(call)
            cost += attachment.spent
            attachment.spent = 0
            yield cost
        self._ended()

    def submit(self, calls: list[Call], then: Callable[[Exchange, list[Any]], object]) -> int:
        """As ask(), of few calls of any kind."""
        self._calls = calls
        self._then = then
        self._left = len(calls)
        if not calls:
            self.run(then(self, calls))
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
        return self._ended()

    def _ended(self) -> int:
        """One less is waited for."""
        self._left -= 1
        if self._left == 0:
            calls = self._calls
            then = self._then
            if self._is_long:
                self._asked.append(calls)
            self._calls = []
            self._then = None
            self.run(then(self, calls))  # type: ignore[misc]
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
        """The response as a dict. Its rows may be schema.Rows."""
        return self.run(self._answering(values))

    def _answering(self, values: dict[str, Any]) -> Generator[int, None, None]:
        writer = self.writer()
        for steps in self.api.response_plan(self.version).writing(writer, values):
            if writer.size > _ANSWER_MAX:
                raise Malformed(f"a {self.api.name} whose answer has more than {_ANSWER_MAX} bytes")
            yield steps
        self.encoded(writer)

    def encoded(self, writer: Writer) -> int:
        """The response, written."""
        self.size = writer.size
        self.parts = writer.finish()
        self.session.queued_bytes += self.size
        self.session.answered()
        self.leave()
        return 0

    def no_answer(self) -> int:
        """The client expects none."""
        self.parts = []
        self.session.answered()
        self.leave()
        return 0
