"""The cluster's id: made by chance when the data directory is, and kept; what a client knows one cluster from another by.

State of shard 0, key CLUSTER_ID_KEY: u8 version 1, 16 bytes (docs/formats/cluster-id.md). It is told as Kafka writes its own: in base64 as URLs have it,
without padding, 22 characters.
"""

from __future__ import annotations

import base64
from typing import Any

from entrepot.broker.state import CLUSTER_PREFIX, set_value
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Store

CLUSTER_ID_KEY = CLUSTER_PREFIX + b"id"

_VERSION = 1
_SIZE = 16
_SHARD = 0


def cluster_id(store: Store, entropy: Any) -> str:
    """At opening: the id, which is made and staged where there is none. Raises CorruptData for one of a newer version."""
    kept = store.get(_SHARD, CLUSTER_ID_KEY)
    if kept is None:
        kept = bytes((_VERSION,)) + entropy.octets(_SIZE)
        store.fold(_SHARD, CLUSTER_ID_KEY, set_value(kept))
        store.urgent()
    if len(kept) != 1 + _SIZE or kept[0] != _VERSION:
        raise CorruptData(f"the cluster's id is kept as {kept!r}, which this version cannot read")
    return base64.urlsafe_b64encode(kept[1:]).rstrip(b"=").decode()
