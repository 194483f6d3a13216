"""Why a record batch is refused, as the error code that its producer is told (Kafka's protocol guide, error codes)."""

from __future__ import annotations

from entrepot.model.errors import Reason, Refused

CORRUPT_MESSAGE = 2
MESSAGE_TOO_LARGE = 10
INVALID_TIMESTAMP = 32
UNSUPPORTED_COMPRESSION_TYPE = 76
INVALID_RECORD = 87


class InvalidBatch(Refused):
    """A batch that is not stored. `code` is Kafka's error code; `record_index` is the record it is about, -1 where it is the batch."""

    def __init__(self, code: int, text: str, record_index: int = -1) -> None:
        super().__init__(Reason.TOO_LARGE if code == MESSAGE_TOO_LARGE else Reason.INVALID, text)
        self.code = code
        self.record_index = record_index
