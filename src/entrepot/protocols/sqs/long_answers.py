"""LongAnswer: messages of many bytes, as they may be that come from other protocols: a piece a turn, in the session's order, as its client takes them.

What is under way is the messages as they are stored and a piece or two: bodies are gone through twice, for the head says how long the answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from entrepot.protocols.sqs.notes import note_bug
from entrepot.protocols.sqs.writing import Writer, string_size, xml_size

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

PIECE_BYTES = 64 << 10  # of a body, gone through in one go
COUNTED_STEPS, WRITTEN_STEPS = 220, 400  # what such a piece costs: steps of net/turns.py
STEP_BYTES = 384  # and of what stands before a body

Piece = Callable[[bytes, int, int], int]


class Body(NamedTuple):
    """A message's body where it lies."""

    data: bytes
    at: int
    size: int


Part = bytes | Body
Parts = Generator[list[Part], None, None]


class LongAnswer:
    """The answer of one exchange, until the last of it is written. `parts` says what it is, message by message. `is_stalled`: the client takes no more."""

    __slots__ = ("_exchange", "_head", "_is_xml", "_session", "_turns", "_waiting", "_work", "_writer", "is_stalled")

    def __init__(self, exchange: Exchange, parts: Parts, head: bytes, is_xml: bool) -> None:
        self.is_stalled = False
        self._exchange: Any = exchange
        self._session: Any = exchange.session
        self._turns = exchange.session.turns
        self._head = head
        self._is_xml = is_xml
        self._writer = Writer()
        self._waiting = False
        self._work = self._pieces(parts)

    def go_on(self) -> None:
        """Write as much as has its turn now, and as the client takes."""
        session = self._session
        self.is_stalled = False
        try:
            while session.active is self._exchange and not session.closing and not self._waiting:
                if self._turns.left <= 0:
                    self._waiting = True
                    self._turns.wait(self._next_turn)
                    return
                if not session.is_writable:
                    self.is_stalled = True
                    return
                session.heard = True
                self._turns.spend(next(self._work))
        except StopIteration:
            return
        except Exception as error:  # our bug: it must cost this connection, whose answer has begun, and no other
            note_bug(session, self._exchange, error)
            session.end()

    def _next_turn(self) -> None:
        self._waiting = False
        self.go_on()

    def _pieces(self, sections: Parts) -> Generator[int, None, None]:
        """All that there is to do: yields what each piece has cost."""
        parts: list[Part] = []
        size = 0
        for section in sections:
            cost = 0
            for part in section:
                parts.append(part)
                if isinstance(part, bytes):
                    size += len(part)
                    cost += len(part)
            yield cost // STEP_BYTES
        size_of = xml_size if self._is_xml else string_size
        for part in parts:
            if isinstance(part, Body):
                for at, count in _cut(part):
                    size += size_of(part.data, at, count)
                    yield COUNTED_STEPS
        session = self._session
        session.output.add(self._exchange.head(self._head, size))
        if self._exchange.request.method == b"HEAD":
            parts = []
        for part in parts:
            if isinstance(part, bytes):
                session.output.add(part)
                continue
            write: Piece = self._writer.xml if self._is_xml else self._writer.string
            for at, count in _cut(part):
                write(part.data, at, count)
                session.output.add(self._writer.take())
                session.wake()
                yield WRITTEN_STEPS
        session.send(self._exchange, b"")


def _cut(body: Body) -> list[tuple[int, int]]:
    """(where, how many bytes) of each piece of a body."""
    end = body.at + body.size
    return [(at, min(PIECE_BYTES, end - at)) for at in range(body.at, end, PIECE_BYTES)]
