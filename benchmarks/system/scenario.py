"""One run of the load generator: sets connections up, drives the loop through its phases, judges what came."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.system.connection import Connection
from benchmarks.system.consumer import Consumer
from benchmarks.system.handshake import (
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    METHOD,
    Address,
    Session,
    cancel_frame,
    frame,
    publish_frames,
)
from benchmarks.system.latency import Histogram
from benchmarks.system.ledger import Ledger
from benchmarks.system.loop import Loop
from benchmarks.system.publisher import Publisher
from benchmarks.system.queue_names import names_of
from benchmarks.system.tally import Tally

_SECOND_NS = 1_000_000_000
_FAR_NS = 1 << 62
_LINGER_NS = 100_000_000  # after the last message, to notice what comes twice
_ANSWER_NS = 10 * _SECOND_NS


@dataclass(frozen=True)
class Options:
    """What a run does; the command line's help says what each means."""

    mode: str
    url: str = "amqp://guest:guest@127.0.0.1:5672/"
    publishers: int = 1
    consumers: int = 0
    queue: str = "load"
    queues: int = 1
    queue_type: str = ""
    priorities: int = 0
    exchange: str = ""
    transient: bool = False
    purge: bool = False
    delete: bool = False
    size: int = 100
    count: int = 0
    seconds: float = 0.0
    idle: float = 3.0
    rate: float = 0.0
    window: int = 1000
    no_confirm: bool = False
    mandatory: bool = False
    batch: int = 0
    lag_max: int = 0
    prefetch: int = 1000
    ack_every: int = 100
    auto_ack: bool = False
    stall: bool = False
    stream_offset: str = ""
    frame_max: int = 131072
    first_publisher: int = 0
    zero_filler: bool = False
    fault: str = ""


@dataclass
class Result:
    """What a run found. Latencies are microseconds; a message counts once in CPU per message, in a fan-out once for each consumer."""

    mode: str
    options: dict[str, object]
    seconds: float = 0.0
    published: int = 0
    confirmed: int = 0
    consumed: int = 0
    publish_per_s: float = 0.0
    consume_per_s: float = 0.0
    confirm_us: dict[str, float] | None = None
    end_to_end_us: dict[str, float] | None = None
    client_cpu_s: float = 0.0
    client_cpu_us_per_message: float = 0.0
    redelivered: int = 0
    blocked: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    per_second: list[tuple[int, int, int]] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def exit_status(self) -> int:
        """0 all well; 1 a connection failed; 3 messages lost, repeated, reordered, damaged or refused."""
        if self.failures:
            return 1
        return 3 if any(self.errors.values()) else 0


class Run:
    """One run. Raises BrokerError if it cannot be set up."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.address = Address.parse(options.url)
        self.fanout = options.mode == "fanout"
        self.publishes = options.mode in ("publish", "both", "fanout")
        self.consumes = options.mode in ("consume", "both", "fanout")
        self.consumer_count = (options.consumers or (100 if self.fanout else 1)) if self.consumes else 0
        self.copies = self.consumer_count if self.fanout else 1
        self.exchange = options.exchange or ("load-fanout" if self.fanout else "")
        self.queue_names = options.queue.split(",") if options.queues == 1 else names_of(options.queue, options.queues)
        self.filler = bytes(options.size) if options.zero_filler else random.Random(options.size).randbytes(options.size)
        budget = options.count if self.publishes and options.count else -1
        self.tally = Tally(budget=budget, lag_max=options.lag_max if self.consumes else 0, copies=self.copies)
        self.loop = Loop(self.tally)
        self.confirm_latency, self.end_to_end_latency = Histogram(), Histogram()
        self.publishers: list[Publisher] = []
        self.consumers: list[Consumer] = []
        self.tags: list[list[str]] = []
        self.sessions: list[Session] = []  # kept so that their sockets stay open
        self.errors: dict[str, int] = {}

    def execute(self) -> Result:
        """Sets up, runs, judges, tears down."""
        try:
            return self._execute()
        finally:
            for session in self.sessions:
                session.socket.close()

    def _execute(self) -> Result:
        self._declare()
        start_ns, cpu_start_s = time.monotonic_ns(), time.process_time()
        if self.options.mode == "consume":
            self._open_consumers()
            self._consume(start_ns)
        else:
            self._open_consumers()
            self._open_publishers()
            start_ns, cpu_start_s = time.monotonic_ns(), time.process_time()
            self._publish(start_ns)
        cpu_s = time.process_time() - cpu_start_s
        result = self._measured(start_ns, cpu_s)
        if not self.tally.failures:
            self._finish()
        result.errors = self._judge()
        result.failures = list(dict.fromkeys(self.tally.failures))
        return result

    # set-up

    def _declare(self) -> None:
        options = self.options
        session = Session(self.address)
        if self.fanout:
            session.declare_exchange(self.exchange, "fanout", durable=not options.transient)
        else:
            if self.exchange:
                session.declare_exchange(self.exchange, "direct", durable=not options.transient)
            arguments: dict[str, str | int | bool] = {"x-queue-type": options.queue_type} if options.queue_type else {}
            if options.priorities:
                arguments["x-max-priority"] = options.priorities - 1
            for name in self.queue_names:
                session.declare_queue(name, durable=not options.transient, arguments=arguments)
                if self.exchange:
                    session.bind(name, self.exchange, name)
                if options.purge or options.mode == "both":
                    session.purge(name)
        session.close()

    def _share(self, index: int, connections: int) -> list[str]:
        """The queues of one of so many connections: dealt out in turn, some shared if there are fewer queues."""
        names = self.queue_names
        return names[index::connections] if len(names) > connections else [names[index % len(names)]]

    def _session(self) -> Session:
        session = Session(self.address, frame_max=self.options.frame_max)
        self.sessions.append(session)
        return session

    def _open_publishers(self) -> None:
        options = self.options
        number = options.first_publisher
        window = 0 if options.no_confirm else max(1, options.window)
        batch = min(window, options.batch or (1 if options.rate else max(1, window // 8)))
        for index in range(options.publishers):
            session = self._session()
            if window:
                session.confirms()
            keys = [""] if self.fanout else self._share(index, options.publishers)
            messages = []
            body_at = 0
            how: dict[str, Any] = {"frame_max": session.frame_max, "persistent": not options.transient, "mandatory": options.mandatory}
            for key in keys:
                for priority in range(options.priorities) if options.priorities else (-1,):
                    message, body_at = publish_frames(self.exchange, key, self.filler, **how, priority=priority)
                    messages.append(message)
            publisher = Publisher(
                session.socket.fileno(), self.tally, self.loop.poller, session.frame_max,
                number=number, messages=messages, body_at=body_at, window=window, batch=batch, confirm_us=self.confirm_latency, fault=options.fault,
            )  # fmt: skip
            number += len(messages)
            self.publishers.append(publisher)

    def _open_consumers(self) -> None:
        options = self.options
        shared = Ledger()
        for index in range(self.consumer_count):
            session = self._session()
            if options.prefetch and not options.auto_ack:
                session.prefetch(options.prefetch)
            if self.fanout:
                queues = [session.declare_queue("", durable=False, exclusive=True)]
                session.bind(queues[0], self.exchange, "")
            else:
                queues = self._share(index, self.consumer_count)
            consumer = Consumer(
                session.socket.fileno(), self.tally, self.loop.poller, session.frame_max,
                filler=self.filler, ledger=Ledger() if self.fanout else shared, ack_every=options.ack_every, auto_ack=options.auto_ack,
                end_to_end=self.end_to_end_latency,
            )  # fmt: skip
            arguments: dict[str, str | int | bool] = {}
            if options.stream_offset:
                arguments["x-stream-offset"] = int(options.stream_offset) if options.stream_offset.isdigit() else options.stream_offset
            tags = [f"c{n}" for n in range(len(queues))]
            if len(queues) == 1:
                session.consume(queues[0], tags[0], auto_ack=options.auto_ack, arguments=arguments)
            else:  # deliveries of the first may come before the answer to the second: ask for none
                for queue, tag in zip(queues, tags, strict=True):
                    session.consume_nowait(queue, tag, auto_ack=options.auto_ack, arguments=arguments)
            if options.stall:
                consumer.reads = False
            self.consumers.append(consumer)
            self.tags.append(tags)
            self.loop.add(consumer)

    # phases

    def _consume(self, start_ns: int) -> None:
        options = self.options
        deadline_ns = start_ns + int(options.seconds * _SECOND_NS) if options.seconds else _FAR_NS
        if options.stall:
            print('{"ready": true}', flush=True)
            self.loop.run(deadline_ns, -1, 0, 0)
            return
        before = -1
        while not self.tally.failures and before != self.tally.delivered and time.monotonic_ns() < deadline_ns:
            before = self.tally.delivered
            if self.loop.run(min(deadline_ns, time.monotonic_ns() + int(options.idle * _SECOND_NS)), -1, options.count or -1, 0):
                return

    def _publish(self, start_ns: int) -> None:
        options = self.options
        interval_ns = int(_SECOND_NS * len(self.publishers) / options.rate) if options.rate else 0
        for index, publisher in enumerate(self.publishers):
            if interval_ns:
                publisher.pace(interval_ns, start_ns + index * interval_ns // len(self.publishers))
            self.loop.add(publisher)
        seconds = options.seconds or (0 if options.count else 5)
        self.loop.pump()
        self.loop.run(start_ns + int(seconds * _SECOND_NS) if seconds else _FAR_NS, -1, 0, 0)
        self.tally.publishing = False
        if options.no_confirm:
            for publisher in self.publishers:
                publisher.ask(frame(METHOD, 1, CHANNEL_CLOSE), CHANNEL_CLOSE_OK)
            self._answers(len(self.publishers), "unanswered")
            self.tally.last_confirm_ns = time.monotonic_ns()
            self.tally.confirmed = self.tally.published
        wanted = self._deliveries_expected() if self.consumes else 0
        while not self.loop.quiet(int(options.idle * _SECOND_NS), wanted) and self.tally.refused and wanted != self._deliveries_expected():
            wanted = self._deliveries_expected()
        if self.consumes and not self.tally.failures:
            self.loop.run(time.monotonic_ns() + _LINGER_NS, self.tally.published, 1 << 62, 0)

    def _deliveries_expected(self) -> int:
        return (self.tally.published - self.tally.refused) * self.copies

    def _answers(self, count: int, error: str) -> None:
        target = self.tally.answered + count
        if not self.loop.run(time.monotonic_ns() + _ANSWER_NS, 0, 0, target):
            self.errors[error] = self.errors.get(error, 0) + target - self.tally.answered

    def _finish(self) -> None:
        """Cancels the consumers and takes in what was under way, then closes everything."""
        options = self.options
        for consumer, tags in zip(self.consumers, self.tags, strict=True):
            if not options.stall:
                consumer.leave(b"".join(cancel_frame(tag) for tag in tags[:1]))
        if self.consumers and not options.stall:
            self._answers(len(self.consumers), "unanswered")
            everyone: list[Connection] = [*self.publishers, *self.consumers]
            for connection in everyone:
                connection.ask(frame(METHOD, 0, CONNECTION_CLOSE), CONNECTION_CLOSE_OK)
            self._answers(len(everyone), "unclosed")
        for session in self.sessions:
            session.socket.close()
        if options.delete:
            session = Session(self.address)
            for name in self.queue_names:
                if not self.fanout:
                    session.delete_queue(name)
            if self.exchange:
                session.delete_exchange(self.exchange)
            session.close()

    # judgement

    def _measured(self, start_ns: int, cpu_s: float) -> Result:
        tally = self.tally
        publish_s = max(tally.last_confirm_ns - start_ns, 1) / 1e9
        consume_s = max(tally.last_delivery_ns - start_ns, 1) / 1e9
        messages = max(tally.published, tally.delivered)
        return Result(
            mode=self.options.mode,
            options=asdict(self.options),
            seconds=round((time.monotonic_ns() - start_ns) / 1e9, 3),
            published=tally.published,
            confirmed=tally.confirmed,
            consumed=tally.delivered,
            publish_per_s=round(tally.confirmed / publish_s, 1) if tally.confirmed else 0.0,
            consume_per_s=round(tally.delivered / consume_s, 1) if tally.delivered else 0.0,
            confirm_us=self.confirm_latency.summary_us(),
            end_to_end_us=self.end_to_end_latency.summary_us(),
            client_cpu_s=round(cpu_s, 3),
            client_cpu_us_per_message=round(cpu_s * 1e6 / messages, 4) if messages else 0.0,
            redelivered=tally.redelivered,
            blocked=tally.blocked,
            per_second=self.loop.samples,
        )

    def _judge(self) -> dict[str, int]:
        tally = self.tally
        ledgers = list({id(consumer.ledger): consumer.ledger for consumer in self.consumers}.values())
        errors = {
            "lost": 0,
            "gaps": 0,
            "duplicates": sum(ledger.duplicates() for ledger in ledgers),
            "reordered": tally.reordered,
            "damaged": tally.damaged,
            "wrong_tags": tally.wrong_tags,
            "refused": tally.refused,
            "returned": tally.returned,
            "unconfirmed": sum(len(publisher.unconfirmed()) for publisher in self.publishers),
            "unexpected_confirms": tally.unexpected_confirms,
            **self.errors,
        }
        if self.options.mode == "consume":
            errors["gaps"] = sum(ledger.gaps() for ledger in ledgers)
        elif self.consumes:
            for ledger in ledgers:
                for publisher in self.publishers:
                    lost, gaps = self._missing(publisher, ledger)
                    errors["lost"] += lost
                    errors["gaps"] += gaps
        return errors

    def _missing(self, publisher: Publisher, ledger: Ledger) -> tuple[int, int]:
        """Messages confirmed (or, without confirms, published) and never received; numbers missing below the last received."""
        routes = publisher.routes
        lost = gaps = 0
        for route in range(routes):
            stream = ledger.stream(publisher.number + route)
            lost += (publisher.next - route + routes - 1) // routes - stream.distinct
            gaps += stream.end - stream.distinct
        for sequence in [*publisher.refused, *publisher.unconfirmed()]:
            stream = ledger.stream(publisher.number + sequence % routes)
            if not stream.has(sequence // routes):
                lost -= 1
                gaps -= sequence // routes < stream.end
        return lost, gaps
