"""The application that test_sqs_celery.py's worker runs. Endpoint and result store come by environment."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

app = Celery("interop", broker=os.environ["INTEROP_BROKER_URL"], backend=os.environ["INTEROP_BACKEND_URL"])
app.conf.update(
    task_default_queue=os.environ["INTEROP_QUEUE"],
    worker_prefetch_multiplier=2,
    task_acks_late=True,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"region": "us-east-1", "wait_time_seconds": 5, "visibility_timeout": 60, "polling_interval": 0.1, "is_secure": False},
    result_expires=600,
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
