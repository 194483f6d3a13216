"""When a silent client is given up, when a session ends, and when its will is published (3.1.2.10, 3.1.2.11.2, 3.1.3.2.2). Pure arithmetic.

Seconds of a connection are monotonic. Ends of sessions and wills are times of the shard, in milliseconds: they are stored, and count while the broker is down.
"""

from __future__ import annotations

from dataclasses import dataclass

NEVER_S = 0xFFFFFFFF
"""Session expiry interval of a session that does not end."""

_GRACE = 1.5


def silent_after(last_packet: float, keep_alive_s: int) -> float:
    """Until when a client has to send its next packet; 0.0: no need (3.1.2.10)."""
    return last_packet + _GRACE * keep_alive_s if keep_alive_s else 0.0


@dataclass(frozen=True, slots=True)
class End:
    """What the end of a connection leaves. Times of the shard in milliseconds; None: never."""

    session_ends_ms: int | None
    will_due_ms: int | None
    """At or after it the will is published, unless the session goes on before (3.1.3.2.2). Never later than the session's end."""

    def is_over(self, now_ms: int) -> bool:
        """Whether the session has ended."""
        return self.session_ends_ms is not None and now_ms >= self.session_ends_ms


def end_of(now_ms: int, session_expiry_s: int, will_delay_s: int | None) -> End:
    """Of a connection that ends now; `will_delay_s` None: there is no will, or it was taken back by a DISCONNECT."""
    session_ends_ms = None if session_expiry_s == NEVER_S else now_ms + 1000 * session_expiry_s
    if will_delay_s is None:
        return End(session_ends_ms, None)
    due_ms = now_ms + 1000 * will_delay_s
    return End(session_ends_ms, due_ms if session_ends_ms is None else min(due_ms, session_ends_ms))


def changed_expiry(agreed_s: int, wanted_s: int | None, most_s: int) -> int | None:
    """The session expiry interval after a DISCONNECT that says `wanted_s` (None: nothing); None: from 0 it cannot grow (3.14.2.2.2)."""
    if wanted_s is None:
        return agreed_s
    if wanted_s and not agreed_s:
        return None
    return min(wanted_s, most_s)


def left_s(expiry_s: int, age_ms: int) -> int:
    """What is left of a message expiry interval of a message that has waited `age_ms` (3.3.2.3.3); 0: it has expired."""
    return max(0, expiry_s - age_ms // 1000)
