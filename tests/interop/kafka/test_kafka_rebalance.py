"""Members of a group come, go and are killed while records keep coming: every record is processed at least once, whoever had its partition."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from kafka_messages import DEADLINE_S, consumer, wait_until

NewTopicName = Callable[..., str]
MEMBER = Path(__file__).with_name("rebalance_member.py")
PARTITIONS = 6
EVENTS = ("come", "kill", "come", "go", "come", "go")
RECORDS_EACH = 100


class Member:
    """A process; `processed` are the values that it has printed, as they come."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen([sys.executable, str(MEMBER), *words], stdout=subprocess.PIPE, text=True)
        self.processed: list[tuple[int, int, int]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            fields = line.split()
            if len(fields) == 3 and line.endswith("\n"):  # else its last words, cut short
                self.processed.append((int(fields[0]), int(fields[1]), int(fields[2])))

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize(("protocol", "strategy"), [("classic", "range"), ("classic", "cooperative-sticky"), ("consumer", "")])
def test_every_record_is_processed(bootstrap: str, topic: NewTopicName, group: str, protocol: str, strategy: str) -> None:
    name = topic(PARTITIONS)
    members: list[Member] = []  # oldest first
    gone: list[Member] = []
    producer = Producer({"bootstrap.servers": bootstrap})
    produced = 0

    def come() -> None:
        members.append(Member(bootstrap, name, group, protocol, strategy))

    def go(*, kill: bool) -> None:
        gone.append(members.pop(0))
        gone[-1].end(kill=kill)

    def processed() -> set[int]:
        return {value for member in (*members, *gone) for _, _, value in member.processed}

    try:
        come()
        come()
        for event in EVENTS:
            for value in range(produced, produced + RECORDS_EACH):
                producer.produce(name, b"%d" % value, partition=value % PARTITIONS)
            assert producer.flush(DEADLINE_S) == 0
            produced += RECORDS_EACH
            half = produced // 2
            wait_until(lambda half=half: len(processed()) >= half, f"{half} records")  # and then in the middle of things
            if event == "come":
                come()
            else:
                go(kill=event == "kill")
        wait_until(lambda: len(processed()) == produced, "every record", deadline_s=3 * DEADLINE_S)
        with consumer(bootstrap, group) as outsider:
            parts = [TopicPartition(name, partition) for partition in range(PARTITIONS)]
            wait_until(lambda: sum(part.offset for part in outsider.committed(parts, timeout=DEADLINE_S)) == produced, "everything committed")
    finally:
        while members:
            go(kill=False)
    assert processed() == set(range(produced))
