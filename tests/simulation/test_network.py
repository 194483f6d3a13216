"""The simulated network: all bytes in order whatever the cuts; resets; back pressure; the same run from the same seed."""

import asyncio

import pytest

from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.network import HIGH_MARK, Script, SimulatedNetwork


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self):
        self.buffer = bytearray(50)
        self.paused = []

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.writelines([bytes(self.buffer[:nbytes]), b""])

    def pause_writing(self):
        self.paused.append(True)

    def resume_writing(self):
        self.paused.append(False)


def echoed(seed, factory, data):
    loop = SimulatedLoop(seed)
    network = SimulatedNetwork(loop)
    network.listen("amqp", factory)
    client = Script()
    network.connect("amqp", client).write(data)
    loop.run_until(lambda: len(client.received) == len(data))
    assert client.received == data
    client.transport.close()
    loop.run_until(lambda: client.lost)
    assert client.error is None
    return loop.digest()


@pytest.mark.parametrize("factory", [Echo, BufferedEcho])
def test_all_bytes_in_order(factory):
    data = bytes(range(256)) * 40
    digests = [echoed(seed, factory, data) for seed in (1, 1, 2, 3)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_nobody_listens():
    with pytest.raises(ConnectionRefusedError, match="kafka"):
        SimulatedNetwork(SimulatedLoop(1)).connect("kafka", Script())


def test_a_reset_is_heard_on_both_sides():
    loop = SimulatedLoop(1)
    network = SimulatedNetwork(loop)
    far = Script()
    network.listen("amqp", lambda: far)
    near = Script()
    transport = network.connect("amqp", near)
    transport.write(b"x" * 100_000)
    loop.run_for(5e-3)
    transport.abort()
    loop.run_until(lambda: near.lost and far.lost)
    assert near.error is None
    assert isinstance(far.error, ConnectionResetError)
    assert len(far.received) < 100_000


def test_a_slow_reader_stops_the_writer():
    loop = SimulatedLoop(1)
    network = SimulatedNetwork(loop)
    echo = BufferedEcho()
    network.listen("amqp", lambda: echo)
    client = Script()
    transport = network.connect("amqp", client)
    loop.run_until(lambda: client.transport is not None)
    transport.pause_reading()
    echo.transport.write(b"x" * (HIGH_MARK + 1))
    loop.run_for(1)
    assert echo.paused == [True]
    assert not client.received
    transport.resume_reading()
    loop.run_until(lambda: len(client.received) == HIGH_MARK + 1)
    assert echo.paused == [True, False]
