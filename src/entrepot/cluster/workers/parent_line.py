"""A worker's end of the socket to its parent (lines.py). Nothing here knows a broker.

    line = ParentLine.connected(descriptor)    blocks until the parent has said what this worker is: line.place, line.config
    line.listen(loop, on_dead=…, …)            from now on: what came meanwhile is told first, in order
    line.locked(), line.ready(…), line.left()  say how far this worker is

A thread of its own reads, so that a parent's end is noticed while the loop is held up (by a recovery, say): on_parent_gone is called in that thread, all
else on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from entrepot.cluster.workers.lines import Lines, line
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.model.errors import CorruptData

READ_BYTES = 65_536


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of what the parent says. on_dead(name, start); on_leave(reason), on_end(reason); on_look(), to be answered by `here`;
    on_ask(command), by `answered`.
    """

    on_dead: Callable[[str, bytes], object]
    on_leave: Callable[[str], object]
    on_end: Callable[[str], object]
    on_look: Callable[[], object]
    on_ask: Callable[[dict[str, Any]], object]


class ParentLine:
    """One worker's. Made by `connected`; `on_parent_gone` never returns to a worker that goes on."""

    def __init__(self, sock: socket.socket, on_parent_gone: Callable[[], object]) -> None:
        self._sock = sock
        self._on_parent_gone = on_parent_gone
        self._lines = Lines()
        self._sending = threading.Lock()
        self._waiting: list[dict[str, Any]] = []  # came before anybody listened
        self._hears: Callable[[dict[str, Any]], object] | None = None
        self._handing = threading.Lock()  # over both
        self.place: WorkerPlace
        self.config: dict[str, Any]

    @classmethod
    def connected(cls, descriptor: int, on_parent_gone: Callable[[], object]) -> ParentLine:
        """Over an inherited socket, which is ours from now on. Raises CorruptData, OSError; on_parent_gone is called where the parent has ended."""
        self = cls(socket.socket(fileno=descriptor), on_parent_gone)
        try:
            self._begin()
        except BaseException:
            self._sock.close()
            raise
        threading.Thread(target=self._read_on, name="entrepot-parent", daemon=True).start()
        return self

    def _begin(self) -> None:
        while not self._waiting:
            if not self._read():
                self._on_parent_gone()
                raise CorruptData("the parent has said nothing")
        first = self._waiting.pop(0)
        try:
            self.place = msgspec.convert(first["place"], WorkerPlace)
            self.config = msgspec.convert(first["config"], dict[str, Any])
        except (KeyError, msgspec.ValidationError) as error:
            raise CorruptData(f"the parent's first line does not say what this worker is: {error}") from None

    def listen(self, loop: asyncio.AbstractEventLoop, heard: Heard) -> None:
        """Call these on the loop. Once."""

        def hear(said: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this process is about to end
                loop.call_soon_threadsafe(_tell, heard, said)

        with self._handing:
            self._hears = hear
            for said in self._waiting:
                hear(said)
            self._waiting.clear()

    # ---- what a worker says

    def locked(self) -> None:
        """Its directory is its own."""
        self._say({"locked": True})

    def ready(self, started: dict[str, Any]) -> None:
        """Clients are let in; as Started.as_json() has it."""
        self._say({"ready": started})

    def failed(self, why: str) -> None:
        """It ends, and that is why, in words for who started the node."""
        self._say({"failed": why})

    def here(self) -> None:
        """Its loop goes round."""
        self._say({"here": True})

    def left(self) -> None:
        """No client is connected any more."""
        self._say({"left": True})

    def users(self, has_own: bool) -> None:
        """Whether the node has users of its own."""
        self._say({"users": has_own})

    def condemn(self, name: str, start: bytes, why: str) -> None:
        """Have that start of another worker ended; its death is told in time."""
        self._say({"condemned": [name, start.hex(), why]})

    def answered(self, answer: dict[str, Any]) -> None:
        """To the last command that was asked."""
        self._say({"answer": answer})

    def _say(self, said: dict[str, Any]) -> None:
        """Lines are short and few: the socket takes them."""
        with self._sending, contextlib.suppress(OSError):  # the parent has ended: the thread notices
            self._sock.sendall(line(said))

    # ---- the thread

    def _read_on(self) -> None:
        try:
            while self._read():
                pass
        finally:  # our own bug, too: nobody is to run on unheard
            self._on_parent_gone()

    def _read(self) -> bool:
        """Take what comes; False: nothing ever will."""
        try:
            data = self._sock.recv(READ_BYTES)
        except OSError:
            return False
        said = self._lines.fed(data)
        with self._handing:
            for each in said:
                if self._hears is None:
                    self._waiting.append(each)
                else:
                    self._hears(each)
        return bool(data)


def _tell(heard: Heard, said: dict[str, Any]) -> None:
    """What is not known is of a newer parent, which there is not: workers are started from the same files."""
    if "dead" in said:
        name, start = said["dead"]
        heard.on_dead(name, bytes.fromhex(start))
    elif "leave" in said:
        heard.on_leave(said["leave"])
    elif "end" in said:
        heard.on_end(said["end"])
    elif "look" in said:
        heard.on_look()
    elif "ask" in said:
        heard.on_ask(said["ask"])
