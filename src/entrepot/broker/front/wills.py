"""Wills: what sessions leave to be published when they lose their connection. Who may was decided when the session was opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls.port import Attachment, Call, Sink, make_publish
from entrepot.broker.calls.questions import WillFields
from entrepot.broker.front.parting import split_address
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.logs.hub import Hub
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

    def publish(self, namespace: str, will: WillFields, done: Callable[[NotDone | None], None]) -> bool:
        """True: it is staged, in the open commit, wherever it goes; False: done(why not, or None) is called later. Raises Refused, Unavailable: nothing was."""
        if self._hub.refusing:
            raise Unavailable("publishing is refused for want of space")
        address, codec, version, flags, data, body_bytes, _, _ = will
        path = self._path(namespace, address, *split_address(address))
        call = make_publish(0, address, codec, version, flags, data, 1, body_bytes)
        call.attachment = Attachment()
        call.attachment.sink = _Heard(done)
        call.attachment.closed = False
        if all(isinstance(owner, LocalOwner) for owner in self._owners(path)):
            self._publisher.publish(path, call)
            return True
        call.confirm = True
        return self._publisher.publish(path, call)

    def _owners(self, path: Path) -> list[Any]:
        """Whom it may come to; whose records are parted, all."""
        return [lane.owner for lane in path.lanes] if path.plain else self._publisher.owners.everyone()
