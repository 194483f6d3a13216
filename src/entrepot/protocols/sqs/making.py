"""Making: a request waits for the namespace of its account, which the first call of an account has made, and is begun again then."""

from __future__ import annotations

from typing import Any

from entrepot.model.errors import NotDone, Refused
from entrepot.protocols.sqs.errors import from_refused, unavailable


class Waits(Exception):
    """Raised through the beginning of a request: it has another one later."""


class Making:
    """Of one exchange of a session, which is its active one. An accounts.Made."""

    __slots__ = ("_exchange", "_session", "waits")

    def __init__(self, session: Any, exchange: Any) -> None:
        self._session = session
        self._exchange = exchange
        self.waits = False  # whether anybody does: else the namespace was there at once

    def __call__(self, error: NotDone | None) -> None:
        """It is there, or is not made."""
        session, exchange = self._session, self._exchange
        if not self.waits or session.closing or session.active is not exchange:
            return
        try:
            if error is None:
                session.begin(exchange.request)
            else:
                exchange.fail(from_refused(error) if isinstance(error, Refused) else unavailable())
        except Exception:  # our bug, which the loop logs: it must cost this connection, which would hang, and no other
            session.end()
            raise
