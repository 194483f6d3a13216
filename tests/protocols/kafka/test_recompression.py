"""Batches in the compression that their topic wants."""

from __future__ import annotations

import pytest
from kafka_batches import COMPRESSIONS, GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, numbered, plain

from entrepot.broker.topic.topic_config import COMPRESSIONS as NAMES
from entrepot.protocols.kafka.batch_errors import MESSAGE_TOO_LARGE, InvalidBatch
from entrepot.protocols.kafka.compression import Unpacker
from entrepot.protocols.kafka.lz4_frame import check_lz4
from entrepot.protocols.kafka.recompression import pack
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.records import KafkaEntryCodec

ASSORTED = [(b"k", b"v" * 100, [(b"h", None), (b"h", b"x")], 0), (None, b"", [], 300), (b"", None, [], -7), (b"key", b"value" * 500, [], 12)]
RECORDS = numbered(ASSORTED)


def test_the_numbers_are_kafkas():
    assert dict(zip(NAMES, (NONE, GZIP, SNAPPY, LZ4, ZSTD), strict=True)) == {name: number for number, name in enumerate(NAMES)}


@pytest.mark.parametrize("wanted", [NONE, GZIP, SNAPPY, LZ4, ZSTD], ids=NAMES)
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_records_may_lie_in_any_buffer(wanted, buffer):
    assert Unpacker().unpack(wanted, pack(wanted, buffer(b"records" * 100))) == b"records" * 100


@pytest.mark.parametrize("wanted", [NONE, GZIP, SNAPPY, LZ4, ZSTD], ids=NAMES)
@pytest.mark.parametrize("sent", COMPRESSIONS)
def test_every_compression_becomes_every_other(sent, wanted):
    how = {"base_time": 5_000, "max_time": 5_300, "producer": (7, 3, 40)}
    data = batch(RECORDS, sent, **how)
    codec = KafkaEntryCodec()
    assert codec.is_compressed_as(data, wanted) == (sent % 8 == wanted)
    made, size = codec.recompressed(data, wanted)
    assert size == sum(map(len, RECORDS))
    head = BatchValidator().validate(bytes(bytearray(made)))
    assert (head.data, head.compression, head.count, head.max_time_ms) == (made, wanted, 4, 5_300)
    assert (head.producer_id, head.producer_epoch, head.first_sequence) == (7, 3, 40)
    assert Unpacker().unpack(wanted, made[61:]) == b"".join(RECORDS)
    if wanted == NONE:
        assert made == batch(RECORDS, NONE, **how)
    if wanted == LZ4:
        check_lz4(made[61:])


def test_the_bound_of_a_batch_holds():
    with pytest.raises(InvalidBatch) as caught:
        KafkaEntryCodec(1 << 16).recompressed(batch(plain([bytes(1 << 17)]), ZSTD), LZ4)
    assert caught.value.code == MESSAGE_TOO_LARGE
