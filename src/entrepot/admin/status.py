"""Status: what a process says of itself: GET /v1/status. Figures are totals since its start; who wants rates looks twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from entrepot import __version__
from entrepot.cluster.link_figures import HasLinks, LinkFigures
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.http.session import Response

if TYPE_CHECKING:
    from entrepot.clock import Clock
    from entrepot.metrics import Metrics
    from entrepot.net.network import Network
    from entrepot.node import Node


class LinkStatus(msgspec.Struct, frozen=True):
    """See LinkFigures."""

    name: str
    connected: bool
    since_s: float
    held_bytes: int
    sent: int
    received: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Of one worker of `workers`. A later version may say more.

    `start`: which start it is, "" where there is only one worker; `why_not_ready`: "" where it is; `decides`: the catalogue. `revision`, (epoch, number), of
    that is applied here. `shards`: its own, of `shards_all`, and how many of them are open. `intents`: dead letters and moves on their way to queues of others;
    `intents_full`: how often a queue had to wait for room there. `messages_in`: published and appended here; `messages_out`: given out by queues here.
    """

    version: str
    worker: int
    workers: int
    pid: int
    start: str
    started_ms: int
    uptime_s: float
    why_not_ready: str
    decides: bool
    revision: tuple[int, int]
    shards: int
    shards_open: int
    shards_all: int
    connections: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    intents: int
    intent_bytes: int
    intents_full: int
    links: list[LinkStatus]


class Self:
    """What is known of a process: its node, its sockets, and its place among others, where there are any."""

    def __init__(
        self,
        node: Node,
        network: Network,
        clock: Clock,
        why_not_ready: Callable[[], str | None],
        place: WorkerPlace | None = None,
        links: HasLinks | None = None,
    ) -> None:
        self._node = node
        self._network = network
        self._clock = clock
        self._why_not_ready = why_not_ready
        self._place = place
        self._links = links
        self._began_s = clock.monotonic_s()
        self._began_ms = clock.wall_ms()

    def status(self) -> Status:
        """Now."""
        broker, place = self._node.broker, self._place
        figures, outbox, stream = broker.statistics(), broker.outbox.statistics(), broker.decisions.stream
        own = range(broker.shards.count) if place is None else place.shards(broker.shards.count)
        return Status(
            version=__version__,
            worker=0 if place is None else place.number,
            workers=1 if place is None else place.count,
            pid=os.getpid(),
            start="" if place is None else place.start,
            started_ms=self._began_ms,
            uptime_s=self._clock.monotonic_s() - self._began_s,
            why_not_ready=self._why_not_ready() or "",
            decides=stream.decides,
            revision=(stream.revision.epoch, stream.revision.number),
            shards=len(own),
            shards_open=sum(shard not in broker.store.closed and shard not in broker.owners.loading for shard in own),
            shards_all=broker.shards.count,
            connections=self._network.connection_count,
            messages_in=int(figures["published_total"] + figures["appended_records_total"]),
            messages_out=int(figures["delivered_total"]),
            bytes_in=self._network.tick.bytes_received,
            bytes_out=self._network.tick.bytes_sent,
            intents=int(outbox["intents"]),
            intent_bytes=int(outbox["intent_bytes"]),
            intents_full=int(outbox["intents_full_total"]),
            links=[] if self._links is None else [_told(link) for link in self._links.figures()],
        )


def _told(link: LinkFigures) -> LinkStatus:
    return LinkStatus(link.name, link.is_connected, link.since_s, link.held_bytes, link.sent, link.received)


Readings = dict[str, Callable[[], Response]]


def readings(metrics: Metrics, process: Self) -> Readings:
    """What may be got, by its path."""

    def exposed() -> Response:
        from entrepot.http.exposition import CONTENT_TYPE, exposition  # its library is slow to import

        return Response(200, exposition(metrics), CONTENT_TYPE)

    return {"/metrics": exposed, "/v1/status": lambda: Response(200, msgspec.json.encode(process.status()), "application/json")}
