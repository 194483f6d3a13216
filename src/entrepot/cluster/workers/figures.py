"""The node's figures: what its workers expose (Prometheus's text format), put together by a rule for each name.

    SUM    of all workers: counters, and what is divided among them (connections, bytes in memory, live queues)
    MAX    what all have the same (the catalogue's figures, limits that are not divided), and alarms, which one is enough for
    MIN    what is only so when it is so of all, and what they have together and each sees whole (free disk)
    EACH   of one process: under the label worker="n"

Counters are SUM, everything else is named in RULES; what is not (of a later version) is EACH. A counter of the node never goes back: what a worker had
counted when it ended stays counted (NodeFigures), as whoever computes rates expects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import TypeAlias

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from entrepot.model.errors import CorruptData

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
WORKER = "worker"  # the label
LIMIT = "entrepot_limit"
READY = "entrepot_ready"


class Rule(Enum):
    """See the module."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    EACH = "each"


_SUMMED = """
connections strangers strangers_bytes unfinished_bytes kafka_fetch_sessions
broker_attachments broker_paths_cached broker_shelved_bytes broker_translations_bytes broker_pieces_bytes broker_long_translations_bytes
broker_replies_waiting_bytes broker_partitions_behind broker_intents broker_intent_bytes broker_producers broker_queues broker_consumers broker_groups
broker_retained broker_retained_bytes broker_sessions_attached broker_sessions_kept
broker_group_members broker_offsets
store_staged_bytes store_cached_bytes store_logs store_journal_unsorted_bytes store_journal_files store_state_changed_bytes store_segments
store_segment_bytes store_segment_dead_bytes store_segment_index_bytes
volatile_staged_bytes volatile_memory_bytes volatile_scratch_bytes volatile_spilling_bytes volatile_logs volatile_state_keys
"""
_GREATEST = """
info limit namespaces exchanges queues topics partitions bindings broker_metadata_bytes
broker_publishers_throttled store_pressure store_full
"""
_LEAST = "ready store_disk_free_bytes"
_OF_EACH = """
uptime_seconds memory_resident_bytes cpu_seconds loop_stall_seconds loop_stall_longest_seconds loop_stall_own_longest_seconds
link_connected link_held_bytes link_frames_sent link_frames_received
"""

RULES: dict[str, Rule] = {
    f"entrepot_{name}": rule
    for names, rule in ((_SUMMED, Rule.SUM), (_GREATEST, Rule.MAX), (_LEAST, Rule.MIN), (_OF_EACH, Rule.EACH))
    for name in names.split()
}
"""By the family's name, of a counter without _total. Counters that are not here are SUM."""

_Labels: TypeAlias = tuple[tuple[str, str], ...]
_Key: TypeAlias = tuple[str, _Labels]  # of a sample: its name and labels
_Values: TypeAlias = dict[_Key, float]


class _Family:
    """What all workers say under one name. `values`: by worker."""

    def __init__(self, name: str, text: str, kind: str) -> None:
        self.name = name
        self.text = text
        self.kind = kind
        self.rule = rule_of(name, kind)
        self.values: dict[int, _Values] = {}

    @property
    def is_counted(self) -> bool:
        """Whether its figures only grow while a worker lives."""
        return self.kind in ("counter", "histogram") and self.rule is Rule.SUM


def rule_of(name: str, kind: str) -> Rule:
    """Of a family, by its name (of a counter without _total) and Prometheus's type."""
    return RULES.get(name, Rule.SUM if kind == "counter" else Rule.EACH)


def summed(expositions: Mapping[int, bytes], divided: Collection[str] = ()) -> bytes:
    """The node's exposition, of those of its workers by their numbers. `divided`: limits (by the label `limit`) of which each worker has a part.

    Raises CorruptData: what a worker has said is no exposition.
    """
    return _told(_families(expositions), divided)


class NodeFigures:
    """The same from look to look. `count`: how many workers there should be; entrepot_worker_up says of each whether it answers."""

    def __init__(self, count: int, divided: Collection[str] = ()) -> None:
        self._count = count
        self._divided = divided
        self._starts: dict[int, str] = {}
        self._last: dict[int, dict[str, _Values]] = {}  # of each worker, what it had counted by name, when it was last looked at
        self._over: dict[str, _Values] = {}  # what starts that have ended had counted
        self._told: _Values = {}  # counters, as they were last

    def look(self, found: Mapping[int, tuple[str, bytes]]) -> bytes:
        """The exposition now. `found`: of the workers that answer, which start it is, and what it exposes. Raises CorruptData."""
        families = _families({number: data for number, (_, data) in found.items()})
        for number, (start, _) in found.items():
            if self._starts.get(number, start) != start:
                self._ended(number)
            self._starts[number] = start
            self._last[number] = {key: family.values[number] for key, family in families.items() if family.is_counted and number in family.values}
        for number, last in self._last.items():
            if number not in found:
                _add_all(families, number, last)
        for name, values in self._over.items():
            if name in families:
                families[name].values[-1] = values
        if READY in families and len(found) < self._count:  # who does not answer is not
            families[READY].values[-1] = {(READY, ()): 0.0}
        return _told(families, self._divided, self._told) + self._up(found)

    def _ended(self, number: int) -> None:
        for name, values in self._last.pop(number, {}).items():
            over = self._over.setdefault(name, {})
            for key, value in values.items():
                over[key] = over.get(key, 0.0) + value

    def _up(self, found: Collection[int]) -> bytes:
        metric = Metric("entrepot_worker_up", "1 while the worker answers", "gauge")
        for number in range(self._count):
            metric.add_sample(metric.name, {WORKER: str(number)}, float(number in found))
        return bytes(generate_latest(_Collected([metric])))


def _add_all(families: Mapping[str, _Family], number: int, last: Mapping[str, _Values]) -> None:
    """What a worker that does not answer had counted."""
    for name, values in last.items():
        if name in families:
            families[name].values[number] = values


def _families(expositions: Mapping[int, bytes]) -> dict[str, _Family]:
    found: dict[str, _Family] = {}
    for number, data in sorted(expositions.items()):
        for metric in _parsed(number, data):
            key = f"{metric.name}_total" if metric.type == "counter" else metric.name  # a gauge may have the name of a counter
            family = found.setdefault(key, _Family(metric.name, metric.documentation, metric.type))
            if family.kind != metric.type:
                raise CorruptData(f"worker {number} exposes {metric.name} as a {metric.type}, another as a {family.kind}")
            values = family.values.setdefault(number, {})
            for sample in metric.samples:
                values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def _parsed(number: int, data: bytes) -> list[Metric]:
    try:
        return list(text_string_to_metric_families(data.decode()))
    except (ValueError, KeyError, IndexError) as error:
        raise CorruptData(f"what worker {number} exposes is no exposition: {error!r}") from None


class _Collected:
    """Metrics, as prometheus-client takes them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._metrics


def _told(families: Mapping[str, _Family], divided: Collection[str], before: _Values | None = None) -> bytes:
    return bytes(generate_latest(_Collected(_metric(family, divided, before if family.is_counted else None) for family in families.values())))


def _metric(family: _Family, divided: Collection[str], before: _Values | None) -> Metric:
    """`before`: of a counter, what was told of it last, and is now. Fractions that are added up in another order come to a little less, which whoever
    computes rates takes for a counter that has begun anew.
    """
    metric = Metric(family.name, family.text, family.kind)
    for key, value in _put_together(family, divided):
        told = value
        if before is not None:
            told = before[key] = max(value, before.get(key, value))
        metric.add_sample(key[0], dict(key[1]), told)
    return metric


def _put_together(family: _Family, divided: Collection[str]) -> Iterator[tuple[_Key, float]]:
    if family.rule is Rule.EACH:
        for number, values in family.values.items():
            for (name, labels), value in values.items():
                yield (name, ((WORKER, str(number)), *labels)), value
        return
    by_key: dict[_Key, list[float]] = {}
    for values in family.values.values():
        for key, value in values.items():
            by_key.setdefault(key, []).append(value)
    for key, parts in by_key.items():
        is_divided = family.name == LIMIT and dict(key[1]).get("limit") in divided
        rule = Rule.SUM if is_divided else family.rule
        yield key, sum(parts) if rule is Rule.SUM else max(parts) if rule is Rule.MAX else min(parts)
