"""Takes everything from many queues and settles a third of it, out of order; what is left is unsettled when the broker ends."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator

from benchmarks.system.handshake import METHOD, Address, Session, frame, publish_frames, shortstr, table

_BLOCK = 30_000  # deliveries whose acknowledgements are shuffled among one another
_FENCE = "settled"


class SettleFailed(Exception):
    """The broker closed the connection, or delivered something else."""


def settle_a_third(url: str, queues: list[str], count: int, *, seed: int = 1) -> int:
    """Consumes `count` messages of one size from queues whose names are of one length, acknowledges every third by itself, in shuffled order;
    how many. They are durably settled when it returns. Raises SettleFailed."""
    session = Session(Address.parse(url))
    session.declare_queue(_FENCE, durable=True)
    session.confirms()
    for index, name in enumerate(queues):
        session.consume_nowait(name, f"{index:06}", auto_ack=False)
    session.socket.settimeout(120)
    chance = random.Random(seed)
    settled = 0
    acks: list[bytes] = []
    sender: threading.Thread | None = None

    for first, last in _deliveries(session, count):
        tags = list(range(first + -first % 3, last + 1, 3))
        settled += len(tags)
        acks += [frame(METHOD, 1, struct.pack(">HHQB", 60, 80, tag, 0)) for tag in tags]
        if len(acks) >= _BLOCK // 3 or last == count:
            if sender is not None:
                sender.join()
            chance.shuffle(acks)
            sender = threading.Thread(target=session.socket.sendall, args=(b"".join(acks),))  # of its own: the broker may wait for us to read
            sender.start()
            acks = []
    if sender is not None:
        sender.join()
    session.socket.sendall(publish_frames("", _FENCE, b"", frame_max=session.frame_max, persistent=True, mandatory=False)[0])
    session.wait(60, 80)
    session.socket.close()
    return settled


def ready_count(url: str, queues: list[str]) -> int:
    """How many messages are ready in these queues together."""
    session = Session(Address.parse(url))
    total = 0
    for name in queues:
        answer = session.call(50, 10, b"\0\0" + shortstr(name) + b"\1" + table({}))  # passive
        total += int(struct.unpack_from(">I", answer, 1 + answer[0])[0])
    session.close()
    return total


def _deliveries(session: Session, count: int) -> Iterator[tuple[int, int]]:
    """(first tag, last tag) of what came, until `count` have: the deliveries are of one size, so that they need only be counted."""
    data = b""
    size = 0
    at = 0
    total = 0
    while total < count:
        try:
            more = session.socket.recv(1 << 20)
        except OSError as error:
            raise SettleFailed(f"after {total} of {count} deliveries: {error}") from error
        if not more:
            raise SettleFailed(f"the broker ended the connection after {total} of {count} deliveries")
        data = data[at:] + more
        at = 0
        if not size:
            size = _delivery_size(data)
            if not size:
                continue
        came = len(data) // size
        if data[0] != 1 or (came > 1 and data[size * (came - 1)] != 1):
            raise SettleFailed(f"something else than deliveries of {size} octets came")
        at = came * size
        if came:
            yield total + 1, total + came
        total += came


def _delivery_size(data: bytes) -> int:
    """Octets of the first delivery (method, header, one body frame); 0 if it is not all there."""
    at = 0
    for _ in range(3):
        if len(data) - at < 7:
            return 0
        at += 8 + int.from_bytes(data[at + 3 : at + 7], "big")
    return at if at <= len(data) else 0
