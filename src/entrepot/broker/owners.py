"""Owner: the one interface between a front, which serves connections, and whoever holds the open shards.

A front knows names, the catalogue and its routes. An owner knows queues, partitions, and what was leased of them. Between the two go names, numbers, octets
and the port's own calls, so that each of these calls could be a frame to another process. What an owner in this process hands out to be given back
(a Lane) is opaque to the front; between processes it is a number that both have agreed on. A Consumer is its number, its limits, and where deliveries go:
an Attachment, whose window (`writable`) the owner looks at. What spans owners (a topic's partitions, a limit) the front puts together (front/lending.py).

Whatever an owner may answer at once it may also answer later: by completing the port call that it was given, with one of the port's outcomes.

    lane       (address, ids of logs) -> Lane
    stage      (Lane, Publish) -> nacked indices, when what was taken is durable
    stage_runs (address, runs, Publish) -> the same, where records fare differently
    consume    (Consumer, ids of logs, start) -> deliveries, against the consumer's credit
    settle     (Consumer, offsets, disposition) | credit (Consumer) | cancel (Consumer) | end (Consumer)
    lend       (Consumer, how many) | take_back (Consumer) -> how many were not spent | limit (Consumer, how many)
    get        (id of a log, Consumer, Ask) -> one record | purge (id of a log, Ask) -> how many | count (ids of logs) -> how many
    timed      (id of a log) -> Lane, for send (Send) | receive (Receive) | end_leases (EndLeases) -> as lease_calls.py says
    together   (stages, settlements, loads, note) -> none, when all of it is durable, or Refused, Unavailable, and nothing of it was done
    ask        (question of calls/questions.py) -> plain values
    reply      (namespace, name, run of records) -> none
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send
from entrepot.broker.calls.port import Ask, Attachment, Publish
from entrepot.broker.calls.questions import Load, Note
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.errors import NotDone

Run: TypeAlias = tuple[list[bytes], bytes, bytes, int, Sequence[int]]
"""Records of a Publish that go the same way: (ids of the logs, b"" or the hidden part of their prefix, the records, how many, indices to nack by).

Where they go to one partition of several, whose logs refuse nothing, the indices are those of all that go to that topic.
"""

Done: TypeAlias = Callable[[NotDone | None, Any], None]
"""Why not, or None, and an answer."""


class Lane:
    """Where everything goes that is published to one address, as far as it goes to one owner: ids of logs, registered once. `owner`: whose it is."""

    __slots__ = ("owner",)

    owner: Owner


Stage: TypeAlias = tuple[Lane | None, bytes, list[Run], Publish]
"""A stage() on a lane, or (None, address, runs) a stage_runs(), of a Publish that nobody hears of."""

Settlement: TypeAlias = tuple[Consumer, int, int, int]
"""A settle()."""


class Owner:
    """Who holds open shards: here, or in another process."""

    __slots__ = ()

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """Register what is published to an address. It holds until a route changes, or a shard moves. Unavailable: one of the logs is not open there."""
        raise NotImplementedError

    def stage(self, lane: Lane, call: Publish) -> bool:
        """Append all records of a call at every log of the lane; each queue may refuse some. Answers: `nacked`, which are not in all of them.

        True: it is answered already, because nothing was taken or nobody waits (`confirm`). Else the call completes: DONE when all that was taken
        is durable. Raises, or completes with, a NotDone: for Refused and Unavailable nothing of it was taken.
        Calls take effect in the order they are given.
        """
        raise NotImplementedError

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """The same of runs of the call's records, each at logs of its own."""
        raise NotImplementedError

    # ---- consuming: a consumer's number is never used again

    def consume(self, consumer: Consumer, log_ids: list[bytes], start: Any, done: Callable[[NotDone | None], None]) -> None:
        """done(why not, or None), and then begin to deliver: from a queue, or from these partitions of one topic, from `start` on (a Start of
        topic/stream_start.py). Refused: NOT_PERMITTED, in exclusive use. Unavailable: not all of it is open there. Nothing comes before the answer.
        """
        raise NotImplementedError

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """End leases, as port.Settle. Of a topic, whatever the disposition, the consumer may have as many more."""
        raise NotImplementedError

    def credit(self, consumer: Consumer) -> None:
        """It may have more than before: its connection reads again, or a limit that it shares at this owner leaves room."""
        raise NotImplementedError

    def lend(self, consumer: Consumer, count: int) -> None:
        """A consumer that is `lent` its credit may be given `count` records more. Where it has none, and there is something for it, the owner says so
        once, until it is lent some: the door's wants(consumer).
        """
        raise NotImplementedError

    def take_back(self, consumer: Consumer, done: Callable[[int], None]) -> None:
        """It is lent its credit from now on, and loses what it has not spent: done(how many), once what can be sent to it at once has been sent.

        What was delivered to it before comes before the answer. `consumer.lent` is set by then.
        """
        raise NotImplementedError

    def limit(self, consumer: Consumer, together: int) -> None:
        """It is not lent its credit: its own limit holds, and, of what the consumers of its stream at this owner hold, `together` (0: none)."""
        raise NotImplementedError

    def cancel(self, consumer: Consumer) -> None:
        """It is sent no more; what it holds stays leased to it."""
        raise NotImplementedError

    def end(self, consumer: Consumer) -> None:
        """The same, and what it holds goes back to its place."""
        raise NotImplementedError

    def get(self, log_id: bytes, getter: Consumer, call: Ask) -> None:
        """Lease one record of a queue to a consumer that is sent nothing by itself. Completes the call as requests.Get says."""
        raise NotImplementedError

    def purge(self, log_id: bytes, call: Ask) -> None:
        """Drop every ready record of a queue. Completes the call as requests.PurgeQueue says, when that is durable."""
        raise NotImplementedError

    def count(self, log_ids: list[bytes], done: Callable[[NotDone | None, int, int], None]) -> None:
        """done(why not, or None, ready records, consumers) of a queue, or of partitions of one topic, for who declares it: a queue was used just now.

        A consumer that reads a topic at several owners counts at one of them.
        """
        raise NotImplementedError

    # ---- leases that are timed: a Lane stands for one queue

    def timed(self, log_id: bytes) -> Lane:
        """What Send, Receive and EndLeases on a queue go by; its timed side is there. Unavailable: it is not open there."""
        raise NotImplementedError

    def holds(self, lane: Lane) -> bool:
        """Whether a lane of timed() still stands for its queue: not if that is deleted, or has moved."""
        raise NotImplementedError

    def send(self, lane: Lane, call: Send) -> bool:
        """See lease_calls.Send. True: the call is complete already. Raises, or completes with, a NotDone; PolicyChanged, as the next two."""
        raise NotImplementedError

    def receive(self, lane: Lane, call: Receive) -> None:
        """See lease_calls.Receive. While it waits `call.timed` says where: it has withdraw(call)."""
        raise NotImplementedError

    def end_leases(self, lane: Lane, call: EndLeases) -> None:
        """See lease_calls.EndLeases."""
        raise NotImplementedError

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """What a connection waits for there it waits for no more."""
        raise NotImplementedError

    # ---- whatever is asked seldom

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done, note: Note | None = None) -> None:
        """Do all of it in one commit, in this order, or nothing: done(why not, or None, None), when it is durable. Refused: LIMIT, there is no room; FULL,
        for one of the `loads`. Unavailable: something of it is not open there.

        `note`: what a session remembers with it; done() is told which numbers it does not, as runs. Refused TAKEN_OVER, too.
        """
        raise NotImplementedError

    def ask(self, question: Any, done: Done) -> None:
        """done(why not, or None, the answer), as calls/questions.py says of the question; at once, or later."""
        raise NotImplementedError

    def reply(self, namespace: str, name: str, codec: int, version: int, data: bytes, position: int, count: int) -> bool:
        """Hand records of an entry, from `position` on, to who waits in that process for what is sent to a name (front/replies.py); nothing, if nobody does.

        Whether they are on their way.
        """
        raise NotImplementedError
