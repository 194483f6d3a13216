"""botocore's own client over a session without a socket: what an SDK sends and understands, in the JSON protocol and in the Query protocol."""

from __future__ import annotations

import functools
import io
import json
from typing import Any
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.config
import botocore.loaders
import botocore.session
from port_double import Bench, Connection, parse_answers

# What the model said while it was one of the Query protocol.
NAMES = {"tags": "Tag", "Tags": "Tag", "TagKeys": "TagKey", "AWSAccountIds": "AWSAccountId", "Actions": "ActionName", "queueUrls": "QueueUrl"}
SINGULAR = {"Results": "ListMessageMoveTasksResultEntry", "Failed": "BatchResultErrorEntry"}


def query_model() -> dict[str, Any]:
    """botocore's model of SQS, turned back to the Query protocol."""
    model: dict[str, Any] = json.loads(json.dumps(botocore.loaders.Loader().load_service_model("sqs", "service-2")))
    model["metadata"] |= {"protocol": "query", "protocols": ["query"], "xmlNamespace": "http://queue.amazonaws.com/doc/2012-11-05/"}
    del model["metadata"]["awsQueryCompatible"]
    for name, operation in model["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    for shape in model["shapes"].values():
        for name, member in shape.get("members", {}).items():
            inner = model["shapes"][member["shape"]]
            if inner["type"] not in ("list", "map"):
                continue
            called = NAMES.get(name) or SINGULAR.get(name) or (inner["member"]["shape"] if name in ("Entries", "Successful") else name.removesuffix("s"))
            if inner["type"] == "list":
                inner["member"]["locationName"] = called
                inner["flattened"] = True
            else:
                is_tag = called == "Tag"
                inner["key"]["locationName"] = "Key" if is_tag else "Name"
                inner["value"]["locationName"] = "Value"
                member["locationName"] = called
                inner["flattened"] = True
    return model


class _Loader(botocore.loaders.Loader):
    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if service_name == "sqs" and type_name == "service-2":
            return query_model()
        return super().load_service_model(service_name, type_name, api_version)


def client(
    bench: Bench, protocol: str = "json", key_id: str | None = "test", secret: str = "secret", connection: Connection | None = None, region: str = "us-east-1"
) -> Any:
    """A client whose requests go to a session over the bench's port. key_id None: nothing is signed."""
    made = _make(protocol, key_id, secret, region)
    there = connection or bench.session()

    def send(request: Any, **_: Any) -> Any:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        address = urlsplit(request.url)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        lines = [f"{request.method} {target} HTTP/1.1", f"Host: {address.netloc}"]
        for name, value in request.headers.items():
            lines.append(f"{name}: {value.decode() if isinstance(value, bytes) else value}")
        if "content-length" not in {name.lower() for name in request.headers}:
            lines.append(f"Content-Length: {len(body)}")
        there.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        [(status, headers, content)] = parse_answers(there.received())
        raw = io.BytesIO(content)
        raw.stream = lambda *args, **kwargs: iter([content])  # type: ignore[attr-defined]
        return botocore.awsrequest.AWSResponse(request.url, status, headers, raw)

    made.meta.events.register("before-send.sqs", send, unique_id="bench")
    return Client(made, send)


class Client:
    """A botocore client, which takes a while to make, over one bench of many."""

    def __init__(self, made: Any, send: Any) -> None:
        self._made = made
        self._send = send

    def __getattr__(self, name: str) -> Any:
        events = self._made.meta.events
        events.unregister("before-send.sqs", unique_id="bench")
        events.register("before-send.sqs", self._send, unique_id="bench")
        return getattr(self._made, name)


@functools.cache
def _make(protocol: str, key_id: str | None, secret: str, region: str) -> Any:
    session = botocore.session.Session()
    if protocol == "query":
        session.register_component("data_loader", _Loader())
    config = botocore.config.Config(retries={"max_attempts": 0}, signature_version=botocore.UNSIGNED if key_id is None else None)
    return session.create_client("sqs", region, endpoint_url="http://127.0.0.1:9324", aws_access_key_id=key_id, aws_secret_access_key=secret, config=config)
