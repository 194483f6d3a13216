"""Clients of several workers declare the same queue at the same time, as instances of one program do that start together: none of them is refused."""

from __future__ import annotations

import pytest

from entrepot.broker.calls.port import DONE, Ask, Sink, make_ask
from entrepot.broker.calls.requests import DeclareQueue
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.crashing_run import Everyone
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.workers import Worker, Workers
from entrepot.store.local.settings import StoreSettings

QUEUES = 12  # of each worker, some


class Client(Sink):
    """Of one worker; `answered`: what is complete."""

    def __init__(self, worker: Worker) -> None:
        assert worker.broker is not None
        self.broker = worker.broker
        self.door = worker.broker.attach(self, Principal("guest"), "public/default")
        self.answered: list[Ask] = []

    def completed(self, call: Ask) -> None:
        self.answered.append(call)

    def declare(self, name: str) -> None:
        call = make_ask(0, DeclareQueue(name, durable=True))
        call.attachment = self.door
        self.broker.ask(self.door, call)


@pytest.mark.parametrize("apart_s", [0.0, 1e-3, 5e-3])
def test_all_are_told_that_it_is_there(apart_s: float) -> None:
    loop = SimulatedLoop(1)
    workers = Workers(loop, 3, codecs=[AmqpEntryCodec()], authorizer=Everyone(), settings=StoreSettings(), limits=QuotaLimits())
    workers.start()
    clients = [Client(worker) for worker in (workers.all[0], *workers.all)]  # the first decides, and has two of them
    for queue in range(QUEUES):
        for client in clients:
            client.declare(f"queue-{queue}")
            loop.run_for(apart_s)
    loop.run_until(lambda: all(len(client.answered) == QUEUES for client in clients), 10)
    assert not [call.error for client in clients for call in client.answered if call.outcome != DONE]
    assert {call.result for client in clients for call in client.answered} == {(f"queue-{queue}", 0, 0) for queue in range(QUEUES)}
    workers.check()
