"""The local store's settings."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Durability(enum.Enum):
    """When a commit counts as durable."""

    FSYNC = "fsync"  # synced before it is acknowledged
    INTERVAL = "interval"  # written; synced every `sync_interval_ms`
    NONE = "none"  # written; the operating system decides


@dataclass(frozen=True)
class StoreSettings:
    """Sizes are bytes."""

    durability: Durability = Durability.FSYNC
    sync_interval_ms: int = 1000
    linger_ms: int = 5  # how long a staging call nobody waits for may wait for company
    group_size_max: int = 8 << 20  # a group is sealed without lingering when this much is staged
    entry_size_max: int = 64 << 10  # an entry is extended up to this; one publish may exceed it
    entry_count_max: int = 4096
    journal_file_size: int = 32 << 20
    journal_first_file_size: int = 1 << 20  # of the first that are zeroed ahead, before anything is known of the traffic
    journal_bulk_file_size: int = 64 << 20  # of one that grows as it is written, while commits are large
    journal_bulk_commit_size: int = 256 << 10  # commits of that size on average are large
    journal_ready_files: int = 2  # zeroed ahead
    journal_sort_files: int = 2  # closed files that start a sort
    adopt_size_min: int = 8 << 20  # alive in a journal file that stays as it is, rather than being sorted
    adopt_entry_size_min: int = 32 << 10  # of its entries, on average
    file_cache_size: int = 1 << 30  # of the newest segments and journal files adopted, that the system may keep in memory; 0: any
    index_rows_max: int = 192 << 10  # rows in memory (24 bytes each, and as much again while sorting) that start a sort
    journal_unsorted_max: int = 512 << 20  # pressure is on above this
    staged_max: int = 64 << 20  # pressure is on above this
    cache_size: int = 24 << 20  # entries in memory, with their objects
    reserve_size: int = 64 << 20  # appends are refused with less free disk than this; discards and checkpoints go on
