"""Beside: work that lets go of the GIL, on one thread beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """One thread, begun with the first work. Made on the loop that it tells; `close` ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def do(self, run: Callable[[], object], done: Callable[[], object]) -> None:
        """run() on the thread, after what came before it; then done() on the loop, though run() failed, unless it was closed meanwhile."""
        future: asyncio.Future[object] = self._loop.run_in_executor(self._thread, run)
        future.add_done_callback(lambda future: None if future.cancelled() else _told(future, done))

    def close(self) -> None:
        """What has not begun never will."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _told(future: asyncio.Future[object] | Future[object], done: Callable[[], object]) -> None:
    try:
        future.result()  # raises what run() raised: our bug, or there is no memory; the loop logs it
    finally:
        done()  # who waits for it is not left hanging
