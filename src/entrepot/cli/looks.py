"""Looks: what each worker says of itself at one moment, and what two moments say together. Nothing here reads a clock or a socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from entrepot.admin.status import LinkStatus, Status
from entrepot.cli.printing import table

WORKERS = ("WORKER", "PID", "STATE", "UP", "RESTARTS", "SHARDS", "CONNECTIONS", "IN/S", "OUT/S", "KB IN/S", "KB OUT/S", "INTENTS", "INTENT BYTES")
LINKS = ("LINK", "STATE", "SINCE", "HELD BYTES", "SENT", "RECEIVED", "SENT/S", "RECEIVED/S")
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Look:
    """`at_s`: when, of any clock that goes on. `found`: by worker, what it said, or why it did not answer."""

    at_s: float
    found: Mapping[int, Status | str]


@dataclass(slots=True)
class Looks:
    """Look after look: the last one, the one before, and how often each worker was seen to have started again."""

    last: Look | None = None
    before: Look | None = None
    restarts: dict[int, int] = field(default_factory=dict)
    _seen: dict[int, tuple[str, int]] = field(default_factory=dict)  # worker -> its last start

    def take(self, look: Look) -> None:
        """The next one."""
        self.before, self.last = self.last, look
        for number, status in look.found.items():
            if isinstance(status, Status):
                start = (status.start, status.pid)
                if self._seen.get(number, start) != start:
                    self.restarts[number] = self.restarts.get(number, 0) + 1
                self._seen[number] = start

    def shown(self) -> str:
        """For people: workers, and links where there are any. Escaped, as tables are."""
        assert self.last is not None
        parts = [table(WORKERS, [self._worker(number, status) for number, status in sorted(self.last.found.items())])]
        links = [(number, link) for number, status in sorted(self.last.found.items()) if isinstance(status, Status) for link in status.links]
        if links:
            parts.append(table(LINKS, [self._link(number, link) for number, link in links]))
        return "\n\n".join(parts)

    def _worker(self, number: int, status: Status | str) -> Sequence[str | int]:
        restarts = UNKNOWN if self.before is None else str(self.restarts.get(number, 0))
        if isinstance(status, str):
            return (f"w{number}", UNKNOWN, status, UNKNOWN, restarts, *[UNKNOWN] * (len(WORKERS) - 5))
        state = "ready" if not status.why_not_ready else status.why_not_ready
        shards = str(status.shards) if status.shards_open == status.shards else f"{status.shards_open} of {status.shards}"
        before = self._before(number, status)
        rates = [
            self._rate(getattr(status, name), None if before is None else getattr(before, name), divisor)
            for name, divisor in (("messages_in", 1), ("messages_out", 1), ("bytes_in", 1024), ("bytes_out", 1024))
        ]
        what = f"{state}, decides" if status.decides and status.workers > 1 else state
        up = lasted(status.uptime_s)
        return (f"w{number}", str(status.pid), what, up, restarts, shards, str(status.connections), *rates, str(status.intents), str(status.intent_bytes))

    def _link(self, number: int, link: LinkStatus) -> Sequence[str | int]:
        before = None
        if self.before is not None and isinstance(status := self.before.found.get(number), Status):
            before = next((one for one in status.links if one.name == link.name), None)
        return (
            f"w{number} to {link.name}",
            "connected" if link.connected else "not connected",
            lasted(link.since_s),
            str(link.held_bytes),
            str(link.sent),
            str(link.received),
            self._rate(link.sent, None if before is None else before.sent, 1),
            self._rate(link.received, None if before is None else before.received, 1),
        )

    def _before(self, number: int, status: Status) -> Status | None:
        """What the same start said at the look before."""
        before = None if self.before is None else self.before.found.get(number)
        return before if isinstance(before, Status) and (before.start, before.pid) == (status.start, status.pid) else None

    def _rate(self, now: int, before: int | None, divisor: int) -> str:
        if before is None or now < before or self.before is None or self.last is None or self.last.at_s <= self.before.at_s:
            return UNKNOWN
        return str(round((now - before) / (self.last.at_s - self.before.at_s) / divisor))


def lasted(seconds: float) -> str:
    """A duration in its two greatest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
