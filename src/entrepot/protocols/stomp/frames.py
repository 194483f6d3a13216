"""Frames that ask something of the broker: one generator a frame, COMMANDS is the table.

A generator yields requests of the port (broker/calls/requests.py) and is given their results; a NotDone that it does not catch, and a StompError, end the
connection with an ERROR. When it is through, the frame's RECEIPT goes out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import make_ask, make_settle
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.stomp import browsing, destinations, handshake, rewriting
from entrepot.protocols.stomp.destinations import EXCHANGE, EXISTING, QUEUE, SEVERAL, SUBJECT, TEMPORARY, TOPIC_EXCHANGE, Destination
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import TEMP_REPLY, Frame, SendRun
from entrepot.protocols.stomp.headers import V10, encode
from entrepot.protocols.stomp.staging import TRANSACTIONS_MAX, Transaction
from entrepot.protocols.stomp.subscription import AUTO, CLIENT, INDIVIDUAL, Span, Subscription

if TYPE_CHECKING:
    from entrepot.protocols.stomp.session import Session, Steps

TEMPORARIES_MAX = 1000  # temporary queues of one connection
STREAM_PREFETCH = 1000  # messages that are out, where a stream's reader says nothing of it
ID_MAX = 1024  # octets of the id of a subscription or transaction
KNOWN_MAX = 4096
STREAM = 1  # all that a connection asks is one stream of the port
UNSUPPORTED = {  # headers of SUBSCRIBE that would change what is delivered
    "selector": "Selectors are not supported yet.",
    "activemq.noLocal": "noLocal is not supported.",
    "no-local": "no-local is not supported.",
    "activemq.retroactive": "Retroactive consumers are not supported: read a stream, with x-stream-offset.",
}
NUMBERS = ("x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-message-ttl", "x-delivery-limit")
TEXTS = ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-overflow", "x-queue-type", "x-max-age")
FLAGS = ("x-single-active-consumer",)
EXCLUSIVE = "activemq.exclusive"  # one consumer of the queue is served, by priority and then age
TEMPORARY_TOPICS = ("/temp-topic/", "temp-topic://")
DURABLE_PREFIX = "stomp:"  # of the queue of a durable subscription that a client-id has to itself


def steps_of(session: Session, frame: Frame) -> Steps | None:
    """What a frame does; None: all of it is done. Raises StompError."""
    found: Steps | None = COMMANDS[frame.command](session, frame)
    return found


# ---- queues that SEND and SUBSCRIBE need


def before_send(session: Session, destination: Destination, run: SendRun) -> Steps | None:
    """What is to be made before a run of SENDs; None: nothing."""
    if destination.kind == TEMPORARY and run.destination.decode() not in session.temporaries:
        return _make_temporary(session, run.destination.decode())
    if run.flags & TEMP_REPLY:
        read = {subscription.queue for subscription in session.subscriptions.values()}
        texts = [name.decode() for name in rewriting.temporary_replies(run.data, run.count)]
        for text in texts:
            if text.startswith(TEMPORARY_TOPICS):
                temporary_topic(session, text)
        unread = [text for text in texts if not text.startswith(TEMPORARY_TOPICS) and session.temporaries.get(text) not in read]
        if unread:
            return _take_replies(session, unread)
    wanted = destination.several or (destination,)
    missing = [one.name for one in wanted if one.kind == QUEUE and one.name not in session.known_queues]
    return _make_queues(session, missing) if missing else None


def reply_names(session: Session) -> dict[bytes, bytes]:
    """What stands in a message for each temporary queue of the connection."""
    queues = {text.encode(): destinations.reply_destination(queue.encode()) for text, queue in session.temporaries.items()}
    return queues | {text.encode(): f"/topic/{key}".encode() for text, key in session.temporary_topics.items()}


def temporary_topic(session: Session, text: str) -> Destination:
    """What a temporary topic of this connection stands for: a key of amq.topic that nobody guesses. Raises StompError."""
    key = session.temporary_topics.get(text)
    if key is None:
        if len(session.temporary_topics) >= TEMPORARIES_MAX:
            raise StompError("too many temporary topics", f"A connection has at most {TEMPORARIES_MAX}.")
        key = session.temporary_topics[text] = f"temp.{session.name}.{len(session.temporary_topics) + 1}"
    return Destination(SUBJECT, TOPIC_EXCHANGE, key)


def _make_queues(session: Session, names: list[str]) -> Steps:
    for name in names:
        yield from _make_queue(session, name, {})


def _make_queue(session: Session, name: str, said: dict[str, str]) -> Steps:
    """The queue, or topic, of that name is there afterwards."""
    arguments = _arguments(said)
    request = requests.DeclareQueue(name, durable=_flag(said, "durable", True), exclusive=_flag(said, "exclusive", False), arguments=arguments)
    request.auto_delete = _flag(said, "auto-delete", False)
    is_plain = not arguments and request.durable and not request.exclusive and not request.auto_delete
    if is_plain:
        try:
            yield requests.DeclareQueue(name, passive=True)
        except Refused as refused:
            if refused.reason is not Reason.NOT_FOUND:
                raise
            is_plain = False
    if not is_plain:
        yield request
    if len(session.known_queues) >= KNOWN_MAX:
        session.known_queues.clear()
    session.known_queues.add(name)


def _make_temporary(session: Session, text: str) -> Steps:
    """A queue of this connection alone."""
    if text not in session.temporaries:
        if len(session.temporaries) >= TEMPORARIES_MAX:
            raise StompError("too many temporary queues", f"A connection has at most {TEMPORARIES_MAX}.")
        name, _, _ = yield requests.DeclareQueue("", exclusive=True, auto_delete=False)
        session.temporaries[text] = name


def _take_replies(session: Session, texts: list[str]) -> Steps:
    """As RabbitMQ does: who wants replies at a temporary queue that nobody reads is subscribed to it, under its name."""
    for text in texts:
        yield from _make_temporary(session, text)
        subscription = _new(session, text, text, text, AUTO)
        subscription.temporary = text
        subscription.queue = session.temporaries[text]
        yield from _consume(session, subscription, {}, None)


def _flag(said: dict[str, str], name: str, default: bool) -> bool:
    value = said.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise StompError("malformed header", f"The header {name} is neither true nor false.")
    return value == "true"


def _number(said: dict[str, str], name: str, least: int = 0) -> int | None:
    value = said.get(name)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 18 or int(value) < least:
        raise StompError("malformed header", f"The header {name} is no number from {least} on.")
    return int(value)


def _arguments(said: dict[str, str]) -> dict[str, Any]:
    """A queue's arguments, as RabbitMQ's clients give them in headers. Raises StompError."""
    arguments: dict[str, Any] = {name: said[name] for name in TEXTS if name in said}
    for name in NUMBERS:
        number = _number(said, name)
        if number is not None:
            arguments[name] = number
    for name in FLAGS:
        if name in said:
            arguments[name] = _flag(said, name, False)
    if _flag(said, EXCLUSIVE, False):
        arguments["x-single-active-consumer"] = True
    return arguments


# ---- SUBSCRIBE


def _subscribe(session: Session, frame: Frame) -> Steps:
    said = frame.headers
    for name, why in UNSUPPORTED.items():
        if said.get(name, "").strip() not in ("", "false"):
            raise StompError("not supported", why)
    text = said.get("destination", "")
    if not text:
        raise StompError("missing destination", "SUBSCRIBE needs the header destination.")
    destination = session.destination(text.encode())
    if destination.kind == SEVERAL:
        raise StompError("not supported", "A subscription has one destination.")
    browses = _flag(said, "browser", False)
    if browses:
        _check_browser(session, destination)
    elif destination.kind == EXISTING and _flag(said, EXCLUSIVE, False):
        raise StompError("not supported", f"{EXCLUSIVE} is of a queue that SUBSCRIBE may declare: /queue/NAME.")
    mode = said.get("ack", AUTO)
    if mode not in (AUTO, CLIENT) and (mode != INDIVIDUAL or session.version == V10):
        raise StompError("malformed header", f"ack is not {AUTO}, {CLIENT} or (from 1.1 on) {INDIVIDUAL}.")
    replaced = session.subscriptions.get(text)
    if destination.kind == TEMPORARY and replaced is not None and replaced.temporary == text and said.get("id") != text:
        yield from _end(session, replaced)  # it was made for the replies; from now on its client reads them itself
    subscription = _new(session, _key(session, said), said.get("id"), text, AUTO if browses else mode)
    try:
        durable = durable_queue(session, said, destination)
        if destination.kind in (SUBJECT, EXCHANGE):
            yield from _bind(session, subscription, said, destination, durable)
        elif destination.kind == TEMPORARY:
            yield from _make_temporary(session, text)
            subscription.queue = session.temporaries[text]
        else:
            subscription.queue = destination.name
            if destination.kind == QUEUE:
                yield from _make_queue(session, destination.name, said)
        if browses:
            yield from browsing.begin(session, subscription)
            session.receipt(frame)
            said.pop("receipt", None)
            browsing.start(session, subscription)
            return
        if "receipt" in said:
            subscription.receipt = encode("RECEIPT", [("receipt-id", said["receipt"])], session.version)
        yield from _consume(session, subscription, said, durable)
    except (StompError, Refused):
        _forget(session, subscription)
        raise
    if "receipt" in said and not subscription.receipt:
        del said["receipt"]  # it went out before the first MESSAGE
    subscription.receipt = b""


def _check_browser(session: Session, destination: Destination) -> None:
    """Raises StompError."""
    if destination.kind in (SUBJECT, EXCHANGE):
        raise StompError("not supported", "A browser looks at a queue.")
    browsing.check(session)


def _key(session: Session, said: dict[str, str]) -> str:
    """What UNSUBSCRIBE finds a subscription by: its id or, before 1.1, its destination. Raises StompError."""
    key = said.get("id")
    if key is None:
        if session.version != V10:
            raise StompError("missing id", "SUBSCRIBE and UNSUBSCRIBE need the header id.")
        key = said.get("destination", "")
    if len(key.encode()) > ID_MAX:
        raise StompError("header too long", f"An id has more than {ID_MAX} octets.")
    return key


def _new(session: Session, key: str, subscription_id: str | None, destination: str, mode: str) -> Subscription:
    if key in session.subscriptions:
        raise StompError("subscription exists", f"There is a subscription '{key[:100]}' on this connection already.")
    session.last_number += 1
    subscription = Subscription(session.last_number, key, subscription_id, destination, mode, session.version, session.decoder.ack_prefix)
    session.subscriptions[key] = subscription
    session.by_number[subscription.number] = subscription
    return subscription


def _forget(session: Session, subscription: Subscription) -> None:
    subscription.ended = True
    session.by_number.pop(subscription.number, None)
    if session.subscriptions.get(subscription.key) is subscription:
        del session.subscriptions[subscription.key]


def durable_queue(session: Session, said: dict[str, str], destination: Destination | None) -> str | None:
    """The queue of a durable subscription; None: it is not one. Raises StompError.

    ActiveMQ's and Artemis's clients name it, RabbitMQ's have `durable:true` (or `persistent:true`) and an id that lasts.
    """
    name = next((said[header] for header in ("activemq.subscriptionName", "durable-subscription-name", "durable-subscriber-name") if header in said), None)
    if name is not None:
        if destination is not None and destination.kind not in (SUBJECT, EXCHANGE):
            raise StompError("not supported", "A durable subscription is one to a topic.")
        if not session.client_id or not name:
            raise StompError("missing client-id", "A durable subscription needs the header client-id of CONNECT, and a name.")
        return _fitting(f"{DURABLE_PREFIX}{_part(session.client_id)}:{_part(name)}")
    is_topic = destination is None or destination.kind in (SUBJECT, EXCHANGE)
    if is_topic and (_flag(said, "durable", False) or _flag(said, "persistent", False)) and not _flag(said, "auto-delete", False):
        if "x-queue-name" in said:
            return _fitting(said["x-queue-name"])
        digest = hashlib.sha256(f"{said.get('destination', '')}\0{said.get('id', '')}".encode()).digest()
        return "stomp-subscription-" + base64.urlsafe_b64encode(digest[:18]).decode()
    return None


def _part(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")


def _fitting(name: str) -> str:
    if not name or len(name.encode()) > 255:
        raise StompError("malformed header", "The name of a subscription's queue has none or more than 255 octets.")
    return name


def _bind(session: Session, subscription: Subscription, said: dict[str, str], destination: Destination, durable: str | None) -> Steps:
    """A queue of the subscription's own, bound to where it listens."""
    if durable is None:
        request = requests.DeclareQueue(said.get("x-queue-name", ""), exclusive=True, auto_delete=True, arguments=_arguments(said))
    else:
        request = requests.DeclareQueue(durable, durable=True, arguments=_arguments(said))
    if durable is None or request.arguments:
        subscription.queue, _, _ = yield request
    else:
        subscription.queue = yield from _keep(session, request)
    yield requests.Bind(destination.name, subscription.queue, "queue", destination.pattern)


def _keep(session: Session, request: requests.DeclareQueue) -> Generator[Any, Any, str]:
    """The queue of a durable subscription that says nothing of it: as it is, but for its limits, or with those of such. Its name."""
    settings = session.settings
    if settings.kept_max:
        request.arguments = {"x-max-length": settings.kept_max, "x-kept-bytes": settings.kept_bytes_max}
    try:
        name, _, _ = yield request
    except Refused as refused:
        if refused.reason is not Reason.EXISTS_DIFFERENT or not any(f"'{name}'" in str(refused) for name in request.arguments):
            raise  # such as: it is not durable
        name, _, _ = yield requests.DeclareQueue(request.name, passive=True)
    return str(name)


def _consume(session: Session, subscription: Subscription, said: dict[str, str], durable: str | None) -> Steps:
    prefetch = min(max(_number(said, "activemq.prefetchSize", -1) or _number(said, "prefetch-count", -1) or 0, 0), 0x7FFFFFFF)
    most = session.settings.prefetch_max
    priority = _number(said, "activemq.priority", -0x80000000) or _number(said, "x-priority", -0x80000000) or 0
    arguments = {name: said[name] for name in ("x-stream-partition",) if name in said}
    request = requests.Consume(
        subscription.queue,
        subscription,
        min(prefetch, most) if prefetch and most else prefetch or most,
        subscription.mode == AUTO,
        durable is not None and durable.startswith(DURABLE_PREFIX),
        min(priority, 0x7FFFFFFF),
        _start(said.get("x-stream-offset", "next")),
        arguments,
    )
    try:
        subscription.consumer_id = yield request
    except Refused as refused:  # of a stream each reader acknowledges, and has a limit: where its client does neither, it is done here
        if refused.reason is not Reason.NOT_SUPPORTED and (refused.reason is not Reason.INVALID or request.limit):
            raise
        subscription.consumer_id = yield msgspec.structs.replace(request, limit=request.limit or STREAM_PREFETCH, auto_settle=False)


def _start(text: str) -> Any:
    """Where a stream begins, as RabbitMQ's clients say it: first, last, next, offset=N, timestamp=SECONDS. Raises StompError."""
    what, equals, number = text.partition("=")
    if not equals:
        return what
    if what not in ("offset", "timestamp") or not number.isdecimal() or not number.isascii() or len(number) > 15:
        raise StompError("malformed header", "x-stream-offset is not first, last, next, offset=N or timestamp=N.")
    return int(number) if what == "offset" else ("time", int(number) * 1000)


# ---- UNSUBSCRIBE


def _unsubscribe(session: Session, frame: Frame) -> Steps:
    said = frame.headers
    durable = durable_queue(session, said, None)
    key = said.get("id")
    subscription = session.subscriptions.get(_key(session, said)) if key is not None or durable is None else None
    if subscription is None and durable is None:
        raise StompError("no such subscription", "There is no such subscription on this connection.")
    if subscription is not None:
        yield from _end(session, subscription)
        if durable is not None and "activemq.subscriptionName" not in said:
            durable = subscription.queue
    if durable is not None:
        yield requests.DeleteQueue(durable)


def _end(session: Session, subscription: Subscription) -> Steps:
    """No more is delivered; what is out and not settled is to be delivered again, to somebody."""
    _forget(session, subscription)
    if subscription.browser is not None:
        browsing.end(session, subscription)
        return
    yield requests.Cancel(subscription.consumer_id)
    give_back(session, subscription.take_all())


def give_back(session: Session, spans: list[Span]) -> None:
    """Release these, to be delivered again."""
    if spans:
        session.attachment.submit(make_ask(STREAM, requests.Release([(span.consumer_id, span.offset, span.count) for span in spans])))


# ---- transactions


def _name_of(frame: Frame) -> bytes:
    name = frame.headers.get("transaction", "").encode()
    if not name:
        raise StompError("missing transaction", f"{frame.command} needs the header transaction.")
    if len(name) > ID_MAX:
        raise StompError("header too long", f"An id has more than {ID_MAX} octets.")
    return name


def _begin(session: Session, frame: Frame) -> None:
    name = _name_of(frame)
    if name in session.transactions:
        raise StompError("transaction exists", f"There is an open transaction '{name.decode()[:100]}' already.")
    if len(session.transactions) >= TRANSACTIONS_MAX:
        raise StompError("too many transactions", f"A connection has at most {TRANSACTIONS_MAX} open transactions.")
    if session.staging is None and session.unfinished is not None:
        session.staging = session.unfinished.share(partial(_give_up, session))
    session.transactions[name] = Transaction(session.staging, session.settings.message_size_max)


def _give_up(session: Session) -> bool:
    """See net.unfinished.Unfinished.share."""
    what = "Transactions of all connections hold more than limits.unfinished_bytes, and this connection's have gone without a commit for longest."
    session.fail(StompError("transaction too large", what))
    return True


def _commit(session: Session, frame: Frame) -> Steps:
    transaction = session.transaction(_name_of(frame))
    del session.transactions[_name_of(frame)]
    transaction.complete()
    transaction.end()
    settlements = [make_settle(STREAM, span.consumer_id, span.offset, span.count, disposition) for _, span, disposition in transaction.settled]
    yield requests.CommitTogether(transaction.publishes, settlements, all_routed=True)


def _abort(session: Session, frame: Frame) -> None:
    """What was sent is forgotten; what was settled is unsettled again, and is not delivered again by itself unless its subscription has ended."""
    transaction = session.transaction(_name_of(frame))
    del session.transactions[_name_of(frame)]
    transaction.end()
    for subscription, span, _ in transaction.settled:
        if subscription.ended:
            give_back(session, [span])
        else:
            subscription.put_back([span])


def _disconnect(session: Session, frame: Frame) -> None:
    """Its RECEIPT says that all before it is done: it waits for what is on its way to the disk."""
    session.state = handshake.LEAVING
    session.step_frame = Frame(frame.command, dict(frame.headers), 0)
    frame.headers.pop("receipt", None)
    if not session.sent:
        session.leave()


COMMANDS: dict[str, Callable[[Any, Frame], Any]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "BEGIN": _begin,
    "COMMIT": _commit,
    "ABORT": _abort,
    "DISCONNECT": _disconnect,
}
