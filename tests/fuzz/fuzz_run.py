"""run(seed): one world, clients of every protocol that talk sense and nonsense to it, and a well-behaved one beside them that must not notice."""

from __future__ import annotations

import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fuzz_amqp import AmqpTalk
from fuzz_kafka import KafkaTalk
from fuzz_mqtt import MqttTalk
from fuzz_sqs import HttpTalk, SqsTalk
from fuzz_stomp import StompTalk
from fuzz_values import Chance, damaged, pieces
from fuzz_websocket import MqttOverWebSocket, StompOverWebSocket
from fuzz_world import Finding, Wire, World

from entrepot.simulation.amqp_client import AmqpClient

TALKS: dict[str, Any] = {
    "amqp": AmqpTalk,
    "kafka": KafkaTalk,
    "sqs": SqsTalk,
    "http": HttpTalk,
    "stomp": StompTalk,
    "mqtt": MqttTalk,
    "stomp-ws": StompOverWebSocket,
    "mqtt-ws": MqttOverWebSocket,
}
CROWDS = (("amqp", "amqp", "kafka", "kafka", "sqs", "sqs", "http"), ("amqp", "amqp", "amqp"), ("kafka", "kafka", "kafka"), ("sqs", "sqs", "sqs"))
STOMP = ("stomp", "stomp", "stomp", "amqp", "kafka", "sqs")  # beside CROWDS, whose seeds stay what they were; these, too
MQTT = ("mqtt", "mqtt", "mqtt", "amqp", "stomp")
WEBSOCKETS = ("mqtt-ws", "mqtt-ws", "stomp-ws", "stomp-ws", "mqtt")
FRAMES = 2000  # of one run
CANARY_EVERY = 250  # frames
KEPT = 12  # inputs told where something is found


@dataclass
class Report:
    """What a run amounted to."""

    seed: int
    frames: int = 0
    bytes: int = 0
    connections: int = 0
    longest_s: float = 0.0  # of one step: a read, or a callback
    longest: str = ""
    inputs: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))


class Failed(AssertionError):
    """A Finding, or an exception that left the broker: with the seed and the last inputs."""

    def __init__(self, report: Report, frames: int, error: BaseException) -> None:
        inputs = "\n".join(f"  {name} {data[:600].hex()}{f'... {len(data)} bytes' if len(data) > 600 else ''}" for name, data in report.inputs)
        found = "".join(traceback.format_exception(error)[-12:])
        super().__init__(
            f"seed {report.seed}, frame {report.frames}; again: ENTREPOT_SEED={report.seed} ENTREPOT_FRAMES={frames}\n{found}last inputs:\n{inputs}"
        )


class Canary:
    """A publisher and a consumer of a queue of their own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._expected: list[bytes] = []
        self._sent = 0
        self._confirmed = 0
        self._publisher, self._consumer = AmqpClient("canary"), AmqpClient("canary", 10)
        self._publisher.on_confirm = self._confirm
        self._consumer.on_delivery = self._deliver
        self._wires = [world.connect("amqp", self._publisher), world.connect("amqp", self._consumer)]
        world.loop.run_until(lambda: self._publisher.ready and self._consumer.ready, 10.0)

    def sing(self) -> None:
        """Publish; it is confirmed, delivered and accepted. Finding: it is not."""
        self._sent += 1
        body = b"%d" % self._sent
        self._expected.append(body)
        self._publisher.publish(body)
        self._world.loop.run_until(lambda: self._confirmed == self._sent and not self._expected, 10.0)

    def keep_alive(self) -> None:
        """Have it not be taken for dead."""
        if self._publisher.lost or self._consumer.lost:
            raise Finding("the well-behaved client was disconnected")

    def _confirm(self, low: int, high: int, acked: bool) -> None:
        if not acked:
            raise Finding("the well-behaved client's message was refused")
        self._confirmed = high

    def _deliver(self, tag: int, redelivered: bool, body: bytes) -> None:
        if not self._expected or self._expected.pop(0) != body:
            raise Finding(f"the well-behaved client was given {body!r}")
        self._consumer.ack(tag)


class Run:
    """One seed's run."""

    def __init__(self, seed: int, frames: int = FRAMES, measured: bool = False, crowd: tuple[str, ...] = ()) -> None:
        self.report = Report(seed)
        self._frames = frames
        self._chance = Chance(seed)
        self._crowd = crowd or CROWDS[seed // 2 % len(CROWDS)]
        self._has_users = seed % 2 == 1
        self.world = World(seed, self._has_users, measured)
        self._talks: list[tuple[Any, Wire]] = []
        self._kept: deque[bytes] = deque(maxlen=20)  # frames to send again, to whomever

    def run(self) -> Report:
        """Do all of it. Failed: something was found."""
        report, world = self.report, self.world
        try:
            canary = Canary(world)
            self._talks = [self._begin(TALKS[kind](self._chance, world, self._has_users)) for kind in self._crowd]
            told = 0
            while report.frames < self._frames:
                self.step()
                canary.keep_alive()
                if report.frames - told >= CANARY_EVERY:
                    told = report.frames
                    canary.sing()
            canary.sing()
            world.leave()
        except Exception as error:
            raise Failed(report, self._frames, error) from error
        report.longest_s, report.longest = world.loop.longest_s, world.loop.longest
        return report

    def _begin(self, talk: Any) -> tuple[Any, Wire]:
        self.report.connections += 1
        return talk, self.world.connect(self._chance.choice(talk.listeners), talk)

    def step(self) -> None:
        """Somebody sends something, and some time passes."""
        chance, world = self._chance, self.world
        index = chance.randrange(len(self._talks))
        talk, wire = self._talks[index]
        way = chance.random()
        if wire.lost or way < 0.002:
            if not wire.lost:
                wire.abort()
            self._talks[index] = self._begin(talk)
        elif way < 0.004:
            wire.reads = False
        elif not wire.reads and way < 0.3:
            wire.read_on()
        elif wire.outgoing and way < 0.9:  # the broker does not read: time goes on, and so do others
            world.run_for(chance.choice((0.1, 0.5, 3.0)))
            if way < 0.03:
                wire.abort()
        else:
            self.send(wire, self._spoilt(talk.next_frames()))
        way = chance.random()
        world.run_for(0.001 if way < 0.8 else 0.05 if way < 0.97 else 1.0 if way < 0.995 else 8.0)

    def _spoilt(self, frames: list[bytes]) -> list[bytes]:
        """The frames, with now and then something wrong."""
        chance = self._chance
        if chance.random() < 0.05:
            self._kept.append(frames[0])
        way = chance.random()
        if way < 0.02:
            at = chance.randrange(len(frames))
            frames[at] = damaged(chance, frames[at])
        elif way < 0.025:
            frames.insert(chance.randrange(len(frames) + 1), chance.choice(self._kept) if self._kept else b"\0")
        elif way < 0.03:
            chance.shuffle(frames)
        elif way < 0.032:
            frames = frames * chance.choice((2, 10))
        return frames

    def send(self, wire: Wire, frames: list[bytes]) -> None:
        """Send frames, each by itself or all at once, in pieces or whole."""
        chance, report = self._chance, self.report
        report.frames += len(frames)
        if len(frames) > 1 and chance.random() < 0.5:
            frames = [b"".join(frames)]
        for one in frames:
            report.bytes += len(one)
            report.inputs.append((wire.name, one))
            for piece in pieces(chance, one):
                wire.push(piece)
                if chance.random() < 0.1:
                    self.world.run_for(0.001)
