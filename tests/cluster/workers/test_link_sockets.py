"""The connections of links: who dials, and how often."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

from entrepot.clock import SystemClock
from entrepot.cluster.workers.link_sockets import LIMITS, LinkDialler, path_of
from entrepot.net.network import Network


class Links:
    """Nobody is there yet."""

    def needs_connection(self, name: str) -> bool:
        return True


def test_a_connection_that_is_being_made_is_not_made_twice(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path_of(tmp_path, "w0")))
        listening.listen(8)

        async def test() -> None:
            loop = asyncio.get_running_loop()
            dialler = LinkDialler(Network(loop, SystemClock(), LIMITS), cast("Any", Links()), tmp_path, "w0")
            made: list[socket.socket] = []

            async def connect(sock: socket.socket, arrival: Any, address: Any) -> None:
                made.append(sock)  # its session is made some turns later

            dialler._connect = connect  # type: ignore[method-assign]
            await dialler.start()
            while not made:
                await asyncio.sleep(0)
            dialler._dial()
            assert dialler._dialling is None
            assert dialler.open_count == 1
            dialler.stop_accepting()
            made[0].close()

        asyncio.run(test())
