"""What all batch actions check and answer alike: ids, counts, entries that fail by themselves."""

from __future__ import annotations

from typing import Any

import cython

from entrepot.model.errors import Reason, Refused
from entrepot.protocols.sqs.actions import BatchResultErrorEntry
from entrepot.protocols.sqs.errors import SqsError, from_refused, invalid_value, missing

if not cython.compiled:
    from entrepot.protocols.sqs.characters import is_batch_id

ENTRIES_MAX = 10
NO_DEDUPLICATION = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
MESSAGE_MAX_BYTES = 1_048_576  # of one message, and of all of a batch


def check_entries(entries: list[Any], kind: str) -> int:
    """Refuse a batch whose entries cannot be told apart, are none, or are too many. Raises SqsError."""
    if not entries:
        raise SqsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > ENTRIES_MAX:
        raise SqsError("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent {len(entries)}.")
    seen: set[str] = set()
    for entry in entries:
        entry_id = entry.Id
        if entry_id is None:
            raise missing(f"{kind}.{entries.index(entry) + 1}.Id")
        if not is_batch_id(entry_id):
            raise SqsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            )
        if entry_id in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)
    return 0


def failed_entry(entry_id: str, error: SqsError) -> BatchResultErrorEntry:
    """How an entry that failed is answered."""
    return BatchResultErrorEntry(Id=entry_id, SenderFault=error.code.is_sender_fault, Code=error.code.code, Message=error.text)


def too_long(most: int = MESSAGE_MAX_BYTES) -> SqsError:
    """A message over the limit of SQS, or of its queue."""
    return invalid_value(f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.")


def from_record(refused: Refused, record_max_bytes: int) -> SqsError:
    """What the refusal of an entry's record means; `record_max_bytes` is the queue's."""
    if refused.reason is Reason.TOO_LARGE:
        return invalid_value(f"One or more parameters cannot be validated. Reason: Message must be shorter than {record_max_bytes} bytes.")
    if refused.reason is Reason.INVALID:  # of what a FIFO queue needs, only this depends on the queue
        return invalid_value(NO_DEDUPLICATION)
    return from_refused(refused)
