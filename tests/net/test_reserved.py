"""Addresses that are shared: who may have them, and who is offered connections."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest
from echo import EchoListener, connect, network, until

from entrepot.model.errors import Refused
from entrepot.net.listener import bound_sockets
from entrepot.net.network import Network
from entrepot.net.reserved import reserve

Run = Callable[[Coroutine[Any, Any, None]], None]
LOOPBACK = "127.0.0.1"


def at(net: Network, port: int) -> EchoListener:
    listener = EchoListener(net)
    listener.port = port
    return listener


def test_several_listen_and_each_connection_is_ones(run: Run) -> None:
    async def test() -> None:
        held = reserve(LOOPBACK, 0)
        networks = [await network() for _ in range(3)]
        listeners = []
        for net in networks:
            net.shares_addresses = True
            listeners.append(at(net, held.port))
            await net.listen(listeners[-1])
        assert {listener.port for listener in listeners} == {held.port}
        connections = [await connect(listeners[0]) for _ in range(30)]
        await until(lambda: sum(listener.accepted for listener in listeners) == 30)
        for _, writer in connections:
            writer.close()
        for net in networks:
            await net.stop("bye", 1)
        held.close()

    run(test())


def test_who_does_not_share_is_refused(run: Run) -> None:
    async def test() -> None:
        held = reserve(LOOPBACK, 0)
        sharing, alone = await network(), await network()
        sharing.shares_addresses = True
        await sharing.listen(at(sharing, held.port))
        with pytest.raises(OSError, match=f"cannot listen at {LOOPBACK}:{held.port}: address already in use"):
            await alone.listen(at(alone, held.port))
        with pytest.raises(OSError, match=f"cannot listen at {LOOPBACK}:{held.port}: address already in use"):
            reserve(LOOPBACK, held.port)  # another node's
        held.close()
        await sharing.stop("bye", 1)
        await alone.stop("bye", 1)

    run(test())


def test_nobody_is_let_in_where_nobody_listens() -> None:
    with closing(reserve(LOOPBACK, 0)) as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, held.port))


def test_nobody_else_gets_in_while_nobody_listens_or_after_who_shared_it() -> None:
    """Not by SO_REUSEADDR either, which most servers have; who shares it comes and goes."""
    with closing(reserve(LOOPBACK, 0)) as held:
        for _ in range(2):
            with pytest.raises(OSError, match="in use"), socket.create_server((LOOPBACK, held.port)):
                pass
            with pytest.raises(OSError, match=f"cannot listen at {LOOPBACK}:{held.port}: address already in use"):
                reserve(LOOPBACK, held.port)  # another node's
            (sharing,) = bound_sockets(socket.getaddrinfo(LOOPBACK, held.port, type=socket.SOCK_STREAM), is_shared=True)
            with sharing:
                sharing.listen()
                sharing.setblocking(True)
                with socket.create_connection((LOOPBACK, held.port)), sharing.accept()[0]:
                    pass


@pytest.mark.parametrize("port", [0, 1])
def test_all_addresses_of_a_host_have_one_port(port: int) -> None:
    if port:
        with closing(reserve("localhost", 0)) as found:
            port = found.port
    with closing(reserve("localhost", port)) as held:
        assert {sock.getsockname()[1] for sock in held.sockets} == {held.port}
        assert len(held.sockets) == len(set(socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)))
        assert held.address == f"localhost:{held.port}"
        assert held.bound[1] == held.port


@pytest.mark.parametrize(("first", "second"), [(LOOPBACK, LOOPBACK), ("0.0.0.0", LOOPBACK), (LOOPBACK, "0.0.0.0"), ("localhost", LOOPBACK)])
def test_two_of_one_node_do_not_share(first: str, second: str) -> None:
    with closing(reserve(first, 0)) as held:
        with pytest.raises(OSError, match=f"cannot listen at {second}:{held.port}: address already in use") as failed:
            reserve(second, held.port, [held])
        assert failed.value.errno == errno.EADDRINUSE
        reserve(LOOPBACK, 0, [held]).close()
        if LOOPBACK in (first, second) and "0.0.0.0" not in (first, second):
            reserve("127.0.0.2", held.port, [held]).close()


def test_a_system_that_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(Refused, match="SO_REUSEPORT"):
        reserve(LOOPBACK, 0)


def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen at 192\.0\.2\.1:4711: cannot assign requested address"):
        reserve("192.0.2.1", 4711)
