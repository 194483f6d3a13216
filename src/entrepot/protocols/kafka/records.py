"""Kafka's entry codec: an entry is one version 2 record batch, stored as it came but for its place."""

from __future__ import annotations

from entrepot.broker.entry_codec import EntryCodec
from entrepot.model.entry import CODEC_KAFKA
from entrepot.protocols.kafka.record_batch import BATCH_VERSION, stamp


class KafkaEntryCodec(EntryCodec):
    """See EntryCodec."""

    __slots__ = ()

    def __init__(self) -> None:
        self.tag = CODEC_KAFKA
        self.version = BATCH_VERSION

    def prefix(self, address: bytes) -> bytes:
        """See EntryCodec."""
        return b""

    def start(self, data: bytes) -> int:
        """See EntryCodec."""
        return 0

    def stamp(self, data: bytes, base_offset: int, epoch: int, append_time_ms: int) -> bytes:
        """See EntryCodec."""
        return stamp(data, base_offset, epoch, append_time_ms)
