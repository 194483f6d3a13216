"""Celery with a worker process of its own: chains, groups, chords, retries, ETA, late acknowledgement, revoking, events, remote control."""

from __future__ import annotations

import importlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S

HERE = Path(__file__).parent
TIMEOUT_S = 40.0


@pytest.fixture(scope="module")
def tasks(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """celery_tasks, configured for the broker under test, with a worker of two processes running; results through SQLite, which chords need."""
    folder = tmp_path_factory.mktemp("celery")
    queue = f"interop.celery.{secrets.token_hex(6)}"
    settings = {"INTEROP_BROKER_URL": amqp_url, "INTEROP_BACKEND_URL": f"db+sqlite:///{folder}/results.sqlite", "INTEROP_QUEUE": queue}
    os.environ.update(settings)
    sys.path.insert(0, str(HERE))
    module = importlib.import_module("celery_tasks")
    log = folder / "worker.log"
    try:
        with start_worker(dict(os.environ), log, "here"):
            for _ in range(40):
                if module.app.control.ping(timeout=1):
                    break
            else:
                pytest.fail(f"no worker answered:\n{log.read_text()}")
            yield module
    finally:
        clear(module.app, queue)
        sys.path.remove(str(HERE))
        for key in settings:
            del os.environ[key]


@contextmanager
def start_worker(environment: dict[str, str], log: Path, host: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of two processes, told to stop at the end and killed if it does not."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "celery_tasks",
        "worker",
        "--concurrency=2",
        "--loglevel=INFO",
        f"--hostname=interop@{host}",
        "--without-mingle",
    ]
    with log.open("w") as output:
        worker = subprocess.Popen(command, cwd=HERE, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield worker
        finally:
            worker.terminate()
            try:
                worker.wait(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def clear(app: Any, queue: str) -> None:
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_delete(queue)
        for exchange in (queue, f"{queue}.ev", f"{queue}.control.pidbox", f"reply.{queue}.control.pidbox"):
            channel.exchange_delete(exchange)
    app.close()


def test_many_tasks(tasks: Any) -> None:
    results = [tasks.add.delay(number, 1) for number in range(50)]
    assert [result.get(timeout=TIMEOUT_S) for result in results] == list(range(1, 51))


def test_chain(tasks: Any) -> None:
    assert (tasks.add.s(1, 2) | tasks.add.s(3) | tasks.add.s(4)).apply_async().get(timeout=TIMEOUT_S) == 10


def test_group(tasks: Any) -> None:
    from celery import group

    assert group(tasks.add.s(number, number) for number in range(10))().get(timeout=TIMEOUT_S) == [2 * number for number in range(10)]


def test_chord(tasks: Any) -> None:
    from celery import chord

    assert chord((tasks.add.s(number, 1) for number in range(10)), tasks.total.s())().get(timeout=TIMEOUT_S) == 55


def test_retry(tasks: Any) -> None:
    assert tasks.flaky.delay(3).get(timeout=TIMEOUT_S) == 3


def test_countdown_and_eta(tasks: Any) -> None:
    before = time.time()
    later = tasks.when.apply_async(countdown=1.5)
    now = tasks.when.delay()
    assert now.get(timeout=TIMEOUT_S) < later.get(timeout=TIMEOUT_S)
    assert later.get() >= before + 1.5


def test_failure_arrives_as_itself(tasks: Any) -> None:
    with pytest.raises(ValueError, match="as it was"):
        tasks.fail.delay("as it was").get(timeout=TIMEOUT_S)


def test_late_acknowledgement_survives_a_killed_worker_process(tasks: Any, tmp_path: Path) -> None:
    assert tasks.die_once.delay(str(tmp_path / "died")).get(timeout=TIMEOUT_S) == "second try"


def test_revoked_before_it_runs(tasks: Any) -> None:
    from celery.exceptions import TaskRevokedError

    result = tasks.add.apply_async((1, 1), countdown=2)
    assert tasks.app.control.revoke(result.id, reply=True, timeout=DEADLINE_S, limit=1)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=TIMEOUT_S)


def test_expired_task_is_revoked(tasks: Any) -> None:
    from celery.exceptions import TaskRevokedError

    with pytest.raises(TaskRevokedError):
        tasks.add.apply_async((1, 1), countdown=1, expires=0.1).get(timeout=TIMEOUT_S)


def test_inspect(tasks: Any) -> None:
    inspect = tasks.app.control.inspect(timeout=DEADLINE_S, limit=1)
    ((host, queues),) = inspect.active_queues().items()
    assert host == "interop@here"
    assert [each["name"] for each in queues] == [tasks.app.conf.task_default_queue]
    registered = next(iter(inspect.registered().values()))
    assert "celery_tasks.add" in registered
    assert next(iter(inspect.stats().values()))["broker"]["transport"] == "amqp"


def test_queue_added_and_taken_away_at_run_time(tasks: Any) -> None:
    queue = f"{tasks.app.conf.task_default_queue}.more"
    control = tasks.app.control
    control.add_consumer(queue, reply=True, timeout=DEADLINE_S, limit=1)
    assert tasks.add.apply_async((1, 2), queue=queue).get(timeout=TIMEOUT_S) == 3
    control.cancel_consumer(queue, reply=True, timeout=DEADLINE_S, limit=1)
    with tasks.app.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)
        connection.default_channel.exchange_delete(queue)


def test_events(tasks: Any) -> None:
    seen: list[str] = []
    started, done = threading.Event(), threading.Event()
    ids: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if event["type"].startswith("worker"):
            started.set()
        elif event.get("uuid") in ids:
            seen.append(event["type"])
            if {"task-sent", "task-received", "task-started", "task-succeeded"} <= set(seen):
                done.set()

    def capture() -> None:
        with tasks.app.connection_for_read() as connection:
            receiver = tasks.app.events.Receiver(connection, handlers={"*": note})
            for _ in receiver.itercapture(limit=None, timeout=TIMEOUT_S, wakeup=True):
                if done.is_set():
                    return

    thread = threading.Thread(target=capture)
    thread.start()
    assert started.wait(TIMEOUT_S)  # the worker's heartbeat event
    task_id = secrets.token_hex(8)
    ids.append(task_id)
    tasks.add.apply_async((1, 1), task_id=task_id)
    assert done.wait(TIMEOUT_S), seen
    tasks.add.delay(1, 1)  # one more event lets the capture return
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_large_arguments(tasks: Any) -> None:
    value = ["x" * 1000] * 3000
    assert tasks.echo.delay(value).get(timeout=TIMEOUT_S) == value


def test_results_over_rpc(tasks: Any, amqp_url: str, tmp_path: Path) -> None:
    """The rpc:// backend: each client's results come to an exclusive queue of its own, named in reply-to."""
    queue = f"{tasks.app.conf.task_default_queue}.rpc"
    environment = os.environ | {"INTEROP_BACKEND_URL": "rpc://", "INTEROP_QUEUE": queue}
    client = "from celery_tasks import add; print([result.get(timeout=30) for result in [add.delay(number, 1) for number in range(10)]])"
    with start_worker(environment, tmp_path / "worker.log", "rpc"):
        asked = subprocess.run([sys.executable, "-c", client], cwd=HERE, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert asked.stdout.strip() == str(list(range(1, 11))), asked.stderr + (tmp_path / "worker.log").read_text()
    with tasks.app.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)
        connection.default_channel.exchange_delete(queue)
