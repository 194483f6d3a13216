"""How groups are kept: golden values of format 1, and what is damaged or newer."""

import pytest
from group_bench import GroupBench

from entrepot.broker.calls.group_requests import CommittedOffset
from entrepot.broker.groups import kept
from entrepot.broker.state import GROUP_PREFIX, OFFSET_PREFIX
from entrepot.model.errors import CorruptData

MEMBER = kept.KeptClassicMember("m-1", "i", "c", "/h", 10_000, 60_000, [("range", b"\x00\x01")], b"\x02", True)
CLASSIC = kept.KeptClassicGroup(7, "consumer", "range", "m-1", 1_750_000_000_000, [MEMBER])
CONSUMER = kept.KeptMember("i", None, "c", "/h", "user", 60_000, ["t"], "a.*", None, 5, 4, 1, {b"t" * 16: [0, 2]}, {b"u" * 16: [1]})
OFFSET = CommittedOffset(258, 3, "m\u00e4", 1_750_000_000_000)

GOLDEN = [
    (kept.KeptGeneration(7), "0193010191" + "07"),
    (
        CLASSIC,
        "019301019607a8636f6e73756d6572a572616e6765a36d2d31cf000001977420dc009199a36d2d31a169a163a22f68cd2710cdea609192a572616e6765c4020001c40102c3",
    ),
    (kept.KeptEpochs(5, 4, 0), "01930101930504" + "00"),
    (
        CONSUMER,
        "019301019ea169c0a163a22f68a475736572cdea6091a174a3612e2ac005040181c410" + "74" * 16 + "92000281c410" + "75" * 16 + "9101",
    ),
]


@pytest.mark.parametrize(("value", "golden"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden(value, golden):
    assert kept.encode(value).hex() == golden
    assert kept.decode(b"k", bytes.fromhex(golden)[1:], type(value)) == value


def test_golden_offset():
    golden = "01" + "0202" + "0201000000000000" + "03000000" + "00dc207497010000" + "74" * 16 + "6dc3a4"
    assert kept.encode_offset(OFFSET, b"t" * 16).hex() == golden
    assert kept.decode_offset(b"k", bytes.fromhex(golden)[1:]) == (OFFSET, b"t" * 16)


def test_golden_offset_of_before_topics_had_ids_in_it():
    golden = "0101" + "0201000000000000" + "03000000" + "00dc207497010000" + "6dc3a4"
    assert kept.decode_offset(b"k", bytes.fromhex(golden)) == (OFFSET, b"")


def test_golden_keys():
    prefix = kept.group_key(OFFSET_PREFIX, "public/default", "g\u00e4")
    assert prefix == b"o:\x0epublic/default\x03g\xc3\xa4"
    key = kept.offset_key(prefix, "topic", 258)
    assert key == prefix + b"topic\x00\x00\x01\x02"
    assert kept.split_key(key) == ("public/default", "g\u00e4", b"topic\x00\x00\x01\x02")
    assert kept.split_offset(b"topic\x00\x00\x01\x02") == ("topic", 258)


def test_fields_that_a_later_version_adds_are_passed_over():
    assert kept.decode(b"k", bytes.fromhex("93" + "0201" + "92" + "07" + "c3"), kept.KeptGeneration) == kept.KeptGeneration(7)


@pytest.mark.parametrize("damaged", ["", "93", "930101", "9301019107" + "07", "93010191a161", "930102" + "9107", "c0", "ff"])
def test_damaged_or_newer(damaged):
    with pytest.raises(CorruptData):
        kept.decode(b"k", bytes.fromhex(damaged), kept.KeptGeneration)


@pytest.mark.parametrize("damaged", ["", "0101", "0103" + "00" * 40, "0101" + "00" * 20 + "ff", "0202" + "00" * 20 + "11" * 15, "0202" + "00" * 36 + "ff"])
def test_damaged_or_newer_offsets(damaged):
    with pytest.raises(CorruptData):
        kept.decode_offset(b"k", bytes.fromhex(damaged))


@pytest.mark.parametrize("key", [b"g:", b"g:\x01", b"g:\x01a", b"g:\x01\xff\x01a"])
def test_damaged_keys(key):
    with pytest.raises(CorruptData):
        kept.split_key(key)


def test_state_of_an_unknown_kind_or_of_both_kinds_stops_the_start():
    key = kept.group_key(GROUP_PREFIX, "public/default", "g")
    for rests in ((b"z",), (b"c", b"e"), (b"c", b"mx")):
        bench = GroupBench()
        for rest in rests:
            value = CLASSIC if rest == b"c" else kept.KeptEpochs(1, 1, 0) if rest == b"e" else CONSUMER
            bench.store.fold(0, key + rest, kept.encode(value))
        with pytest.raises(CorruptData):
            bench.start()
