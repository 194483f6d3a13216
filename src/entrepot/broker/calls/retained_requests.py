"""What a session may ask of last values: of each address one record is kept, the last that was published there to be retained. Requests of a port.Ask.

They lie in a queue of the namespace, RETAINED_QUEUE, which nobody consumes from; it is made with the first of them.
"""

from __future__ import annotations

from msgspec import Struct

from entrepot.broker.calls.port import Publish

RETAINED_QUEUE = "entrepot.retained"

COPIES_MAX = 256
"""Records of one CopyRetained."""

COPIES_MAX_BYTES = 262_144
"""About so many bytes of one CopyRetained; one record it always copies."""


class PublishRetained(Struct):
    """Publish, and keep the last record as the last value of the address; one with an empty body: from now on there is none.

    result: None, as a Publish is answered: with confirm, when both are durable. The Publish itself completes before that, unheard: its `unroutable`,
    `returned` and `nacked` say what they always say; also nacked is a last record that was published and is not kept, because too many are, or too much,
    or its owner is away. Errors are those of a Publish: nothing was done, or the outcome is not known. What is published is in order with other Publishes.
    `kept_only`: it is not published, only kept; for what is published otherwise (PublishOnce) in the same turn, of another Publish with the same record.
    """

    publish: Publish
    kept_only: bool = False


class CopyRetained(Struct):
    """Append the last values whose addresses a pattern matches to a queue of the session, in the order of their routing keys: `limit` at most, behind `after`.

    `pattern`: as a binding of a topic exchange has it (`.`, `*`, `#`); keys that begin with `$` are not matched by a pattern that begins with a wildcard.
    Each is an entry of its own with its own address, in the codec of the attachment and marked by it as a copy (EntryCodec.last_value_copy), with
    `identifier`, if it is not 0; its time to live is what is left of it. Those that have expired are not among them.

    `noted`, of a queue that is kept: what is left to be copied behind a page is noted beside the queue, in the commit of the page (behind it, where the queue
    is in another process), until the last page; such a page comes into the queue though the connection has ended meanwhile.

    result: (how many were appended, the `after` of the next page, or None: that was all), when they are durable, if the queue is. A page may have fewer than
    `limit`, or none, and not be the last. Refused NOT_PERMITTED: READ of the exchange and WRITE of the queue are needed, as for a binding.
    """

    pattern: str
    queue: str
    identifier: int = 0
    after: bytes = b""
    limit: int = COPIES_MAX
    exchange: str = "amq.topic"
    noted: bool = False


class UnfinishedCopy(Struct, array_like=True):
    """Of a queue: a CopyRetained of these fields is the next."""

    exchange: str
    pattern: str
    identifier: int
    after: bytes


class ListCopies(Struct):
    """What is still to be copied into a queue, as was noted of it. result: list[UnfinishedCopy]. Refused NOT_PERMITTED, as ForgetCopy: WRITE of the queue."""

    queue: str


class ForgetCopy(Struct):
    """Nothing of a pattern is to be copied any more. result: None, when that is durable; nobody need wait."""

    queue: str
    pattern: str
    exchange: str = "amq.topic"
