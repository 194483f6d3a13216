"""The property list of a PUBLISH (3.3.2.3) as it arrives: checked where it lies, and packed without what is not kept of it.

properties.py reads those of all other packets, by the table. This is for what comes with each message.
"""

from __future__ import annotations

import cython

from entrepot.protocols.mqtt.properties import PROPERTIES_MAX, checked_text
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode, broken_rule, malformed
from entrepot.protocols.mqtt.topics import check_name

if not cython.compiled:
    from entrepot.model.octets import copy_ba, get_u16_be_ba, same_ba, take_ba

_PROPERTIES_MAX = PROPERTIES_MAX
_SIZE_MAX = 64 * 1024
_TOO_LARGE, _TOO_MANY, _BAD_ALIAS = int(ReasonCode.PACKET_TOO_LARGE), int(ReasonCode.QUOTA_EXCEEDED), int(ReasonCode.TOPIC_ALIAS_INVALID)
_FORMAT, _EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC = (
    int(PropertyId.PAYLOAD_FORMAT_INDICATOR),
    int(PropertyId.MESSAGE_EXPIRY_INTERVAL),
    int(PropertyId.CONTENT_TYPE),
    int(PropertyId.RESPONSE_TOPIC),
)
_CORRELATION, _SUBSCRIPTION, _ALIAS, _USER = (
    int(PropertyId.CORRELATION_DATA),
    int(PropertyId.SUBSCRIPTION_IDENTIFIER),
    int(PropertyId.TOPIC_ALIAS),
    int(PropertyId.USER_PROPERTY),
)


class PublishProperties:
    """Of one decoder. Of the list that was checked last: `alias`, its topic alias; `alias_at` and `expiry_at`, where alias and expiry begin in it; -1: none."""

    def __init__(self) -> None:
        self.alias = -1
        self.alias_at = -1
        self.expiry_at = -1
        # a list that had neither, in the buffer
        self._checked_pos = -1
        self._checked_size = 0

    def forget(self) -> int:
        """The buffer is another one, or has moved."""
        self._checked_pos = -1
        return 0

    def clear(self) -> int:
        """There is no list."""
        self.alias = -1
        self.alias_at = -1
        self.expiry_at = -1
        return 0

    def check(self, buffer: bytearray, pos: int, size: int, alias_max: int) -> int:
        """Read the list that fills `size` bytes from `pos`. MqttError where it is malformed or against a rule."""
        if self._checked_pos >= 0 and size == self._checked_size and same_ba(buffer, pos, self._checked_pos, size):
            return 0  # there was neither alias nor expiry in it
        if size > _SIZE_MAX:
            raise MqttError(_TOO_LARGE, f"PUBLISH with {size} bytes of properties")
        start = pos
        stop = pos + size
        seen = 0
        count = 0
        while pos < stop:
            kind = buffer[pos]
            pos += 1
            count += 1
            if kind == _USER:
                if count > _PROPERTIES_MAX:
                    raise MqttError(_TOO_MANY, f"more than {_PROPERTIES_MAX} properties")
                pos = _check_string(buffer, _check_string(buffer, pos, stop), stop)
                continue
            bit = 1
            bit <<= kind & 63  # of 64 bits in C, which a shifted literal has not
            if kind > 0x2A or seen & bit:
                raise _wrong_property(kind)
            seen |= bit
            if kind == _EXPIRY:
                self.expiry_at = pos - 1 - start
                pos += 4
            elif kind == _ALIAS:
                self.alias_at = pos - 1 - start
                pos += 2
                if pos <= stop:
                    self.alias = get_u16_be_ba(buffer, pos - 2)
                    if self.alias == 0 or self.alias > alias_max:
                        raise MqttError(_BAD_ALIAS, f"topic alias {self.alias}; they go to {alias_max}")
            elif kind == _CONTENT_TYPE:
                pos = _check_string(buffer, pos, stop)
            elif kind == _RESPONSE_TOPIC:
                at = pos + 2
                pos = _check_string(buffer, pos, stop)
                check_name(take_ba(buffer, at, pos - at))
            elif kind == _CORRELATION:
                pos = _string_end(buffer, pos, stop)
            elif kind == _FORMAT:
                pos += 1
                if pos <= stop and buffer[pos - 1] > 1:
                    raise broken_rule(f"payload format indicator {buffer[pos - 1]}")
            else:
                raise _wrong_property(kind)
            if pos > stop:
                raise malformed("a property list ends in a property")
        if self.alias_at < 0 and self.expiry_at < 0:
            self._checked_pos = start
            self._checked_size = size
        return 0

    def pack(self, pack: bytearray, packed: int, buffer: bytearray, at: int, listed: int) -> int:
        """The expiry, without its number, and the list at `at` without expiry and alias; return where what follows them is to be packed."""
        expiry = self.expiry_at
        alias = self.alias_at
        if expiry >= 0:
            copy_ba(pack, packed, buffer, at + expiry + 1, 4)
            packed += 4
        done = 0
        if expiry >= 0 and (alias < 0 or expiry < alias):
            copy_ba(pack, packed, buffer, at, expiry)
            packed += expiry
            done = expiry + 5
        if alias >= 0:
            copy_ba(pack, packed, buffer, at + done, alias - done)
            packed += alias - done
            done = alias + 3
        if expiry >= 0 and alias >= 0 and expiry > alias:
            copy_ba(pack, packed, buffer, at + done, expiry - done)
            packed += expiry - done
            done = expiry + 5
        copy_ba(pack, packed, buffer, at + done, listed - done)
        return packed + listed - done


def _wrong_property(kind: int) -> MqttError:
    if kind == _SUBSCRIPTION:
        return broken_rule("a subscription identifier in a client's PUBLISH")
    if kind in (_FORMAT, _EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION, _ALIAS):
        return broken_rule(f"{PropertyId(kind).name} twice")
    return malformed(f"property 0x{kind:02x} in PUBLISH")


def _string_end(buffer: bytearray, pos: int, stop: int) -> int:
    """The position behind the string or binary data at `pos`."""
    if stop - pos < 2:
        raise malformed("a property list ends in a size")
    size = get_u16_be_ba(buffer, pos)
    if size > stop - pos - 2:
        raise malformed("a property list ends in a string")
    return pos + 2 + size


def _check_string(buffer: bytearray, pos: int, stop: int) -> int:
    """The position behind the UTF-8 string at `pos`."""
    after = _string_end(buffer, pos, stop)
    checked_text(take_ba(buffer, pos + 2, after - pos - 2))
    return after
