"""The method table of AMQP 0-9-1 with RabbitMQ's extensions, and the coder built from it.

One line a method: class and method id, name, arguments in wire order as name:type, what answers it, who sends it. A minus sign marks
an argument that nobody reads any more (sent as zero). Types are the specification's domains (4.2.5): octet, short, long, longlong
unsigned; bit, neighbours packed into octets from the lowest bit; shortstr, longstr, table; and `name`, a shortstr that RabbitMQ takes CR and LF
out of (names of exchanges and queues, where they are declared, bound or deleted). Names are the specification's, with `_`
for `-` and RabbitMQ's for its own.

decode() and encode() are interpreted: publishes, acknowledgements and deliveries do not pass here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entrepot.protocols.amqp091.fields import DEFAULT_LIMITS, TableLimits, decode_table, encode_table
from entrepot.protocols.amqp091.reply_codes import AmqpError


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its name, its type, and whether it is a leftover."""

    name: str
    type: str
    reserved: bool


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the table. `replies` are the names of what may answer it; a method with any is synchronous."""

    class_id: int
    method_id: int
    name: str
    arguments: tuple[Argument, ...]
    replies: tuple[str, ...]
    from_client: bool
    from_server: bool
    content: bool

    @property
    def number(self) -> int:
        """class id << 16 | method id, as codec.Control.method."""
        return self.class_id << 16 | self.method_id

    @property
    def synchronous(self) -> bool:
        """Whether the sender waits for an answer (unless its no-wait bit is set)."""
        return bool(self.replies)


@dataclass(frozen=True, slots=True)
class MethodFrame:
    """A decoded method: its line of the table, and its arguments by name, reserved ones left out."""

    method: Method
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]


def _m(class_id: int, method_id: int, name: str, arguments: str = "", replies: str = "", sender: str = "client", content: bool = False) -> Method:
    parsed = []
    for text in arguments.split():
        argument, type_ = text.split(":")
        parsed.append(Argument(argument.lstrip("-"), type_, argument.startswith("-")))
    return Method(class_id, method_id, name, tuple(parsed), tuple(replies.split()), sender != "server", sender != "client", content)


_CLOSE = "reply_code:short reply_text:shortstr class_id:short method_id:short"
_BINDING = "destination:name source:name routing_key:shortstr nowait:bit arguments:table"
_QUEUE_BINDING = "queue:name exchange:name routing_key:shortstr"

TABLE: tuple[Method, ...] = (
    _m(
        10,
        10,
        "connection.start",
        "version_major:octet version_minor:octet server_properties:table mechanisms:longstr locales:longstr",
        "connection.start_ok",
        "server",
    ),
    _m(10, 11, "connection.start_ok", "client_properties:table mechanism:shortstr response:longstr locale:shortstr"),
    _m(10, 20, "connection.secure", "challenge:longstr", "connection.secure_ok", "server"),
    _m(10, 21, "connection.secure_ok", "response:longstr"),
    _m(10, 30, "connection.tune", "channel_max:short frame_max:long heartbeat:short", "connection.tune_ok", "server"),
    _m(10, 31, "connection.tune_ok", "channel_max:short frame_max:long heartbeat:short"),
    _m(10, 40, "connection.open", "virtual_host:shortstr -capabilities:shortstr -insist:bit", "connection.open_ok"),
    _m(10, 41, "connection.open_ok", "-known_hosts:shortstr", sender="server"),
    _m(10, 50, "connection.close", _CLOSE, "connection.close_ok", "both"),
    _m(10, 51, "connection.close_ok", sender="both"),
    _m(10, 60, "connection.blocked", "reason:shortstr", sender="server"),
    _m(10, 61, "connection.unblocked", sender="server"),
    _m(10, 70, "connection.update_secret", "new_secret:longstr reason:shortstr", "connection.update_secret_ok"),
    _m(10, 71, "connection.update_secret_ok", sender="server"),
    _m(20, 10, "channel.open", "-out_of_band:shortstr", "channel.open_ok"),
    _m(20, 11, "channel.open_ok", "-channel_id:longstr", sender="server"),
    _m(20, 20, "channel.flow", "active:bit", "channel.flow_ok", "both"),
    _m(20, 21, "channel.flow_ok", "active:bit", sender="both"),
    _m(20, 40, "channel.close", _CLOSE, "channel.close_ok", "both"),
    _m(20, 41, "channel.close_ok", sender="both"),
    _m(30, 10, "access.request", "realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit", "access.request_ok"),
    _m(30, 11, "access.request_ok", "ticket:short", sender="server"),
    _m(
        40,
        10,
        "exchange.declare",
        "-ticket:short exchange:name type:shortstr passive:bit durable:bit auto_delete:bit internal:bit nowait:bit arguments:table",
        "exchange.declare_ok",
    ),
    _m(40, 11, "exchange.declare_ok", sender="server"),
    _m(40, 20, "exchange.delete", "-ticket:short exchange:name if_unused:bit nowait:bit", "exchange.delete_ok"),
    _m(40, 21, "exchange.delete_ok", sender="server"),
    _m(40, 30, "exchange.bind", "-ticket:short " + _BINDING, "exchange.bind_ok"),
    _m(40, 31, "exchange.bind_ok", sender="server"),
    _m(40, 40, "exchange.unbind", "-ticket:short " + _BINDING, "exchange.unbind_ok"),
    _m(40, 51, "exchange.unbind_ok", sender="server"),
    _m(
        50,
        10,
        "queue.declare",
        "-ticket:short queue:name passive:bit durable:bit exclusive:bit auto_delete:bit nowait:bit arguments:table",
        "queue.declare_ok",
    ),
    _m(50, 11, "queue.declare_ok", "queue:shortstr message_count:long consumer_count:long", sender="server"),
    _m(50, 20, "queue.bind", "-ticket:short " + _QUEUE_BINDING + " nowait:bit arguments:table", "queue.bind_ok"),
    _m(50, 21, "queue.bind_ok", sender="server"),
    _m(50, 30, "queue.purge", "-ticket:short queue:shortstr nowait:bit", "queue.purge_ok"),
    _m(50, 31, "queue.purge_ok", "message_count:long", sender="server"),
    _m(50, 40, "queue.delete", "-ticket:short queue:name if_unused:bit if_empty:bit nowait:bit", "queue.delete_ok"),
    _m(50, 41, "queue.delete_ok", "message_count:long", sender="server"),
    _m(50, 50, "queue.unbind", "-ticket:short " + _QUEUE_BINDING + " arguments:table", "queue.unbind_ok"),
    _m(50, 51, "queue.unbind_ok", sender="server"),
    _m(60, 10, "basic.qos", "prefetch_size:long prefetch_count:short global_qos:bit", "basic.qos_ok"),
    _m(60, 11, "basic.qos_ok", sender="server"),
    _m(
        60,
        20,
        "basic.consume",
        "-ticket:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit exclusive:bit nowait:bit arguments:table",
        "basic.consume_ok",
    ),
    _m(60, 21, "basic.consume_ok", "consumer_tag:shortstr", sender="server"),
    _m(60, 30, "basic.cancel", "consumer_tag:shortstr nowait:bit", "basic.cancel_ok", "both"),  # from the server: consumer_cancel_notify
    _m(60, 31, "basic.cancel_ok", "consumer_tag:shortstr", sender="both"),
    _m(60, 40, "basic.publish", "-ticket:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit", content=True),
    _m(60, 50, "basic.return", "reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortstr", sender="server", content=True),
    _m(
        60,
        60,
        "basic.deliver",
        "consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr",
        sender="server",
        content=True,
    ),
    _m(60, 70, "basic.get", "-ticket:short queue:shortstr no_ack:bit", "basic.get_ok basic.get_empty"),
    _m(
        60,
        71,
        "basic.get_ok",
        "delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr message_count:long",
        sender="server",
        content=True,
    ),
    _m(60, 72, "basic.get_empty", "-cluster_id:shortstr", sender="server"),
    _m(60, 80, "basic.ack", "delivery_tag:longlong multiple:bit", sender="both"),
    _m(60, 90, "basic.reject", "delivery_tag:longlong requeue:bit"),
    _m(60, 100, "basic.recover_async", "requeue:bit"),
    _m(60, 110, "basic.recover", "requeue:bit", "basic.recover_ok"),
    _m(60, 111, "basic.recover_ok", sender="server"),
    _m(60, 120, "basic.nack", "delivery_tag:longlong multiple:bit requeue:bit", sender="both"),
    _m(85, 10, "confirm.select", "nowait:bit", "confirm.select_ok"),
    _m(85, 11, "confirm.select_ok", sender="server"),
    _m(90, 10, "tx.select", "", "tx.select_ok"),
    _m(90, 11, "tx.select_ok", sender="server"),
    _m(90, 20, "tx.commit", "", "tx.commit_ok"),
    _m(90, 21, "tx.commit_ok", sender="server"),
    _m(90, 30, "tx.rollback", "", "tx.rollback_ok"),
    _m(90, 31, "tx.rollback_ok", sender="server"),
)

BY_NUMBER = {method.number: method for method in TABLE}
BY_NAME = {method.name: method for method in TABLE}

_SIZES = {"octet": 1, "short": 2, "long": 4, "longlong": 8}


def decode(payload: bytes, limits: TableLimits = DEFAULT_LIMITS) -> MethodFrame:
    """The method whose whole frame payload this is, as codec.Control carries it.

    Strings are str (a longstr that is not UTF-8 stays bytes). Raises AmqpError: 540 for a method that is not in the table, 501 (as
    RabbitMQ) where the arguments do not fill the payload exactly, a short string is not UTF-8, or a table is malformed or over its limits.
    """
    number = int.from_bytes(payload[:4], "big")
    method = BY_NUMBER.get(number) if len(payload) >= 4 else None
    if method is None:
        raise AmqpError(540, f"unknown method {number >> 16}.{number & 0xFFFF}", number >> 16, number & 0xFFFF)
    try:
        return MethodFrame(method, _arguments(method, payload, limits))
    except AmqpError as error:
        error.class_id = method.class_id
        error.method_id = method.method_id
        raise


def _arguments(method: Method, payload: bytes, limits: TableLimits) -> dict[str, Any]:
    values: dict[str, Any] = {}
    pos = 4
    end = len(payload)
    bit = 0
    for argument in method.arguments:
        value: Any
        if argument.type == "bit":
            if bit == 0:
                _need(method, argument, 1, pos, end)
                pos += 1
            value = bool(payload[pos - 1] >> bit & 1)
            bit = (bit + 1) & 7
        else:
            bit = 0
            if argument.type == "table":
                value, pos = decode_table(payload, pos, limits)
            elif argument.type in _SIZES:
                size = _SIZES[argument.type]
                _need(method, argument, size, pos, end)
                value = int.from_bytes(payload[pos : pos + size], "big")
                pos += size
            else:
                value, pos = _string(method, argument, payload, pos, end)
        if not argument.reserved:
            values[argument.name] = value
    if pos != end:
        raise AmqpError(501, f"{method.name} with {end - pos} bytes after its arguments")
    return values


def _string(method: Method, argument: Argument, payload: bytes, pos: int, end: int) -> tuple[str | bytes, int]:
    width = 4 if argument.type == "longstr" else 1
    _need(method, argument, width, pos, end)
    size = int.from_bytes(payload[pos : pos + width], "big")
    pos += width
    _need(method, argument, size, pos, end)
    raw = payload[pos : pos + size]
    if argument.type == "name":
        raw = raw.translate(None, b"\r\n")
    try:
        return raw.decode(), pos + size
    except UnicodeDecodeError:
        if width == 1:
            raise AmqpError(501, f"{argument.name} of {method.name} is not UTF-8") from None
        return raw, pos + size


def _need(method: Method, argument: Argument, size: int, pos: int, end: int) -> None:
    if size > end - pos:
        raise AmqpError(501, f"{method.name} ends inside {argument.name}")


def encode(name: str, /, **arguments: Any) -> bytes:
    """The frame payload of a method. Every argument that is not reserved is given by name, and no other.

    Raises TypeError for a missing or unknown argument and ValueError for one that does not fit its type: both are the caller's bugs, so
    text and tables that came from a peer are cut or checked before.
    """
    method = BY_NAME[name]
    unknown = arguments.keys() - {argument.name for argument in method.arguments}
    if unknown:
        raise TypeError(f"{name} has no argument {', '.join(sorted(unknown))}")
    parts = [method.number.to_bytes(4, "big")]
    bits: list[bool] = []
    for argument in method.arguments:
        if argument.name not in arguments and not argument.reserved:
            raise TypeError(f"{name} needs {argument.name}")
        if argument.type == "bit":
            bits.append(bool(arguments.get(argument.name, False)))
            continue
        parts.append(_octets(bits))
        bits = []
        parts.append(_encoded(argument, arguments.get(argument.name)))
    parts.append(_octets(bits))
    return b"".join(parts)


def encode_frame(channel: int, name: str, /, **arguments: Any) -> bytes:
    """encode() as a whole method frame on `channel`."""
    payload = encode(name, **arguments)
    return b"".join((b"\x01", channel.to_bytes(2, "big"), len(payload).to_bytes(4, "big"), payload, b"\xce"))


def _octets(bits: list[bool]) -> bytes:
    number = sum(1 << index for index, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _encoded(argument: Argument, value: Any) -> bytes:
    if argument.type == "table":
        return encode_table(value or {})
    if argument.type in _SIZES:
        size = _SIZES[argument.type]
        number = value or 0
        if not 0 <= number < 1 << 8 * size:
            raise ValueError(f"{argument.name} is {number}; it holds {size} bytes, unsigned")
        return int(number).to_bytes(size, "big")
    raw = value.encode() if isinstance(value, str) else bytes(value or b"")
    if argument.type == "longstr":
        return len(raw).to_bytes(4, "big") + raw
    if len(raw) > 255:
        raise ValueError(f"{argument.name} has {len(raw)} bytes; a short string holds 255")
    return bytes((len(raw),)) + raw
