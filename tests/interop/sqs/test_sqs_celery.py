"""Celery over its SQS transport, with a worker process of its own: many tasks, groups, chords, retries, ETA, failures."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqs_endpoint import ACCOUNT, DEADLINE_S, client, environment, new_name

HERE = Path(__file__).parent
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def tasks(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """sqs_tasks, configured for the endpoint under test, with a worker of two processes running; results through SQLite."""
    pytest.importorskip("pycurl", reason="Celery's SQS transport needs pycurl")
    folder = tmp_path_factory.mktemp("celery")
    queue = new_name()
    settings = environment(endpoint) | {
        "INTEROP_BROKER_URL": f"sqs://{ACCOUNT}:secret@{urlsplit(endpoint).netloc}",
        "INTEROP_BACKEND_URL": f"db+sqlite:///{folder}/results.sqlite",
        "INTEROP_QUEUE": queue,
    }
    before = dict(os.environ)
    os.environ.update(settings)
    sys.path.insert(0, str(HERE))
    log = folder / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "sqs_tasks", "worker", "--concurrency=2", "--loglevel=INFO"]
    command += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    try:
        module = importlib.import_module("sqs_tasks")
        with log.open("w") as output:
            worker = subprocess.Popen(command, cwd=HERE, env=settings, stdout=output, stderr=subprocess.STDOUT)
        try:
            try:
                module.add.delay(1, 1).get(timeout=TIMEOUT_S)
            except Exception as error:  # whatever it was, the worker's log says why
                pytest.fail(f"no worker answered ({error!r}):\n{log.read_text()}")
            yield module
        finally:
            worker.terminate()
            try:
                worker.wait(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
    finally:
        sqs = client(endpoint)
        for url in sqs.list_queues(QueueNamePrefix=queue).get("QueueUrls") or ():
            sqs.delete_queue(QueueUrl=url)
        sqs.close()
        sys.path.remove(str(HERE))
        os.environ.clear()
        os.environ.update(before)


def test_many_tasks(tasks: Any) -> None:
    results = [tasks.add.delay(number, number) for number in range(100)]
    assert [result.get(timeout=TIMEOUT_S) for result in results] == [2 * number for number in range(100)]


def test_chain(tasks: Any) -> None:
    assert (tasks.add.s(1, 2) | tasks.add.s(3) | tasks.add.s(4)).delay().get(timeout=TIMEOUT_S) == 10


def test_chord(tasks: Any) -> None:
    from celery import chord

    assert chord((tasks.add.s(number, number) for number in range(10)), tasks.total.s()).delay().get(timeout=TIMEOUT_S) == 90


def test_retries(tasks: Any) -> None:
    assert tasks.flaky.delay(3).get(timeout=TIMEOUT_S) == 3


def test_eta(tasks: Any) -> None:
    begun = time.time()
    assert tasks.when.apply_async(countdown=1.5).get(timeout=TIMEOUT_S) - begun >= 1.5


def test_a_failure_is_told(tasks: Any) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        tasks.fail.delay("on purpose").get(timeout=TIMEOUT_S)


def test_nothing_is_left(tasks: Any, endpoint: str) -> None:
    """What was done is deleted."""
    assert tasks.add.delay(2, 2).get(timeout=TIMEOUT_S) == 4
    sqs = client(endpoint)
    url = sqs.get_queue_url(QueueName=os.environ["INTEROP_QUEUE"])["QueueUrl"]
    give_up = time.monotonic() + DEADLINE_S
    while True:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        if (found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0"):
            break
        assert time.monotonic() < give_up, found
    sqs.close()
