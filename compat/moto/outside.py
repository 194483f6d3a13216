"""A pytest plugin that puts moto's SQS tests, written for a mock in their own process, to the endpoint that MOTO_OUTSIDE names.

moto's own server mode does most of it: `mock_aws` gives its clients the endpoint. Added here are what a test needs besides SQS (an account
number from STS), an endpoint without queues for each test, whatever serves it, and the tests of moto's web application over a socket.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

ENDPOINT = os.environ["MOTO_OUTSIDE"].rstrip("/")
ACCOUNTS = ("123456789012", "111111111111")  # moto's own; the one that a test takes a role in
REGIONS = ("us-east-1", "us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "eu-west-3", "ap-northeast-3")
SCOPE = "20260101/{region}/sqs/aws4_request"

# Before moto is imported: it reads them then.
os.environ["TEST_SERVER_MODE"] = "true"
os.environ["TEST_SERVER_MODE_ENDPOINT"] = ENDPOINT
os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = ACCOUNTS[0], "secret"
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import boto3  # noqa: E402
import moto.core.models as moto_models  # noqa: E402
import moto.server as moto_server  # noqa: E402
import pytest  # noqa: E402


def authorization(account: str, region: str) -> str:
    """A header of the right form: an endpoint for tests takes any signature."""
    scope = SCOPE.format(region=region)
    return f"AWS4-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders=host, Signature={'0' * 64}"


def call(account: str, region: str, action: str, **words: object) -> dict[str, Any]:
    """One action over the JSON protocol."""
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"AmazonSQS.{action}",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": authorization(account, region),
    }
    request = urllib.request.Request(f"{ENDPOINT}/", json.dumps(words).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.loads(answer.read() or b"{}"))


def is_moto() -> bool:
    """Whether moto's own server answers: it has a way to forget everything."""
    try:
        with urllib.request.urlopen(f"{ENDPOINT}/moto-api/data.json", timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


IS_MOTO = is_moto()


def forget(*_: object) -> None:
    """Delete every queue there is."""
    if IS_MOTO:
        urllib.request.urlopen(urllib.request.Request(f"{ENDPOINT}/moto-api/reset", b"", method="POST"), timeout=30).close()
        return
    for account in ACCOUNTS:
        for region in REGIONS:
            for url in call(account, region, "ListQueues").get("QueueUrls") or ():
                try:
                    call(account, region, "DeleteQueue", QueueUrl=url)
                except urllib.error.HTTPError as error:  # an endpoint of one region only: it has gone already
                    error.close()


def web_application(_: object) -> SimpleNamespace:
    """An endpoint without queues, as its own tests make one for each."""
    forget()
    return SimpleNamespace(test_client=OverASocket)


class SecurityTokens:
    """What these tests ask of STS: who they are, and credentials in another account."""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNTS[0]}

    def assume_role(self, RoleArn: str, **_: object) -> dict[str, dict[str, str]]:  # noqa: N803
        return {"Credentials": {"AccessKeyId": RoleArn.split(":")[4], "SecretAccessKey": "secret", "SessionToken": "token"}}


class OverASocket:
    """As the test client of moto's web application, but to the endpoint."""

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> SimpleNamespace:
        return self._send("GET", path, headers, None)

    def post(self, path: str = "/", headers: dict[str, str] | None = None, data: str | None = None) -> SimpleNamespace:
        return self._send("POST", path, headers, (data or "").encode())

    def _send(self, method: str, path: str, headers: dict[str, str] | None, data: bytes | None) -> SimpleNamespace:
        signed = {"Authorization": authorization(ACCOUNTS[0], "us-east-1"), "X-Amz-Date": "20260101T000000Z"}
        request = urllib.request.Request(ENDPOINT + path, data, {**signed, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return SimpleNamespace(status_code=answer.status, data=answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return SimpleNamespace(status_code=error.code, data=error.read())


real_client = boto3.client


def client(name: str, *words: Any, **options: Any) -> Any:
    """boto3's, but for services that the endpoint does not have."""
    if name == "sqs" or IS_MOTO:
        return real_client(name, *words, **options)
    if name != "sts":
        pytest.skip(f"{name} is not SQS")
    return SecurityTokens()


boto3.client = client
moto_models.ServerModeMockAWS.reset = forget  # type: ignore[method-assign]
moto_server.create_backend_app = web_application  # type: ignore[attr-defined]
