"""SQS clients that go on over a broker's crashes: raw sends, receives and deletes by several threads, and what they know of what they were told.

Outcomes are *ok* (answered), *refused*, or *unknown* (the connection broke before the answer): what is unknown may have happened or not. Each thread writes
its events with the time before its request and after its answer; the check looks at all of them at the end.

- A message whose send was answered is received until its delete is answered; one of an unknown send may be; no other.
- Nothing is received again once its delete was answered before the receive began.
- A lease excludes: between the answer of a receive and the end of its visibility timeout nobody else gets the message, also over a crash.
- FIFO: a group's messages come first in the order of their sequence numbers, and while one of a group is leased nobody gets another of that group.
- A send repeated under its deduplication id, after an unknown outcome too, leaves one message.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ACCOUNT = "123456789012"
SIGNATURE = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
DEADLINE_S = 120.0
LEASE_S = 3
GROUPS = 6
MARGIN_S = 0.005  # two clocks are compared: ours before and after, the broker's between


class Unknown(Exception):
    """No answer: perhaps applied."""


class Refusal(Exception):
    """Answered, and not with success."""


class Raw:
    """One connection; begun anew after a failure."""

    def __init__(self, endpoint: str) -> None:
        self._netloc = urlsplit(endpoint).netloc
        self._connection: http.client.HTTPConnection | None = None

    def call(self, action: str, **words: object) -> dict[str, Any]:
        """An action's answer; Unknown, Refusal."""
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": SIGNATURE,
        }
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._netloc, timeout=30)
            self._connection.request("POST", "/", json.dumps(words), headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unknown(str(error)) from None
        if answer.status != 200:
            raise Refusal(f"{action}: {answer.status} {body[:300]!r}")
        return dict(json.loads(body or b"{}"))

    def sure(self, action: str, **words: object) -> dict[str, Any]:
        """Again until it is answered, for what may be done twice."""
        give_up = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.call(action, **words)
            except Unknown:
                assert time.monotonic() < give_up, f"{action} is not answered"
                time.sleep(0.02)  # the broker starts

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Taken:
    """One message of one receive. Times are time.monotonic()."""

    key: str  # what its sender called it
    group: str
    sequence: int
    asked: float
    answered: float
    count: int
    ends: float = 0.0  # when the lease was over at the earliest: its timeout after `asked`, or its delete asked for
    deleted: float = 0.0  # when its delete was answered; 0: it was not


@dataclass
class History:
    """What all clients of one queue saw."""

    sent: dict[str, float] = field(default_factory=dict)  # by key: when it was answered
    tried: set[str] = field(default_factory=set)
    taken: list[Taken] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """A thread that does one thing until it is told to end."""

    def __init__(self, work: Callable[[Client], None], raw: Raw, number: int) -> None:
        self.raw = raw
        self.number = number
        self.dice = random.Random(number)
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:
            self.failure = error
        finally:
            self.raw.close()

    def end(self) -> None:
        self.ended.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "a client hangs"
        if self.failure is not None:
            raise self.failure


class SqsSide:
    """A queue with its senders and consumers; `stop()` empties it and checks everything. `raw`: what they call by."""

    def __init__(self, endpoint: str, *, fifo: bool, senders: int = 2, consumers: int = 3, raw: Callable[[str], Raw] = Raw) -> None:
        self.fifo = fifo
        self.history = History()
        self._raw = raw(endpoint)
        attributes = {"VisibilityTimeout": str(LEASE_S)} | ({"FifoQueue": "true"} if fifo else {})
        name = "crashed.fifo" if fifo else "crashed"
        self.url: str = self._raw.sure("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        self.senders = [Client(self._send, raw(endpoint), number) for number in range(senders)]
        self.consumers = [Client(self._consume, raw(endpoint), 100 + number) for number in range(consumers)]

    @property
    def acknowledged_count(self) -> int:
        """Answered sends so far."""
        return len(self.history.sent)

    def wait(self, more: int) -> None:
        """Until so many more sends are answered."""
        wanted, give_up = self.acknowledged_count + more, time.monotonic() + DEADLINE_S
        while self.acknowledged_count < wanted:
            assert time.monotonic() < give_up, f"{wanted - self.acknowledged_count} of {more} sends are not answered within {DEADLINE_S} s"
            for client in (*self.senders, *self.consumers):
                if client.failure is not None:
                    raise client.failure
            time.sleep(0.01)

    # -- what the threads do

    def _send(self, client: Client) -> None:
        number = 0
        while not client.ended.is_set():
            keys = [f"{client.number}.{number + index}" for index in range(client.dice.choice((1, 1, 3, 10)))]
            number += len(keys)
            group = f"g{client.dice.randrange(GROUPS)}"
            entries: list[dict[str, object]] = [{"Id": str(index), "MessageBody": key} for index, key in enumerate(keys)]
            for entry, key in zip(entries, keys, strict=True):
                if self.fifo:
                    entry |= {"MessageGroupId": group, "MessageDeduplicationId": key}
            with self.history.lock:
                self.history.tried.update(keys)
            while True:
                try:
                    answer = client.raw.call("SendMessageBatch", QueueUrl=self.url, Entries=entries)
                except Unknown:
                    if client.ended.wait(0.02):
                        return
                    if self.fifo:
                        continue  # the same again: its deduplication ids make it one
                    break
                assert not answer.get("Failed"), answer
                with self.history.lock:
                    self.history.sent.update(dict.fromkeys(keys, time.monotonic()))
                break
            client.ended.wait(0.003)

    def _consume(self, client: Client) -> None:
        while not client.ended.is_set():
            self.take(client.raw, client.dice)

    def take(self, raw: Raw, dice: random.Random, wait_s: int = 1, *, all_of_it: bool = False) -> int:
        """One receive, and the deletes of most of what came, or of all; how many came."""
        asked = time.monotonic()
        try:
            answer = raw.call("ReceiveMessage", QueueUrl=self.url, MaxNumberOfMessages=dice.randint(1, 10), WaitTimeSeconds=wait_s, AttributeNames=["All"])
        except Unknown:
            time.sleep(0.02)  # the broker starts
            return 0
        answered = time.monotonic()
        found: list[tuple[Taken, str]] = []
        for message in answer.get("Messages") or ():
            attributes = message["Attributes"]
            taken = Taken(
                message["Body"],
                attributes.get("MessageGroupId", ""),
                int(attributes.get("SequenceNumber", 0)),
                asked,
                answered,
                int(attributes["ApproximateReceiveCount"]),
                asked + LEASE_S,
            )
            found.append((taken, message["ReceiptHandle"]))
        if not found:
            return 0
        keeps = not all_of_it and dice.random() < 0.1  # leaves the lease to its end
        if not keeps:
            entries = [{"Id": str(index), "ReceiptHandle": handle} for index, (_, handle) in enumerate(found)]
            begun = time.monotonic()
            for taken, _ in found:
                taken.ends = min(taken.ends, begun)
            try:
                ended = raw.call("DeleteMessageBatch", QueueUrl=self.url, Entries=entries)
            except Unknown:
                pass
            else:
                now = time.monotonic()
                if now - asked < LEASE_S:  # later the lease may have ended before the delete
                    assert not ended.get("Failed"), ended
                done = {int(each["Id"]) for each in ended.get("Successful") or ()}
                for index, (taken, _) in enumerate(found):
                    if index in done and now - asked < LEASE_S:
                        taken.deleted = now
        with self.history.lock:
            self.history.taken.extend(taken for taken, _ in found)
        return len(found)

    # -- the end

    def stop(self) -> None:
        """No more sends; everything that is left is taken and deleted; then the check."""
        for client in (*self.senders, *self.consumers):
            client.end()
        dice, give_up = random.Random(0), time.monotonic() + DEADLINE_S
        while self.take(self._raw, dice, 1, all_of_it=True) or not self._is_empty():  # what is leased comes when its lease ends
            assert time.monotonic() < give_up, "the queue does not become empty"
        assert not self.take(self._raw, dice, 1, all_of_it=True), "there was more than it counted"
        self._raw.close()
        check(self.history, fifo=self.fifo)

    def _is_empty(self) -> bool:
        """By its own counts."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        return set(self._raw.sure("GetQueueAttributes", QueueUrl=self.url, AttributeNames=names)["Attributes"].values()) == {"0"}


def check(history: History, *, fifo: bool) -> None:
    """See the module."""
    by_key: dict[str, list[Taken]] = defaultdict(list)
    for taken in history.taken:
        by_key[taken.key].append(taken)
    assert set(by_key) <= history.tried, "what nobody sent was received"
    lost = [key for key in history.sent if key not in by_key]
    assert not lost, f"{len(lost)} messages whose sends were answered were never received, such as {lost[:5]}"
    for key, takes in by_key.items():
        takes.sort(key=lambda taken: taken.count)  # not by when it was heard: an answer may come late, by a worker that stood still with it
        counts = [taken.count for taken in takes]
        assert len(set(counts)) == len(counts), f"{key}: receive counts {counts}"
        for one, after in itertools.pairwise(takes):
            assert not one.deleted or after.asked < one.deleted, f"{key} came again {after.asked - one.deleted:.3f} s after its delete was answered"
            assert after.answered + MARGIN_S >= one.ends, f"{key} came again {one.ends - after.answered:.3f} s before its lease ended"
        assert len({taken.sequence for taken in takes}) == 1, f"{key} has several sequence numbers"
    if fifo:
        _check_groups(history.taken)


def _check_groups(taken: list[Taken]) -> None:
    groups: dict[str, list[Taken]] = defaultdict(list)
    for one in taken:
        groups[one.group].append(one)
    for group, takes in groups.items():
        takes.sort(key=lambda one: (one.answered, one.sequence))
        firsts: dict[int, None] = {}
        for one in takes:
            firsts.setdefault(one.sequence)
        assert list(firsts) == sorted(firsts), f"{group}: first receives are not in the order of their sequence numbers"
        for index, one in enumerate(takes):
            for other in takes[index + 1 :]:
                if other.asked == one.asked and other.answered == one.answered:
                    continue  # of the same receive
                if other.answered + MARGIN_S >= one.ends:
                    break
                raise AssertionError(f"{group}: {other.key} came {one.ends - other.answered:.3f} s before the lease of {one.key} ended")
