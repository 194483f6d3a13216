"""Wills: what sessions leave to be published when they lose their connection. Who may was decided when the session was opened."""

from __future__ import annotations

from collections.abc import Callable

from entrepot.broker.calls.port import Attachment, Call, Publish, Sink, make_publish
from entrepot.broker.calls.questions import WillFields
from entrepot.broker.front.parting import split_address
from entrepot.broker.front.publisher import Path, Publisher, sole_log
from entrepot.broker.logs.hub import Hub
from entrepot.broker.outbox.intents import Packed
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.model.errors import NotDone, Unavailable


class _Heard(Sink):
    """Who waits for one that goes to other processes."""

    def __init__(self, done: Callable[[NotDone | None], None]) -> None:
        self._done = done

    def completed(self, call: Call) -> None:
        """See Sink."""
        self._done(call.error)

    def throttle(self, blocked: bool, reason: str) -> None:
        """Nothing more comes."""


class Wills:
    """Of one broker. `path`(namespace, address, exchange, routing key) gives a Path to wherever things are."""

    def __init__(self, hub: Hub, publisher: Publisher, path: Callable[[str, bytes, str, str], Path]) -> None:
        self._hub = hub
        self._publisher = publisher
        self._path = path
        self.retain: Callable[[str, Publish], None]  # have a record be the last value of its address; Unavailable. The broker sets it

    def publish(self, namespace: str, will: WillFields, shard: int, done: Callable[[NotDone | None], None]) -> bool:
        """True: it is staged, in the open commit, wherever it goes, on its way from `shard` or there; False: done(why not, or None) is called later.

        Raises Refused, Unavailable: nothing was.
        """
        if self._hub.refusing:
            raise Unavailable("publishing is refused for want of space")
        address = will[0]
        path = self._path(namespace, address, *split_address(address))
        if will[7]:
            self.retain(namespace, _call_of(will, _nobody))  # should the rest be Unavailable, it is retained again
        call = _call_of(will, done)
        here = path.plain and all(isinstance(lane.owner, LocalOwner) for lane in path.lanes)
        if here or all(isinstance(owner, LocalOwner) for owner in self._publisher.owners.everyone()):
            self._publisher.publish(path, call)
            return True
        if path.plain:
            self._send_on(path, will, shard)
            for lane in path.lanes:
                if isinstance(lane.owner, LocalOwner):
                    lane.owner.stage(lane, _call_of(will, _nobody))
            return True
        call.confirm = True
        return self._publisher.publish(path, call)

    def _send_on(self, path: Path, will: WillFields, shard: int) -> None:
        """To what is not in this process, once."""
        address, codec, version, flags, data, _, _, _ = will
        if not self._hub.outbox.may_carry(len(data)):
            raise Unavailable("too much is on its way to other owners")
        place = self._publisher.owners.place
        targets = [(place(one), sole_log(one)) for one in path.route.targets if not isinstance(path.owner(one), LocalOwner)]
        self._hub.outbox.carry(shard, targets, Packed(address, b"", flags, data, 1, codec, version))


def _call_of(will: WillFields, done: Callable[[NotDone | None], None]) -> Publish:
    address, codec, version, flags, data, body_bytes, _, _ = will
    call = make_publish(0, address, codec, version, flags, data, 1, body_bytes)
    call.attachment = Attachment()
    call.attachment.sink = _Heard(done)
    call.attachment.closed = False
    return call


def _nobody(_: NotDone | None) -> None:
    """Nobody waits for it."""
