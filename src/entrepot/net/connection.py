"""One connection: a socket's bytes into its session, and the session's output to the socket once per loop tick.

    Tick            the list of connections that have something to send; flushed once per tick, however many messages that is
    ConnectionCore  the compiled half: what runs for every read and every flush
    Connection      the same as an asyncio protocol (a compiled class cannot derive from one)
    Keeper          what either asks of its listener, which stands above

An event loop reads a socket that always has more dozens of times before it turns to anything else: once TURN_BYTES_MAX have been
received in a tick, by all connections, each that reads is paused until the tick's flush. Besides, reading stops while the session is
paused, while it is closing, and while more than `output_max_bytes` of answers wait for a peer that does not read. So it is with writing: the
system copies what it is given for as long as the peer reads, so connections that have more than TURN_BYTES_MAX hand over no more than
that in a tick, together with the others, and the rest in later ones, where those go first who had nothing of the tick before. Writing stops
above the transport's high mark. The session is told of both, and keeps what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from entrepot.net.session import Mobile, Output, Peer, Session

TURN_BYTES_MAX = 2 << 20
_TURN_BYTES_MAX = TURN_BYTES_MAX


class Keeper(Protocol):
    """What a connection asks of who accepted it (listener.py): it decides on beginnings and ends."""

    tls: Any  # a context, or None in the clear
    mobile: Mobile | None  # how its sessions move to other processes

    def opened(self, connection: ConnectionCore) -> None:
        """The socket is open."""

    def closed(self, connection: ConnectionCore, error: Exception | None) -> None:
        """The socket is gone."""

    def broken(self, connection: ConnectionCore, error: Exception) -> None:
        """Its session failed by our own fault."""

    def linger(self, connection: ConnectionCore) -> None:
        """It is to end once its peer has taken what waits."""

    def finish(self, connection: ConnectionCore) -> None:
        """All of its output is with the transport: end it."""

    def end(self, connection: ConnectionCore, reason: str) -> None:
        """Ask its session to say goodbye."""


class Tick:
    """Connections to flush at the end of this loop tick. Shared by all listeners of a process."""

    def __init__(self, call_soon: Callable[..., object]) -> None:
        self.call_soon = call_soon
        self.dirty: list[ConnectionCore] = []
        self.behind: list[ConnectionCore] = []  # those of them for whom the last tick had nothing left
        self.scheduled = False
        self.ticks = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.turn_bytes = 0  # received in this tick
        self.left_to_send = _TURN_BYTES_MAX  # in this tick
        self.on_read: Any = None  # called when something has been read, before a session sees it; None: nobody wants to know

    def flush_once(self) -> object:
        """Arrange for one flush."""
        if not self.scheduled:
            self.scheduled = True
            self.call_soon(self.flush)
        return None

    def flush(self) -> object:
        """Send what every dirty connection has. What becomes dirty meanwhile waits for the next tick."""
        self.scheduled = False
        self.ticks += 1
        self.turn_bytes = 0
        self.left_to_send = _TURN_BYTES_MAX
        dirty = self.behind + self.dirty
        self.behind = []
        self.dirty = []
        for connection in dirty:
            try:
                connection.flush()
            except Exception as error:  # our bug: it must cost this connection and no other
                connection.listener.broken(connection, error)
        return None


class ConnectionCore:
    """See the module. `start` and the rest of a connection's life are in Connection."""

    def __init__(self, listener: Keeper, tick: Tick, output_max_bytes: int) -> None:
        self.listener = listener
        self.arrival: Any = None  # arrivals.Arrival: that it counts, until it is gone
        self.tick = tick
        self.tls = listener.tls is not None
        self.output_max_bytes = output_max_bytes
        self.session: Session | None = None
        self.output: Output | None = None
        self.transport: Any = None
        self.peer: Peer | None = None
        self.is_dirty = False
        self.writing_paused = False
        self.reading_paused = False
        self.is_closing = False
        self.unflushed = False
        self.rest: list[Any] = []  # of output that was begun: what has its turn later
        self.rest_bytes = 0
        self.at_end = False  # its peer sends nothing more
        self.abort_at = 0.0

    def wake(self) -> object:
        """Flush at the end of this tick."""
        if not self.is_dirty:
            self.is_dirty = True
            self.tick.dirty.append(self)
            if not self.tick.scheduled:
                self.tick.flush_once()
        return None

    def get_buffer(self, size_hint: int) -> Any:
        """asyncio asks where to read to."""
        buffer = self.session.get_buffer(size_hint)  # type: ignore[union-attr]
        if self.tls:
            return memoryview(buffer)  # asyncio's TLS reads into slices of it, and a bytearray's slice is a copy
        return buffer

    def buffer_updated(self, nbytes: int) -> Any:
        """asyncio has read `nbytes` bytes."""
        self.tick.bytes_received += nbytes
        self.tick.turn_bytes += nbytes
        if self.is_closing:
            return None
        if self.tick.on_read is not None:
            self.tick.on_read()
        if self.tick.turn_bytes > _TURN_BYTES_MAX and not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()  # flush() resumes it
        if not self.tick.scheduled:
            self.tick.flush_once()  # where the tick's bytes are counted anew
        session: Any = self.session
        try:
            session.buffer_updated(nbytes)
        except Exception as error:  # our bug: it must cost this connection and no other
            self.listener.broken(self, error)
            return None
        paused = session.paused
        if paused and not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()  # else the loop reads on, until there is no more
        if not self.is_dirty and (self.output.size > 0 or session.closing or paused != self.reading_paused):  # type: ignore[union-attr]
            self.wake()
        return None

    def send(self) -> object:
        """Hand all of the session's output to the transport. It may call pause_writing, which may have the session say more."""
        tick = self.tick
        parts = self.output.take()  # type: ignore[union-attr]
        sent = 0
        for part in parts:
            sent += len(part)
        tick.bytes_sent += sent
        tick.left_to_send -= sent
        self.unflushed = True
        if len(parts) == 1:
            self.transport.write(parts[0])
        else:
            self.transport.writelines(parts)
        return None

    def send_some(self) -> object:
        """The same of what is more than a tick allows: the rest of it in the next one, and the session is told to wait."""
        tick = self.tick
        rest = self.rest
        if self.rest_bytes == 0:
            rest.extend(self.output.take())  # type: ignore[union-attr]
            for part in rest:
                self.rest_bytes += len(part)
            self.session.writable(False)  # type: ignore[union-attr]
        if tick.left_to_send <= 0:
            self.is_dirty = True
            tick.behind.append(self)
            tick.flush_once()
            return None
        parts: list[Any] = []
        done = 0
        while done < len(rest) and tick.left_to_send > 0:
            part = rest[done]
            size = len(part)
            if size > tick.left_to_send:
                view = memoryview(part)
                size = tick.left_to_send
                part = view[:size]
                rest[done] = view[size:]
            else:
                done += 1
            parts.append(part)
            self.rest_bytes -= size
            tick.left_to_send -= size
            tick.bytes_sent += size
        del rest[:done]
        self.unflushed = True
        self.transport.writelines(parts)  # may call pause_writing
        if not self.writing_paused:
            if self.rest_bytes == 0 and not self.at_end:
                self.session.writable(True)  # type: ignore[union-attr]
            self.wake()
        return None

    def flush(self) -> object:
        """Send, then close or pause reading as the session says now."""
        self.is_dirty = False
        if self.transport is None or self.is_closing:
            return None
        size = self.output.size  # type: ignore[union-attr]
        if (size > 0 or self.rest_bytes > 0) and not self.writing_paused:
            if self.rest_bytes > 0 or size > _TURN_BYTES_MAX:
                self.send_some()
                size = self.output.size  # type: ignore[union-attr]
            else:
                self.send()  # where the transport pauses in it, it does not resume before it returns
                size = self.output.size if self.writing_paused else 0
        size += self.rest_bytes
        session: Any = self.session
        if self.unflushed and not self.writing_paused and size == 0:
            self.unflushed = False
            session.flushed()
        if session.closing or self.at_end:
            if self.writing_paused and size > 0:
                self.listener.linger(self)
            elif size == 0:
                self.listener.finish(self)
            return None
        pause = session.paused or ((self.writing_paused or self.rest_bytes > 0) and size > self.output_max_bytes)
        if pause != self.reading_paused:
            self.reading_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
        return None


class Connection(ConnectionCore, asyncio.BufferedProtocol):
    """What the event loop holds: created by a listener for every accepted socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: the listener makes the session, or turns the peer away."""
        self.transport = transport
        self.listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.transport = None
        self.rest = []
        self.rest_bytes = 0
        self.listener.closed(self, exc)

    def eof_received(self) -> bool | None:
        """The peer will send nothing more: close, once it has what its session has said already. (Not with TLS: asyncio closes then.)"""
        if self.session is None or self.is_closing or self.rest_bytes + self.output.size == 0:  # type: ignore[union-attr]
            return None
        self.at_end = True
        self.session.writable(False)
        self.wake()
        return not self.tls

    def pause_writing(self) -> None:
        """The transport's high mark is passed."""
        self.writing_paused = True
        if self.session is not None and not self.is_closing and self.rest_bytes == 0:
            self.session.writable(False)

    def resume_writing(self) -> None:
        """The transport is below its low mark."""
        self.writing_paused = False
        if self.session is not None and not self.is_closing:
            if self.rest_bytes == 0 and not self.at_end:
                self.session.writable(True)
            self.wake()
