"""SQS as a fuzzer speaks it: every action of the table as JSON and as a form, signed and not, in HTTP that is mostly right; and the other HTTP port."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import typing
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin
from urllib.parse import quote

import msgspec
from fuzz_values import Chance, damaged, number, payload, text
from fuzz_world import Wire, World

from entrepot.protocols.sqs.actions import ACTIONS, Action, Shape

QUEUES = (b"orders", b"returns", b"events", b"fuzz.fifo", b"new", b"dead")
ACCOUNT = "000000000000"
ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:"
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "DelaySeconds": ("0", "1", "900", "901", "-1", "x", "00000000000000000001", "²"),
    "MaximumMessageSize": ("1024", "1048576", "1"),
    "MessageRetentionPeriod": ("60", "1209600", "0"),
    "ReceiveMessageWaitTimeSeconds": ("0", "20", "21"),
    "VisibilityTimeout": ("0", "1", "30", "43200", "43201"),
    "FifoQueue": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "KmsMasterKeyId": ("alias/aws/sqs",),
    "SqsManagedSseEnabled": ("true",),
    "RedrivePolicy": (
        json.dumps({"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": 2}),
        json.dumps({"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": "99999999999999999999"}),
        '{"deadLetterTargetArn": [], "maxReceiveCount": {}}',
        "[[[[]]]]",
        "",
    ),
    "RedriveAllowPolicy": (
        '{"redrivePermission": "allowAll"}',
        json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [ARN + "orders"]}),
        '{"redrivePermission": 1}',
        "null",
    ),
    "Policy": (),
    "All": ("",),
    "Nothing": ("1",),
}
_HANDLE = re.compile(rb'(?:"ReceiptHandle":"|<ReceiptHandle>)([^"<]{1,400})')
_TASK = re.compile(rb'(?:"TaskHandle":"|<TaskHandle>)([^"<]{1,400})')
_OFTEN = [
    ACTIONS[name] for name in ("SendMessage", "SendMessage", "SendMessageBatch", "ReceiveMessage", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch")
]
_OFTEN += [ACTIONS[name] for name in ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "CreateQueue")]
_ALL = list(ACTIONS.values())
TEXTS: dict[str, tuple[bytes, ...]] = {
    "QueueName": QUEUES,
    "QueueNamePrefix": (b"", b"o"),
    "MessageDeduplicationId": (b"d1", b"d2", b"d3"),
    "MessageGroupId": (b"g1", b"g2"),
    "Id": (b"1", b"2", b"3", b"4"),
    "DataType": (b"String", b"Number", b"Binary", b"String.x", b"Number.int"),
    "StringValue": (b"1", b"text", b"-1.5e10", b"1" * 40),
    "Label": (b"label",),
    "AWSAccountIds": (ACCOUNT.encode(), b"123456789012"),
    "Actions": (b"*", b"SendMessage", b"ReceiveMessage"),
    "QueueOwnerAWSAccountId": (ACCOUNT.encode(),),
    "TagKeys": (b"k",),
    "NextToken": (b"", b"AAAA"),
    "ReceiveRequestAttemptId": (b"r1",),
    "AttributeNames": tuple(name.encode() for name in ATTRIBUTES),
    "MessageSystemAttributeNames": (b"All", b"SenderId", b"SentTimestamp", b"ApproximateReceiveCount"),
    "MessageAttributeNames": (b"All", b".*", b"a", b"a.*", b"*"),
    "SourceArn": tuple((ARN + name).encode() for name in ("dead", "orders")),
    "DestinationArn": tuple((ARN + name).encode() for name in ("orders", "returns")),
}
_SMALL = {"MaxNumberOfMessages": 11, "VisibilityTimeout": 30, "WaitTimeSeconds": 3, "DelaySeconds": 3, "MaxResults": 11, "MaxNumberOfMessagesPerSecond": 501}


class Slot(typing.NamedTuple):
    """A field of a structure: its name, what the Query protocol calls it and its keys, and its type without None."""

    name: str
    query: str
    key: str
    kind: Any


@cache
def slots(shape: type[Shape]) -> tuple[Slot, ...]:
    """The fields of a structure."""
    hints = typing.get_type_hints(shape, include_extras=True)
    found = []
    for name in shape.__struct_fields__:
        hint = hints[name]
        extra: dict[str, Any] = {}
        while get_origin(hint) in (typing.Annotated, UnionType, typing.Union):
            parts = get_args(hint)
            for part in parts[1:]:
                if isinstance(part, msgspec.Meta):
                    extra |= part.extra or {}
            hint = next(part for part in parts if part is not type(None))
        found.append(Slot(name, extra.get("query", name), extra.get("key", "Name"), hint))
    return tuple(found)


def policy(chance: Chance) -> str:
    """A queue's policy, of which anything may be something else."""
    pick = chance.choice
    statement: dict[str, Any] = {
        "Effect": pick(("Allow", "Allow", "Deny", "allow", 1)),
        "Principal": pick(("*", {"AWS": "*"}, {"AWS": [ACCOUNT]}, {"AWS": 1}, {"Service": "x"}, [], None)),
        pick(("Action", "NotAction", "Actions")): pick(("sqs:*", ["sqs:SendMessage"], "SQS:*", "", 1, None)),
        pick(("Resource", "NotResource")): pick(("*", ARN + "orders", [ARN + "*"], 7)),
    }
    if chance.random() < 0.5:
        operator = pick(
            (
                "StringLike",
                "StringEquals",
                "IpAddress",
                "NotIpAddress",
                "ArnLike",
                "Bool",
                "DateLessThan",
                "NumericEquals",
                "Null",
                "ForAllValues:StringLike",
                "x",
            )
        )
        key = pick(("aws:SourceIp", "aws:UserAgent", "aws:SecureTransport", "aws:username", "x", ""))
        statement["Condition"] = {operator: {key: pick(("*", "10.0.0.0/8", "999.1.1.1/99", ["a*b?c", "*a*a*b"], "true", "2026", {}, 3, None))}}
    document: Any = {"Version": pick(("2012-10-17", "2008-10-17", 1)), "Statement": pick(([statement], statement, [statement] * 3, [], "x"))}
    if chance.random() < 0.05:
        statement[pick(("Sid", "Extra"))] = pick(("s", [], {}))
    return json.dumps(document)


class SqsTalk:
    """One client over one connection, with requests one behind the other."""

    listeners = ("sqs", "sqs", "sqss")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance
        self._world = world
        self._has_users = has_users
        self._handles: list[str] = ["AAAA"]
        self._tasks: list[str] = ["AAAA"]
        self._first = True

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        self._first = self._first or self._chance.random() < 0.3

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._handles = [one.decode("latin-1") for one in _HANDLE.findall(data)[:10]] or self._handles
        self._tasks = [one.decode("latin-1") for one in _TASK.findall(data)[:3]] or self._tasks

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    # ---- inputs of actions

    def _text(self, name: str) -> str:
        chance = self._chance
        if name == "QueueUrl":
            host = chance.choice(("http://127.0.0.1:9324", "http://localhost:9324", "https://sqs.us-east-1.amazonaws.com", ""))
            return f"{host}/{ACCOUNT}/{text(chance, QUEUES, 0.01).decode('latin-1')}"
        if name == "ReceiptHandle":
            handle = chance.choice(self._handles)
            return damaged(chance, handle.encode()).decode("latin-1") if chance.random() < 0.05 else handle
        if name == "TaskHandle":
            return chance.choice(self._tasks)
        if name == "MessageBody":
            return payload(chance).decode("latin-1")
        return text(chance, TEXTS.get(name, (b"v",)), 0.01).decode("utf-8", "replace")

    def _attribute(self) -> tuple[str, str]:
        chance = self._chance
        name = chance.choice(list(ATTRIBUTES))
        if name == "Policy":
            return name, policy(chance) if chance.random() < 0.9 else damaged(chance, policy(chance).encode()).decode("latin-1")
        return name, chance.choice(ATTRIBUTES[name])

    def _value(self, name: str, kind: Any, wrong: float) -> Any:
        chance = self._chance
        if chance.random() < wrong:
            return chance.choice((None, True, 1, -1, 1e300, "", "x", [], {}, [[]], {"": {}}, 1 << 70))
        if isinstance(kind, type) and issubclass(kind, Shape):
            return self.values(kind, 0.6, wrong)
        origin = get_origin(kind)
        if origin is list:
            inner = _bare(get_args(kind)[0])
            count = chance.choice((0, 1, 1, 2, 3, 10)) if chance.random() < 0.98 else chance.choice((11, 200))
            values = [self._value(name, inner, wrong) for _ in range(count or chance.randrange(2))]
            if name == "Entries" and chance.random() < 0.95:
                for index, one in enumerate(values):
                    if isinstance(one, dict) and "Id" in one:
                        one["Id"] = str(index)
            return values
        if origin is dict:
            inner = _bare(get_args(kind)[1])
            if inner is str:
                if name == "Attributes":
                    return dict(self._attribute() for _ in range(chance.choice((0, 0, 1, 1, 2))))
                return {self._text("Tag"): self._text("Tag")}
            return {self._text("AttributeName"): self._value(name, inner, wrong) for _ in range(chance.choice((0, 1, 2)))}
        if kind is bytes:
            return base64.b64encode(chance.randbytes(chance.randrange(5))).decode()
        if kind is str:
            return self._text(name)
        return chance.randrange(_SMALL.get(name, 10)) if chance.random() < 0.95 else number(chance, 40, True)

    def values(self, shape: type[Shape], likely: float, wrong: float, required: tuple[str, ...] = ()) -> dict[str, Any]:
        """The fields of a structure: those required, and each other one with that likelihood."""
        chance = self._chance
        usual = {"QueueName", "Id", "MessageBody", "ReceiptHandle", "DataType", "StringValue", *required}
        out = {}
        for slot in slots(shape):
            if (slot.name in usual and chance.random() < 0.99) or (slot.name not in usual and chance.random() < likely):
                out[slot.name] = self._value(slot.name, slot.kind, wrong)
        return out

    # ---- requests

    def json_request(self, action: Action, values: dict[str, Any]) -> bytes:
        """The AWS JSON protocol."""
        chance = self._chance
        body = json.dumps(values, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")
        way = chance.random()
        if way < 0.01:
            body = damaged(chance, body)
        elif way < 0.012:
            body = b"[" * chance.choice((10, 5000)) + body
        elif way < 0.014:
            body = body[:-1] + b',"QueueUrl":1e999999}'
        name = action.name.encode() if chance.random() < 0.99 else text(chance, (b"Nothing",), 0.5).replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
        return self._http(b"POST", b"/", body, [(b"X-Amz-Target", b"AmazonSQS." + name), (b"Content-Type", b"application/x-amz-json-1.0")])

    def query_request(self, action: Action, values: dict[str, Any]) -> bytes:
        """The Query protocol, in a form or in the target."""
        chance = self._chance
        pairs: list[tuple[str, Any]] = [("Action", action.name), ("Version", "2012-11-05")]
        _flatten(pairs, "", values, action.request)
        if chance.random() < 0.02:
            pairs.append((f"Attribute.{number(chance, 40)}.Name", "x"))
            pairs.append((".".join(["Entries", "1"] * chance.choice((1, 200))), "x"))
        form = "&".join(f"{quote(name)}={quote(str(value), errors='replace')}" for name, value in pairs).encode()
        if chance.random() < 0.02:
            form = damaged(chance, form)
        if chance.random() < 0.1 and len(form) < 2000:
            target = bytes(octet for octet in form if 32 < octet < 127)
            return self._http(b"GET", b"/?" + target, b"", [])
        return self._http(b"POST", chance.choice((b"/", b"/000000000000/orders")), form, [(b"Content-Type", b"application/x-www-form-urlencoded")])

    def _http(self, method: bytes, target: bytes, body: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
        chance = self._chance
        host = chance.choice((b"127.0.0.1:9324", b"localhost:9324")) if chance.random() < 0.98 else text(chance, (b"evil.example", b""), 0.3)
        headers = [(b"Host", _plain(host)), *headers]
        if self._has_users and chance.random() < 0.9:
            headers += self._signature(method, target, body, headers)
        elif chance.random() < 0.5:
            headers.append(
                (
                    b"Authorization",
                    b"AWS4-HMAC-SHA256 Credential=" + _plain(text(chance, (b"test", b"123456789012", b"AKID"), 0.1)) + b"/20260101/us-east-1/sqs/aws4_request",
                )
            )
        way = chance.random()
        if way < 0.01:
            headers.append((b"Origin", b"http://evil.example" if way < 0.005 else b"http://localhost:3000"))
        elif way < 0.02:
            headers.append((b"Expect", b"100-continue"))
        elif way < 0.022:
            headers.append((b"Connection", chance.choice((b"close", b"upgrade", b"keep-alive"))))
        elif way < 0.024:
            headers += [(b"X-%d" % index, b"v") for index in range(chance.choice((10, 255, 300)))]
        elif way < 0.025:
            headers.append((b"X-Long", b"v" * chance.choice((1000, 60_000, 70_000))))
        elif way < 0.035:
            headers.append((b"Accept", b"application/json"))
        elif way < 0.045:
            headers.append((b"X-Amzn-Trace-Id", b"Root=1-5759e988-bd862e3fe1be46a994272793" if way < 0.043 else b"\xff\x80"))
        elif way < 0.05:
            method = b"OPTIONS"
            headers += [(b"Origin", b"http://localhost:3000"), (b"Access-Control-Request-Method", b"POST"), (b"Access-Control-Request-Headers", b"a,b")]
        chunked = chance.random() < 0.05
        if chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
            body = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 1000]), body[at : at + 1000]) for at in range(0, len(body), 1000)) + b"0\r\n\r\n"
        else:
            size = len(body) if chance.random() < 0.998 else number(chance, 64)
            headers.append((b"Content-Length", b"%d" % size))
        head = method + b" " + target + b" HTTP/1.1\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"
        if chance.random() < 0.003:
            head = damaged(chance, head)
        return head + body

    def _signature(self, method: bytes, target: bytes, body: bytes, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Signature Version 4 of the request."""
        if self._world is None:
            return []
        key_id, secret = self._world.access_key
        stamp = datetime.fromtimestamp(self._world.clock.wall_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        path, _, query = target.decode("latin-1").partition("?")
        pairs = sorted(one.partition("=")[::2] for one in query.split("&") if one)
        wanted = "&".join(f"{name}={value}" for name, value in pairs)
        signed = f"host:{headers[0][1].decode('latin-1').strip()}\nx-amz-date:{stamp}\n"
        canonical = f"{method.decode()}\n{path}\n{wanted}\n{signed}\nhost;x-amz-date\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/us-east-1/sqs/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode('latin-1')).hexdigest()}"
        key = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        text_ = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        if self._chance.random() < 0.02:
            text_ = damaged(self._chance, text_.encode()).decode("latin-1").replace("\r", "").replace("\n", "")
        return [(b"X-Amz-Date", stamp.encode()), (b"Authorization", _plain(text_.encode("latin-1")))]

    def next_frames(self) -> list[bytes]:
        """What it sends now: one request or a few."""
        chance = self._chance
        if self._first:
            self._first = False
            out = []
            for name in (b"dead", b"orders", b"returns", b"fuzz.fifo"):
                attributes = {"FifoQueue": "true"} if name.endswith(b".fifo") else {}
                out.append(self.json_request(ACTIONS["CreateQueue"], {"QueueName": name.decode(), "Attributes": attributes}))
            return out
        if chance.random() < 0.002:
            return [chance.randbytes(chance.choice((1, 100, 5000)))]
        out = []
        for _ in range(chance.choice((1, 1, 1, 1, 2, 5))):
            action = chance.choice(_OFTEN if chance.random() < 0.75 else _ALL)
            values = self.values(action.request, 0.3, 0.02 if chance.random() < 0.2 else 0.0, action.required)
            out.append(self.json_request(action, values) if chance.random() < 0.6 else self.query_request(action, values))
        return out


def _bare(hint: Any) -> Any:
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    return hint


def _plain(value: bytes) -> bytes:
    return bytes(octet for octet in value if 32 <= octet < 127)


def _flatten(pairs: list[tuple[str, Any]], prefix: str, values: Any, shape: Any) -> None:
    for slot in slots(shape):
        value = values.get(slot.name) if isinstance(values, dict) else None
        if value is None:
            continue
        name = prefix + slot.query
        origin = get_origin(slot.kind)
        if origin is list and isinstance(value, list):
            inner = _bare(get_args(slot.kind)[0])
            for index, one in enumerate(value, 1):
                if isinstance(inner, type) and issubclass(inner, Shape):
                    _flatten(pairs, f"{name}.{index}.", one, inner)
                else:
                    pairs.append((f"{name}.{index}", one))
        elif origin is dict and isinstance(value, dict):
            inner = _bare(get_args(slot.kind)[1])
            for index, (key, one) in enumerate(value.items(), 1):
                pairs.append((f"{name}.{index}.{slot.key}", key))
                if isinstance(inner, type) and issubclass(inner, Shape):
                    _flatten(pairs, f"{name}.{index}.Value.", one, inner)
                else:
                    pairs.append((f"{name}.{index}.Value", one))
        else:
            pairs.append((name, value))


class HttpTalk:
    """A client of the port for health and metrics."""

    listeners = ("http",)

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""

    def data_received(self, data: bytes) -> None:
        """See asyncio."""

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    def next_frames(self) -> list[bytes]:
        """One request."""
        chance = self._chance
        method = chance.choice((b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"PRI"))
        target = chance.choice((b"/", b"/healthz", b"/readyz?x=1", b"/nothing", b"*", b"http://x/healthz", b"//", b"/%00"))
        size = chance.choice((0, 0, 3, 70_000))
        lines = [method + b" " + target + b" HTTP/1." + chance.choice((b"1", b"1", b"0")), b"Host: 127.0.0.1:8080"]
        if size or chance.random() < 0.3:
            lines.append(b"Content-Length: %d" % (size if chance.random() < 0.98 else number(chance, 64)))
        elif chance.random() < 0.1:
            lines.append(b"Transfer-Encoding: chunked")
        if chance.random() < 0.05:
            lines.append(chance.choice((b"X: " + b"y" * 70_000, b"Connection: close", b"Upgrade: h2c", b" folded", b"Expect: 100-continue", b"Host: two")))
        request = b"\r\n".join(lines) + b"\r\n\r\n" + bytes(size)
        return [damaged(chance, request) if chance.random() < 0.1 else request]
