"""The socket of control.py, as whoever serves it has it, the broker or its parent: one JSON object a line, each answered by one line, in order."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any


async def serve(descriptor: int, answer: Callable[[bytes], Awaitable[dict[str, Any]]]) -> None:
    """Until the other end is closed. `descriptor` is a connected stream socket, and ours from now on."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    try:
        while line := await reader.readline():
            writer.write(json.dumps(await answer(line)).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
