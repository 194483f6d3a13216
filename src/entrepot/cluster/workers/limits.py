"""Limits of the configuration are the node's: which of them each worker has a part of, and which it has whole.

A part is one in so many, rounded up, and never less than what the setting may be. Connections, shards and groups come to workers by chance, about evenly:
a worker may be at its part while another has room.
"""

from __future__ import annotations

from typing import Any

import msgspec

from entrepot.settings import Config, Section, keys_of, sections

# By section: what counts something of the whole process, of which every worker has some.
DIVIDED: dict[str, frozenset[str]] = {
    "journal": frozenset({"unsorted_bytes"}),
    "cache": frozenset({"size_bytes", "files_bytes", "volatile_bytes", "translated_bytes"}),
    "limits": frozenset(
        {
            "connections",
            "connections_per_listener",
            "strangers_per_listener",
            "strangers_per_address",
            "strangers_bytes",
            "accept_backlog",
            "unfinished_bytes",
            "staged_bytes",
            "consumers",
            "groups",
            "total_group_members",
            "offsets",
        }
    ),
}
# What each worker has whole: it is of one connection, request, message, queue, group or journal file, a time, or of the catalogue, which all workers have.
WHOLE: dict[str, frozenset[str]] = {
    "journal": frozenset({"file_size_bytes", "files_ready"}),
    "disk": frozenset({"reserve_bytes"}),
    "limits": frozenset(
        {
            "connection_moves",
            "socket_output_bytes",
            "connection_output_bytes",
            "close_timeout_ms",
            "dead_peer_timeout_ms",
            "stop_grace_ms",
            "handshake_timeout_ms",
            "message_bytes",
            "prefetch",
            "namespaces",
            "exchanges",
            "queues",
            "topics",
            "partitions",
            "retained",
            "retained_bytes",
            "total_partitions",
            "bindings",
            "metadata_bytes",
            "share_percent",
            "group_members",
            "group_metadata_bytes",
            "offset_metadata_bytes",
            "http_request_bytes",
        }
    ),
}


def of_worker(config: Config, count: int) -> Config:
    """The configuration with one worker's part of `count`."""
    changed: dict[str, Any] = {name: _divided(getattr(config, name), names, sections()[name], count) for name, names in DIVIDED.items()}
    return msgspec.structs.replace(config, **changed)


def _divided(values: Section, names: frozenset[str], section: type[Section], count: int) -> Section:
    least = {found.name: found.meta.ge or 0 for found in keys_of(section)}
    parts = {name: max(int(least[name]), -(-getattr(values, name) // count)) for name in names}
    return msgspec.structs.replace(values, **parts)
