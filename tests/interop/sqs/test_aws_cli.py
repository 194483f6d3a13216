"""The AWS command line, as a shell script calls it: version 1 from PyPI, fetched on first use, or the `aws` that is named by ENTREPOT_TEST_AWS_CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqs_endpoint import environment, new_name

VERSION = "1.45.11"
Aws = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def command(fetched: Path) -> list[str]:
    if named := os.environ.get("ENTREPOT_TEST_AWS_CLI"):
        return [named]
    folder = fetched / f"awscli-{VERSION}"
    python = folder / "venv" / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", f"awscli=={VERSION}"], check=True, timeout=300)
        (folder / "ready").touch()
    return [str(python), "-W", "ignore", "-m", "awscli"]


@pytest.fixture
def aws(command: list[str], endpoint: str) -> Aws:
    """aws("send-message", "--queue-url", …) → what it printed."""

    def run(*words: str) -> dict[str, Any]:
        done = subprocess.run(
            [*command, "--endpoint-url", endpoint, "sqs", *words, "--output", "json"],
            env=environment(endpoint),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        return answer

    return run


def test_a_message_there_and_back(aws: Aws) -> None:
    name = new_name()
    url = aws("create-queue", "--queue-name", name, "--attributes", "VisibilityTimeout=60", "--tags", "team=a")["QueueUrl"]
    try:
        assert aws("get-queue-url", "--queue-name", name)["QueueUrl"] == url
        assert aws("list-queues", "--queue-name-prefix", name)["QueueUrls"] == [url]
        assert aws("list-queue-tags", "--queue-url", url)["Tags"] == {"team": "a"}
        attribute = '{"a": {"DataType": "String", "StringValue": "ü"}}'
        sent = aws("send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes", attribute)
        got = aws("receive-message", "--queue-url", url, "--wait-time-seconds", "5", "--attribute-names", "All", "--message-attribute-names", "All")
        (message,) = got["Messages"]
        assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
        assert message["MessageAttributes"] == {"a": {"DataType": "String", "StringValue": "ü"}}
        aws("change-message-visibility", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"], "--visibility-timeout", "30")
        aws("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
        found = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
        assert (found["VisibilityTimeout"], found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]) == ("60", "0", "0")
    finally:
        aws("delete-queue", "--queue-url", url)


def test_version_1_does_not_know_the_variable(command: list[str], endpoint: str) -> None:
    """As the guide says: it goes to AWS, here to a proxy that is not there. Once it knows it, the guide can say so."""
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if not version.startswith("aws-cli/1."):
        pytest.skip(version)
    nowhere = environment(endpoint) | {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = subprocess.run([*command, "sqs", "list-queues"], env=nowhere, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "proxy" in done.stderr


def test_an_error_is_the_caller_s(command: list[str], endpoint: str) -> None:
    words = [*command, "--endpoint-url", endpoint, "sqs", "get-queue-url", "--queue-name", new_name()]
    done = subprocess.run(words, env=environment(endpoint), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (254, 255)
    assert "NonExistentQueue" in done.stderr or "QueueDoesNotExist" in done.stderr
