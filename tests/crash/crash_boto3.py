"""boto3 instead of bare requests, for what it may send twice: FIFO queues. Its own retries go on; what it gives up is unknown, and kept."""

from __future__ import annotations

import re
import threading
import time
from typing import Any, ClassVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from crash_sqs import ACCOUNT, Raw, Refusal, Unknown


class Boto3(Raw):
    """A Raw that calls by boto3."""

    given_up: ClassVar[list[str]] = []
    waits: ClassVar[list[tuple[float, float, str]]] = []  # (when it was answered, after how long, what)
    _lock = threading.Lock()

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        config = Config(parameter_validation=False, max_pool_connections=1, connect_timeout=30, read_timeout=60)
        with self._lock:  # sessions are not made in several threads at once
            session = boto3.session.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="x", region_name="us-east-1")
            self._client: Any = session.client("sqs", endpoint_url=endpoint, config=config)

    def call(self, action: str, **words: object) -> dict[str, Any]:
        """See Raw."""
        begun = time.monotonic()
        try:
            answer = getattr(self._client, re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower())(**words)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise Refusal(f"{action}: {error}") from None
            self.given_up.append(f"{action}: {error}")
            raise Unknown(str(error)) from None
        except BotoCoreError as error:
            self.given_up.append(f"{action}: {error!r}")
            raise Unknown(str(error)) from None
        if action != "ReceiveMessage":
            now = time.monotonic()
            self.waits.append((now, now - begun, action))
        return dict(answer)

    def close(self) -> None:
        """See Raw."""
