"""Where AWS's SDKs find a broker that they are tested against, and what leads them there without a word of theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.model.endpoints import Endpoints, Place

REGION = "us-east-1"


def sqs_url(place: Place) -> str:
    """What AWS's SDKs call endpoint_url. Which account a client is in its access key says: that of `credentials` or of the environment."""
    return f"http://{place.host_port}"


def credentials(place: Place) -> dict[str, str]:
    """Arguments for boto3.client, with `endpoint_url=sqs_url`."""
    return {"aws_access_key_id": place.account or "test", "aws_secret_access_key": "test", "region_name": REGION}


def environment(place: Place) -> dict[str, str]:
    """What brings every AWS SDK here, with credentials of this account."""
    return {
        "AWS_ENDPOINT_URL_SQS": sqs_url(place),
        "AWS_ACCESS_KEY_ID": place.account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


@contextmanager
def no_session_of_before() -> Iterator[None]:
    """boto3's default session, which would keep other credentials, is begun anew."""
    session = _swap_session(None)
    try:
        yield
    finally:
        _swap_session(session)


def _swap_session(session: object) -> object:
    """Put boto3's default session in place, where boto3 is imported; the one before."""
    boto3 = sys.modules.get("boto3")
    before = getattr(boto3, "DEFAULT_SESSION", None)
    if boto3 is not None:
        boto3.DEFAULT_SESSION = session  # type: ignore[attr-defined]
    return before


ENDPOINTS = Endpoints(
    "sqs",
    {"sqs_url": sqs_url, "credentials": credentials},
    client="",
    environment=environment,
    unset=("AWS_PROFILE", "AWS_SESSION_TOKEN"),
    around=no_session_of_before,
)
