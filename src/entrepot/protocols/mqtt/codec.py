"""Bytes off an MQTT connection become events: runs of publishes and of acknowledgements, single packets.

A packet is u8 type and flags, a variable byte integer of how many bytes follow, and those (2.1). Decoder.feed() returns a list of

    Connect          the first packet; then nothing but AUTH and DISCONNECT is decoded until accept() is called
    PublishRun       consecutive PUBLISHes of one topic, QoS and RETAIN; topic aliases are resolved, and are not in what is packed
    AckRun           consecutive PUBACKs, or PUBRECs, PUBRELs, PUBCOMPs, of one reason code
    Pings            consecutive PINGREQs
    Subscribe, Unsubscribe, Auth
    Disconnect       the last one: what comes behind it is left where it is
    MqttError        only as the last event: the peer broke the protocol; everything before it holds, and feed() raises it from now on

Any split of the input gives the same events, but for where runs end. At most STEPS_MAX events come of one feed(); where `more` is True then, feed(0) goes on.

Rules kept here: what a client may not send, or not now, reserved flags, sizes that lie, strings that are no UTF-8, topic names with wildcards, packet
identifiers of 0, properties that are unknown, misplaced or repeated, aliases that are unknown or too high (reason 0x94), packets over their limit (0x95).
"""

from __future__ import annotations

import cython

from entrepot.net.receive_buffer import BUFFER_MAX_BYTES, ReceiveBuffer
from entrepot.protocols.mqtt import requests
from entrepot.protocols.mqtt.events import AckRun, Connect, Disconnect, Pings, PublishRun
from entrepot.protocols.mqtt.packets import MQTT_5, MQTT_31, PACKETS, VARIABLE_MAX
from entrepot.protocols.mqtt.packing import EXPIRES, RETAIN
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.publish_properties import PublishProperties
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode, broken_rule, malformed
from entrepot.protocols.mqtt.topics import check_name

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u16_be_ba, put_u16_be, put_u32_be, same_ba, take_ba

RUN_MAX_COUNT = 1024
RUN_MAX_BYTES = 64 * 1024
STEPS_MAX = 1024
STRANGER_MAX_BYTES = 64 * 1024
CONTROL_MAX_BYTES = 256 * 1024

_RUN_COUNT = RUN_MAX_COUNT
_RUN_BYTES = RUN_MAX_BYTES
_STEPS = STEPS_MAX
_BUFFER_MAX = BUFFER_MAX_BYTES
_QUIET_READS = 128
_V31, _V5 = MQTT_31, MQTT_5
_RETAIN, _EXPIRES = RETAIN, EXPIRES
_NAMES, _NAME_SIZE = 64, 255  # how many topics, and how long, are remembered
_TOPIC_BYTES = 256  # of a long topic a run has as many messages fewer as it is longer than these: each may be written with it
_TOO_LARGE = int(ReasonCode.PACKET_TOO_LARGE)
_CONNECT, _PUBLISH, _PUBACK, _PUBCOMP, _SUBSCRIBE, _UNSUBSCRIBE, _PINGREQ, _DISCONNECT, _AUTH = 1, 3, 4, 7, 8, 10, 12, 14, 15

# What a client sends: by type, its flags, -1 where they say something and -2 where it sends no such packet; and flags that 3.1 does not look at.
_FLAGS = [-2] * 16
_IGNORED_31 = [0] * 16
for _packet in PACKETS:
    if _packet.by_client:
        _FLAGS[_packet.type] = _packet.flags
        _IGNORED_31[_packet.type] = _packet.flags_ignored_31

# How far the connection is.
_GREETING, _AUTHENTICATING, _ACCEPTED, _ENDED = 0, 1, 2, 3

# What is open at the end of what was decoded so far: a run that the next packet may still extend.
_NOTHING, _RUN, _ACKS, _PINGS = 0, 1, 2, 3


class Decoder(ReceiveBuffer):
    """Of one connection; fill writable() and say feed(count), or push(bytes).

    Limits: `packet_max` (bytes of a whole PUBLISH; a stranger's packets have `stranger_max` until accept()), `control_max` (of any other packet).
    `version` is that of CONNECT, 0 before; of one that is refused, that in which CONNACK answers, 0 for no answer. `error` is the MqttError that ended
    decoding, if one did. `more`: whole packets may be left.
    """

    def __init__(
        self,
        packet_max: int = VARIABLE_MAX + 5,
        control_max: int = CONTROL_MAX_BYTES,
        stranger_max: int = STRANGER_MAX_BYTES,
    ) -> None:
        super().__init__()
        self.version = 0
        self.more = False
        self.error: MqttError | None = None
        self._state = _GREETING
        self._by_auth = False  # CONNECT named an authentication method
        self._packet_max = min(packet_max, stranger_max)
        self._control_max = min(control_max, stranger_max)
        self._user_packet_max = packet_max
        self._user_control_max = control_max
        self.of_stranger(stranger_max)
        # topic aliases of the peer (3.3.2.3.4)
        self._alias_max = 0
        self._aliases: dict[int, bytes] = {}
        self._names: dict[bytes, bool] = {}  # topics that were found to be right
        # the open run
        self._open = _NOTHING
        self._kind = 0
        self._reason = 0
        self._flags = 0
        self._topic = b""
        self._topic_pos = 0
        self._topic_size = 0
        self._topic_alias = 0
        self._run_count = 0
        self._count = 0
        self._first_id = 0
        self._ascending = False
        self._ids = bytearray()
        self._ids_capacity = 0
        self._body_bytes = 0
        self._expires = False
        self._pack = bytearray()
        self._pack_capacity = 0
        self._packed = 0
        self._list = PublishProperties()
        self._after = 0
        self._feeding = False
        self._overrun = False

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held for buffers."""
        return self._capacity + self._pack_capacity + self._ids_capacity

    def accept(self, limit: int, share: object, topic_alias_maximum: int = 0) -> int:
        """Somebody has logged in: decode what else he sends, in up to `limit` bytes of buffer, counted by `share` (ReceiveBuffer.of_user). Say feed(0) next."""
        self._state = _ACCEPTED
        self._packet_max = self._user_packet_max
        self._control_max = self._user_control_max
        self._alias_max = topic_alias_maximum
        return self.of_user(limit, share)

    def push(self, data: bytes) -> list[object]:
        """feed() for bytes that were read elsewhere; the same events, all there are."""
        events: list[object] = []
        size = len(data)
        pos = 0
        while pos < size and self.error is None:
            self.writable()
            step = min(self._capacity - self._end, size - pos)
            copy(self._buffer, self._end, data, pos, step)
            pos += step
            events.extend(self.feed(step))
            while self.more and self.error is None:
                events.extend(self.feed(0))
        return events

    def feed(self, count: int) -> list[object]:
        """Events of what is complete, after `count` more bytes were written at the front of writable().

        Raises the MqttError that an earlier call returned as its last event.
        """
        if self.error is not None:
            raise self.error
        self.received(count)
        if self._quiet >= _QUIET_READS:
            self._forget_packs()
        events: list[object] = []
        self._feeding = True
        try:
            self._decode(events)
            self._flush(events)
            if self._overrun:
                raise _overrun()
        except MqttError as error:
            self.error = error
            self.more = False
            self._flush(events)
            events.append(error)
            self._aliases.clear()
        finally:
            self._feeding = False
        return events

    def overrun(self) -> MqttError | None:
        """All connections together hold too much of what is unfinished: give back what is held here.

        The error that ends the connection; None where nothing here is unfinished, and where feed() is under way, which says it itself.
        """
        if self._feeding:
            self._overrun = True
            return None
        if self._start == self._end:
            self.release()
            return None
        if self.error is None:
            self.error = _overrun()
        self.drop()
        return self.error

    def front(self) -> bytes:
        """The first octets of what is here and not taken."""
        return bytes(self._buffer[self._start : min(self._end, self._start + 16)])

    def release(self) -> int:
        """Shrink to the least memory; call it when the connection has been idle for a while."""
        self._forget_packs()
        return self.shrink()

    def _forget_packs(self) -> int:
        self._pack = bytearray()
        self._pack_capacity = 0
        self._ids = bytearray()
        self._ids_capacity = 0
        self._names.clear()
        return 0

    def _decode(self, events: list[object]) -> int:
        buffer = self._buffer
        pos = self._start
        end = self._end
        self._list.forget()
        self._topic_size = 0
        self._total = 0
        self.more = False
        while end - pos >= 2 and self._state != _ENDED:
            first = buffer[pos]
            kind = first >> 4
            size = buffer[pos + 1]
            body = pos + 2
            if size >= 128:
                size = self._variable(pos + 1, end)
                body = self._after
                if size < 0:
                    break
            if len(events) >= _STEPS:
                self.more = True
                break
            if not self._is_expected(kind, first & 15):
                break
            if body - pos + size > (self._packet_max if kind == _PUBLISH else self._control_max):
                raise MqttError(_TOO_LARGE, f"packet of {body - pos + size} bytes of type {kind}")
            if size > end - body:
                self._total = body - pos + size
                break
            if kind == _PUBLISH:
                self._publish(events, body, size, first)
            elif kind >= _PUBACK and kind <= _PUBCOMP:
                self._ack(events, kind, body, size)
            elif kind == _PINGREQ:
                self._ping(events, size)
            else:
                self._request(events, kind, body, size)
            pos = body + size
            self._start = pos
        return 0

    def _variable(self, pos: int, end: int) -> int:
        """The variable byte integer at `pos`, with _after set behind it; -1 where it is not whole. MqttError where it is none."""
        buffer = self._buffer
        value = 0
        shift = 0
        while pos < end:
            octet = buffer[pos]
            pos += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                if octet == 0 and shift and self.version == _V5:
                    raise malformed("a variable byte integer has more bytes than it needs")
                self._after = pos
                return value
            shift += 7
            if shift > 21:
                raise malformed("a variable byte integer has more than four bytes")
        return -1

    def _is_expected(self, kind: int, flags: int) -> bool:
        """Whether a packet of that type may come now; False: it has to wait. MqttError where it may not."""
        wanted = _FLAGS[kind]
        if self._state == _GREETING:
            if kind != _CONNECT:
                raise broken_rule(f"the first packet is of type {kind}")
        elif kind == _CONNECT:
            raise broken_rule("a second CONNECT")
        elif self._state == _AUTHENTICATING and kind != _DISCONNECT:
            if not self._by_auth:
                return False
            if kind != _AUTH:
                raise broken_rule(f"a packet of type {kind} amid authentication")
        if wanted == -2 or (kind == _AUTH and not self._by_auth):
            raise broken_rule(f"a packet of type {kind} from a client") if kind else malformed("a packet of type 0")
        if wanted != flags and wanted != -1:
            if self.version == _V31 and not (wanted ^ flags) & ~_IGNORED_31[kind]:
                return True
            raise malformed(f"flags {flags} of a packet of type {kind}")
        return True

    # --- publishes -------------------------------------------------------------------------------------------------------------------

    def _publish(self, events: list[object], body: int, size: int, first: int) -> int:
        buffer = self._buffer
        stop = body + size
        qos = first >> 1 & 3
        if qos == 3:
            raise malformed("PUBLISH of QoS 3")
        if qos == 0 and first & 8 and self.version != _V31:
            raise malformed("PUBLISH of QoS 0 that is a duplicate")
        if size < 2:
            raise malformed(f"PUBLISH of {size} bytes")
        topic_size = get_u16_be_ba(buffer, body)
        at = body + 2 + topic_size
        packet_id = 0
        if qos:
            if stop - at < 2:
                raise malformed("PUBLISH ends in its topic or packet identifier")
            packet_id = get_u16_be_ba(buffer, at)
            if packet_id == 0:
                raise broken_rule("packet identifier 0")
            at += 2
        elif at > stop:
            raise malformed("PUBLISH ends in its topic")
        listed = 0
        properties = self._list
        properties.clear()
        if self.version == _V5:
            listed = self._variable(at, stop)
            if listed < 0 or listed > stop - self._after:
                raise malformed("PUBLISH ends in its properties")
            at = self._after
            if listed:
                properties.check(buffer, at, listed, self._alias_max)
        flags = first >> 1 & 3 | (_RETAIN if first & 1 else 0)
        if self._open != _RUN or flags != self._flags or not self._is_topic(body, topic_size):
            self._flush(events)
            self._open_run(body, topic_size, flags)
        elif self._count >= self._run_count:
            self._emit_run(events)
        if properties.alias >= 0:
            self._aliases[properties.alias] = self._topic
            self._topic_alias = properties.alias
        head = 1 + listed
        if properties.alias_at >= 0:
            head -= 3
        if properties.expiry_at >= 0:
            head -= 1  # its number
            flags |= _EXPIRES
        body_size = stop - at - listed
        need = 8 + head + body_size
        if self._count and self._packed + need > _RUN_BYTES:
            self._emit_run(events)
        if need > self._pack_capacity - self._packed:
            self._grow_pack(need)
        pack = self._pack
        packed = self._packed
        put_u32_be(pack, packed, head)
        put_u32_be(pack, packed + 4, body_size)
        pack[packed + 8] = flags
        packed += 9
        if listed:
            packed = properties.pack(pack, packed, buffer, at, listed)
        copy_ba(pack, packed, buffer, at + listed, body_size)
        self._packed = packed + body_size
        self._body_bytes += body_size
        if flags & _EXPIRES:
            self._expires = True
        if qos:
            self._add_id(packet_id)
        self._count += 1
        return 0

    def _is_topic(self, body: int, topic_size: int) -> bool:
        """Whether the topic at `body`, or the alias that stands for it, is the open run's."""
        if topic_size:
            return topic_size == self._topic_size and same_ba(self._buffer, body, self._topic_pos, topic_size + 2)
        return self._list.alias > 0 and self._list.alias == self._topic_alias

    def _open_run(self, body: int, topic_size: int, flags: int) -> int:
        if topic_size:
            topic = take_ba(self._buffer, body + 2, topic_size)
            if topic not in self._names:
                self._check_name(topic)
            self._topic_alias = 0
        else:
            if self._list.alias < 0:
                raise broken_rule("PUBLISH without topic name and alias") if self.version == _V5 else malformed("an empty topic name")
            known = self._aliases.get(self._list.alias)
            if known is None:
                raise broken_rule(f"topic alias {self._list.alias} has not been said before")
            topic = known
            self._topic_alias = self._list.alias
        self._topic = topic
        self._run_count = max(1, _RUN_COUNT // (1 + len(topic) // _TOPIC_BYTES))
        self._topic_pos = body
        self._topic_size = topic_size
        self._flags = flags
        self._open = _RUN
        return self._reset_run()

    def _check_name(self, topic: bytes) -> int:
        check_name(topic)
        if len(topic) <= _NAME_SIZE:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[topic] = True
        return 0

    def _reset_run(self) -> int:
        self._count = 0
        self._packed = 0
        self._body_bytes = 0
        self._expires = False
        return 0

    def _grow_pack(self, need: int) -> int:
        packed = self._packed
        capacity = max(self._pack_capacity * 2, 1024)
        while capacity - packed < need:
            capacity *= 2
        if capacity > 2 * _RUN_BYTES:
            capacity = packed + need
        pack = bytearray(capacity)
        copy_ba(pack, 0, self._pack, 0, packed)
        self._pack = pack
        self._pack_capacity = capacity
        return 0

    def _add_id(self, packet_id: int) -> int:
        """Note it as that of the next packet of the open run."""
        count = self._count
        if count == 0:
            self._first_id = packet_id
            self._ascending = True
        elif packet_id != self._first_id + count:
            self._ascending = False
        if 2 * count >= self._ids_capacity:
            capacity = max(self._ids_capacity * 2, 64)
            ids = bytearray(capacity)
            copy_ba(ids, 0, self._ids, 0, self._ids_capacity)
            self._ids = ids
            self._ids_capacity = capacity
        return put_u16_be(self._ids, 2 * count, packet_id)

    def _emit_run(self, events: list[object]) -> int:
        if self._count:
            run = PublishRun.__new__(PublishRun)
            run.topic = self._topic
            run.qos = self._flags & 3
            run.retain = self._flags & _RETAIN != 0
            run.data = take_ba(self._pack, 0, self._packed)
            run.count = self._count
            run.packet_ids = take_ba(self._ids, 0, 2 * self._count) if self._flags & 3 else b""
            run.body_bytes = self._body_bytes
            run.expires = self._expires
            events.append(run)
            if self._pack_capacity > 2 * _RUN_BYTES:
                self._pack = bytearray()
                self._pack_capacity = 0
            if self._capacity > self._free and self.share is not None:
                self.share.finished()
        return self._reset_run()

    # --- everything else -------------------------------------------------------------------------------------------------------------

    def _ack(self, events: list[object], kind: int, body: int, size: int) -> int:
        reason = 0
        if size == 2:
            packet_id = get_u16_be_ba(self._buffer, body)
            if packet_id == 0:
                raise broken_rule("packet identifier 0")
        elif size < 2 or self.version != _V5:
            raise malformed(f"acknowledgement of {size} bytes")
        else:
            packet_id, reason = requests.read_ack(take_ba(self._buffer, body, size), kind)
        if self._open != _ACKS or kind != self._kind or reason != self._reason or self._count >= _RUN_COUNT:
            self._flush(events)
            self._open = _ACKS
            self._kind = kind
            self._reason = reason
            self._count = 0
        self._add_id(packet_id)
        self._count += 1
        return 0

    def _ping(self, events: list[object], size: int) -> int:
        if size:
            raise malformed(f"PINGREQ of {size} bytes")
        if self._open != _PINGS:
            self._flush(events)
            self._open = _PINGS
            self._count = 0
        self._count += 1
        return 0

    def _request(self, events: list[object], kind: int, body: int, size: int) -> int:
        """What is no part of a run."""
        self._flush(events)
        data = take_ba(self._buffer, body, size)
        if kind == _CONNECT:
            self.version = requests.answer_version(data)
            events.append(self._greet(requests.read_connect(data)))
        elif kind == _SUBSCRIBE:
            events.append(requests.read_subscribe(data, self.version))
        elif kind == _UNSUBSCRIBE:
            events.append(requests.read_unsubscribe(data, self.version))
        elif kind == _DISCONNECT:
            ending: Disconnect = requests.read_disconnect(data, self.version)
            self._state = _ENDED
            events.append(ending)
        else:
            events.append(requests.read_auth(data))
        return 0

    def _greet(self, connect: Connect) -> Connect:
        self._by_auth = connect.properties.get(PropertyId.AUTHENTICATION_METHOD) is not None
        self._state = _AUTHENTICATING
        return connect

    def _flush(self, events: list[object]) -> int:
        """End the open run."""
        opened = self._open
        if opened == _NOTHING:
            return 0
        self._open = _NOTHING
        if opened == _RUN:
            self._emit_run(events)
        elif opened == _ACKS:
            ack = AckRun.__new__(AckRun)
            ack.kind = self._kind
            ack.reason_code = self._reason
            ack.packet_ids = take_ba(self._ids, 0, 2 * self._count)
            ack.count = self._count
            ack.first = self._first_id
            ack.ascending = self._ascending
            events.append(ack)
        else:
            events.append(Pings(self._count))
        return 0


def _overrun() -> MqttError:
    return MqttError(
        int(ReasonCode.QUOTA_EXCEEDED),
        "unfinished packets of all connections hold more than limits.unfinished_bytes, and this one's have waited longest",
    )
