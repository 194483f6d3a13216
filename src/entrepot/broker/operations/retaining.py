"""Retaining: what the requests of calls/retained_requests.py do.

What is to be kept of a publish is one more part of it, at the owner of the namespace's RETAINED_QUEUE: there it is a stage like any other, sent again where
that owner returns. Copies are read from that owner a page at a time, and staged at the owner of the session's queue.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Attachment, Call, Publish, Sink, fail, make_publish
from entrepot.broker.calls.questions import AskCopies, LastValuesPage, NoteCopy, ReadLastValues
from entrepot.broker.calls.requests import DeclareQueue
from entrepot.broker.calls.retained_requests import COPIES_MAX, RETAINED_QUEUE, CopyRetained, ForgetCopy, ListCopies, PublishRetained, UnfinishedCopy
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.queue_arguments import LAST_VALUE, REJECT_PUBLISH
from entrepot.broker.front.door import Door
from entrepot.broker.front.gathering import Part
from entrepot.broker.front.publisher import Path
from entrepot.broker.operations.operations import LATER, FurtherHandler, Outcome
from entrepot.broker.operations.own_calls import ask_as_broker
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owners import Owner
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.addresses import pack_address
from entrepot.model.entry import HAS_EXPIRY
from entrepot.model.errors import NotDone, Reason, Refused

ARGUMENTS = {LAST_VALUE: True, "x-overflow": REJECT_PUBLISH}

_COPIES_PER_STEP = 4


class Retaining:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts) -> None:
        self._broker = broker
        self._making: dict[str, list[Publish]] = {}  # by namespace: what waits for its queue to be made

    def handlers(self) -> dict[type, FurtherHandler]:
        """For Operations."""
        return {PublishRetained: self._publish, CopyRetained: self._copy, ListCopies: self._list, ForgetCopy: self._forget}

    # ---- publishing

    def _publish(self, door: Door, call: Ask, request: PublishRetained) -> Outcome:
        """See PublishRetained."""
        broker, publish = self._broker, request.publish
        path = broker.path_for(door, publish.address)
        if path.to_reply:
            raise Refused(Reason.NOT_SUPPORTED, "what is sent to a name of replies is not retained")
        if broker.refusing is not None:
            raise broker.refusing.with_traceback(None)
        door.publishes = True
        broker.check_pressure()
        whole = make_publish(call.stream, publish.address, publish.codec, publish.codec_version, publish.flags, publish.data, publish.count, publish.body_bytes)
        whole.confirm = publish.confirm
        whole.scattered = publish.scattered
        whole.without = publish.without
        whole.attachment = _Through(_Whole(door, call, publish), door)
        parts: list[Part] = [(partial(self._keep, door.namespace), (publish.count - 1,))]
        if not request.kept_only:
            parts += self._parts(path, whole)
        door.spent += path.router.taken_steps()
        complete = broker.publisher.gathering.publish(whole, parts)
        broker.publisher.published_count += publish.count
        broker.publisher.published_bytes += publish.body_bytes
        if complete:
            whole.attachment.sink.completed(whole)
        return LATER, None

    def _parts(self, path: Path, call: Publish) -> list[Part]:
        """What goes to those whom the address leads to."""
        if path.plain and not call.scattered:
            call.unroutable = not path.lanes
            everything = range(call.count)
            return [(partial(lane.owner.stage, lane), everything) for lane in path.lanes]
        runs, _ = self._broker.publisher.parting.by_owner(path, call)
        return [(partial(owner.stage_runs, call.address, of_owner), _indices(of_owner)) for owner, of_owner in path.in_order(runs)]

    def _keep(self, namespace: str, part: Publish) -> bool:
        """As Owner.stage(): the last record is kept."""
        waiting = self._making.get(namespace)
        if waiting is not None:
            waiting.append(part)
            return False
        definition = self._queue(namespace)
        if definition is None:
            self._making[namespace] = [part]
            request = DeclareQueue(RETAINED_QUEUE, durable=True, arguments=ARGUMENTS)
            ask_as_broker(self._broker, namespace, request, partial(self._made, namespace), waits=True)
            return False
        return self._stage(definition, part)

    def keep(self, namespace: str, publish: Publish) -> None:
        """Keep the last record of what is published otherwise, and by nobody who waits. Raises Unavailable; where it cannot be, it is not kept."""
        try:
            self._keep(namespace, publish)
        except Refused:
            return

    def _queue(self, namespace: str) -> QueueDefinition | None:
        """The namespace's queue of last values; None: there is none yet. Refused: there is another of its name."""
        definition: QueueDefinition | None = self._broker.catalogue.namespace(namespace).queues.get(RETAINED_QUEUE)
        if definition is not None and not definition.policy.last_value:
            raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{RETAINED_QUEUE}' was declared by a client: nothing can be retained")
        return definition

    def _stage(self, definition: QueueDefinition, part: Publish) -> bool:
        owner: Owner = self._broker.owners.owner(definition)
        codec = self._broker.hub.codec(part.codec)
        record = part.data[codec.skip(part.data, 0, part.count - 1) :]
        return owner.stage_runs(part.address, [([definition.log_id], b"", record, 1, (part.count - 1,))], part)

    def _made(self, namespace: str, error: NotDone | None, _: Any) -> None:
        """Its queue is there, or cannot be made."""
        for part in self._making.pop(namespace):
            if error is not None:
                fail(part, error)
                continue
            try:
                if self._keep(namespace, part):
                    part.attachment.sink.completed(part)
            except NotDone as refusal:
                fail(part, refusal)

    # ---- copying

    def _copy(self, door: Door, call: Ask, request: CopyRetained) -> Outcome:
        """See CopyRetained."""
        broker = self._broker
        broker.authorizer.authorize(door.principal, Action.READ, door.namespace, ResourceKind.EXCHANGE, request.exchange)
        target = self._target(door, request.queue)
        source = self._queue(door.namespace)
        if source is None:
            return (0, None), None
        question = ReadLastValues(
            source.log_id,
            _octets(request.exchange),
            _octets(request.pattern),
            request.after,
            max(1, min(request.limit, COPIES_MAX)),
            door.codec,
            request.identifier,
        )
        broker.owners.owner(source).ask(question, _Copy(broker, door, call, question, target).read)
        return LATER, None

    def _target(self, door: Door, name: str) -> QueueDefinition:
        """The queue of that name, into which last values may be copied. Raises Refused."""
        broker = self._broker
        broker.authorizer.authorize(door.principal, Action.WRITE, door.namespace, ResourceKind.QUEUE, name)
        target = broker.catalogue.find_queue(door.namespace, name, door.home)
        if not isinstance(target, QueueDefinition):
            raise Refused(Reason.NOT_SUPPORTED, f"last values are not copied into '{name}', which is a stream")
        return target

    def _list(self, door: Door, call: Ask, request: ListCopies) -> Outcome:
        """See ListCopies."""
        target = self._target(door, request.queue)

        def listed(error: NotDone | None, found: Any) -> None:
            _answer(door, call, error, None if error else [UnfinishedCopy(_text(name), _text(pattern), *rest) for name, pattern, *rest in found])

        self._broker.owners.owner(target).ask(AskCopies(target.log_id), listed)
        return LATER, None

    def _forget(self, door: Door, call: Ask, request: ForgetCopy) -> Outcome:
        """See ForgetCopy."""
        target = self._target(door, request.queue)
        question = NoteCopy(target.log_id, _octets(request.exchange), _octets(request.pattern), 0, None)
        self._broker.owners.owner(target).ask(question, partial(_answer, door, call))
        return LATER, None


class _Through(Attachment):
    """What is published so is answered to a sink, and who publishes it is held as others are."""

    __slots__ = ("_door",)

    def __init__(self, sink: Sink, door: Door) -> None:
        self.sink = sink
        self.closed = False
        self._door = door

    def hold(self) -> None:
        """See Attachment."""
        self._door.hold()

    def let_go(self) -> None:
        """See Attachment."""
        self._door.let_go()


class _Whole(Sink):
    """Of one PublishRetained: hears of its Publish."""

    __slots__ = ("_call", "_door", "_publish")

    def __init__(self, door: Door, call: Ask, publish: Publish) -> None:
        self._door = door
        self._call = call
        self._publish = publish

    def completed(self, call: Call) -> None:
        """All of it is answered."""
        assert isinstance(call, Publish)
        publish, ask = self._publish, self._call
        publish.unroutable, publish.returned, publish.nacked = call.unroutable, call.returned, call.nacked
        publish.outcome, publish.error = call.outcome, call.error
        ask.outcome, ask.error = call.outcome, None if call.outcome == DONE else call.error
        if not self._door.closed:
            self._door.sink.completed(ask)


class _Copy(Sink):
    """One page on its way into a queue."""

    __slots__ = ("_broker", "_call", "_copied", "_door", "_error", "_left", "_next", "_noted", "_question", "_target")

    def __init__(self, broker: BrokerParts, door: Door, call: Ask, question: ReadLastValues, target: QueueDefinition) -> None:
        self._broker = broker
        self._door = door
        self._call = call
        self._question = question
        self._noted = call.request.noted and target.persistent
        self._target = target
        self._next: bytes | None = None
        self._copied = 0
        self._left = 1
        self._error: NotDone | None = None

    def read(self, error: NotDone | None, page: LastValuesPage | None) -> None:
        """The page is there."""
        door = self._door
        if error is not None or (door.closed and not self._noted):
            self._error = error
        else:
            assert page is not None
            found, self._next = page
            door.spent += len(found) // _COPIES_PER_STEP
            try:
                self._put(found)
                self._note()
            except NotDone as refusal:
                self._error = refusal
        self._end_of_one()

    def _put(self, found: list[tuple[bytes, int, bytes]]) -> None:
        """Raises a NotDone for the first that is not taken; those behind it are not tried."""
        broker, tag = self._broker, self._door.codec
        codec = broker.hub.codec(tag)
        owner = broker.owners.owner(self._target)
        log_ids = [self._target.log_id]
        through = _Through(self, self._door)
        exchange = self._question.exchange
        for key, flags, record in found:
            address = pack_address(exchange, key)
            if codec.time_to_live_ms(record, 0) >= 0:
                flags |= HAS_EXPIRY
            publish = make_publish(self._call.stream, address, tag, codec.version, flags, record, 1, codec.body_bytes(record, 0, 1))
            publish.confirm = True
            publish.attachment = through
            self._left += 1
            try:
                if owner.stage_runs(address, [(log_ids, b"", record, 1, (0,))], publish):
                    self.completed(publish)
            except NotDone:
                self._left -= 1
                raise

    def _note(self) -> None:
        """What is left behind this page, if it is not the only one."""
        question, after = self._question, self._next
        if self._noted and (after is not None or question.after):
            self._left += 1
            note = NoteCopy(self._target.log_id, question.exchange, question.pattern, question.identifier, after)
            self._broker.owners.owner(self._target).ask(note, self._is_noted)

    def _is_noted(self, error: NotDone | None, _: Any) -> None:
        self._error = self._error or error
        self._end_of_one()

    def completed(self, call: Call) -> None:
        """One of them is answered."""
        assert isinstance(call, Publish)
        if call.outcome == DONE:
            self._copied += not call.nacked
        else:
            self._error = self._error or call.error
        self._end_of_one()

    def _end_of_one(self) -> None:
        self._left -= 1
        if self._left:
            return
        _answer(self._door, self._call, self._error, (self._copied, self._next))


def _answer(door: Door, call: Ask, error: NotDone | None, result: Any) -> None:
    """Complete a call."""
    if error is not None:
        fail(call, error)
        return
    call.result = result
    call.outcome = DONE
    if not door.closed:
        door.sink.completed(call)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _indices(runs: list[Any]) -> list[int]:
    return sorted({index for run in runs for index in run[4]})
