"""The application that test_celery.py's worker runs: `celery -A interop.celery_tasks worker`. Broker and result store come by environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("interop", broker=os.environ["INTEROP_BROKER_URL"], backend=os.environ["INTEROP_BACKEND_URL"])
app.conf.update(
    task_default_queue=os.environ["INTEROP_QUEUE"],
    task_default_exchange=os.environ["INTEROP_QUEUE"],
    worker_prefetch_multiplier=2,
    task_acks_late=False,
    task_publish_retry=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    worker_send_task_events=True,
    task_send_sent_event=True,
    event_queue_prefix=os.environ["INTEROP_QUEUE"],
    event_exchange=os.environ["INTEROP_QUEUE"] + ".ev",
    control_exchange=os.environ["INTEROP_QUEUE"] + ".control",
    worker_hijack_root_logger=False,
    result_expires=600,
    task_always_eager=False,
)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, max_retries=5)
def flaky(self: Any, failures: int) -> int:
    """Fails `failures` times, then says how many tries it took."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)


@app.task
def when() -> float:
    """The time at which it ran, in seconds of the system clock."""
    return time.time()


@app.task
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(acks_late=True, reject_on_worker_lost=True)
def die_once(marker: str) -> str:
    """Kills its worker process the first time; the second time the message has to come again."""
    path = Path(marker)
    if not path.exists():
        path.write_text("died")
        os._exit(9)
    return "second try"


@app.task(bind=True)
def redelivered(self: Any) -> bool:
    return bool(self.request.delivery_info["redelivered"])


@app.task
def echo(value: Any) -> Any:
    return value
