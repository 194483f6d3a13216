"""run_worker(): one of several workers, from its parent's first word to its last. In its process it is the broker's Server (server.py).

start   its directory is its own -> recovery -> one of the others (Member) -> listeners, beside theirs -> ready
stop    leave: no client is connected any more -> end: stored, exit 0. Before it is ready: exit at once
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from entrepot.clock import SystemClock
from entrepot.cluster.member import Member
from entrepot.cluster.workers.directory import WORKERS_FILE, read
from entrepot.cluster.workers.opening import link_key
from entrepot.cluster.workers.parent_line import Heard, ParentLine
from entrepot.control import Control
from entrepot.entropy import SystemEntropy
from entrepot.leaving import STOPPED_TWICE, leave
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.node import Membership, Node
from entrepot.server import Server, loop_factory, settle, store_failed, within_descriptors
from entrepot.settings import Config, address
from entrepot.store.local.posix_disk import LOCK
from entrepot.store.local.whole_file import wait_until_free

log = logging.getLogger("entrepot.worker")

SAID_WAIT_S = 1.0  # for the others to have what clients have settled last
SAID_LOOK_S = 0.01
DISK_LOOK_S = 1.0  # how often a worker looks at what is free: the others fill the same disk, and its clients are to be told, too
LOCK_WAIT_S = 10.0  # for an earlier start of this worker that is about to end


def run_worker(config: Config, parent: ParentLine) -> int:
    """Run one of several workers until its parent ends it; the exit status. Its configuration is the worker's own, as the parent has made it."""
    os.umask(0o077)
    config = within_descriptors(config)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_Worker(config, parent).serve())


class _Worker:
    """A broker in this process that goes by its parent's word, and not by signals."""

    def __init__(self, config: Config, parent: ParentLine) -> None:
        self._config = config
        self._parent = parent
        self._server: Server | None = None
        self._dead_early: list[tuple[str, bytes]] = []  # starts of others, said to be dead before there was a Member
        self._control: Control | None = None  # once it is ready
        self._leaving = asyncio.Event()
        self._ending = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()

    async def serve(self) -> int:
        loop = asyncio.get_running_loop()
        self._parent.listen(loop, self._heard())
        await _until_free(loop, Path(self._config.data) / LOCK)
        self._parent.locked()
        self._server = server = Server(self._config, SystemClock(), SystemEntropy(), store_failed, self._membership())
        server.network.shares_addresses = True
        server.network.open += [(name, *address(name, where)) for name, where in self._parent.place.addresses.items() if not self._config.listen[name]]
        try:
            started = await server.start()
        except OSError as error:
            raise Refused(Reason.INVALID, f"cannot start: {error.strerror or error}") from None
        assert server.node is not None
        self._parent.users(server.node.users.has_own())
        self._control = server.control()
        self._parent.ready(started.as_json())
        settle()
        server.stalls.start()
        self._look_at_disk(loop, server.node)
        await self._leaving.wait()
        await server.leave()
        await _until_said(loop, server.node.member)
        self._parent.left()
        await self._ending.wait()
        if server.node.member is not None:
            server.node.member.stop()
        await server.stop()
        return 0

    def _heard(self) -> Heard:
        return Heard(on_dead=self._dead, on_leave=self._on_leave, on_end=self._on_end, on_look=self._parent.here, on_ask=self._on_ask)

    def _membership(self) -> Membership:
        place = self._parent.place
        directory = Path(place.data)
        file = read(directory)
        if file is None:
            raise CorruptData(f"{directory}: there is no {WORKERS_FILE} any more")
        return Membership(
            place=place,
            cluster=file.cluster_id,
            shards=file.shards,
            key=link_key(directory),
            journal=self._note,
            on_condemned=self._parent.condemn,
            dead=self._dead_early,
        )

    def _look_at_disk(self, loop: asyncio.AbstractEventLoop, node: Node) -> None:
        node.look_at_disk()
        loop.call_later(DISK_LOOK_S, self._look_at_disk, loop, node)

    def _note(self, text: str) -> None:
        """Of the links; that they end when all of it ends is no warning."""
        log.log(logging.INFO if self._leaving.is_set() else logging.WARNING, "%s", text)

    def _dead(self, name: str, start: bytes) -> None:
        """That start of another worker can never act again. Before there is a Member it is kept for it: who is down would be waited for."""
        if self._server is not None and self._server.node is not None and self._server.node.member is not None:
            self._server.node.member.dead(name, start)
        else:
            self._dead_early.append((name, start))

    def _on_leave(self, reason: str) -> None:
        if self._control is None:  # not ready: there is nothing that would be lost
            leave(STOPPED_TWICE)
        self._leaving.set()

    def _on_end(self, reason: str) -> None:
        self._leaving.set()
        self._ending.set()

    def _on_ask(self, command: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(command))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, command: dict[str, Any]) -> None:
        assert self._control is not None, "the parent asks who has said that it is ready"
        async with self._in_turn:  # answers go back in the order of the commands
            self._parent.answered(await self._control.answer(msgspec.json.encode(command)))


async def _until_said(loop: asyncio.AbstractEventLoop, member: Member | None) -> None:
    """Until the others have heard what clients settled before they went: whoever says that he has left may be followed by the end of all."""
    said = asyncio.Event()

    def look(left: int) -> None:
        if left == 0 or member is None or not member.has_more_to_say:
            said.set()
        else:
            loop.call_later(SAID_LOOK_S, look, left - 1)

    look(round(SAID_WAIT_S / SAID_LOOK_S))
    await said.wait()


async def _until_free(loop: asyncio.AbstractEventLoop, lock: Path) -> None:
    """Wait for the end of an earlier start whose parent was killed: it ends when it hears of that. Too long: whoever opens the directory will say so."""
    free: asyncio.Future[None] = loop.create_future()

    def told() -> None:
        if not free.done():
            free.set_result(None)

    def wait() -> None:
        with suppress(OSError):  # whoever opens it will say so
            wait_until_free(lock)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(told)

    threading.Thread(target=wait, name="entrepot-lock", daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(free, LOCK_WAIT_S)
