"""What the decoder makes of the packets that a client sends; codec.py says when each comes."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.protocols.mqtt.properties import NONE, Properties


class PublishRun:
    """`count` PUBLISHes one after another, of one topic, QoS and RETAIN.

    `data` is packed records, one after another (packing.py). `packet_ids`: u16 big-endian each, where qos > 0. `body_bytes` sums the payloads;
    `expires`: some record has an expiry. At most RUN_MAX_COUNT of them and, unless it is a single one, RUN_MAX_BYTES of data.
    DUP is not told: a repeated packet is known by its id (4.3.3), and of QoS 1 it may be a new one all the same (3.3.1.1).
    """

    def __init__(self, topic: bytes, qos: int, retain: bool, data: bytes, count: int, packet_ids: bytes, body_bytes: int, expires: bool) -> None:
        self.topic = topic
        self.qos = qos
        self.retain = retain
        self.data = data
        self.count = count
        self.packet_ids = packet_ids
        self.body_bytes = body_bytes
        self.expires = expires


class AckRun:
    """PUBACKs, PUBRECs, PUBRELs or PUBCOMPs (`kind`, their packet type) one after another with one reason code.

    `packet_ids`: u16 big-endian each. Where they are `first`, `first` + 1 and so on, `ascending` says so; a single one is.
    """

    def __init__(self, kind: int, reason_code: int, packet_ids: bytes, count: int, first: int, ascending: bool) -> None:
        self.kind = kind
        self.reason_code = reason_code
        self.packet_ids = packet_ids
        self.count = count
        self.first = first
        self.ascending = ascending


class Pings:
    """`count` PINGREQs one after another; one PINGRESP for each."""

    def __init__(self, count: int) -> None:
        self.count = count


@dataclass(slots=True)
class Will:
    """What is to be published when the connection ends. `record` is packed as those of PublishRun, `body_bytes` of them its payload."""

    topic: bytes
    qos: int
    retain: bool
    record: bytes
    body_bytes: int
    delay_s: int = 0
    expires: bool = False


@dataclass(slots=True)
class Connect:
    """CONNECT. Nothing more is decoded, but for AUTH and DISCONNECT, until Decoder.accept().

    `clean_start` is also 3.1.1's clean session, which ends with the connection besides.
    """

    version: int
    client_id: str
    clean_start: bool
    keep_alive_s: int
    will: Will | None
    user_name: str | None
    password: bytes | None
    properties: Properties = NONE


@dataclass(slots=True)
class Subscription:
    """A filter of SUBSCRIBE and its options (3.8.3.1); in 3.1 and 3.1.1 only the QoS is said."""

    filter: bytes
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    """SUBSCRIBE; at least one subscription. `identifier` 0: none. Filters are UTF-8, and otherwise as they came: topics.py says what is one."""

    packet_id: int
    subscriptions: list[Subscription]
    identifier: int = 0
    properties: Properties = NONE


@dataclass(slots=True)
class Unsubscribe:
    """UNSUBSCRIBE; at least one filter, as Subscribe has them."""

    packet_id: int
    filters: list[bytes]
    properties: Properties = NONE


@dataclass(slots=True)
class Disconnect:
    """DISCONNECT: the connection ends. What comes behind it is not decoded."""

    reason_code: int = 0
    properties: Properties = NONE


@dataclass(slots=True)
class Auth:
    """AUTH of version 5."""

    reason_code: int
    properties: Properties
