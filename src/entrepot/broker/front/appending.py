"""Appender: stages Append calls, a batch for each of their parts, in the open commit.

A batch gets its base offset, is compressed as its topic wants it, stamped by its codec, and becomes one entry. A producer that numbers its batches is judged
first (producers/deduplication.py); a batch that was sent before is answered as it was then, once that is durable.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.partition_calls import Append, AppendPart
from entrepot.broker.calls.port import DONE
from entrepot.broker.front.publisher import Path
from entrepot.broker.front.subjects import Subjects
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.producers.deduplication import Deduplication
from entrepot.broker.producers.producer_state import Verdict
from entrepot.broker.topic.partition import Partition, TopicAccess, TopicRules, TopicTable
from entrepot.model.entry import CONTROL, OPAQUE, TRANSACTIONAL, make_entry
from entrepot.model.errors import EntrepotError, Reason, Refused
from entrepot.store.interface import Store

REWRITTEN_MAX_BYTES = 64 << 20  # compressed anew for one call: batches behind are refused, for the loop waits meanwhile

_REWRITTEN_MAX = REWRITTEN_MAX_BYTES
_OK = int(Verdict.OK)
_DUPLICATE = int(Verdict.DUPLICATE)
_NOT_WHOLE = OPAQUE | TRANSACTIONAL | CONTROL  # what does not go on, or not before its transaction has ended


class Appender:
    """Of one broker. `refusing`: why nothing may be appended now, or None. Counters: batches, records and bytes appended; batches known already."""

    __slots__ = (
        "_principal",
        "appended_bytes",
        "appended_count",
        "authorizer",
        "batch_count",
        "duplicate_count",
        "epoch",
        "hub",
        "producers",
        "refused_count",
        "refusing",
        "sent_on_count",
        "store",
        "subjects",
    )

    def __init__(self, hub: Hub, store: Store, authorizer: Any, producers: Deduplication, subjects: Subjects) -> None:
        self.hub = hub
        self.subjects = subjects
        self.store = store
        self.authorizer = authorizer
        self.producers = producers
        self.refusing: Refused | None = None
        self._principal: Any = None  # of the call before
        self.epoch: int = getattr(store, "epoch", 0)  # what topics are described with
        self.batch_count = 0
        self.appended_count = 0
        self.appended_bytes = 0
        self.duplicate_count = 0
        self.sent_on_count = 0  # records that went on whole
        self.refused_count = 0

    def append(self, call: Append, table: TopicTable) -> None:
        """Carry out a call; it is completed now, or with the commit that it waits for."""
        version = self.authorizer.version
        codec = self.hub.codec(call.codec)
        access: TopicAccess | None = None
        waits = False
        principal = call.attachment.principal
        if principal is not self._principal:
            self._principal = principal
            self.producers.hold(principal.name)
        for part in call.parts:
            try:
                if access is None or access.rules.name != part.topic:
                    access = table.access(part.topic, version)
                if access.no_write is not None:
                    raise access.no_write.with_traceback(None)
                if self._append(call, part, table.partition(access, part.partition), codec):
                    waits = True
            except EntrepotError as error:
                part.error = error
                error.__traceback__ = None
                self.refused_count += 1
        if waits:
            self.store.urgent()
            if call.confirm:
                self.store.group().calls.append(call)
                return
        call.outcome = DONE
        call.attachment.sink.completed(call)

    def _append(self, call: Append, part: AppendPart, partition: Partition, codec: EntryCodec) -> bool:
        """Stage one batch; whether there is something to wait for."""
        log = partition.log
        rules = partition.rules
        size = len(part.data)
        part.first_offset = log.first_offset
        if self.refusing is not None:
            raise self.refusing.with_traceback(None)
        if size > rules.max_message_bytes:
            raise self._too_large(size, rules)
        now_ms = self.hub.now_ms()
        if part.producer_id >= 0:
            verdict = self.producers.judge(log, part.producer_id, part.producer_epoch, part.first_sequence, part.count, now_ms)
            if verdict == _DUPLICATE:
                self.duplicate_count += 1
                part.base_offset = self.producers.known_base
                part.append_time_ms = self.producers.known_time_ms
                end = self.producers.known_base + self.producers.known_span
                return end > log.durable_offset
            if verdict != _OK:
                raise self._refusal(Verdict(verdict), part, rules.name)
        if rules.compression >= 0 and not codec.is_compressed_as(part.data, rules.compression):
            self._recompress(call, part, rules, codec)
            size = len(part.data)
        max_time_ms = part.max_time_ms
        if rules.append_time:
            part.append_time_ms = now_ms
            max_time_ms = now_ms
        elif max_time_ms >= 0 and (now_ms - max_time_ms > rules.before_max_ms or max_time_ms - now_ms > rules.after_max_ms):
            raise Refused(
                Reason.INVALID,
                f"a record of {max_time_ms} ms, appended at {now_ms} ms: topic '{rules.name}' allows {rules.before_max_ms} before, {rules.after_max_ms} after",
            )
        base = log.next_offset
        data = codec.stamp(part.data, base, log.epoch, part.append_time_ms)
        router = rules.router
        assert router is not None  # set when the topic was resolved
        if rules.onward_version != router.version:
            topic: Any = partition.topic
            self.subjects.resolve(rules, topic.definition)
        path: Path | None = rules.onward
        logs = partition.logs
        whole = path is not None and path.whole and partition.hop is None and not part.flags & _NOT_WHOLE
        if path is not None and whole and path.codec != call.codec:
            path.codec = call.codec
            path.prefix = codec.prefix(path.address)
        if path is not None and whole and path.durable_logs:
            entry = make_entry(codec.tag, codec.version, part.flags, path.prefix, data, part.count)
            logs = [*logs, *path.durable_logs]
        else:
            entry = make_entry(call.codec, call.codec_version, part.flags, b"", data, part.count)
        entry.max_time_ms = max(0, max_time_ms)
        entry.producer_id = part.producer_id
        entry.producer_epoch = part.producer_epoch
        entry.first_sequence = part.first_sequence
        self.store.append(logs, entry)
        if part.producer_id >= 0:
            self.producers.note(log, part.producer_id, part.producer_epoch, part.first_sequence, base, part.count, now_ms, part.append_time_ms)
        if path is not None:
            # The batch is appended, whatever becomes of it elsewhere: its producer must not be told otherwise, and send it again.
            try:
                if not whole:
                    self.subjects.send_on(path, partition, codec, entry, base, data)
                elif path.volatile_logs or path.durable_logs:
                    self.sent_on_count += part.count
                    if path.volatile_logs:
                        self.subjects.send_volatile(path, codec, entry, data)
            except EntrepotError:
                self.subjects.kept_back_count += 1
        part.base_offset = base
        self.batch_count += 1
        self.appended_count += part.count
        self.appended_bytes += size
        return True

    def _recompress(self, call: Append, part: AppendPart, rules: TopicRules, codec: EntryCodec) -> None:
        """Have a batch as its topic wants it. Refused TOO_LARGE."""
        if call.rewritten_bytes >= _REWRITTEN_MAX:
            raise Refused(Reason.TOO_LARGE, f"the batches of one request that are compressed anew have more than {_REWRITTEN_MAX} bytes")
        part.data, size = codec.recompressed(part.data, rules.compression)
        call.rewritten_bytes += size
        if len(part.data) > rules.max_message_bytes:
            raise self._too_large(len(part.data), rules)

    def _too_large(self, size: int, rules: TopicRules) -> Refused:
        return Refused(Reason.TOO_LARGE, f"a batch of {size} bytes; max.message.bytes of topic '{rules.name}' is {rules.max_message_bytes}")

    def _refusal(self, verdict: Verdict, part: AppendPart, name: str) -> Refused:
        """What the producer is told."""
        where = f"topic '{name}', partition {part.partition}: producer {part.producer_id}"
        if verdict is Verdict.FENCED:
            return Refused(Reason.STALE_PRODUCER, f"{where} sent epoch {part.producer_epoch}, which is over")
        if verdict is Verdict.GAP:
            return Refused(Reason.OUT_OF_SEQUENCE, f"{where}, epoch {part.producer_epoch}, sent sequence {part.first_sequence}, which is not the next")
        return Refused(Reason.LIMIT, f"{where} cannot be remembered: too many producers are; try again later")
