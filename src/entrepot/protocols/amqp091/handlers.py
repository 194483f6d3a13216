"""The methods of channels, exchanges, queues and consumers: one function a method, HANDLERS is the table.

A handler submits a call and says how its result is answered; until then the channel is held. What a handler raises closes the
channel (soft errors) or the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import DONE, Ask, Call, Publish, Settle, make_ask
from entrepot.protocols.amqp091 import handshake, moving, states
from entrepot.protocols.amqp091.channel import Channel
from entrepot.protocols.amqp091.events import AckRange, Control, NackRange, TooLarge
from entrepot.protocols.amqp091.methods import MethodFrame, decode, encode_frame
from entrepot.protocols.amqp091.outcomes import as_amqp
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode
from entrepot.protocols.amqp091.reply_to import DIRECT_REPLY_TO

if TYPE_CHECKING:
    from entrepot.protocols.amqp091.session import Session, Subscriber

Reply = Callable[["Session", Channel, Any], None]
"""Answers the client with a call's result."""

Handler = Callable[["Session", Channel, MethodFrame], None]


# ---- events


def on_control(session: Session, event: Control, handlers: dict[str, Handler]) -> None:
    """A method that is not hot, by its name in the table. Raises AmqpError."""
    if event.channel == 0:
        frame = decode(event.payload)
        if frame.method.name == "connection.close":
            handshake.close_requested(session, frame)
        elif frame.method.name == "connection.update_secret":
            send(session, 0, "connection.update_secret_ok")
        elif frame.method.class_id == 10:
            raise _command_invalid(frame, "unimplemented method")
        else:
            raise AmqpError(ReplyCode.CHANNEL_ERROR, "unexpected method in connection state running", frame.method.class_id, frame.method.method_id)
        return
    if event.method == _CHANNEL_OPEN:
        _open_channel(session, event.channel)
        return
    channel = session.channels.get(event.channel)
    if channel is None:
        raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", event.method >> 16, event.method & 0xFFFF)
    if channel.closing:
        if event.method == _CHANNEL_CLOSE_OK:
            _drop_channel(session, channel)
        elif event.method == _CHANNEL_CLOSE:
            send(session, channel.number, "channel.close_ok")
        return
    if (channel.waiting is not None or channel.deferred) and session.held_back(channel, event):
        return
    frame = decode(event.payload)
    handler = handlers.get(frame.method.name)
    if handler is None:
        raise _command_invalid(frame, "unimplemented method")
    if event.method == _BASIC_CONSUME and session.mover is not None and moving.consumes_elsewhere(session, channel, event, frame):
        return
    handler(session, channel, frame)


def _command_invalid(frame: MethodFrame, text: str) -> AmqpError:
    return AmqpError(ReplyCode.COMMAND_INVALID, text, frame.method.class_id, frame.method.method_id)


def on_other(session: Session, event: Any) -> None:
    """What is neither content nor a method. Raises AmqpError."""
    if isinstance(event, AmqpError):
        raise event
    if isinstance(event, TooLarge):
        channel = session.channels.get(event.channel)
        if channel is None:
            raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'")
        if session.held_back(channel, event):
            return
        limit = session.settings.message_size_max
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"message size {event.body_size} is larger than configured max size {limit}", 60, 40)
    raise AmqpError(ReplyCode.UNEXPECTED_FRAME, "a second protocol header")


def fail(session: Session, error: AmqpError, event: Any) -> None:
    """Answer what an event did wrong: close its channel, or the connection."""
    channel = session.channels.get(getattr(event, "channel", 0))
    if channel is None or error.closes_connection:
        handshake.close_with(session, error)
    else:
        _close_channel(session, channel, error)


def fail_on(session: Session, channel: Channel, error: AmqpError) -> None:
    """As fail(), for a channel that is known."""
    if error.closes_connection:
        handshake.close_with(session, error)
    else:
        _close_channel(session, channel, error)


def unknown_tag(tag: int, event: AckRange | NackRange) -> AmqpError:
    """What a settlement of something that is not out raises."""
    return AmqpError(ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {tag}", 60, method_of(event))


def method_of(event: AckRange | NackRange) -> int:
    """The id of the method that settled."""
    return event.method if isinstance(event, NackRange) else 80


def overrun(session: Session) -> bool:
    """See net.unfinished.Unfinished.share: the connection gives back what it has received."""
    error = session.decoder.overrun()
    if error is not None:
        handshake.close_with(session, error)
    return session.decoder.error is not None


def _close_channel(session: Session, channel: Channel, error: AmqpError) -> None:
    if channel.closing:
        return
    session.journal(f"{handshake.who(session)}: channel {channel.number} closed: {error.reply_text}")
    _release(session, channel)
    send(
        session,
        channel.number,
        "channel.close",
        reply_code=int(error.reply_code),
        reply_text=error.reply_text,
        class_id=error.class_id,
        method_id=error.method_id,
    )


def _release(session: Session, channel: Channel) -> None:
    """The channel's consumers and leases end; nothing that is under way for it is answered, or delivered to whoever has its number next."""
    channel.closing = True
    session.by_stream.pop(channel.stream, None)
    session.deferred_count -= len(channel.deferred)
    channel.deferred = []
    channel.waiting = None
    channel.unconfirmed = []
    if channel.transaction is not None:
        channel.transaction.end()
        channel.transaction = None
    update_paused(session)
    if session.attachment is not None:
        session.attachment.submit(make_ask(channel.stream, requests.CloseStream()))


def _drop_channel(session: Session, channel: Channel) -> None:
    session.channels.pop(channel.number, None)
    if session.recent is channel:
        session.recent = None


# ---- answers


def ask(session: Session, channel: Channel, frame: MethodFrame, request: Any, reply: Reply | None) -> None:
    """Submit a request; hold the channel until it completes, then reply (None: no-wait)."""
    call = make_ask(channel.stream, request)
    channel.waiting = (call, reply, frame.method)
    session.attachment.submit(call)


def _is_commit(waiting: tuple[Any, ...] | None) -> bool:
    """Whether a transaction is being done: it asks for itself what was asked of its publishes, and its own outcome is what counts."""
    return waiting is not None and isinstance(waiting[0].request, requests.CommitTogether)


def _failed_unawaited(call: Ask, waiting: tuple[Any, ...] | None) -> None:
    """A request is not done, whose answer no client waits for. Raises AmqpError where the channel cannot go on."""
    if isinstance(call.request, requests.CheckPublish) and not _is_commit(waiting):
        raise as_amqp(call, 60, 40)
    if isinstance(call.request, requests.Release):  # recover was answered, and a transaction may be under way: no more is known of either
        raise AmqpError(ReplyCode.INTERNAL_ERROR, f"what was to be delivered again is not known: {call.error}", 60, 110, channel_only=True)


def answered(session: Session, channel: Channel, call: Call) -> None:
    """A request has completed, or a settlement was refused. Raises AmqpError where it is not done."""
    if isinstance(call, Settle):
        raise as_amqp(call, 60, 120)
    waiting = channel.waiting
    if waiting is None or waiting[0] is not call:
        if isinstance(call, Ask) and call.outcome != DONE:
            _failed_unawaited(call, waiting)
        return
    _, reply, method = waiting
    channel.waiting = None
    if call.outcome != DONE:
        raise as_amqp(call, method.class_id, method.method_id)
    if reply is not None:
        reply(session, channel, call.result)
    session.wake()
    if channel.deferred:
        _replay(session, channel)


def _replay(session: Session, channel: Channel) -> None:
    """Go on with what arrived while the channel was held."""
    events = channel.deferred
    channel.deferred = []
    session.deferred_count -= len(events)
    session.come_next(events)
    update_paused(session)


def update_paused(session: Session) -> None:
    """Whether reading stops, by all that may hold it."""
    waits = session.throttled or session.authenticating or session.deferred_count >= DEFERRED_MAX
    paused = waits and session.state < states.CLOSING  # what ends a connection is always read, if in its turn
    paused = paused or len(session.backlog) > 0 or session.leaving is not None
    if session.paused != paused:
        session.paused = paused
        session.wake()


DEFERRED_MAX = 64


def send(session: Session, channel: int, name: str, **arguments: Any) -> None:
    """Put a method frame out."""
    session.output.raw(encode_frame(channel, name, **arguments))
    session.wake()


def _replying(name: str) -> Reply:
    def reply(session: Session, channel: Channel, result: Any) -> None:
        send(session, channel.number, name)

    return reply


def _reply_unless_nowait(frame: MethodFrame, reply: Reply) -> Reply | None:
    return None if frame["nowait"] else reply


# ---- channels


def _open_channel(session: Session, number: int) -> None:
    if number in session.channels:
        raise AmqpError(ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen", 20, 10)
    opened = len(session.channels)
    if opened >= session.channel_max:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"number of channels opened ({opened}) has reached the negotiated channel_max ({session.channel_max})")
    session.last_stream += 1
    channel = Channel(number, session.last_stream)
    session.channels[number] = channel
    session.by_stream[channel.stream] = channel
    send(session, number, "channel.open_ok")


def _channel_close(session: Session, channel: Channel, frame: MethodFrame) -> None:
    _release(session, channel)
    _drop_channel(session, channel)
    send(session, channel.number, "channel.close_ok")


def _channel_close_ok(session: Session, channel: Channel, frame: MethodFrame) -> None:
    """An answer to nothing: ignored."""


def _flow(session: Session, channel: Channel, frame: MethodFrame) -> None:
    if not frame["active"]:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "active=false", 20, 20)
    send(session, channel.number, "channel.flow_ok", active=True)


def _access(session: Session, channel: Channel, frame: MethodFrame) -> None:
    send(session, channel.number, "access.request_ok", ticket=1)


def _confirm_select(session: Session, channel: Channel, frame: MethodFrame) -> None:
    if channel.transaction is not None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from tx to confirm mode", 85, 10)
    channel.confirming = True
    if not frame["nowait"]:
        send(session, channel.number, "confirm.select_ok")


# ---- exchanges


def _exchange_declare(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.DeclareExchange(
        frame["exchange"], frame["type"], frame["passive"], frame["durable"], frame["auto_delete"], frame["internal"], frame["arguments"]
    )
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _replying("exchange.declare_ok")))


def _exchange_delete(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.DeleteExchange(frame["exchange"], frame["if_unused"])
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _replying("exchange.delete_ok")))


def _exchange_bind(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.Bind(frame["source"], frame["destination"], "exchange", frame["routing_key"], frame["arguments"])
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _replying("exchange.bind_ok")))


def _exchange_unbind(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.Bind(frame["source"], frame["destination"], "exchange", frame["routing_key"], frame["arguments"], remove=True)
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _replying("exchange.unbind_ok")))


# ---- queues


def _named_queue(channel: Channel, frame: MethodFrame) -> str:
    """The queue that a method means: an empty name is the last one declared on the channel (specification, queue.bind rule 'unnamed')."""
    name: str = frame["queue"]
    if name:
        return name
    if not channel.last_queue:
        raise AmqpError(ReplyCode.NOT_FOUND, "no previously declared queue", frame.method.class_id, frame.method.method_id)
    return channel.last_queue


def _queue_declare(session: Session, channel: Channel, frame: MethodFrame) -> None:
    nowait = frame["nowait"]

    def reply(session: Session, channel: Channel, result: Any) -> None:
        name, ready, consumers = result
        channel.last_queue = name
        if not nowait:
            send(session, channel.number, "queue.declare_ok", queue=name, message_count=min(ready, 0xFFFFFFFF), consumer_count=consumers)

    if frame["queue"] == DIRECT_REPLY_TO:
        reply(session, channel, (DIRECT_REPLY_TO, 0, 1))
        return
    request = requests.DeclareQueue(frame["queue"], frame["passive"], frame["durable"], frame["exclusive"], frame["auto_delete"], frame["arguments"])
    ask(session, channel, frame, request, reply)


def _queue_delete(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.DeleteQueue(_named_queue(channel, frame), frame["if_unused"], frame["if_empty"])
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _counted("queue.delete_ok")))


def _queue_purge(session: Session, channel: Channel, frame: MethodFrame) -> None:
    request = requests.PurgeQueue(_named_queue(channel, frame))
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _counted("queue.purge_ok")))


def _counted(name: str) -> Reply:
    def reply(session: Session, channel: Channel, count: int) -> None:
        send(session, channel.number, name, message_count=min(count, 0xFFFFFFFF))

    return reply


def _queue_bind(session: Session, channel: Channel, frame: MethodFrame) -> None:
    queue = _named_queue(channel, frame)
    routing_key = frame["routing_key"] or ("" if frame["queue"] else queue)
    request = requests.Bind(frame["exchange"], queue, "queue", routing_key, frame["arguments"])
    ask(session, channel, frame, request, _reply_unless_nowait(frame, _replying("queue.bind_ok")))


def _queue_unbind(session: Session, channel: Channel, frame: MethodFrame) -> None:
    queue = _named_queue(channel, frame)
    routing_key = frame["routing_key"] or ("" if frame["queue"] else queue)
    request = requests.Bind(frame["exchange"], queue, "queue", routing_key, frame["arguments"], remove=True)
    ask(session, channel, frame, request, _replying("queue.unbind_ok"))


# ---- consumers


def _qos(session: Session, channel: Channel, frame: MethodFrame) -> None:
    if frame["prefetch_size"]:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, f"prefetch_size!=0 ({frame['prefetch_size']})", 60, 10)
    limit = frame["prefetch_count"]
    if not frame["global_qos"]:
        channel.prefetch, limit = limit, 0  # RabbitMQ lifts the channel's own limit with it
        if not channel.limited:
            send(session, channel.number, "basic.qos_ok")
            return
    channel.limited = limit > 0
    ask(session, channel, frame, requests.StreamLimit(limit), _replying("basic.qos_ok"))


def _capped(prefetch: int, most: int) -> int:
    """A consumer's prefetch under the broker's limit; 0 is no limit, for either."""
    return min(prefetch, most) if prefetch and most else prefetch or most


def _consume(session: Session, channel: Channel, frame: MethodFrame) -> None:
    from entrepot.protocols.amqp091.session import Subscriber

    queue = _named_queue(channel, frame)
    tag = frame["consumer_tag"]
    if not tag:
        tag = f"amq.ctag-{channel.stream}.{channel.next_consumer}"
        channel.next_consumer += 1
    if tag in channel.consumers:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'", 60, 20)
    arguments = frame["arguments"]
    priority = arguments.get("x-priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "invalid arg 'x-priority': expected an integer", 60, 20)
    subscriber = Subscriber(channel, tag.encode("utf-8", "surrogateescape"), frame["no_ack"])
    nowait = frame["nowait"]

    def reply(session: Session, channel: Channel, consumer_id: int) -> None:
        subscriber.consumer_id = consumer_id
        if not nowait:
            send(session, channel.number, "basic.consume_ok", consumer_tag=tag)

    if queue == DIRECT_REPLY_TO:
        _consume_replies(session, channel, frame, subscriber, reply)
        return
    channel.consumers[tag] = subscriber
    request = requests.Consume(
        queue,
        subscriber,
        _capped(channel.prefetch, session.settings.consumer_prefetch_max),
        frame["no_ack"],
        frame["exclusive"],
        max(-0x80000000, min(priority, 0x7FFFFFFF)),
        stream_start(arguments.get("x-stream-offset", "next")),
        arguments,
    )
    ask(session, channel, frame, request, reply)


def _consume_replies(session: Session, channel: Channel, frame: MethodFrame, subscriber: Subscriber, reply: Reply) -> None:
    if not frame["no_ack"]:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer cannot acknowledge", 60, 20)
    if channel.reply_consumer is not None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer already set", 60, 20)
    channel.consumers[subscriber.tag.decode("utf-8", "surrogateescape")] = subscriber
    channel.reply_consumer = subscriber

    def reply_with_queue(session: Session, channel: Channel, result: Any) -> None:
        consumer_id, name = result
        channel.reply_queue = bytes((len(name),)) + name.encode()
        reply(session, channel, consumer_id)

    ask(session, channel, frame, requests.ConsumeReplies(subscriber), reply_with_queue)


def _forget_consumer(channel: Channel, tag: str) -> Subscriber | None:
    subscriber: Subscriber | None = channel.consumers.pop(tag, None)
    if subscriber is not None and subscriber is channel.reply_consumer:
        channel.reply_consumer = None
        channel.reply_queue = b""
    return subscriber


def stream_start(value: Any) -> Any:
    """Where a stream begins, from an x-stream-offset: as requests.Consume.start, or an interval text as it is."""
    if isinstance(value, datetime):
        return "time", int(value.astimezone(UTC).timestamp() * 1000)
    return value


def _cancel(session: Session, channel: Channel, frame: MethodFrame) -> None:
    tag = frame["consumer_tag"]
    subscriber = _forget_consumer(channel, tag)

    def reply(session: Session, channel: Channel, result: Any) -> None:
        send(session, channel.number, "basic.cancel_ok", consumer_tag=tag)

    if subscriber is None:
        if not frame["nowait"]:
            reply(session, channel, None)
        return
    ask(session, channel, frame, requests.Cancel(subscriber.consumer_id), _reply_unless_nowait(frame, reply))


def _cancel_ok(session: Session, channel: Channel, frame: MethodFrame) -> None:
    """The client has noted that its consumer was cancelled."""


def _get(session: Session, channel: Channel, frame: MethodFrame) -> None:
    ask(session, channel, frame, requests.Get(_named_queue(channel, frame), frame["no_ack"]), _got)


def _got(session: Session, channel: Channel, result: Any) -> None:
    if result is None:
        send(session, channel.number, "basic.get_empty")
    else:
        delivery, left = result
        session.deliver_got(channel, delivery, left)


def _recover(session: Session, channel: Channel, frame: MethodFrame) -> None:
    """What was delivered before the answer is given back, and what comes after it is not: a client has nothing else to tell them apart by.

    So the answer waits for nobody, as in RabbitMQ. Otherwise what is delivered meanwhile would seem to be given back, and would be settled unseen with
    the next tag that is settled with all before it.
    """
    if not frame["requeue"]:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "requeue=false", 60, frame.method.method_id)
    ranges = [(span.consumer_id, span.offset, span.count) for span in channel.settle_through(0)]  # not what a transaction has settled
    if frame.method.name == "basic.recover":
        send(session, channel.number, "basic.recover_ok")
    if ranges:
        session.attachment.submit(make_ask(channel.stream, requests.Release(ranges)))


def consumer_cancelled(session: Session, subscriber: Subscriber) -> None:
    """Its queue is gone: the client is told if it can understand that (consumer_cancel_notify).

    A client that waits for an answer on the channel hears that first, as from RabbitMQ: py-amqp takes a basic.cancel in its place for a failure.
    """
    channel = subscriber.channel
    if channel.waiting is not None:
        call, reply, method = channel.waiting

        def reply_first(session: Session, channel: Channel, result: Any) -> None:
            if reply is not None:
                reply(session, channel, result)
            consumer_cancelled(session, subscriber)

        channel.waiting = (call, reply_first, method)
        return
    tag = subscriber.tag.decode("utf-8", "surrogateescape")
    _forget_consumer(channel, tag)
    if not channel.closing and handshake.client_can(session, "consumer_cancel_notify"):
        send(session, channel.number, "basic.cancel", consumer_tag=tag, nowait=True)


# ---- publishing


def return_one(session: Session, channel: Channel, call: Publish, index: int, template: bytes) -> None:
    """basic.return of one record of a run."""
    position = 0
    data = call.data
    for _ in range(index):
        position += 8 + int.from_bytes(data[position : position + 4], "big") + int.from_bytes(data[position + 4 : position + 8], "big")
    session.output.deliver(data, position, 1, template, -1, 0, channel.number, session.frame_max)


def throttle(session: Session, blocked: bool, reason: str) -> None:
    """Stop reading for a moment; or, with a reason, tell a client that understands it (connection.blocked)."""
    if not reason:
        session.throttled = blocked
        update_paused(session)
        return
    was, session.blocked_reason = session.blocked_reason, reason if blocked else ""
    if bool(was) != blocked and session.state == states.OPEN:
        handshake.tell_blocked(session, blocked, reason)


_CHANNEL_OPEN = 20 << 16 | 10
_CHANNEL_CLOSE = 20 << 16 | 40
_CHANNEL_CLOSE_OK = 20 << 16 | 41
_BASIC_CONSUME = 60 << 16 | 20

HANDLERS: dict[str, Handler] = {
    "channel.close": _channel_close,
    "channel.close_ok": _channel_close_ok,
    "channel.flow": _flow,
    "access.request": _access,
    "confirm.select": _confirm_select,
    "exchange.declare": _exchange_declare,
    "exchange.delete": _exchange_delete,
    "exchange.bind": _exchange_bind,
    "exchange.unbind": _exchange_unbind,
    "queue.declare": _queue_declare,
    "queue.delete": _queue_delete,
    "queue.purge": _queue_purge,
    "queue.bind": _queue_bind,
    "queue.unbind": _queue_unbind,
    "basic.qos": _qos,
    "basic.consume": _consume,
    "basic.cancel": _cancel,
    "basic.cancel_ok": _cancel_ok,
    "basic.get": _get,
    "basic.recover": _recover,
    "basic.recover_async": _recover,
}
