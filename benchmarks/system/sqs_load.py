"""Load for an SQS endpoint: `send` and `receive` by wrk with sqs_load.lua, `boto3` by that client, `latency` and `polls` by sqs_polls.py.

    python -m benchmarks.system.sqs_load send --url http://127.0.0.1:9324 --connections 50 --batch 10 --seconds 5
    python -m benchmarks.system.sqs_load receive --url … --queue NAME --keep
    python -m benchmarks.system.sqs_load boto3 --url … --count 1000
    python -m benchmarks.system.sqs_load latency --url … --connections 20 --rate 500 --seconds 5
    python -m benchmarks.system.sqs_load polls --url … --connections 10000 --rate 500

Prints one line of JSON, with the names that the runner knows (`publish_per_s` are messages sent, `consume_per_s` received and deleted). Exit status 0: all
well; 1: the endpoint could not be used; 2: wrong usage; 3: something was refused, lost or came twice. Signatures have the right form and are wrong: no
endpoint for tests checks them. Message bodies are all the same; the queue's counts are compared with what was acknowledged.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.system.queue_names import names_of

ACCOUNT = "123456789012"
REGION = "us-east-1"
SIGNATURE = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
SIGNED = {"Authorization": SIGNATURE, "X-Amz-Date": "20260101T000000Z", "Content-Type": "application/x-amz-json-1.0"}
_SCRIPT = Path(__file__).with_name("sqs_load.lua")

Figures = dict[str, Any]


class EndpointFailed(Exception):
    """It refused, or did not answer, what every endpoint must do."""


def call(url: str, action: str, **words: object) -> dict[str, Any]:
    """One action on a connection of its own."""
    request = urllib.request.Request(f"{url}/", json.dumps(words).encode(), {**SIGNED, "X-Amz-Target": f"AmazonSQS.{action}"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return dict(json.loads(answer.read() or b"{}"))
    except urllib.error.HTTPError as error:
        raise EndpointFailed(f"{action}: {error.code} {error.read()[:300]!r}") from None
    except OSError as error:
        raise EndpointFailed(f"{action}: {error}") from None


def make_queue(url: str, name: str, *, fifo: bool) -> str:
    """The URL of a queue of this name, there or new, at the host that was called."""
    attributes = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"} if fifo else {}
    told: str = call(url, "CreateQueue", QueueName=f"{name}.fifo" if fifo else name, Attributes=attributes)["QueueUrl"]
    return url + urlsplit(told).path


def waiting(url: str, *queue_urls: str) -> int:
    """Messages that can be received from these queues, as the endpoint counts them."""
    name = "ApproximateNumberOfMessages"
    return sum(int(call(url, "GetQueueAttributes", QueueUrl=each, AttributeNames=[name])["Attributes"][name]) for each in queue_urls)


def figures(size: int, seconds: float, cpu_s: float, *, sent: int = 0, taken: int = 0, errors: dict[str, int]) -> Figures:
    """In the form of the other generators."""
    return {
        "published": sent,
        "consumed": taken,
        "publish_per_s": sent / max(seconds, 1e-9) if sent else 0.0,
        "consume_per_s": taken / max(seconds, 1e-9) if taken else 0.0,
        "seconds": seconds,
        "size": size,
        "errors": errors,
        "confirm_us": None,
        "end_to_end_us": None,
        "client_cpu_us_per_message": cpu_s * 1e6 / max(sent, taken, 1),
    }


def by_wrk(arguments: argparse.Namespace, queue_urls: list[str]) -> Figures:
    """`send` or `receive`, with a thread and its connections for each queue; raises EndpointFailed if wrk cannot run."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise EndpointFailed("wrk is not installed (Debian: wrk)")
    groups = arguments.groups if arguments.fifo else 0
    before, depth = resource.getrusage(resource.RUSAGE_CHILDREN), waiting(arguments.url, *queue_urls)
    command = [
        wrk,
        f"-t{len(queue_urls)}",
        f"-c{arguments.connections}",
        f"-d{max(1, round(arguments.seconds))}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(_SCRIPT),
        arguments.url,
    ]
    words = ["--", arguments.what, ",".join(queue_urls), str(arguments.size), str(arguments.batch), str(groups)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=arguments.seconds + 120)
    if done.returncode or not done.stdout.strip():
        raise EndpointFailed(f"wrk: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if said["why"]:
        print(said["why"], file=sys.stderr)
    errors = {"refused": said["refused"], "socket": said["socket_errors"]}
    if arguments.what == "receive":
        return figures(arguments.size, said["receive_seconds"], cpu, taken=said["deleted"], errors=errors)
    sent = said["sent"] if arguments.batch > 1 else said["requests"] - said["refused"]
    # What was on its way when wrk stopped may be there too: a request of each connection, or two.
    surplus = waiting(arguments.url, *queue_urls) - depth - sent
    errors["lost"] = max(0, -surplus)
    errors["repeated"] = max(0, surplus - 2 * arguments.connections * arguments.batch)
    out = figures(arguments.size, said["seconds"], cpu, sent=sent, errors=errors)
    out["confirm_us"] = {"p50": said["p50_us"], "p99": said["p99_us"], "p99.9": said["p99_9_us"], "max": said["max_us"]}
    return out


def by_boto3(arguments: argparse.Namespace, queue_url: str) -> Figures:
    """So many sends, then so many receives of one with its delete: one client, one thread."""
    import boto3

    sqs = boto3.client("sqs", endpoint_url=arguments.url, region_name=REGION, aws_access_key_id=ACCOUNT, aws_secret_access_key="secret")
    text = "x" * arguments.size
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    for _ in range(arguments.count):
        sqs.send_message(QueueUrl=queue_url, MessageBody=text)
    between = time.perf_counter()
    taken = set()
    for _ in range(arguments.count):
        for message in sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5).get("Messages") or ():
            taken.add(message["MessageId"])
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    ended = time.perf_counter()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    out = figures(arguments.size, ended - begun, cpu, sent=arguments.count, taken=len(taken), errors={"lost": arguments.count - len(taken)})
    return out | {"publish_per_s": arguments.count / (between - begun), "consume_per_s": len(taken) / (ended - between)}


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.sqs_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("what", choices=["send", "receive", "boto3", "latency", "polls"])
    add("--url", required=True, help="the endpoint")
    add("--queue", default="load", help="its name, without .fifo")
    add("--queues", type=int, default=1, help="send and receive: with more than 1 NAME-0, NAME-1, …, each with an equal part of the connections")
    add("--fifo", action="store_true", help="a FIFO queue of high throughput")
    add("--groups", type=int, default=1000, help="message groups of a FIFO queue")
    add("--connections", type=int, default=50)
    add("--batch", type=int, default=1, help="messages a request")
    add("--size", type=int, default=100, help="of a body, in bytes")
    add("--seconds", type=float, default=5.0, help="of send, receive and latency")
    add("--count", type=int, default=1000, help="messages of boto3")
    add("--rate", type=float, default=500.0, help="messages a second of latency and polls")
    add("--hold", action="store_true", help="polls: say `ready` when all wait, and go on when standard input ends")
    add("--keep", action="store_true", help="leave the queue there; else it is deleted")
    return out


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    arguments = parser().parse_args(words)
    arguments.url = arguments.url.rstrip("/")
    if arguments.queues < 1 or (arguments.queues > 1 and (arguments.what not in ("send", "receive") or arguments.connections < arguments.queues)):
        print(f"--queues {arguments.queues}: of send and receive alone, and with a connection for each", file=sys.stderr)
        return 2
    try:
        queue_urls = [make_queue(arguments.url, name, fifo=arguments.fifo) for name in names_of(arguments.queue, arguments.queues)]
        if arguments.what in ("latency", "polls"):
            from benchmarks.system import sqs_polls

            out = sqs_polls.run(arguments, queue_urls[0])
        else:
            out = by_boto3(arguments, queue_urls[0]) if arguments.what == "boto3" else by_wrk(arguments, queue_urls)
        if not arguments.keep:
            for queue_url in queue_urls:
                call(arguments.url, "DeleteQueue", QueueUrl=queue_url)
    except (EndpointFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(out))
    return 3 if any(out["errors"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
