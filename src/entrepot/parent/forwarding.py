"""control.py's socket where there are workers: a command goes to whom it concerns, and is answered once.

A change of users goes to worker 0, where it is decided. A namespace is opened at every worker, each with listeners of its own for it, and then each is told
where the others have theirs, for clients that tell workers apart. A worker that was started again opens them anew, at the ports that they had.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from entrepot.control_socket import serve

LOOPBACK = "127.0.0.1"
Answer = dict[str, Any]
Ports = dict[str, int]


class Forwarding:
    """ask(number, command): to that worker, whose answers come in order to answered(); False where it is not ready."""

    def __init__(self, count: int, ask: Callable[[int, dict[str, Any]], bool]) -> None:
        self._ask = ask
        self._waiting: list[deque[asyncio.Future[Answer]]] = [deque() for _ in range(count)]
        self._open: dict[str, list[Ports]] = {}  # by namespace, of each worker
        self._opening: set[asyncio.Task[None]] = set()

    async def serve(self, descriptor: int) -> None:
        """See control_socket.serve()."""
        await serve(descriptor, self.answer)

    async def answer(self, line: bytes) -> Answer:
        """What one command is answered with."""
        try:
            command = json.loads(line)
        except ValueError as error:
            return {"error": str(error)}
        if "open" in command:
            return await self._opened(command["open"], command.get("ports", {}))
        if "close" in command:
            self._open.pop(command["close"], None)
            return _first_error(await self._everywhere([command] * len(self._waiting))) or {}
        return await self._asked(0, command)

    # ---- what workers say

    def answered(self, number: int, answer: Answer) -> None:
        """By that worker, to the oldest that waits for it."""
        while self._waiting[number]:
            waiting = self._waiting[number].popleft()
            if not waiting.done():
                waiting.set_result(answer)
                return

    def lost(self, number: int) -> None:
        """It has ended."""
        while self._waiting[number]:
            self.answered(number, {"error": f"worker {number} has ended; the command may have been carried out"})

    def ready_again(self, number: int) -> None:
        """A new start of it has none of its listeners."""
        task = asyncio.get_running_loop().create_task(self._open_again(number))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    # ----

    async def _opened(self, namespace: str, wanted: Ports) -> Answer:
        """`wanted`: the ports that worker 0's listeners shall have; they are the node's to who asked."""
        known = self._open.get(namespace) or [wanted, *({} for _ in self._waiting[1:])]
        answers = await self._everywhere([{"open": namespace, "ports": ports} for ports in known])
        if failed := _first_error(answers):
            return failed
        self._open[namespace] = [answer["ports"] for answer in answers]
        if not answers[0]["ports"]:
            return answers[0]
        return _first_error(await self._everywhere([self._nodes(namespace)] * len(answers))) or answers[0]

    async def _open_again(self, number: int) -> None:
        for namespace, ports in list(self._open.items()):
            await self._asked(number, {"open": namespace, "ports": ports[number]})
            if ports[number]:
                await self._asked(number, self._nodes(namespace))

    def _nodes(self, namespace: str) -> dict[str, Any]:
        by_worker = self._open.get(namespace, [])
        names = by_worker[0] if by_worker else {}
        return {"nodes": namespace, "addresses": {name: [f"{LOOPBACK}:{ports[name]}" for ports in by_worker] for name in names}}

    async def _everywhere(self, commands: Sequence[dict[str, Any]]) -> list[Answer]:
        return await asyncio.gather(*(self._asked(number, command) for number, command in enumerate(commands)))

    async def _asked(self, number: int, command: dict[str, Any]) -> Answer:
        if not self._ask(number, command):
            return {"error": f"worker {number} is not ready"}
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number].append(answer)
        return await answer


def _first_error(answers: Sequence[Answer]) -> Answer | None:
    return next((answer for answer in answers if "error" in answer), None)
