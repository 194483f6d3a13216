"""The demo's Celery application: a worker runs `celery -A tasks worker` with the broker's address in DEMO_AMQP_URL."""

import hashlib
import os

from celery import Celery

app = Celery("demo", broker=os.environ["DEMO_AMQP_URL"], backend="rpc://")
app.conf.update(task_acks_late=True, task_default_queue="flights.celery", worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


@app.task
def digest(flights: list[str]) -> list[int | str]:
    """How many flights, the minutes that they were late at departure, and a checksum of their lines."""
    delays = [line.split(",")[5] for line in flights]  # minutes; NA for a flight that was cancelled
    late = sum(int(delay) for delay in delays if delay.isdecimal())
    return [len(flights), late, hashlib.sha256("\n".join(flights).encode()).hexdigest()]
