"""SimulatedNetwork: connections whose bytes arrive late and cut anywhere, in order or not at all. Under asyncio's own protocol contracts.

    broker side     an asyncio Protocol or BufferedProtocol (net/connection.py), made by the factory given to listen()
    client side     the same, or a Script: it writes, and waits until what it has received satisfies it

A link breaks at once (connection reset): what is under way is lost on both sides, each hears of it at its own time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.process import SimulatedProcess

DELAY_S = (10e-6, 3e-3)  # between two deliveries of one direction, virtual seconds
PIECE_MAX = 16_384  # bytes delivered at once; most pieces are much smaller
HIGH_MARK = 65_536  # bytes not yet delivered at which the writer is told to pause


class Transport(asyncio.Transport):
    """One end of a link. Bytes written here arrive at `other`."""

    def __init__(self, loop: SimulatedLoop, name: str, process: SimulatedProcess | None = None) -> None:
        super().__init__({"peername": (name, 0), "sockname": ("broker", 0), "socket": SimpleNamespace(family=socket.AF_UNIX)})
        self._loop = loop
        self.name = name
        self.process = process  # whose this end is; None: it is never killed or stopped
        self._protocol: Any = None
        self.other: Transport = self
        self.outgoing = bytearray()  # written, not yet arrived
        self._scheduled = False
        self.reading = True
        self._closing = False
        self.ended = False
        self._paused_writer = False

    def attach(self, protocol: Any) -> None:
        """Who is told of what arrives here."""
        self._protocol = protocol
        self._loop.call_soon(self.tell, protocol.connection_made, self)

    def tell(self, callback: Callable[..., object], *args: Any) -> None:
        """Have this end's protocol told, by its process."""
        if self.process is None:
            callback(*args)
        else:
            self.process.arrive(callback, *args)

    @property
    def takes(self) -> bool:
        """Whether what comes here is read now."""
        return self.reading and (self.process is None or not self.process.is_stopped)

    # ---- asyncio.Transport

    def get_protocol(self) -> Any:
        """See asyncio."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """See asyncio."""
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """See asyncio."""
        if self.ended or self._closing:
            return
        self.outgoing += data
        self.deliver_later()
        if len(self.outgoing) > HIGH_MARK and not self._paused_writer:
            self._paused_writer = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """See asyncio."""
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio; the marks are the simulation's own."""

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return len(self.outgoing)

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._closing or self.ended

    def is_reading(self) -> bool:
        """See asyncio."""
        return self.reading

    def pause_reading(self) -> None:
        """See asyncio."""
        self.reading = False

    def resume_reading(self) -> None:
        """See asyncio."""
        self.reading = True
        self.other.deliver_later()

    def close(self) -> None:
        """See asyncio: what was written still arrives."""
        if not self._closing:
            self._closing = True
            self.deliver_later()

    def abort(self) -> None:
        """See asyncio: nothing more arrives, in either direction."""
        self.outgoing.clear()
        self.other.outgoing.clear()
        self.end(None)
        self._later(self.other.end, ConnectionResetError("connection reset by peer"))

    # ---- the wire

    def _later(self, callback: Callable[..., object], *args: Any) -> None:
        self._loop.call_later(self._loop.random.uniform(*DELAY_S), callback, *args)

    def deliver_later(self) -> None:
        """Something may have to arrive at the other end."""
        if not self._scheduled:
            self._scheduled = True
            self._later(self._deliver)

    def _deliver(self) -> None:
        """Some of what was written arrives."""
        self._scheduled = False
        if self.ended or self.other.ended:
            return
        if self.outgoing and self.other.takes:
            chance = self._loop.random
            size = chance.choice((1, 2, 7, 64, 1024, PIECE_MAX))
            piece = bytes(self.outgoing[: chance.randint(1, size)])
            del self.outgoing[: len(piece)]
            self._loop.note("arrives", self.other.name, len(piece))
            self.other.tell(self.other.arrive, piece)
        if self._paused_writer and len(self.outgoing) <= HIGH_MARK // 4:
            self._paused_writer = False
            self.tell(self._protocol.resume_writing)
        if self.outgoing:
            if self.other.takes:
                self.deliver_later()
        elif self._closing:
            self.end(None)
            self._later(self.other.end, None)

    def arrive(self, piece: bytes) -> None:
        """Hand it to the protocol of this end."""
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(piece)
            return
        while piece and not self.ended:
            buffer = memoryview(protocol.get_buffer(len(piece)))
            count = min(len(piece), len(buffer))
            buffer[:count] = piece[:count]
            buffer.release()
            protocol.buffer_updated(count)
            piece = piece[count:]

    def end(self, error: Exception | None) -> None:
        """This end hears that the link is gone."""
        if self.ended:
            return
        self.ended = True
        self._loop.call_soon(self.tell, self._protocol.connection_lost, error)

    def cut_off(self) -> None:
        """The process at this end is gone: it hears of nothing, and the other end that the connection was reset."""
        self.ended = True
        self.outgoing.clear()
        self.other.outgoing.clear()
        self._later(self.other.end, ConnectionResetError("connection reset by peer"))


class SimulatedNetwork:
    """Addresses that are listened on, and links to them."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._listening: dict[str, tuple[Callable[[], Any], SimulatedProcess | None]] = {}
        self._links = 0
        self._ends: list[tuple[Transport, frozenset[str]]] = []  # of processes, with the names of the two

    def listen(self, address: str, factory: Callable[[], Any], process: SimulatedProcess | None = None) -> None:
        """Make a protocol for each connection to `address`, in a process."""
        self._listening[address] = (factory, process)

    def connect(self, address: str, client: Any) -> Transport:
        """Link a client's protocol to a new one of the listener's; ConnectionRefusedError if nobody listens. The client's end."""
        return self.connect_process(address, client, None)

    def connect_process(self, address: str, client: Any, process: SimulatedProcess | None, names: tuple[str, ...] = ()) -> Transport:
        """The same for one that is in a process; `names`: of the two, for break_between()."""
        factory, listening = self._listening.get(address, (None, None))
        if factory is None:
            raise ConnectionRefusedError(f"nobody listens on {address}")
        self._links += 1
        near = Transport(self._loop, f"client-{self._links}", process)
        far = Transport(self._loop, f"broker-{self._links}", listening)
        near.other, far.other = far, near
        self._ends = [(end, pair) for end, pair in self._ends if not end.ended]
        self._ends += [(end, frozenset(names)) for end in (near, far) if end.process is not None]
        near.attach(client)
        far.attach(factory())
        return near

    def forget(self, prefix: str) -> None:
        """Nobody listens at the addresses `prefix`.… any more."""
        for address in [address for address in self._listening if address.startswith(prefix + ".")]:
            del self._listening[address]

    def cut_off(self, process: SimulatedProcess) -> None:
        """That process is gone."""
        for end, _ in self._ends:
            if end.process is process and not end.ended:
                end.cut_off()

    def went_on(self, process: SimulatedProcess) -> None:
        """It reads again what has come."""
        for end, _ in self._ends:
            if end.process is process and not end.ended:
                end.other.deliver_later()

    def break_between(self, one: str, other: str) -> None:
        """The connections between two processes are reset."""
        for end, names in self._ends:
            if names == {one, other} and not end.ended:
                end.abort()


class Script(asyncio.Protocol):
    """A client that keeps what it receives."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.transport: Any = None
        self.lost = False
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.lost = True
        self.error = exc
