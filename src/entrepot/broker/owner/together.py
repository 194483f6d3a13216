"""Together: what a transaction brings to one owner, done there in one commit or not at all.

Nothing that is staged can be taken back, so everything that may refuse is asked before the first of it is staged. What is staged in one go is one commit
of the store: after a crash all of it is there, or nothing.
"""

from __future__ import annotations

from entrepot.broker.calls.questions import Load, Note
from entrepot.broker.owner.local_owner import LocalOwner, local_lane
from entrepot.broker.owners import Settlement, Stage
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.sessions.session_table import SessionTable
from entrepot.model.errors import Reason, Refused


def check(owner: LocalOwner, publishes: bool, loads: list[Load]) -> None:
    """Whether there is room for it: raises Refused, LIMIT or FULL, or Unavailable."""
    if publishes and owner.store.is_full():
        raise Refused(Reason.LIMIT, "there is no room for a transaction's messages now")
    for log_id, count, body_bytes in loads:
        target = owner.target(log_id)
        if isinstance(target, Queue) and target.is_full(count, body_bytes):
            raise Refused(Reason.FULL, f"queue '{target.name}' refuses what is over its limit: nothing of the transaction was done")


def check_settlements(settlements: list[Settlement]) -> None:
    """Whether what they end is here: raises Unavailable. What is kept until a queue is back is in no commit."""
    for consumer, *_ in settlements:
        if isinstance(consumer.reads, AwayQueue):
            raise consumer.reads.gone.again()


def do_together(
    owner: LocalOwner, stages: list[Stage], settlements: list[Settlement], loads: list[Load], note: Note | None = None, sessions: SessionTable | None = None
) -> list[tuple[int, int]] | None:
    """Do it, in the open commit. Raises a NotDone, and has done nothing then. With a note: the numbers that were not noted, for their records are nacked."""
    assert (note is None) == (sessions is None)
    if note is not None and sessions is not None:
        sessions.check(note)
    check(owner, bool(stages), loads)
    check_settlements(settlements)
    for lane, _, runs, _ in stages:
        if lane is None or owner.sealed:
            logs = local_lane(lane).logs if lane is not None else [owner.target(log_id).log for run in runs for log_id in run[0]]
            owner.seals.check(logs)
    store = owner.store
    store.whole = True
    nacked: list[list[int]] = []
    try:
        for lane, address, runs, call in stages:
            if lane is not None:
                owner.stage(lane, call)
            else:
                owner.stage_runs(address, runs, call)
            nacked.append(call.nacked or [])
        for consumer, first, count, disposition in settlements:
            owner.settle(consumer, first, count, disposition)
        return None if note is None or sessions is None else sessions.note(note, nacked)
    finally:
        store.whole = False
