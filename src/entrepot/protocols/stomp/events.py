"""What the decoder makes of the frames that a client sends; codec.py says when each comes."""

from __future__ import annotations

# Bits of a packed record (records.py) and, of all of its records, of a run.
HAS_LENGTH = 0x01  # its sender said content-length: to JMS it is bytes, else text
PERSISTENT = 0x02  # persistent:true
HAS_TTL = 0x04  # its time to live stands before its headers
NO_DESTINATION = 0x08  # it does not say where it was sent to: its reader is told where that reads
# Bits of a run alone: what the session has to look at before it passes the records on.
EXPIRES = 0x10  # some record has the header expires or expiration
TEMP_REPLY = 0x20  # some record wants its replies at a temporary queue or topic


class SendRun:
    """`count` SEND frames, one after another to one destination and in one transaction (b"": none), both as plain text.

    `data` is packed records (records.py). `receipts` are the RECEIPT frames that they ask for, each or none of them, as they are sent when it is done.
    At most RUN_MAX_COUNT records and, unless it is a single one, RUN_MAX_BYTES of data.
    """

    def __init__(self, destination: bytes, transaction: bytes, data: bytes, count: int, body_bytes: int, flags: int, receipts: bytes) -> None:
        self.destination = destination
        self.transaction = transaction
        self.data = data
        self.count = count
        self.body_bytes = body_bytes
        self.flags = flags
        self.receipts = receipts

    def cut(self, count: int) -> SendRun:
        """Keep the first `count` records, and return the others, of which there are some."""
        data, receipts = self.data, self.receipts
        pos = body_bytes = end = 0
        for _ in range(count):
            size = int.from_bytes(data[pos + 4 : pos + 8], "big")
            body_bytes += size
            pos += 9 + int.from_bytes(data[pos : pos + 4], "big") + size + (8 if data[pos + 8] & HAS_TTL else 0)
            end = receipts.find(b"\0", end) + 1
        rest = SendRun(
            self.destination, self.transaction, data[pos:], self.count - count, self.body_bytes - body_bytes, self.flags, receipts[end:] if receipts else b""
        )
        self.data, self.count, self.body_bytes, self.receipts = data[:pos], count, body_bytes, receipts[:end] if receipts else b""
        return rest


class AckRange:
    """Deliveries lo..hi of subscription number `subscription` are acknowledged or, with `negative`, not; each by a frame of its own.

    `requeue` of a negative one: to be delivered again. `transaction` b"": none. `receipts` as in SendRun.
    """

    def __init__(self, subscription: int, lo: int, hi: int, negative: bool, requeue: bool, transaction: bytes, receipts: bytes) -> None:
        self.subscription = subscription
        self.lo = lo
        self.hi = hi
        self.negative = negative
        self.requeue = requeue
        self.transaction = transaction
        self.receipts = receipts


class Frame:
    """Any other frame; none of them has a body. Of repeated headers the first."""

    def __init__(self, command: str, headers: dict[str, str], size: int) -> None:
        self.command = command
        self.headers = headers
        self.size = size  # bytes of it


def receipt_of(receipts: bytes) -> bytes:
    """The id in the first of some RECEIPT frames, b"" where there is none."""
    start = receipts.find(b"receipt-id:")
    return receipts[start + 11 : receipts.find(b"\n", start)] if start >= 0 else b""
