"""A member of a consumer group in a process of its own, to be killed: prints every record that it has processed, then commits.

python rebalance_member.py BOOTSTRAP TOPIC GROUP PROTOCOL STRATEGY
"""

from __future__ import annotations

import signal
import sys

from confluent_kafka import Consumer, KafkaException

bootstrap, topic, group, protocol, strategy = sys.argv[1:]
settings: dict[str, object] = {
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "fetch.wait.max.ms": 100,
}
settings["group.protocol"] = protocol
if protocol == "classic":
    settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "partition.assignment.strategy": strategy}
consumer = Consumer(settings)
consumer.subscribe([topic])
ending: list[int] = []
signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
while not ending:
    for message in consumer.consume(50, timeout=0.1):
        if message.error():
            continue
        print(message.partition(), message.offset(), (message.value() or b"").decode(), flush=True)
    try:
        consumer.commit(asynchronous=False)
    except KafkaException:
        continue  # nothing new, or the partitions went to somebody else: they come again, there
consumer.close()
