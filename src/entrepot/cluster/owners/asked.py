"""The questions of calls/questions.py over a link: how their fields are read, of what type their answers are, and what is lost when nobody can answer."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from entrepot.broker.calls import questions
from entrepot.broker.calls.questions import BrowsedPage, PartitionFigures, QueueFigures
from entrepot.cluster.owners.words import Number, Place, read
from entrepot.model.errors import CorruptData

Decoder: TypeAlias = "msgspec.msgpack.Decoder[Any]"

WordsOfTask: TypeAlias = tuple[bytes, str, str, str, int, int, int, int, str]
"""The fields of a MoveTask, in order."""

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
}

NUMBER_MAX = 1 << 31
CODEC_END = 1 << 8

CHANGES = frozenset({questions.PurgeTimed, questions.StartMove, questions.CancelMove})
"""Those after which something durable is otherwise: whether it is, is not known when the answer does not come."""


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
    if isinstance(question, questions.StartMove):
        return 0 <= question.per_second_max < NUMBER_MAX
    if isinstance(question, questions.BrowseQueue):
        return question.place >= -1 and 0 < question.limit < NUMBER_MAX and 0 < question.codec < CODEC_END
    return not isinstance(question, questions.ListMoves) or 0 <= question.limit < NUMBER_MAX


def answers_of(question: Any) -> Decoder:
    """What reads the answer."""
    return _ANSWERS[type(question)]
