"""control.py's socket where there are workers: commands go to worker 0, one at a time, as what they change is decided there.

A namespace cannot have a listener of its own: that would be one at each worker, which clients would have to be told of. So where a protocol is listened for
that needs one (Kafka), a namespace is not opened; with the others, whose connections say where they belong, it is.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any


class Forwarding:
    """`ask`: to worker 0, False where there is none now. `needs_listener`: the listeners, of those that are open, that a namespace would need its own of."""

    def __init__(self, ask: Callable[[dict[str, Any]], bool], needs_listener: list[str]) -> None:
        self._ask = ask
        self._needs_listener = needs_listener
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()

    async def serve(self, descriptor: int) -> None:
        """Until the other end is closed. `descriptor` is a connected stream socket, and ours from now on."""
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def answer(self, line: bytes) -> dict[str, Any]:
        """What one command is answered with."""
        try:
            command = json.loads(line)
        except ValueError as error:
            return {"error": str(error)}
        if "open" in command and self._needs_listener:
            return {"error": f"with workers a namespace has no {', '.join(self._needs_listener)} listener of its own"}
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if not self._ask(command):
            self.lost()
        return await answer

    def answered(self, answer: dict[str, Any]) -> None:
        """By worker 0, to the oldest that waits."""
        if self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(answer)

    def lost(self) -> None:
        """Worker 0 has ended."""
        while self._waiting:
            self.answered({"error": "worker 0 has ended; the command may have been carried out"})
