"""A disk that becomes full, and one whose sync fails, under the real process."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import failing_disk
import pytest
from benchmarks.system.handshake import METHOD, Session, frame
from crash_ledger import QueueLedger, Sent
from crash_peers import Consumer, Peer, Publisher, connect, drive

from entrepot.server import STORE_FAILED
from entrepot.testing.broker import Broker

MIB = 1 << 20
SETTINGS = {"journal.file_size_bytes": MIB, "journal.unsorted_bytes": 16 * MIB, "journal.files_ready": 1, "disk.reserve_bytes": 16 * MIB}
_NACK = b"\x00\x3c\x00\x78"


class RefusedPublisher(Publisher):
    """Publishes until it is refused, and notes what it was told."""

    refused = 0

    def told(self, name: bytes, payload: bytes) -> None:
        if name == _NACK:
            self.refused += 1
        else:
            super().told(name, payload)


class Taker(Peer):
    """Consumes and acknowledges."""

    def __init__(self, session: Session, ledger: QueueLedger) -> None:
        super().__init__(session)
        self.ledger = ledger
        session.consume(ledger.name, "t", auto_ack=False)

    def delivery(self, tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        self.ledger.delivered(body, redelivered)
        self.send(frame(METHOD, 1, struct.pack(">HHQB", 60, 80, tag, 0)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 128 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(directory)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a file system of its own is needed, and mounting one takes root: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def is_full(broker: Broker) -> bool:
    """Whether some process of it says so: each looks at the disk by itself, once a second."""
    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        return b"\nentrepot_store_full 1.0\n" in answer.read()


def test_publishing_is_refused_while_the_disk_is_full(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with Broker(small_disk / "data", settings=SETTINGS) as broker:
        session = connect(broker.amqp_url)
        session.declare_queue("q", durable=True)
        sent = Sent()
        ledger = QueueLedger("q", sent, (1, 2))
        publisher = RefusedPublisher(connect(broker.amqp_url), sent, 1, 1, "", "q", 200)
        drive([publisher], lambda: sent.confirmed_count > 1000)
        figures = os.statvfs(small_disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, figures.f_bavail * figures.f_frsize - 12 * MIB)

        drive([publisher], lambda: bool(publisher.refused and publisher.blocked))
        assert "disk" in publisher.blocked
        confirmed = sent.confirmed[1, 1]

        # what is there is delivered and settled all the same, and nothing that was refused
        taker = Taker(connect(broker.amqp_url), ledger)
        drive([taker], lambda: ledger.count((1, 1)) >= confirmed and not taker.wants_to_write)
        assert ledger.count((1, 1)) == confirmed

        # space comes back: nobody commits anything, and yet publishing goes on
        ballast.unlink()
        drive([publisher, taker], lambda: not publisher.blocked and not is_full(broker))
        second = Publisher(connect(broker.amqp_url), sent, 2, 1, "", "q", 10, budget=100)
        drive([second, taker], lambda: second.done and ledger.count((2, 1)) == 100)

        broker.kill()
        for peer in (publisher, taker, second):
            peer.socket.close()
        session.socket.close()
        broker.start()
        rest = Consumer(connect(broker.amqp_url), ledger)
        last = Publisher(connect(broker.amqp_url), sent, 2, 2, "", "q", 10, budget=10)
        session = connect(broker.amqp_url)
        session.declare_queue("fence", durable=True)
        drive([rest, last], lambda: last.done and ledger.complete())
        for closing in (session, rest, last):
            closing.socket.close()


def test_a_failed_sync_ends_the_process(tmp_path: Path) -> None:
    trigger = tmp_path / "fail"
    command = (sys.executable, failing_disk.__file__, str(trigger))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    broker = Broker(tmp_path / "data", settings=SETTINGS, command=command, environment=environment, workers=1)  # of several, a worker would be started again
    try:
        broker.start()
        session = connect(broker.amqp_url)
        session.declare_queue("q", durable=True)
        session.close()
        sent = Sent()
        publisher = Publisher(connect(broker.amqp_url), sent, 1, 1, "", "q", 100)
        drive([publisher], lambda: sent.confirmed_count > 1000)
        trigger.touch()
        assert not drive([publisher], lambda: False, may_end=True), "the broker goes on"
        assert broker.process is not None
        assert broker.process.wait(30) == STORE_FAILED
        assert "the store has failed" in broker.log
        assert "Input/output error" in broker.log
        broker.kill()

        trigger.unlink()
        broker.start()
        session = connect(broker.amqp_url)
        session.declare_queue("fence", durable=True)
        session.close()
        ledger = QueueLedger("q", sent, (1,))
        consumer = Consumer(connect(broker.amqp_url), ledger)
        drive([consumer], ledger.complete)
        consumer.socket.close()
    finally:
        broker.close()
