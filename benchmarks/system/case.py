"""A case: its name, what it does to a broker, and what is expected of Entrepot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.system.brokers import Broker
from benchmarks.system.measure import Figures

MIB = 1 << 20


@dataclass(frozen=True)
class Scale:
    """How much of a case is done: 1 is what the expectations are about."""

    seconds: float = 5.0
    bulk_seconds: float = 60.0
    part: float = 1.0  # of the counts of the memory and catch-up cases

    def count(self, full: int) -> str:
        return str(max(1000, int(full * self.part)))


@dataclass(frozen=True)
class Expectation:
    """A figure of Entrepot's and what it is held to; `of_peer`: as a multiple of the peer's in the same run; `otherwise`: what will do instead."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    of_peer: bool = False
    otherwise: Expectation | None = None


@dataclass(frozen=True)
class Case:
    """`measure` runs once for each repetition, on a broker started afresh for the case."""

    name: str
    about: str
    measure: Callable[[Broker, Scale], Figures]
    expectations: tuple[Expectation, ...] = ()
    peers: bool = True  # whether it is worth a peer's time
    repetitions: int | None = None
    protocol: str = "amqp"  # what it speaks: see run.py for its peers
