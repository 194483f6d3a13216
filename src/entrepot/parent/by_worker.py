"""The figures of all workers in one text, each sample with the label `worker`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from entrepot.cluster.workers.place import name_of


class _Merged:
    """In the shape that prometheus-client collects from."""

    def __init__(self, expositions: Mapping[int, bytes]) -> None:
        self._families: dict[str, Metric] = {}
        for number, text in sorted(expositions.items()):
            for family in text_string_to_metric_families(text.decode()):
                merged = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, "worker": name_of(number)}, sample.value)

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def by_worker(expositions: Mapping[int, bytes]) -> bytes:
    """Of the workers with these numbers. Raises ValueError: one is no exposition."""
    return generate_latest(_Merged(expositions))
