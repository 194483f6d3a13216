"""What is published to queues that live in several processes, of which one may have ended: it goes to the others, and who publishes hears nothing of that."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.broker.calls.port import DONE, PENDING, Call, Publish, Sink, make_ask, make_publish
from entrepot.broker.calls.requests import Bind, DeclareExchange, DeclareQueue, Get
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.crashing_run import Everyone
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.workers import Worker, Workers
from entrepot.store.local.settings import StoreSettings

CODEC = AmqpEntryCodec()
ADDRESS = b"\x03all\x00"
COUNT = 300  # of messages, most of them in the tenths of a second in which it is heard of a death


class Client(Sink):
    """Of one worker."""

    def __init__(self, worker: Worker) -> None:
        assert worker.broker is not None
        self.loop = worker.group.loop
        self.heard: list[Call] = []
        self.door = worker.broker.attach(self, Principal("guest"), "public/default")
        self.door.wait_for_catalogue()

    def completed(self, call: Call) -> None:
        self.heard.append(call)

    def ask(self, request: Any) -> Any:
        call = make_ask(0, request)
        self.door.submit(call)
        self.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert call.outcome == DONE, call.error
        return call.result

    def queue(self, name: str, **how: Any) -> None:
        self.ask(DeclareQueue(name, **how))
        self.ask(Bind("all", name))

    def publish(self, body: bytes, confirm: bool = True) -> Publish:
        record = rewriting.Parts({}, None, body).packed()
        call = make_publish(0, ADDRESS, CODEC.tag, 1, 0, record, 1, len(body))
        call.confirm = confirm
        self.door.submit(call)
        return call

    def bodies(self, queue: str) -> list[bytes]:
        found = []
        while (result := self.ask(Get(queue, True))) is not None:
            found.append(bytes(rewriting.take_apart(CODEC.split(result[0].data, result[0].position, 1)[0]).body))
        return found


@pytest.fixture
def workers() -> Workers:
    workers = Workers(SimulatedLoop(1), 3, codecs=[CODEC], authorizer=Everyone(), settings=StoreSettings(), limits=QuotaLimits())
    workers.start()
    Client(workers.all[0]).ask(DeclareExchange("all", "fanout", durable=True))
    return workers


def test_exclusive_queues_of_all_processes_each_get_it(workers: Workers) -> None:
    clients = [Client(worker) for worker in workers.all]
    for number, client in enumerate(clients):
        client.queue(f"own{number}", exclusive=True)
    calls = [client.publish(b"%d" % number) for _ in range(2) for number, client in enumerate(clients)]
    clients[0].queue("late", exclusive=True)  # routes are made anew
    calls += [client.publish(b"%d" % number) for number, client in enumerate(clients)]
    workers.loop.run_for(1)
    assert {call.outcome for call in calls} == {DONE}
    assert not [call.nacked for call in calls if call.nacked]
    for number, client in enumerate(clients):
        assert sorted(client.bodies(f"own{number}")) == [b"0"] * 3 + [b"1"] * 3 + [b"2"] * 3


@pytest.mark.parametrize("number", [0, 2])
def test_a_process_that_ends_takes_its_queues_along_and_nothing_else(workers: Workers, number: int) -> None:
    """Of who decides nobody says for a while that they are gone; what is published meanwhile waits, in its order."""
    front = Client(workers.all[1])
    Client(workers.all[number]).queue("gone", exclusive=True)
    front.queue("own", exclusive=True)
    front.queue("kept", durable=True)
    calls = [front.publish(b"0")]
    workers.loop.run_for(1)
    calls += [front.publish(b"1"), front.publish(b"2", confirm=False)]  # on their way
    workers.kill(workers.all[number], power=False, down_s=1.0)
    calls += [front.publish(b"3"), front.publish(b"4", confirm=False)]
    for body in range(5, COUNT):
        workers.loop.run_for(5e-4 if body < COUNT - 20 else 0.1)
        calls.append(front.publish(b"%d" % body, confirm=body % 2 == 0))
    workers.loop.run_for(5)
    assert [(call.outcome, call.nacked, call.error) for call in calls] == [(DONE, None, None)] * len(calls)
    assert [call for call in front.heard if isinstance(call, Publish)] == [call for call in calls if call.confirm]
    for queue in ("own", "kept"):
        assert front.bodies(queue) == [b"%d" % body for body in range(COUNT)]
