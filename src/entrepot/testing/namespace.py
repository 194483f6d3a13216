"""Namespace: what one test has of a broker to itself, for every protocol."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

FIRST_ACCOUNT = 100_000_000_000  # accounts are numbered from here on
REGION = "us-east-1"


@dataclass
class Namespace:
    """Addresses within one namespace. `host_ports`: by listener, as clients dial them; `account`: the twelve digits that SQS calls it by."""

    host_ports: Mapping[str, str]
    account: str
    kafka_port: int = 0  # of the listener that is in it; 0: there is none

    @property
    def name(self) -> str:
        """As in the configuration."""
        return f"public/{self.account}"

    @property
    def sqs_url(self) -> str:
        """What AWS's SDKs call endpoint_url. Which account a client is in its access key says: `account`, or `environment`."""
        return f"http://{self.host_ports['sqs']}"

    @property
    def amqp_url(self) -> str:
        """With the default user, to the virtual host of this namespace."""
        return f"amqp://guest:guest@{self.host_ports['amqp']}/{self.account}"

    @property
    def kafka_bootstrap(self) -> str:
        """What Kafka clients call bootstrap.servers."""
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def credentials(self) -> dict[str, str]:
        """Arguments for boto3.client, with `endpoint_url=sqs_url`."""
        return {"aws_access_key_id": self.account, "aws_secret_access_key": "test", "region_name": REGION}

    @property
    def environment(self) -> dict[str, str]:
        """What brings every AWS SDK here, with credentials of this account."""
        return {
            "AWS_ENDPOINT_URL_SQS": self.sqs_url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """os.environ holds `environment` in the block; boto3's default session, which would keep other credentials, is begun anew."""
        before = {name: os.environ.get(name) for name in (*self.environment, "AWS_PROFILE", "AWS_SESSION_TOKEN")}
        os.environ.update(self.environment)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        session = _swap_session(None)
        try:
            yield
        finally:
            _swap_session(session)
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _swap_session(session: object) -> object:
    """Put boto3's default session in place, where boto3 is imported; the one before."""
    boto3 = sys.modules.get("boto3")
    before = getattr(boto3, "DEFAULT_SESSION", None)
    if boto3 is not None:
        boto3.DEFAULT_SESSION = session  # type: ignore[attr-defined]
    return before
