"""Devices that speak MQTT, and applications that speak something else.

paho-mqtt         publishes readings over MQTT 5, QoS 1, each airport a topic `sensors/AIRPORT`
confluent-kafka   reads the topic `sensors.AIRPORT`, whose subject is the same words
pika              takes all of them from a queue that is bound to `sensors.*`
pika              sends commands to `commands.AIRPORT`, confluent-kafka to the topic of another airport; a device that was away meanwhile gets them all
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pika
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tally import Tally

QUEUE = "sensors.queue"
DEVICE = "demo-device"
IN_FLIGHT_MAX = 1000  # published and not yet acknowledged
COMMANDS = 2000  # for each airport
TIMEOUT_S = 120

Row = tuple[str, str, Tally, Tally]


class Device:
    """A client of MQTT 5. `kept`: its session outlives its connection; `expected`: messages until `done`."""

    def __init__(self, address: tuple[str, int], name: str, *, kept: bool = False, expected: int = 0) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv5)
        self.client.max_inflight_messages_set(IN_FLIGHT_MAX)
        self.got: dict[str, Tally] = {}
        self.count, self.expected = 0, expected
        self.connected, self.subscribed, self.done = threading.Event(), threading.Event(), threading.Event()
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self.take
        properties = Properties(PacketTypes.CONNECT)
        if kept:
            properties.SessionExpiryInterval = 3600
        self.client.connect(*address, clean_start=not kept, properties=properties)
        self.client.loop_start()
        wait(self.connected, "CONNACK")

    def take(self, _client: Client, _data: Any, message: Any) -> None:
        self.got.setdefault(message.topic, Tally()).add(message.payload)
        self.count += 1
        if self.count == self.expected:
            self.done.set()

    def publish(self, topic: str, lines: list[bytes]) -> Tally:
        """All of them; what was acknowledged."""
        sent = Tally(checksum=None, began=time.perf_counter())
        for each in [self.client.publish(topic, line, qos=1) for line in lines]:
            each.wait_for_publish(TIMEOUT_S)
            sent.count += each.is_published()
        sent.ended = time.perf_counter()
        return sent

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def wait(event: threading.Event, what: str) -> None:
    if not event.wait(TIMEOUT_S):
        raise TimeoutError(what)


def sensors(url: str, bootstrap: str, address: tuple[str, int], lines: Mapping[str, list[bytes]]) -> list[Row]:
    """Readings in by MQTT and out by Kafka and AMQP, commands back; `lines`: by airport."""
    airports = list(lines)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(f"{kind}.{airport}", 1, 1) for kind in ("sensors", "commands") for airport in airports]).values():
        made.result(TIMEOUT_S)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, "amq.topic", "sensors.*")
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1000)
    rows = _readings(channel, bootstrap, address, lines)
    away = Device(address, DEVICE, kept=True)
    away.client.subscribe("commands/+", 1)
    wait(away.subscribed, "SUBACK")
    away.close()
    rows += _commands(channel, bootstrap, address, {airport: those[:COMMANDS] for airport, those in lines.items()})
    connection.close()
    return rows


def _readings(channel: Any, bootstrap: str, address: tuple[str, int], lines: Mapping[str, list[bytes]]) -> list[Row]:
    rows: list[Row] = []
    device = Device(address, "demo-sensor")
    for airport, those in lines.items():
        rows.append((f"into MQTT topic sensors/{airport}", "paho-mqtt", tally(those), device.publish(f"sensors/{airport}", those)))
        rows.append((f"  and out of Kafka topic sensors.{airport}", "confluent-kafka", tally(those), read_topic(bootstrap, f"sensors.{airport}", len(those))))
    device.close()
    everything = [line for those in lines.values() for line in those]
    queued = Tally()
    for method, _, body in channel.consume(QUEUE, inactivity_timeout=TIMEOUT_S):
        if method is None:
            break
        queued.add(body)
        if queued.count % 500 == 0 or queued.count == len(everything):
            channel.basic_ack(method.delivery_tag, multiple=True)
        if queued.count == len(everything):
            break
    channel.cancel()
    return [*rows, (f"  and out of queue {QUEUE}", "pika", tally(everything), queued)]


def _commands(channel: Any, bootstrap: str, address: tuple[str, int], lines: Mapping[str, list[bytes]]) -> list[Row]:
    """To a device that is away, by AMQP to the first airport and by Kafka to the others; then it comes for them."""
    first, *others = lines
    for line in lines[first]:
        channel.basic_publish("amq.topic", f"commands.{first}", line, pika.BasicProperties(delivery_mode=2))
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    for airport in others:
        for line in lines[airport]:
            producer.produce(f"commands.{airport}", line)
            producer.poll(0)
    producer.flush(TIMEOUT_S)
    device = Device(address, DEVICE, kept=True, expected=sum(map(len, lines.values())))
    wait(device.done, "commands")
    device.close()
    who = {airport: "pika" if airport == first else "confluent-kafka" for airport in lines}
    return [
        (f"commands/{airport} of {who[airport]}, to who was away", "paho-mqtt", tally(lines[airport]), device.got[f"commands/{airport}"]) for airport in lines
    ]


def tally(lines: list[bytes]) -> Tally:
    """What must come out where these went in."""
    expected = Tally()
    for line in lines:
        expected.add(line)
    return expected


def read_topic(bootstrap: str, topic: str, count: int) -> Tally:
    """The first records of a topic's only partition."""
    got = Tally()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "demo", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    give_up = time.monotonic() + TIMEOUT_S
    while got.count < count and time.monotonic() < give_up:
        for message in consumer.consume(1000, 0.2):
            got.add(message.value())
    consumer.close()
    return got
