"""`$SYS`: figures of the process that a client is connected to, sent to it alone, with QoS 0, when it subscribes to them and when they have changed since.

They are published to nobody. A user needs the tag `administrator` or `monitoring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.protocols.mqtt import delivering
from entrepot.protocols.mqtt.packing import KEPT, RETAIN, pack_record

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

PREFIX = b"$SYS/"
TAGS = frozenset({"administrator", "monitoring"})
EVERY_S = 10.0


def begin(session: Session, topic_filter: bytes) -> None:
    """Somebody has subscribed: where it is to these, all that match are sent, as what is retained is."""
    if topic_filter.startswith(PREFIX) and session.settings.figures is not None and TAGS & session.principal.tags:
        session.watches_system = True
        session.next_deadline = 1.0  # the next look sets when they are looked at again
        _tell(session, topic_filter)


def look(session: Session, now: float) -> None:
    """Time has passed."""
    if session.watches_system:
        if now >= session.system_at + EVERY_S:
            session.system_at = now
            _tell(session, b"")
        session.next_deadline = min(session.next_deadline, session.system_at + EVERY_S)


def _tell(session: Session, topic_filter: bytes) -> None:
    """Those of the filter, or (b"") what is another than it was."""
    figures = session.settings.figures
    assert figures is not None
    known = session.system_told
    is_wanted = False
    for topic, payload in figures().items():
        wanted = [subscription.filter for subscription, _ in session.subscriptions.matching(topic)]
        is_wanted = is_wanted or bool(wanted)
        if topic_filter in wanted:
            delivering.tell(session, topic, pack_record(KEPT | RETAIN, -1, delivering.identifiers_of(session, topic), payload))
        elif wanted and not topic_filter and known.get(topic) != payload:
            delivering.tell(session, topic, pack_record(0, -1, b"", payload))
        if wanted:
            known[topic] = payload
    session.watches_system = is_wanted
