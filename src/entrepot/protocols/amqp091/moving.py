"""A connection moves to the worker that has what it uses: which may, and what of it goes along.

A consumer moves before it consumes, a publisher between two messages. Only a connection goes that has nothing here but itself: no consumer, no unsettled
delivery, no queue of its own, no transaction, nothing that is not answered. So what goes along is who it is, what was agreed on, and its channels' numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from entrepot.model.principal import Principal
from entrepot.net.session import Stays, Wish
from entrepot.protocols.amqp091 import handshake, states
from entrepot.protocols.amqp091.channel import Channel
from entrepot.protocols.amqp091.events import Control
from entrepot.protocols.amqp091.fields import decode_table, encode_table
from entrepot.protocols.amqp091.reply_to import DIRECT_REPLY_TO

if TYPE_CHECKING:
    from entrepot.protocols.amqp091.methods import MethodFrame
    from entrepot.protocols.amqp091.session import Session

PUBLISHER_AFTER_S = 0.1  # that a publisher has gone on for since its address was found: who comes for one message is not worth the way


class Leaving:
    """What a session keeps that is about to move: where to, and the method for which it does, and its channel; None: it publishes."""

    __slots__ = ("channel", "event", "is_paid", "process")

    def __init__(self, process: str, channel: Channel | None = None, event: Control | None = None) -> None:
        self.process = process
        self.channel = channel
        self.event = event
        self.is_paid = False  # nothing that it published is on its way any more


class PackedChannel(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a channel on which nothing is begun."""

    number: int
    confirming: bool
    confirmed_tag: int
    next_tag: int
    prefetch: int
    next_consumer: int
    last_queue: bytes


class PackedSession(msgspec.Struct, array_like=True, frozen=True):
    """A connection, as another process goes on with it. `octets`: what its client has sent and nobody has heeded yet."""

    user: bytes
    name: str
    mechanism: str
    credential: bytes
    client_properties: bytes
    vhost: str
    namespace: str
    frame_max: int
    channel_max: int
    heartbeat_s: int
    channels: list[PackedChannel]
    octets: bytes


_DECODER = msgspec.msgpack.Decoder(PackedSession)


def let(session: Session, mover: Wish) -> None:
    """See net.session.Mobile."""
    session.mover = mover


def consider(session: Session, process: str) -> None:
    """All of what it publishes to an address lies in that process."""
    if session.mover is not None and session.leaving is None and session.state == states.OPEN:
        session.mover(process, PUBLISHER_AFTER_S)


def consumes_elsewhere(session: Session, channel: Channel, event: Control, frame: MethodFrame) -> bool:
    """A basic.consume: whether the connection is to move before it is heeded. Until that is decided the channel is held."""
    queue = frame["queue"] or channel.last_queue
    if session.leaving is not None or not queue or queue == DIRECT_REPLY_TO:
        return False
    process = session.port.process_of(session.attachment, queue)
    if not process or not session.port.may_leave(session.attachment, process) or not _may_leave(session):
        return False
    channel.waiting = (None, None, frame.method)
    session.leaving = Leaving(process, channel, event)
    session.mover(process, 0.0)
    return True


def begin_leaving(session: Session, process: str) -> bool:
    """See net.session.Mobile."""
    if not _may_leave(session) or not session.port.may_leave(session.attachment, process):
        return False
    if session.leaving is None:
        session.leaving = Leaving(process)
    session.paused = True
    session.wake()
    return True


def _may_leave(session: Session) -> bool:
    """As far as the session itself knows. What is under way is waited for."""
    if session.state != states.OPEN or session.attachment is None or session.throttled or session.blocked_reason:
        return False
    return all(channel.may_leave for channel in session.channels.values())


def packed(session: Session) -> bytes | None:
    """See net.session.Mobile."""
    leaving = session.leaving
    octets = _untaken(session)
    if session.backlog:
        return None
    channels = []
    for channel in session.channels.values():
        if not channel.is_bare or (channel.waiting is not None and channel is not leaving.channel):
            return None
        last_queue = channel.last_queue.encode("utf-8", "surrogateescape")
        tags = channel.confirmed_tag, channel.next_tag
        channels.append(PackedChannel(channel.number, channel.confirming, *tags, channel.prefetch, channel.next_consumer, last_queue))
    leaving.is_paid = leaving.is_paid or not session.port.owes(session.attachment)
    if not leaving.is_paid:
        return None
    if leaving.event is not None:
        payload = leaving.event.payload
        octets = b"".join((b"\x01", leaving.event.channel.to_bytes(2, "big"), len(payload).to_bytes(4, "big"), payload, b"\xce", octets))
    principal = session.principal
    credential = session.authenticator.credential_of(principal)
    if credential is None:  # it is about to be told
        raise Stays
    return msgspec.msgpack.encode(
        PackedSession(
            session.user,
            principal.name,
            principal.mechanism,
            credential,
            _properties(session),
            session.vhost,
            session.attachment.namespace,
            session.frame_max,
            session.channel_max,
            session.heartbeat_s,
            channels,
            octets,
        )
    )


def _untaken(session: Session) -> bytes:
    """What was received and not taken. Raises Stays where something has come since it began to leave that binds it, or for which nothing more is read."""
    leaving, octets = session.leaving, session.decoder.untaken()
    if leaving is None or octets is None or not _may_leave(session) or not session.port.may_leave(session.attachment, leaving.process):
        raise Stays
    if leaving.channel is not None and leaving.channel.deferred:
        raise Stays
    return octets


def _properties(session: Session) -> bytes:
    try:
        return encode_table(session.client_properties)
    except ValueError:  # a time after 9999, which is read as a number and cannot be written as one
        raise Stays from None


def stay(session: Session) -> None:
    """See net.session.Mobile."""
    leaving, session.leaving = session.leaving, None
    if leaving is None:
        return
    if session.state >= states.CLOSED:
        session.paused = False  # else its end of the stream would not be seen
        session.wake()
        return
    events: list[Any] = []
    channel = leaving.channel
    if channel is not None and not channel.closing:
        channel.waiting = None
        session.mover = None  # it consumes here from now on
        events = [leaving.event, *channel.deferred]
        session.deferred_count -= len(channel.deferred)
        channel.deferred = []
    session.come_next(events)
    session.wake()


def unpack(session: Session, octets: bytes) -> None:
    """See net.session.Mobile."""
    found = _DECODER.decode(octets)
    session.user = found.user
    session.client_properties, _ = decode_table(found.client_properties)
    principal = session.authenticator.who_has(found.name, found.mechanism, found.credential)
    session.principal = principal or Principal(found.name)
    session.give_room()
    session.frame_max, session.channel_max, session.heartbeat_s = found.frame_max, found.channel_max, found.heartbeat_s
    session.decoder.set_frame_max(found.frame_max)
    session.decoder.channel_max = found.channel_max
    session.decoder.resume()
    if principal is not None:
        session.attachment = session.port.attach(session, principal, found.namespace)
        session.attachment.wait_for_catalogue()
    session.vhost = found.vhost
    session.state = states.OPEN
    session.next_deadline = 1.0
    for one in found.channels:
        session.last_stream += 1
        channel = Channel(one.number, session.last_stream)
        channel.confirming = one.confirming
        channel.confirmed_tag, channel.next_tag = one.confirmed_tag, one.next_tag
        channel.prefetch, channel.next_consumer = one.prefetch, one.next_consumer
        channel.last_queue = one.last_queue.decode("utf-8", "surrogateescape")
        session.channels[one.number] = session.by_stream[channel.stream] = channel
    if principal is None:
        handshake.shut_down(session, f"user '{found.name}' was deleted, or has other credentials")
    elif session.blocked_reason:
        handshake.tell_blocked(session, True, session.blocked_reason)
    session.take_in(session.decoder.push(found.octets))
