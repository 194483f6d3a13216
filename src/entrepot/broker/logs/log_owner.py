"""LogOwner: what stands over a log (a queue, a topic's partition) and hears of it. Log.owner points to one."""

from __future__ import annotations

from typing import Any

from entrepot.store.interface import Log


class LogOwner:
    """Base of queues and topic partitions. `dirty`: it is on the hub's list to dispatch at this tick's end."""

    __slots__ = ("dirty",)

    dirty: bool

    def on_durable(self, log: Log) -> None:
        """The log's durable end has advanced: what was appended may now be seen."""
        raise NotImplementedError

    def dispatch(self) -> None:
        """Give consumers with credit what they may have."""
        raise NotImplementedError

    def follow(self, log: Log, transactions: Any) -> None:
        """The log has transactions from now on: a LogTransactions says where delivering stops and what is passed over."""
        raise NotImplementedError

    def end_pending(self, transaction_id: int, committed: bool) -> None:
        """Settlements that were pending in the transaction are settled, or their records ready again."""
        raise NotImplementedError
