"""How intents are kept."""

import pytest

from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.outbox.handover import CARRIED, LETTER, REDRIVE, TAKEN
from entrepot.broker.outbox.intents import Intent, Packed, Part, by_shard, carried_log, decoded, is_carried, sequence_key, sequence_of, sequence_value
from entrepot.model.errors import CorruptData

LOG = bytes(range(16))


def an_intent():
    intent = Intent(7, LOG, 258, 3, REDRIVE, "anew", b"t" * 16, [(1000, 2), (0, 0), (1001, 1)])
    intent.parts = [Part(intent, 9, 5, (b"a" * 16,)), Part(intent, HOME, 1, (b"b" * 16, b"c" * 16), TAKEN)]
    return intent


GOLDEN = bytes.fromhex(
    "93 01 01 96 03 02 a4 616e6577 c410 74747474747474747474747474747474 92"
    " 94 09 05 91 c410 61616161616161616161616161616161 00"
    " 94 cdffff 01 92 c410 62626262626262626262626262626262 c410 63636363636363636363636363636363 01"
    " 93 92 cd03e8 02 92 00 00 92 cd03e9 01"
)


def test_what_is_kept_comes_back():
    intent = an_intent()
    assert intent.value() == GOLDEN
    assert intent.size == len(GOLDEN)
    assert intent.key() == b"u:i" + LOG + b"\0\0\0\0\0\0\x01\x02"
    again = decoded(7, intent.key(), GOLDEN)
    assert [getattr(again, name) for name in ("shard", "log_id", "first", "count", "kind", "reason", "task", "carried")] == [
        getattr(intent, name) for name in ("shard", "log_id", "first", "count", "kind", "reason", "task", "carried")
    ]
    assert [(part.shard, part.sequence, part.logs, part.status, part.freed) for part in again.parts] == [
        (9, 5, (b"a" * 16,), 0, False),
        (HOME, 1, (b"b" * 16, b"c" * 16), TAKEN, True),
    ]
    assert again.durable
    assert not again.is_answered()


def test_a_later_version_may_add_fields():
    intent = Intent(7, LOG, 0, 1, LETTER, "expired", b"", ())
    value = intent.value()
    assert value[3] == 0x96  # fields
    assert decoded(7, intent.key(), value[:3] + b"\x97" + value[4:] + b"\xc0").reason == "expired"


@pytest.mark.parametrize("value", [b"", GOLDEN[:40], b"\x93\x03\x03" + GOLDEN[3:], b"\x93\x01\x01\x91\x03"], ids=["empty", "cut", "newer", "few"])
def test_what_cannot_be_read(value):
    with pytest.raises(CorruptData, match="intent"):
        decoded(7, an_intent().key(), value)


def test_sequences():
    assert sequence_key(258) == b"u:s\x01\x02"
    assert sequence_value(513) == bytes.fromhex("0101 0102000000000000")
    assert (sequence_of(sequence_value(513)), sequence_of(None)) == (513, 0)
    for value in (b"", b"\x02\x02" + bytes(8)):
        with pytest.raises(CorruptData):
            sequence_of(value)


def test_targets_by_shard():
    assert by_shard([(3, b"a"), (1, b"b"), (3, b"c")]) == {3: (b"a", b"c"), 1: (b"b",)}


def test_what_carries_its_records():
    intent = Intent(258, carried_log(258), 3, 2, CARRIED, "", b"", ())
    intent.packed = Packed(b"\x01e\x01k", b"", 4, b"records", 2, 7, 1)
    assert intent.key() == b"u:icarried" + bytes(7) + b"\x01\x02" + bytes(7) + b"\x03"
    assert intent.value() == bytes.fromhex("93 02 02 97 02 05 a0 c400 90 90 97 c404 0165016b c400 04 c407 7265636f726473 02 07 01")
    again = decoded(258, intent.key(), intent.value())
    assert (again.packed, again.kind, again.count) == (intent.packed, CARRIED, 2)
    assert is_carried(again.log_id)
    assert not is_carried(LOG)
