"""The figures in Prometheus's text format, written by prometheus-client."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric

from entrepot.metrics import Histogram, Metrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Reading:
    """One look at all figures, in the shape that prometheus-client collects from."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for family in self._metrics.families():
            shapes: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
            labels = sorted({name for there, _ in family.readers for name in there})
            metric = shapes[family.kind](family.name, family.text, labels=labels)
            for there, read in family.readers:
                value = read()
                named = [there.get(name, "") for name in labels]
                if isinstance(value, Histogram):
                    bounds = [*(repr(bound) for bound in value.bounds), "+Inf"]
                    metric.add_metric(named, list(zip(bounds, accumulate(value.counts), strict=True)), value.sum)
                else:
                    metric.add_metric(named, value)
            yield metric


def exposition(metrics: Metrics) -> bytes:
    """Every figure now."""
    return generate_latest(_Reading(metrics))
