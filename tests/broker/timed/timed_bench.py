"""A broker's bench with connections that send, receive and end leases."""

from broker_bench import CODEC, Bench, Connection, record_of

from entrepot.broker.calls.lease_calls import make_end_leases, make_receive, make_send, make_withdraw
from entrepot.broker.calls.port import DONE, PENDING, REFUSED
from entrepot.broker.calls.queue_requests import CreateTimedQueue, DescribeQueue, TimedPolicy
from entrepot.protocols.amqp091 import rewriting

GROUP_HEADER = b"x-group-id"


class TimedBench(Bench):
    sent = 0

    def connect(self):
        return TimedConnection(self)


class Message:
    """One received record."""

    def __init__(self, call, item):
        parts = rewriting.take_apart(CODEC.split(item.data, item.position, 1)[0])
        self.body = bytes(parts.body)
        self.offset = item.offset
        self.deliveries = item.deliveries
        self.first_received_ms = item.first_received_ms
        self.lease_id = call.lease_id
        self.queue_id = call.queue_id


class TimedConnection(Connection):
    def create(self, name="q", attributes=None, tags=None, access_policy="", **policy):
        return self.ask(CreateTimedQueue(name, TimedPolicy(**policy), frozenset(policy), attributes or {}, tags or {}, access_policy))

    def describe(self, name="q"):
        return self.ask(DescribeQueue(name))

    def counts(self, name="q"):
        found = self.describe(name)
        return found.visible, found.leased, found.delayed

    def until_done(self, call):
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome == REFUSED:
            raise call.error
        assert call.outcome == DONE
        return call

    def start_send(self, *bodies, queue="q", groups=None, ids=None, delays=None, content=None, version=0):
        ident = []
        for _ in bodies:
            self.bench.sent += 1
            ident.append(b"%016d" % self.bench.sent)
        if groups is not None and ids is None and content is None and self.bench.queue(queue).timed.ordered:
            ids = ident
        headers = [[(GROUP_HEADER, b"S" + len(group).to_bytes(4, "big") + group)] if group else None for group in groups or [b""] * len(bodies)]
        data = b"".join(record_of(body, None, header) for body, header in zip(bodies, headers, strict=True))
        call = make_send(1, queue, CODEC.tag, CODEC.version, 0, data, len(bodies), [len(body) for body in bodies], ident)
        call.groups = groups
        call.deduplication_ids = ids
        call.delays_ms = delays
        call.content_ids = content
        call.policy_version = version
        self.door.submit(call)
        return call

    def send(self, *bodies, **how):
        return self.until_done(self.start_send(*bodies, **how))

    def start_receive(self, count=10, wait_ms=0, visibility_ms=-1, queue="q", attempt=b"", version=0):
        call = make_receive(1, queue, CODEC.tag, count, visibility_ms, wait_ms)
        call.attempt_id = attempt
        call.policy_version = version
        self.door.submit(call)
        return call

    def receive(self, count=10, **how):
        return self.messages(self.until_done(self.start_receive(count, **how)))

    def messages(self, call):
        assert call.outcome == DONE
        return [Message(call, item) for item in call.received]

    def received_bodies(self, count=10, **how):
        return [message.body for message in self.receive(count, **how)]

    def withdraw(self, call):
        self.door.submit(make_withdraw(1, call))

    def end(self, messages, visibility_ms=None, queue="q"):
        """Settle, or change; the statuses."""
        queue_id = messages[0].queue_id
        times = None if visibility_ms is None else [visibility_ms] * len(messages)
        call = make_end_leases(1, queue, queue_id, [message.offset for message in messages], [message.lease_id for message in messages], times)
        self.door.submit(call)
        return self.until_done(call).statuses
