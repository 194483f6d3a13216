"""One topic and one queue, and clients of two protocols at both ends of each.

confluent-kafka   writes flights to the topic; by its subject they also arrive in the queue, where pika takes them, and in one of SQS, where boto3 does
boto3             sends flights back to the SQS queue in batches of ten; pika takes them
stomp.py          writes flights to the topic, which pika takes from the queue, and takes what pika publishes to another
pika              publishes flights to the topic; aiokafka reads the whole topic, whoever wrote it
Java              writes Celery's tasks to the topic with Kafka's own client; a Celery worker takes them from the queue, and answers
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pika
import stomp
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tally import Tally

TOPIC = "departures"
QUEUE = "departures.queue"
ANSWERS = "departures.answers"
SQS_QUEUE = "departures-sqs"
STOMP_QUEUE = "departures.stomp"
SQS_BATCH = 10  # the most that SQS takes, or gives, at once
KAFKA_CLIENTS = "4.3.1"
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>demo</groupId><artifactId>demo</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>{KAFKA_CLIENTS}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>"""
HERE = Path(__file__).parent
TIMEOUT_S = 120

Row = tuple[str, str, Tally, Tally]


class Heard(stomp.ConnectionListener):
    """What a connection of stomp.py has heard, on a thread of its own."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()

    def on_message(self, frame: Any) -> None:
        self.messages.put(frame)

    def on_receipt(self, frame: Any) -> None:
        self.receipts.put(frame.headers["receipt-id"])


class Crossing:
    """The topic and the queue, and what goes through them."""

    def __init__(self, amqp_url: str, bootstrap: str, sqs_url: str, stomp_address: tuple[str, int]) -> None:
        self.amqp_url, self.bootstrap, self.stomp_address = amqp_url, bootstrap, stomp_address
        self.sqs = boto3.client("sqs", endpoint_url=sqs_url, region_name="us-east-1", aws_access_key_id="demo", aws_secret_access_key="demo")
        self.queue_url = self.sqs.create_queue(QueueName=SQS_QUEUE)["QueueUrl"]
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(TIMEOUT_S)
        self.connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self.channel = self.connection.channel()
        self.channel.queue_declare(QUEUE, durable=True)
        self.channel.queue_bind(QUEUE, "amq.topic", TOPIC)  # the topic's subject is its name
        self.channel.queue_bind(SQS_QUEUE, "amq.topic", TOPIC)
        self.channel.queue_declare(ANSWERS, durable=True)
        self.channel.confirm_delivery()
        self.channel.basic_qos(prefetch_count=1000)

    def by_confluent(self, lines: list[bytes]) -> list[Row]:
        """confluent-kafka to the topic, pika from the queue."""
        sent, acknowledged, got = all_of(lines), Tally(checksum=None), Tally()

        def answered(error: Any, _: Any) -> None:
            if error is None:
                acknowledged.count += 1

        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5})
        acknowledged.began = time.perf_counter()
        for line in lines:
            producer.produce(TOPIC, line, line.split(b",")[9], headers=[("content-type", b"text/csv")], on_delivery=answered)
            producer.poll(0)
        producer.flush(TIMEOUT_S)
        acknowledged.ended = time.perf_counter()
        types = self.take(len(lines), got)
        assert types == {"text/csv"}, types
        return [(f"into topic {TOPIC}", "confluent-kafka", sent, acknowledged), (f"  and by its subject queue {QUEUE}", "pika", sent, got)]

    def by_boto3(self, lines: list[bytes]) -> list[Row]:
        """What confluent-kafka wrote, from the SQS queue by boto3; and from boto3 into it again, to pika."""
        got, sent, back = Tally(), Tally(checksum=None), Tally()
        while got.count < len(lines):
            messages = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=SQS_BATCH, WaitTimeSeconds=20).get("Messages")
            if not messages:
                break
            for message in messages:
                got.add(message["Body"].encode())
            handles = [{"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]} for place, message in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=handles)
        self.channel.queue_unbind(SQS_QUEUE, "amq.topic", TOPIC)
        sent.began = time.perf_counter()
        for start in range(0, len(lines), SQS_BATCH):
            part = lines[start : start + SQS_BATCH]
            entries = [{"Id": str(place), "MessageBody": line.decode()} for place, line in enumerate(part)]
            sent.count += len(self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)["Successful"])
        sent.ended = time.perf_counter()
        self.take(len(lines), back, SQS_QUEUE)
        return [
            (f"  and by its subject SQS queue {SQS_QUEUE}", "boto3", all_of(lines), got),
            (f"into SQS queue {SQS_QUEUE}", "boto3", all_of(lines), sent),
            ("  and out of it", "pika", all_of(lines), back),
        ]

    def by_stomp(self, lines: list[bytes]) -> list[Row]:
        """stomp.py to the topic, pika from the queue; and pika to another queue, stomp.py from that."""
        sent, got, published, back = Tally(checksum=None), Tally(), Tally(checksum=None), Tally()
        heard = Heard()
        connection = stomp.Connection12([self.stomp_address], auto_decode=False)
        connection.set_listener("", heard)
        connection.connect("guest", "guest", wait=True)
        sent.began = time.perf_counter()
        for number, line in enumerate(lines, 1):
            receipt = {"receipt": "all"} if number == len(lines) else {}  # they come in order: the last one is for all
            connection.send(f"/topic/{TOPIC}", line, content_type="text/csv", headers=receipt)
        heard.receipts.get(timeout=TIMEOUT_S)
        sent.count, sent.ended = len(lines), time.perf_counter()
        types = self.take(len(lines), got)
        assert types == {"text/csv"}, types
        connection.subscribe(f"/queue/{STOMP_QUEUE}", "1", "client", headers={"receipt": "subscribed"})
        heard.receipts.get(timeout=TIMEOUT_S)
        published.began = time.perf_counter()
        with self.connection.channel() as channel:  # without confirms: what is lost would be missed at the other end
            for line in lines:
                channel.basic_publish("", STOMP_QUEUE, line, pika.BasicProperties(content_type="text/csv", delivery_mode=2))
                published.count += 1
        published.ended = time.perf_counter()
        for _ in lines:
            frame = heard.messages.get(timeout=TIMEOUT_S)
            back.add(frame.body)
        connection.ack(frame.headers["ack"], receipt="done")
        heard.receipts.get(timeout=TIMEOUT_S)
        connection.disconnect()
        return [
            (f"into topic {TOPIC}", "stomp.py", all_of(lines), sent),
            (f"  and by its subject queue {QUEUE}", "pika", all_of(lines), got),
            (f"into queue {STOMP_QUEUE}", "pika", all_of(lines), published),
            ("  and out of it", "stomp.py", all_of(lines), back),
        ]

    async def by_pika(self, before: list[bytes], lines: list[bytes]) -> list[Row]:
        """pika to the topic, aiokafka from it: what the others wrote, too."""
        published, got, queued = Tally(checksum=None), Tally(), Tally()
        properties = pika.BasicProperties(content_type="text/csv", delivery_mode=2, headers={"written-by": "pika"})
        published.began = time.perf_counter()
        for line in lines:
            self.channel.basic_publish("amq.topic", TOPIC, line, properties)
            published.count += 1
        published.ended = time.perf_counter()
        writers: set[bytes] = set()
        async with AIOKafkaConsumer(TOPIC, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False) as consumer:
            while got.count < len(before) + len(lines):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        got.add(record.value)
                        writers |= {value for key, value in record.headers if key == "written-by"}
        assert writers == {b"pika"}, writers
        self.take(len(lines), queued)
        return [
            (f"into topic {TOPIC}", "pika", all_of(lines), published),
            (f"all of topic {TOPIC}", "aiokafka", all_of(before + lines), got),
            (f"  and queue {QUEUE}", "pika", all_of(lines), queued),
        ]

    def by_java(self, lines: list[bytes], task_flights: int) -> list[Row]:
        """Java to the topic, a Celery worker from the queue; its answers come by the broker, too."""
        jars = java_client()
        parts = [lines[start : start + task_flights] for start in range(0, len(lines), task_flights)]
        tasks = "".join(json.dumps([[[line.decode() for line in part]], {}, {}]) + "\n" for part in parts)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "ERROR", "-Q", QUEUE],
            cwd=HERE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"DEMO_AMQP_URL": self.amqp_url},
        )
        sent, seen = all_of(lines), Tally()
        seen.began = time.perf_counter()
        try:
            java = ["java", "-cp", f"{jars}/*", str(HERE / "TaskProducer.java"), self.bootstrap, TOPIC, ANSWERS]
            subprocess.run(java, input=tasks, text=True, check=True, timeout=TIMEOUT_S, stderr=subprocess.DEVNULL)
            expected = {str(number): part for number, part in enumerate(parts)}
            answers: dict[str, Any] = {}
            for _, properties, body in self.channel.consume(ANSWERS, auto_ack=True, inactivity_timeout=TIMEOUT_S):
                if body is None:
                    break
                answers[properties.correlation_id] = json.loads(body)["result"]
                if len(answers) == len(parts):
                    break
            self.channel.cancel()
        finally:
            worker.terminate()
            worker.wait(60)
        for number, part in expected.items():
            if answers.get(number, [0, 0, ""])[2] == hashlib.sha256(b"\n".join(part)).hexdigest():
                for line in part:
                    seen.add(line)
        return [(f"{len(parts)} tasks by topic {TOPIC}, queue {QUEUE}", "Java, Celery", sent, seen)]

    def take(self, count: int, tally: Tally, queue: str = QUEUE) -> set[str | None]:
        """So many messages of a queue, acknowledged; their content types."""
        types = set()
        for method, properties, body in self.channel.consume(queue, inactivity_timeout=TIMEOUT_S):
            if body is None:
                break
            tally.add(body)
            types.add(properties.content_type)
            if tally.count % 500 == 0 or tally.count == count:
                self.channel.basic_ack(method.delivery_tag, multiple=True)
            if tally.count == count:
                break
        self.channel.cancel()
        return types

    def close(self) -> None:
        self.connection.close()


def all_of(lines: list[bytes]) -> Tally:
    tally = Tally()
    for line in lines:
        tally.add(line)
    return tally


def has_java() -> bool:
    """Whether Java's part can be done."""
    return all(shutil.which(name) for name in ("java", "javac", "mvn"))


def java_client() -> Path:
    """The folder of Kafka's client for Java; Maven fetches it on first use."""
    cache = Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "entrepot-tests")
    folder = cache / f"kafka-clients-{KAFKA_CLIENTS}"
    if not list((folder / "jars").glob("kafka-clients-*.jar")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}"]
        subprocess.run(command, check=True, timeout=400)
    return folder / "jars"
