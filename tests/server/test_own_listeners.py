"""A worker's listeners of its own beside those that it shares: in this process, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import msgspec
from kio_bridge import decode_kio, encode_kio
from test_handlers import metadata

from entrepot.clock import SystemClock
from entrepot.config import load
from entrepot.entropy import SystemEntropy
from entrepot.model.nodes import ALONE, Nodes
from entrepot.protocol import Site
from entrepot.protocol_table import listeners
from entrepot.server import Server

METADATA = 3


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def brokers_told_at(port: int) -> list[tuple[int, str, int]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = METADATA.to_bytes(2, "big") + (8).to_bytes(2, "big") + bytes(4) + b"\0\1t" + encode_kio(METADATA, 8, "request", metadata([]))
    writer.write(len(body).to_bytes(4, "big") + body)
    answer = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    writer.close()
    return [(found["node_id"], found["host"], found["port"]) for found in decode_kio(METADATA, 8, "response", answer[4:])["brokers"]]


class NodesServer(Server):
    """Has everything, and takes itself for one of several."""

    nodes = ALONE

    def _site(self, *parts: Any) -> Site:
        return msgspec.structs.replace(super()._site(*parts), nodes=self.nodes)


async def see(folder: Any, nodes: Nodes) -> dict[str, Any]:
    """What a server says of itself, and what clients are told at each port."""
    flags = {f"listen.{name}": "127.0.0.1:0" if name in ("kafka", "amqp") else "" for name in listeners().kinds}
    server = NodesServer(load(None, {}, {"data": str(folder), **flags}).config, SystemClock(), SystemEntropy(), lambda _: None)
    server.nodes = nodes
    started = await server.start()
    server.stalls.start()
    try:
        shared = started.addresses["kafka"][1]
        own = [nodes.addresses["kafka"][nodes.own][1]] if nodes.count > 1 else []
        told = {port: await brokers_told_at(port) for port in (shared, *own)}
        control = server.control()
        opened = await control.answer(b'{"open": "team/a"}')
        in_space = opened["ports"]["kafka"]
        first = await brokers_told_at(in_space)
        twins = {"nodes": "team/a", "addresses": {"kafka": [f"127.0.0.1:{port}" for port in (1, in_space)]}}
        assert await control.answer(json.dumps(twins).encode()) == {}
        return {"shared": shared, "own": own, "told": told, "in space": in_space, "first": first, "then": await brokers_told_at(in_space)}
    finally:
        await server.stop()


def test_a_worker_listens_at_its_own_address_too_and_tells_all(tmp_path):
    ports = free_ports(2)
    seen = asyncio.run(see(tmp_path / "data", Nodes(1, 2, {"kafka": [("127.0.0.1", port) for port in ports]})))
    everybody = [(1, "127.0.0.1", ports[0]), (2, "127.0.0.1", ports[1])]
    assert seen["shared"] not in ports
    assert seen["told"] == {seen["shared"]: everybody, ports[1]: everybody}
    assert seen["first"] == [(2, "127.0.0.1", seen["in space"])]
    assert seen["then"] == [(1, "127.0.0.1", 1), (2, "127.0.0.1", seen["in space"])]


def test_who_is_alone_listens_where_it_is_told_and_tells_where_it_was_found(tmp_path):
    seen = asyncio.run(see(tmp_path / "data", ALONE))
    alone = [(1, "127.0.0.1", seen["in space"])]
    assert (seen["told"], seen["first"], seen["then"]) == ({seen["shared"]: [(1, "127.0.0.1", seen["shared"])]}, alone, alone)
