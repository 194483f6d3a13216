"""Many connections of Kafka's protocol at rest, some of them members of consumer groups that send heartbeats: what they cost a broker in memory.

The few requests are written here by hand, in versions that every broker of the last years serves, so that the client weighs next to nothing.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_API_VERSIONS, _METADATA, _JOIN, _SYNC, _HEARTBEAT = 18, 3, 11, 14, 12
_GROUP_SIZE = 100
_HEARTBEAT_S = 3.0
_SESSION_MS, _REBALANCE_MS = 60_000, 60_000
_MEMBER_ID_REQUIRED = 79
_REBALANCE_IN_PROGRESS = 27
_TOPIC = "members"


class ProtocolFailed(Exception):
    """An answer that was not expected."""


def _text(value: str | None) -> bytes:
    return b"\xff\xff" if value is None else struct.pack(">h", len(value)) + value.encode()


def _octets(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, format_: str) -> int:
        (value,) = struct.unpack_from(f">{format_}", self._data, self._at)
        self._at += struct.calcsize(f">{format_}")
        return int(value)

    def text(self) -> str:
        size = max(self.number("h"), 0)
        self._at += size
        return self._data[self._at - size : self._at].decode()

    def octets(self) -> bytes:
        size = max(self.number("i"), 0)
        self._at += size
        return self._data[self._at - size : self._at]


class Connection:
    """One connection; a request at a time."""

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self.socket = socket.create_connection(address, 60)
        self._name = f"held-{number}"
        self._correlation = 0
        self.member_id = ""
        self.generation = -1
        self.group = ""

    def send(self, api: int, version: int, body: bytes) -> None:
        self._correlation += 1
        head = struct.pack(">hhi", api, version, self._correlation) + _text(self._name)
        self.socket.sendall(_octets(head + body))

    def receive(self) -> _Reader:
        (size,) = struct.unpack(">i", self._exactly(4))
        reader = _Reader(self._exactly(size))
        if (correlation := reader.number("i")) != self._correlation:
            raise ProtocolFailed(f"an answer to {correlation}, {self._correlation} was asked last")
        return reader

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ProtocolFailed("the broker has closed the connection")
            data += part
        return data

    def introduce(self) -> None:
        """As a client begins: versions and metadata."""
        self.send(_API_VERSIONS, 0, b"")
        self.receive()
        self.send(_METADATA, 1, struct.pack(">i", 0))
        self.receive()

    def ask_to_join(self) -> None:
        metadata = struct.pack(">hi", 0, 1) + _text(_TOPIC) + _octets(b"")
        head = _text(self.group) + struct.pack(">ii", _SESSION_MS, _REBALANCE_MS) + _text(self.member_id) + _text(None) + _text("consumer")
        self.send(_JOIN, 5, head + struct.pack(">i", 1) + _text("range") + _octets(metadata))

    def joined(self) -> tuple[int, bool, list[str]]:
        """(error, whether it leads, the members that it then is told)."""
        reader = self.receive()
        reader.number("i")  # throttle
        error, self.generation = reader.number("h"), reader.number("i")
        reader.text()
        leader = reader.text()
        self.member_id = reader.text()
        members = []
        for _ in range(reader.number("i")):
            members.append(reader.text())
            reader.text()
            reader.octets()
        return error, leader == self.member_id, members

    def _as_member(self) -> bytes:
        return _text(self.group) + struct.pack(">i", self.generation) + _text(self.member_id) + _text(None)

    def synchronize(self, members: list[str]) -> None:
        assignment = struct.pack(">hi", 0, 1) + _text(_TOPIC) + struct.pack(">ii", 1, 0) + _octets(b"")
        self.send(_SYNC, 3, self._as_member() + struct.pack(">i", len(members)) + b"".join(_text(member) + _octets(assignment) for member in members))

    def error_of(self, what: str) -> int:
        reader = self.receive()
        reader.number("i")
        error = reader.number("h")
        if error not in (0, _REBALANCE_IN_PROGRESS):
            raise ProtocolFailed(f"{what}: error {error}")
        return error

    def beat(self) -> int:
        self.send(_HEARTBEAT, 3, self._as_member())
        return self.error_of("heartbeat")


def _assemble(members: list[Connection]) -> None:
    """All of one group through a generation."""
    for member in members:  # each is given its id first
        member.ask_to_join()
        error, _, _ = member.joined()
        if error != _MEMBER_ID_REQUIRED:
            raise ProtocolFailed(f"joining without an id: error {error}")
    waiting = set(members)
    for member in members:
        member.ask_to_join()
    leads: tuple[Connection, list[str]] | None = None
    while waiting:  # a generation may be complete before the last has asked: those of an older one ask again
        with selectors.DefaultSelector() as selector:
            for member in waiting:
                selector.register(member.socket, selectors.EVENT_READ, member)
            ready = [key.data for key, _ in selector.select(60)]
        if not ready:
            raise ProtocolFailed(f"{len(waiting)} members wait for their generation")
        for member in ready:
            error, is_leader, told = member.joined()
            if error:
                raise ProtocolFailed(f"joining: error {error}")
            waiting.discard(member)
            if is_leader:
                leads = (member, told)
    if leads is not None and len(leads[1]) == len(members):
        leads[0].synchronize(leads[1])
        for member in members:
            if member is not leads[0]:
                member.synchronize([])
        again = [member for member in members if member.error_of("sync")]
    else:
        again = members
    if again:  # once more, all of them know their ids now
        for member in members:
            member.ask_to_join()
        found = [(member, *member.joined()) for member in members]
        for member, error, is_leader, told in found:
            if error:
                raise ProtocolFailed(f"joining again: error {error}")
            if is_leader:
                member.synchronize(told)
        for member, _, is_leader, _ in found:
            if not is_leader:
                member.synchronize([])
        if any(member.error_of("sync") for member in members):
            raise ProtocolFailed("the group does not come to rest")


@contextmanager
def holding(bootstrap: str, connections: int, members: int) -> Iterator[None]:
    """So many connections, the first `members` of them in groups of 100, all at rest but for heartbeats, until the end of the block."""
    host, _, port = bootstrap.rpartition(":")
    held = [Connection((host, int(port)), number) for number in range(connections)]
    ended = threading.Event()
    failures: list[BaseException] = []

    def beat() -> None:
        try:
            while not ended.wait(_HEARTBEAT_S):
                for member in held[:members]:
                    member.beat()
        except (OSError, ProtocolFailed) as error:
            failures.append(error)

    beating = threading.Thread(target=beat, daemon=True)
    try:
        for connection in held:
            connection.introduce()
        for first in range(0, members, _GROUP_SIZE):
            group = held[first : min(first + _GROUP_SIZE, members)]
            for member in group:
                member.group = f"held-{first}-{int(time.time())}"
            _assemble(group)
        beating.start()
        yield
    finally:
        ended.set()
        if beating.is_alive():
            beating.join()
        for connection in held:
            connection.socket.close()
    if failures:
        raise failures[0]
