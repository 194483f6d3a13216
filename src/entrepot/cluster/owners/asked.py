"""The questions of calls/questions.py over a link: how their fields are read, of what type their answers are, and what is lost when nobody can answer."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from entrepot.broker.calls import questions
from entrepot.broker.calls.questions import BrowsedPage, PartitionFigures, QueueFigures
from entrepot.broker.calls.retained_requests import COPIES_MAX
from entrepot.broker.calls.session_requests import FOREVER_S
from entrepot.cluster.owners.words import U16, U32, Key, Number, Place, RunOfNumbers, read
from entrepot.model.addresses import is_address
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE

Decoder: TypeAlias = "msgspec.msgpack.Decoder[Any]"

WordsOfTask: TypeAlias = tuple[bytes, str, str, str, int, int, int, int, str]
"""The fields of a MoveTask, in order."""

RUNS = msgspec.msgpack.Decoder(list[RunOfNumbers])
NOTHING = msgspec.msgpack.Decoder(None)
NUMBER = msgspec.msgpack.Decoder(Number)
PLACES = msgspec.msgpack.Decoder(list[Place] | None)
TWO_NUMBERS = msgspec.msgpack.Decoder(tuple[Number, Number])

_QUESTIONS: dict[str, Decoder] = {name: msgspec.msgpack.Decoder(question) for name, question in questions.QUESTIONS.items()}

_ANSWERS: dict[type, Decoder] = {
    questions.AskQueues: msgspec.msgpack.Decoder(list[QueueFigures | None]),
    questions.AskPartitions: msgspec.msgpack.Decoder(list[PartitionFigures | None]),
    questions.BrowseQueue: msgspec.msgpack.Decoder(BrowsedPage),
    questions.PurgeTimed: NOTHING,
    questions.StartMove: msgspec.msgpack.Decoder(WordsOfTask),
    questions.FindMove: msgspec.msgpack.Decoder(bytes | None),
    questions.FindReplies: msgspec.msgpack.Decoder(bool),
    questions.CancelMove: msgspec.msgpack.Decoder(WordsOfTask),
    questions.ListMoves: msgspec.msgpack.Decoder(list[WordsOfTask]),
    questions.Seal: TWO_NUMBERS,
    questions.Unseal: NOTHING,
    questions.CheckTogether: NOTHING,
    questions.AttachSession: msgspec.msgpack.Decoder(tuple[Number, Number, list[RunOfNumbers], list[RunOfNumbers]]),
    questions.HoldSession: NOTHING,
    questions.DetachSession: NOTHING,
    questions.NoteCopy: NOTHING,
    questions.AskCopies: msgspec.msgpack.Decoder(list[tuple[Key, bytes, U32, Key]]),
    questions.ReadLastValues: msgspec.msgpack.Decoder(tuple[list[tuple[Key, U16, bytes]], Key | None]),
}

NUMBER_MAX = 1 << 31
GENERATION_MAX = 1 << 62
KEY_END = CODEC_END = 1 << 8

CHANGES = frozenset({questions.NoteCopy, questions.PurgeTimed, questions.StartMove, questions.CancelMove})
"""Those after which something durable is otherwise: whether it is, is not known when the answer does not come."""

ONCE = frozenset({questions.AttachSession})
"""Those that wait for an owner that returns, but are not asked again of it: somebody may have asked for the same since, and would lose it."""


def question_of(name: str, fields: msgspec.Raw) -> Any:
    """What is asked. Raises CorruptData."""
    decoder = _QUESTIONS.get(name)
    if decoder is None:
        raise CorruptData(f"a question '{name[:40]}' that is none")
    question = read(fields, decoder)
    if not _makes_sense(question):
        raise CorruptData(f"a question '{name}' of numbers that cannot be, or of nothing")
    return question


def _makes_sense(question: Any) -> bool:
    if isinstance(question, questions.Seal):
        return bool(question.log_ids)
    if isinstance(question, questions.CheckTogether):
        return all(min(count, size) >= 0 for _, count, size in question.loads)
    if isinstance(question, (questions.AttachSession, questions.HoldSession)):
        return _is_session(question)
    if isinstance(question, questions.DetachSession):
        return 0 < question.generation < GENERATION_MAX and -1 <= question.expiry_s <= FOREVER_S
    if isinstance(question, questions.StartMove):
        return 0 <= question.per_second_max < NUMBER_MAX
    if isinstance(question, questions.NoteCopy):
        return len(question.exchange) < KEY_END and 0 <= question.identifier < NUMBER_MAX
    if isinstance(question, questions.ReadLastValues):
        return (
            0 < question.limit <= COPIES_MAX and len(question.exchange) < KEY_END and 0 <= question.identifier < NUMBER_MAX and 0 < question.codec < CODEC_END
        )
    if isinstance(question, questions.BrowseQueue):
        return question.place >= -1 and 0 <= question.limit < NUMBER_MAX and 0 < question.codec < CODEC_END
    return not isinstance(question, questions.ListMoves) or 0 <= question.limit < NUMBER_MAX


def _is_session(question: questions.AttachSession | questions.HoldSession) -> bool:
    if len(question.log_id) not in (0, LOG_ID_SIZE) or not question.name or not 0 <= question.generation < GENERATION_MAX:
        return False
    if isinstance(question, questions.AttachSession) and not 0 <= question.expiry_s <= FOREVER_S:
        return False
    return question.will is None or _is_will(question.will)


def _is_will(will: questions.WillFields) -> bool:
    address, codec, version, flags, _, body_bytes, delay_s, _ = will
    return is_address(address) and 0 <= codec < 256 and 0 <= version < 256 and 0 <= flags < 1 << 16 and 0 <= body_bytes < 1 << 63 and 0 <= delay_s <= FOREVER_S


def answers_of(question: Any) -> Decoder:
    """What reads the answer."""
    return _ANSWERS[type(question)]
