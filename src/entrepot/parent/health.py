"""What the parent's HTTP port answers for the node: it is ready when all workers are; figures are the parent's own, and those of all workers, summed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h11

from entrepot.admin import socket_file
from entrepot.clock import Clock
from entrepot.cluster.workers.limits import DIVIDED
from entrepot.cluster.workers.place import name_of
from entrepot.http.session import Later, Response
from entrepot.metrics import Metrics
from entrepot.model.errors import CorruptData
from entrepot.net.short_path import short_path
from entrepot.parent.supervisor import Supervisor, Worker

if TYPE_CHECKING:
    from entrepot.cluster.workers.figures import NodeFigures

log = logging.getLogger("entrepot.parent")

SCRAPE_LIMIT_S = 5.0  # a worker that takes longer is left out
READ_BYTES = 65_536


async def scrape(store: Path) -> bytes:
    """The figures of the worker whose store is there. Raises OSError, TimeoutError, h11.RemoteProtocolError."""
    with short_path(store / socket_file.NAME) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        http = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target="/metrics", headers=[("host", "localhost"), ("connection", "close")])
        writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        body = bytearray()
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(READ_BYTES))
            elif isinstance(event, h11.Response) and event.status_code != 200:
                raise OSError(f"it answers {event.status_code}")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                raise OSError("it has ended the connection")
        return bytes(body)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Figures:
    """Answers /metrics, all who ask meanwhile by one look at the workers: however many ask, and how often, each worker is asked once at a time.

    `metrics`: the parent's own; `stores`: where the workers' are; `start_of`: which start of a worker that is by its number.
    """

    def __init__(self, metrics: Metrics, stores: list[Path], start_of: Callable[[int], str]) -> None:
        self._metrics = metrics
        self._stores = stores
        self._start_of = start_of
        self._node: NodeFigures | None = None
        self._asking: list[Later] = []  # of the look that is under way
        self._looking: asyncio.Task[None] | None = None

    def __call__(self) -> Later:
        """See Health's `exposed`."""
        later = Later()
        self._asking.append(later)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return later

    async def _look(self) -> None:
        response = Response(500, b"the figures could not be put together; see the log\n")
        try:
            response = await self._gathered()
        finally:
            asking, self._asking, self._looking = self._asking, [], None
            for later in asking:
                later.give(response)

    async def _gathered(self) -> Response:
        from entrepot.cluster.workers.figures import NodeFigures  # their library is large: not before somebody asks
        from entrepot.http.exposition import CONTENT_TYPE, exposition

        if self._node is None:
            self._node = NodeFigures(len(self._stores), DIVIDED["limits"])
        found = await asyncio.gather(*(self._scraped(number) for number in range(len(self._stores))))
        try:
            body = exposition(self._metrics) + self._node.look({number: one for number, one in enumerate(found) if one is not None})
        except CorruptData as error:
            return Response(500, f"{error}\n".encode())
        return Response(200, body, CONTENT_TYPE)

    async def _scraped(self, number: int) -> tuple[str, bytes] | None:
        start = self._start_of(number)
        try:
            return start, await asyncio.wait_for(scrape(self._stores[number]), SCRAPE_LIMIT_S)
        except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
            log.debug("%s gives no figures: %s", name_of(number), error or type(error).__name__)
            return None


def register(metrics: Metrics, supervisor: Supervisor, clock: Clock) -> None:
    """The parent's own. Workers are told apart by their numbers, as in all figures of a node."""
    started_ms = clock.wall_ms()
    metrics.gauge("entrepot_start_time_seconds", "When the broker was started, since 1970", lambda: started_ms / 1000)
    metrics.gauge("entrepot_workers", "Worker processes that there should be", lambda: len(supervisor.workers))
    for worker in supervisor.workers:
        metrics.gauge("entrepot_worker_ready", "1 while the worker lets clients in", partial(_is_ready, worker), worker=str(worker.number))
        metrics.counter("entrepot_worker_restarts_total", "How often it was started again", partial(_restarts, worker), worker=str(worker.number))


def _is_ready(worker: Worker) -> float:
    return float(worker.ready is not None)


def _restarts(worker: Worker) -> float:
    return worker.restarts.count
