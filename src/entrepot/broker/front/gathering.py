"""Gathering: what is published to several owners at once is done when the last of them has all of it durable; nacked is what any of them nacks.

Atomic is only what one owner does. Where one refuses, or cannot be reached, after another has taken its part, the records are nacked: they may lie
somewhere, and whoever sends them again is sure to have them everywhere. Where that is for somebody who could not be reached, the call has that for its `error`:
a protocol whose clients do not send again what is refused says nothing of it, and ends the connection. Each owner is sent a Publish of its own, which it
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from entrepot.broker.calls.port import DONE, PENDING, UNKNOWN, Attachment, Call, Publish, Sink, fail, make_publish
from entrepot.model.errors import NotDone, OutcomeUnknown, Unavailable

Part: TypeAlias = tuple[Callable[[Publish], bool], Sequence[int]]
"""What one owner is asked, and the indices of the records that it gets."""


class _Whole:
    """One Publish under way: what is still to be answered, and what has been so far."""

    __slots__ = ("answered", "applied", "call", "error", "left", "nacked", "unknown")

    def __init__(self, call: Publish) -> None:
        self.call = call
        self.left = 0
        self.applied = False  # some owner has taken its part
        self.answered = False  # by what publish() raised
        self.nacked: set[int] = set()
        self.error: NotDone | None = None
        self.unknown: NotDone | None = None


class _Gathered(Attachment):
    """Of a part: who waits for it is who published the whole."""

    __slots__ = ("_publisher",)

    def __init__(self, gathering: Gathering, publisher: Attachment | None) -> None:
        self.sink = gathering
        self.closed = False
        self._publisher = publisher

    def hold(self) -> None:
        """See Attachment."""
        if self._publisher is not None:
            self._publisher.hold()

    def let_go(self) -> None:
        """See Attachment."""
        if self._publisher is not None:
            self._publisher.let_go()


class Gathering(Sink):
    """Of one front. `waiting`: parts that are not answered yet."""

    def __init__(self) -> None:
        self.waiting: dict[Publish, tuple[_Whole, Sequence[int]]] = {}

    def publish(self, call: Publish, parts: list[Part]) -> bool:
        """Have every owner do its part, until one refuses at once. As Owner.stage(): where nothing of it was taken that one's error is raised."""
        whole = _Whole(call)
        for index, (stage, indices) in enumerate(parts):
            part = self._part(call)
            try:
                if stage(part):
                    self._take_in(whole, part, indices)
                    continue
            except NotDone as error:
                if whole.left == 0 and not whole.applied:
                    raise
                whole.error = error
                for _, missed in parts[index:]:
                    whole.nacked.update(missed)
                break
            whole.left += 1
            self.waiting[part] = (whole, indices)
        if whole.left == 0 or not call.confirm:
            if whole.error is not None and not call.confirm:
                whole.answered = True
                raise OutcomeUnknown(f"published to some of its targets only: {whole.error}")
            self._is_done(whole)
            return True
        return False

    def completed(self, call: Call) -> None:
        """An owner has answered."""
        assert isinstance(call, Publish)
        whole, indices = self.waiting.pop(call)
        self._take_in(whole, call, indices)
        whole.left -= 1
        if whole.left == 0:
            self._answer(whole)

    def _part(self, call: Publish) -> Publish:
        """What an owner is to answer: the call again, but for who hears of it."""
        part = make_publish(call.stream, call.address, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)
        part.attachment = _Gathered(self, call.attachment)
        part.confirm = True
        return part

    @staticmethod
    def _take_in(whole: _Whole, part: Publish, indices: Sequence[int]) -> None:
        if part.outcome == DONE:
            nacked = part.nacked or ()
            whole.applied = whole.applied or len(nacked) < len(indices)
            whole.nacked.update(nacked)
        elif part.outcome == UNKNOWN:
            whole.unknown = part.error
        else:
            whole.error = part.error
            whole.nacked.update(indices)

    @staticmethod
    def _answer(whole: _Whole) -> None:
        """All of them have."""
        call = whole.call
        if whole.answered:
            return
        if whole.unknown is not None:
            fail(call, whole.unknown)
        elif whole.error is not None and not whole.applied:
            fail(call, whole.error)
        elif call.outcome == PENDING:  # somebody waits
            Gathering._is_done(whole)
            call.attachment.sink.completed(call)
        elif whole.error is not None:
            fail(call, OutcomeUnknown(f"published to some of its targets only: {whole.error}"))

    @staticmethod
    def _is_done(whole: _Whole) -> None:
        call = whole.call
        call.nacked = sorted(whole.nacked) or None
        call.error = whole.error if isinstance(whole.error, Unavailable) else None
        call.outcome = DONE
