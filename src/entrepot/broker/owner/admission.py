"""Admission: publishes to targets that may refuse some of their records, or that differ by record: each run is admitted, then appended.

What is looked at of a record is looked at by its codec, compiled, for a whole run; here are the runs of records that fare alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from entrepot.broker.calls.port import Publish
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.levelling import Levelling, Target
from entrepot.broker.queue.last_values import LastValues
from entrepot.broker.queue.priority_queue import PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import HAS_EXPIRY, make_entry
from entrepot.store.interface import Store


class Admission:
    """Of one store."""

    def __init__(self, hub: Hub, store: Store, growing: Growing) -> None:
        self._hub = hub
        self._store = store
        self._levelling = Levelling(hub, store, growing)

    def stage(self, call: Publish, prefix: bytes, targets: Sequence[Target], data: bytes, count: int, indices: Sequence[int], nacked: list[int]) -> bool:
        """Append `count` records of a call wherever they are taken; whether any was. Adds to `nacked` those of `indices` that some target refuses.

        Refused: nothing was staged (volatile logs alone may refuse).
        """
        codec = self._hub.codec(call.codec)
        store = self._store
        whole = store.whole
        staged = False
        try:
            for accepted, run, many in self._admitted(call, codec, prefix, targets, data, count, indices, nacked):
                keeping = [target.heads for target in accepted if isinstance(target, Queue) and isinstance(target.heads, LastValues)]
                if keeping:
                    accepted = [target for target in accepted if not (isinstance(target, Queue) and isinstance(target.heads, LastValues))]
                    if not self._keep(keeping, call, prefix, run, many):
                        nacked.extend(indices)
                    staged = True
                    if not accepted:
                        continue
                flat = [target.log for target in accepted if not isinstance(target, PriorityQueue)]
                if flat:
                    store.append(flat, make_entry(call.codec, call.codec_version, call.flags, prefix, run, many))
                    staged = store.whole = True  # what has begun is not refused
                levelled = [target for target in accepted if isinstance(target, PriorityQueue)]
                if levelled:
                    self._levelling.append(levelled, call, prefix, run, many)
                    staged = True
                queues = [target for target in accepted if isinstance(target, Queue)]
                body_bytes = codec.body_bytes(run, 0, many) if queues else 0
                for queue in queues:
                    if call.flags & HAS_EXPIRY:
                        queue.note_expiry()
                    queue.note_appended(body_bytes)
        finally:
            store.whole = whole
        return staged

    def _admitted(
        self, call: Publish, codec: Any, prefix: bytes, targets: Sequence[Target], data: bytes, count: int, indices: Sequence[int], nacked: list[int]
    ) -> Iterator[tuple[Sequence[Target], bytes, int]]:
        """Runs of the records with the targets that take them: (targets, records, how many). The caller stages each before the next."""
        choosy = [target for target in targets if isinstance(target, Queue) and target.rejects_when_full]
        if not choosy:
            yield targets, data, count
            return
        at = position = 0
        while at < count:
            run, refusing = self._alike(choosy, codec, data, position, count - at)
            end = codec.skip(data, position, run)
            records = data if run == count else data[position:end]
            accepted = [target for target in targets if target not in refusing]
            if refusing:
                nacked.extend(indices[at : at + run])
                self._dead_letter(call, codec, prefix, records, run, refusing)
            if accepted:
                yield accepted, records, run
            at += run
            position = end

    def _keep(self, keeping: list[LastValues], call: Publish, prefix: bytes, data: bytes, count: int) -> bool:
        """The last record is what queues keep that keep last values: whether all do."""
        codec = self._hub.codec(call.codec)
        record = data[codec.skip(data, 0, count - 1) :]
        kept = [values.keep(call, codec, prefix, record) for values in keeping]
        return all(kept)

    @staticmethod
    def _alike(choosy: list[Queue], codec: Any, data: bytes, position: int, left: int) -> tuple[int, list[Queue]]:
        """How many of the next `left` records the same queues refuse, and which queues."""
        run = left
        refusing = []
        for queue in choosy:
            room = left if queue.length_max < 0 else max(0, min(left, queue.length_max - queue.depth()))
            if not room:
                refusing.append(queue)
                continue
            if queue.bytes_max >= 0:
                bytes_left = queue.bytes_max - queue.ready_bytes
                room = codec.fitting_count(data, position, room, bytes_left)
                if not room:
                    refusing.append(queue)
                    run = min(run, codec.larger_count(data, position, left, bytes_left))
                    continue
            run = min(run, room)
        return run, refusing

    @staticmethod
    def _dead_letter(call: Publish, codec: Any, prefix: bytes, data: bytes, count: int, refusing: list[Queue]) -> None:
        """reject-publish-dlx: what a full queue refuses goes to its dead-letter exchange."""
        to = [queue.dead_letters for queue in refusing if queue.rejects_to_dead_letters and queue.dead_letters is not None]
        if not to:
            return
        for record in codec.split(data, 0, count):
            entry = make_entry(call.codec, call.codec_version, call.flags, prefix, record, 1)
            entry.seal()
            for dead_letters in to:
                dead_letters.publish_refused(entry, record)
