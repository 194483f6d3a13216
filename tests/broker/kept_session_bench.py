"""Connections that have sessions which outlive them."""

from broker_bench import CODEC, NS, Bench, Connection, address_of, record_of

from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.port import ACCEPT, PENDING, REFUSED, make_settle

EXCHANGE = "amq.topic"


def will_of(body, key="wills", delay_s=0):
    return s.Will(address_of(EXCHANGE, key), CODEC.tag, 1, 0, record_of(body), len(body), delay_s)


class SessionConnection(Connection):
    """A connection; `lost` are numbers of sessions that were taken over."""

    def __init__(self, bench, principal=None):
        self.lost = []
        self.session = None
        super().__init__(bench, principal)

    def taken_over(self, number):
        self.lost.append(number)

    def open(self, name="s", expiry_s=100, **how):
        """Attach to a session; whether it was there."""
        self.session = self.ask(s.OpenSession(name, expiry_s=expiry_s, **how))
        return self.session.present

    def try_open(self, name="s", expiry_s=100, **how):
        return self.submit(s.OpenSession(name, expiry_s=expiry_s, **how))

    def bind(self, key="#", queue="s"):
        self.ask(r.Bind(EXCHANGE, queue, "queue", key))

    def leave(self, expiry_s=-1, drop_will=True):
        self.ask(s.CloseSession(self.session.number, expiry_s, drop_will))

    def once(self, *bodies, numbers, key="x"):
        """Publish with numbers; those that were nacked."""
        call = self.submit_once(*bodies, numbers=numbers, key=key)
        return self.wait_for(call).result

    def submit_once(self, *bodies, numbers, key="x"):
        run = self.run_of(*bodies, key=key, exchange=EXCHANGE)
        return self.submit(s.PublishOnce(self.session.number, [run], [(number, 1) for number in numbers]))

    def wait_for(self, call):
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome == REFUSED:
            raise call.error
        return call

    def release_incoming(self, *numbers):
        self.ask(s.ReleaseIncoming(self.session.number, [(number, 1) for number in numbers]))

    def release_outgoing(self, *numbers, name="c", count=None):
        held = self.held.get(name, [])
        chosen, self.held[name] = held[:count], held[len(held[:count]) :]
        settles = [make_settle(1, consumer_id, offset, 1, ACCEPT) for _, consumer_id, offset in chosen]
        self.ask(s.ReleaseOutgoing(self.session.number, settles, [(number, 1) for number in numbers]))

    def complete(self, *numbers):
        self.ask(s.CompleteOutgoing(self.session.number, [(number, 1) for number in numbers]))


class SessionBench(Bench):
    """A broker, and somebody who listens to wills."""

    def connect(self, principal=None):
        return SessionConnection(self, principal)

    def listen(self, key="wills"):
        """A durable queue that what is published goes to."""
        me = Connection(self)
        me.declare("heard")
        me.ask(r.Bind(EXCHANGE, "heard", "queue", key))
        return me

    def heard(self):
        """What came to it."""
        self.run(0.1)
        me = Connection(self)
        found = []
        while (got := me.get("heard", True)) is not None:
            found.append(got[0])
        me.close()
        self.run(0.1)
        return found

    def figure(self, name):
        return self.broker.statistics()[name]

    def rows(self):
        """What is kept of sessions."""
        return [key for shard in range(self.broker.shards.count) for key, _ in self.store.scan(shard, b"k:", b"k;", 1000)]

    def crash(self, how="crash"):
        """The process dies, and another one starts."""
        getattr(self.disk, how)()
        return self.start_again()


__all__ = ["NS", "SessionBench", "SessionConnection", "will_of"]
