"""Unmodified SQS clients against a real broker process over real sockets: where it is, clients to it, queues of a test's own.

The broker is an Entrepot started for the run. To put the same tests to another endpoint, name it:

    ENTREPOT_TEST_SQS=http://127.0.0.1:9324        any credentials; queues are made, and removed afterwards

What boto3 does is done in both wire protocols: AWS JSON, which it speaks today, and the Query protocol, by the service model of a boto3 of 2023,
which is fetched once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqs_endpoint import ACCOUNT, Queue, client, new_name

NAMED = os.environ.get("ENTREPOT_TEST_SQS", "").rstrip("/")
OLD_BOTO3, OLD_BOTOCORE = "1.28.79", "1.31.79"  # the last that spoke the Query protocol


@pytest.fixture(scope="session")
def sqs_broker() -> Iterator[Any]:
    """An Entrepot for the run, None if an endpoint is named."""
    if NAMED:
        yield None
        return
    from entrepot.testing import Broker  # not at the top: runs against another endpoint need no Entrepot

    with Broker(
        listeners=("amqp", "kafka", "sqs", "http"), settings={"http_hosts": "broker.example", "sqs.allowed_origins": "http://localhost:3000"}
    ) as broker:
        yield broker


@pytest.fixture(scope="session")
def endpoint(sqs_broker: Any) -> str:
    """What is given to clients as endpoint_url."""
    return NAMED or f"http://127.0.0.1:{sqs_broker.port('sqs')}"


@pytest.fixture(scope="session")
def is_entrepot() -> bool:
    """Whether the broker is an Entrepot: for what other endpoints do otherwise than AWS documents, or do not do."""
    return not NAMED


@pytest.fixture
def as_documented(is_entrepot: bool) -> None:
    """For what AWS documents and other endpoints do otherwise, or not at all: skips the test for them."""
    if not is_entrepot:
        pytest.skip("only Entrepot is held to this")


@pytest.fixture(scope="session")
def fetched() -> Path:
    """Where clients that are fetched on demand are kept between runs: ENTREPOT_TEST_CACHE, else a folder under the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests")


@pytest.fixture(scope="session")
def old_boto3(fetched: Path) -> Path:
    """The Python of an environment with the old boto3."""
    folder = fetched / f"boto3-{OLD_BOTO3}"
    python = folder / "venv" / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        wanted = [f"boto3=={OLD_BOTO3}", f"botocore=={OLD_BOTOCORE}"]
        subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", *wanted], check=True, timeout=300)
        (folder / "ready").touch()
    return python


@pytest.fixture(scope="session")
def query_model(old_boto3: Path) -> Path:
    """The old boto3's folder of service models."""
    (data,) = (old_boto3.parent.parent / "lib").glob("python*/site-packages/botocore/data")
    return data


@pytest.fixture(scope="session", params=["json", "query"])
def sqs(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Any]:
    """boto3's client, in each wire protocol."""
    found = client(endpoint, model=request.getfixturevalue("query_model") if request.param == "query" else None)
    assert found.meta.service_model.metadata["protocol"] == request.param
    yield found
    found.close()


@pytest.fixture(scope="session")
def json_sqs(endpoint: str) -> Iterator[Any]:
    """boto3's client as it is today, for what does not differ by the protocol, or the old model does not know."""
    found = client(endpoint)
    yield found
    found.close()


@pytest.fixture
def queues(endpoint: str) -> Iterator[Callable[..., Queue]]:
    """queues(sqs, suffix="", tags=None, **attributes) → a queue of this test's own."""
    made: list[Queue] = []

    def make(sqs: Any, suffix: str = "", tags: dict[str, str] | None = None, **attributes: object) -> Queue:
        options: dict[str, Any] = {"tags": tags} if tags else {}
        if attributes:
            options["Attributes"] = {key: str(value) for key, value in attributes.items()}
        made.append(Queue(sqs, sqs.create_queue(QueueName=new_name() + suffix, **options)["QueueUrl"]))
        return made[-1]

    yield make
    for queue in made:
        try:
            queue.sqs.delete_queue(QueueUrl=queue.url)
        except queue.sqs.exceptions.QueueDoesNotExist:
            continue  # some tests delete their own


@pytest.fixture
def queue(queues: Callable[..., Queue], sqs: Any) -> Queue:
    """A standard queue, empty."""
    return queues(sqs)


@pytest.fixture
def fifo(queues: Callable[..., Queue], sqs: Any) -> Queue:
    """A FIFO queue, empty."""
    return queues(sqs, ".fifo", FifoQueue="true")


@pytest.fixture
def account() -> str:
    """The number of the account that the tests' credentials are of."""
    return ACCOUNT
