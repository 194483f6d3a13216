import pytest
from memory_state import LogIds, MemoryState

from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.definitions import QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.kept_definitions import QUEUE_KEY, encode_value, named_key
from entrepot.broker.catalogue.queue_arguments import QueuePolicy
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.model.errors import CorruptData, Reason, Refused

NS = "public/default"
A, B = (b"start", 1), (b"start", 2)  # connections
LOCKED_TEXT = (
    "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection "
    "or the exclusive property value does not match that of the original declaration."
)


class Broker:
    def __init__(self, state=None, limits=None):
        self.state = state or MemoryState()
        self.decisions = Decisions.over(CatalogueStream(self.state), LogIds(), limits)
        self.catalogue = self.decisions.catalogue
        self.ns = self.catalogue.namespace(NS)

    def exchange(self, name, exchange_type="direct", durable=True, auto_delete=False, internal=False, **arguments):
        return self.decisions.declare_exchange(
            NS, name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=dashed(arguments)
        )

    def queue(self, name, durable=True, exclusive=False, auto_delete=False, connection=A, arguments=None):
        return self.decisions.declare_queue(
            NS,
            name,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments or {},
            connection=connection,
        )

    def bind(self, queue, exchange, key="", arguments=None, connection=A):
        return self.decisions.bind_queue(NS, queue, exchange, key, arguments or {}, connection)

    def unbind(self, queue, exchange, key="", arguments=None, connection=A):
        return self.decisions.unbind_queue(NS, queue, exchange, key, arguments or {}, connection)

    def routed(self, exchange, key):
        return [target.name for target in self.ns.router.route(exchange, key).targets]

    def restarted(self):
        return Broker(self.state)

    def names(self):
        bindings = [f"{source} -> {kind} {name} {key}".rstrip() for source, kind, name, key, _ in self.ns.bindings]
        return {*self.ns.queues, *self.ns.topics, *self.ns.exchanges, *bindings}

    def gone(self, remove, *arguments, **more):
        """Names of what a removal took along."""
        before = self.names()
        remove(*arguments, **more)
        return sorted(before - self.names())


def dashed(arguments):
    return {name.replace("_", "-"): value for name, value in arguments.items()}


@pytest.fixture
def broker():
    return Broker()


def refused(reason, text):
    class Check:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert isinstance(error, Refused), f"expected Refused, got {error!r}"
            assert (error.reason, str(error)) == (reason, text)
            return True

    return Check()


def test_declaring_again_gives_the_same_queue(broker):
    first, created = broker.queue("q")
    again, created_again = broker.queue("q")
    assert created
    assert not created_again
    assert again is first
    assert len(first.log_id) == 16


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"durable": False}, "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"),
        ({"auto_delete": True}, "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"),
        (
            {"arguments": {"x-message-ttl": 5}},
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none",
        ),
        (
            {"arguments": {"x-queue-type": "quorum"}},
            "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
        ),
    ],
)
def test_declaring_again_otherwise_is_refused(broker, change, text):
    broker.queue("q")
    with refused(Reason.EXISTS_DIFFERENT, text):
        broker.queue("q", **change)


def test_arguments_compare_by_class_and_unknown_ones_not_at_all(broker):
    broker.queue("q", arguments={"x-message-ttl": 5, "x-foo": 1})
    broker.queue("q", arguments={"x-message-ttl": 5, "x-foo": 2})
    with refused(Reason.EXISTS_DIFFERENT, "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '6' but current is '5'"):
        broker.queue("q", arguments={"x-message-ttl": 6})
    with refused(
        Reason.EXISTS_DIFFERENT,
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'",
    ):
        broker.queue("q")


_KEPT = (
    "invalid arg 'x-kept-bytes' for queue 'q' in vhost '/': "
    "it needs x-max-length, and goes with no other x-overflow, x-max-length-bytes, x-max-priority or x-dead-letter-exchange"
)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"x-message-ttl": -1}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}"),
        ({"x-message-ttl": "1"}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\""),
        ({"x-message-ttl": True}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got bool\""),
        ({"x-message-ttl": 1 << 40}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,1099511627776}"),
        ({"x-expires": 0}, "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
        ({"x-overflow": "explode"}, "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
        ({"x-dead-letter-exchange": 1}, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"),
        ({"x-dead-letter-routing-key": "k"}, "invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined"),
        ({"x-queue-type": "bogus"}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'bogus'\""),
        ({"x-max-age": "1h"}, "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"),
        ({"x-queue-type": "stream", "x-message-ttl": 1}, "invalid arg 'x-message-ttl' for queue 'q' in vhost '/' of queue type rabbit_stream_queue"),
        ({"x-queue-type": "stream", "x-max-age": "1 h"}, "invalid arg 'x-max-age' for queue 'q' in vhost '/': invalid_max_age"),
        ({"x-queue-type": []}, "invalid arg 'x-queue-type' for queue 'q' in vhost '/': {unacceptable_type,array}"),
        ({"x-queue-mode": "odd"}, "invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \"unsupported queue mode 'odd'\""),
        ({"x-queue-version": 3}, "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '3'\""),
        ({"x-delivery-limit": -1}, "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"),
        ({"x-queue-type": "quorum", "x-quorum-initial-group-size": 0}, "invalid arg 'x-quorum-initial-group-size' for queue 'q' in vhost '/': {value_zero,0}"),
        (
            {"x-queue-type": "quorum", "x-queue-leader-locator": "odd"},
            "invalid arg 'x-queue-leader-locator' for queue 'q' in vhost '/': invalid_queue_locator_arg",
        ),
        ({"x-max-priority": 256}, "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}"),
        ({"x-single-active-consumer": 1}, "invalid arg 'x-single-active-consumer' for queue 'q' in vhost '/': {unacceptable_type,signedint}"),
        ({"x-kept-bytes": 1}, _KEPT),
        ({"x-kept-bytes": 1, "x-max-length": 1, "x-overflow": "reject-publish"}, _KEPT),
        ({"x-kept-bytes": 1, "x-max-length": 1, "x-max-length-bytes": 1}, _KEPT),
        ({"x-kept-bytes": 1, "x-max-length": 1, "x-max-priority": 1}, _KEPT),
        ({"x-kept-bytes": 1, "x-max-length": 1, "x-dead-letter-exchange": "d"}, _KEPT),
    ],
)
def test_arguments_that_cannot_be(broker, arguments, wrong):
    with refused(Reason.INVALID, wrong):
        broker.queue("q", arguments=arguments)
    assert broker.ns.queues == {}
    assert broker.state.values == {}


def test_arguments_become_the_policy(broker):
    queue, _ = broker.queue(
        "q",
        arguments={
            "x-message-ttl": 1000,
            "x-expires": 2000,
            "x-max-length": 10,
            "x-max-length-bytes": 1 << 40,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
            "x-single-active-consumer": True,
            "x-queue-type": "quorum",
            "x-delivery-limit": 3,
        },
    )
    assert queue.policy == QueuePolicy("quorum", 1000, 2000, 10, 1 << 40, "reject-publish-dlx", "", "dead", True, 3)


def test_a_negative_delivery_limit_is_none(broker):
    assert broker.queue("q", arguments={"x-queue-type": "quorum", "x-delivery-limit": -1})[0].policy.delivery_limit is None


def test_classic_said_or_not_is_the_same(broker):
    queue, _ = broker.queue("q")
    assert broker.queue("q", arguments={"x-queue-type": "classic"}) == (queue, False)


@pytest.mark.parametrize("queue_type", ["quorum", "stream"])
@pytest.mark.parametrize(
    ("change", "name"), [({"durable": False}, "non-durable"), ({"exclusive": True}, "exclusive-owner"), ({"auto_delete": True}, "auto-delete")]
)
def test_quorum_queues_and_streams_are_durable_and_shared(broker, queue_type, change, name):
    with refused(Reason.INVALID, f"invalid property '{name}' for queue 'q' in vhost '/'"):
        broker.queue("q", arguments={"x-queue-type": queue_type}, **change)


def test_exclusive_queues_are_locked_to_their_connection(broker):
    queue, _ = broker.queue("q", exclusive=True, connection=A)
    broker.queue("q", exclusive=True, connection=A)
    assert broker.catalogue.find_queue(NS, "q", A) is queue
    for attempt in (
        lambda: broker.queue("q", exclusive=True, connection=B),
        lambda: broker.queue("q", connection=B),
        lambda: broker.queue("q", connection=A),
        lambda: broker.catalogue.find_queue(NS, "q", B),
        lambda: broker.bind("q", "amq.direct", connection=B),
        lambda: broker.unbind("q", "amq.direct", connection=B),
        lambda: broker.decisions.delete_queue(NS, "q", connection=B),
    ):
        with refused(Reason.LOCKED, LOCKED_TEXT):
            attempt()
    assert broker.catalogue.exclusive_queues(A) == [queue]
    assert broker.catalogue.exclusive_queues(B) == []
    broker.decisions.remove_queue(queue)
    assert broker.catalogue.exclusive_queues(A) == []
    broker.queue("q", connection=B)


def test_a_shared_queue_declared_exclusive_is_locked(broker):
    broker.queue("q")
    with refused(Reason.LOCKED, LOCKED_TEXT):
        broker.queue("q", exclusive=True)


def test_reserved_names(broker):
    with refused(Reason.NOT_PERMITTED, "queue name 'amq.foo' contains reserved prefix 'amq.*'"):
        broker.queue("amq.foo")
    with refused(Reason.NOT_PERMITTED, "exchange name 'amq.foo' contains reserved prefix 'amq.*'"):
        broker.exchange("amq.foo")
    queue, _ = broker.queue("")
    assert queue.name.startswith("amq.gen-")
    assert len(queue.name) == 30
    assert broker.catalogue.find_queue(NS, queue.name, A) is queue
    with refused(Reason.NOT_PERMITTED, f"queue name '{queue.name}' contains reserved prefix 'amq.*'"):
        broker.queue(queue.name)
    assert broker.queue("")[0] is not queue
    assert broker.exchange("amq.topic", "topic") is broker.ns.exchanges["amq.topic"]
    with refused(Reason.NOT_PERMITTED, "deletion of system exchange 'amq.direct' in vhost '/' not allowed"):
        broker.decisions.delete_exchange(NS, "amq.direct")


def test_the_default_exchange_is_not_to_be_touched(broker):
    broker.queue("q")
    catalogue = broker.catalogue
    for attempt in (
        lambda: broker.exchange(""),
        lambda: catalogue.find_exchange(NS, ""),
        lambda: broker.decisions.delete_exchange(NS, ""),
        lambda: broker.bind("q", ""),
        lambda: broker.unbind("q", ""),
        lambda: broker.decisions.bind_exchange(NS, "", "amq.direct", "", {}),
        lambda: broker.decisions.bind_exchange(NS, "amq.direct", "", "", {}),
        lambda: broker.decisions.unbind_exchange(NS, "", "amq.direct", "", {}),
    ):
        with refused(Reason.NOT_PERMITTED, "operation not permitted on the default exchange"):
            attempt()
    assert broker.routed("", "q") == ["q"]
    assert broker.routed("", "r") == []


def test_what_is_not_there(broker):
    catalogue, decisions, ns = broker.catalogue, broker.decisions, broker.ns
    broker.queue("q")
    with refused(Reason.NOT_FOUND, "no queue 'x' in vhost '/'"):
        catalogue.find_queue(NS, "x", A)
    with refused(Reason.NOT_FOUND, "no exchange 'x' in vhost '/'"):
        catalogue.find_exchange(NS, "x")
    with refused(Reason.NOT_FOUND, "no queue 'x' in vhost '/'"):
        broker.bind("x", "y")
    with refused(Reason.NOT_FOUND, "no exchange 'y' in vhost '/'"):
        broker.bind("q", "y")
    with refused(Reason.NOT_FOUND, "no exchange 'y' in vhost '/'"):
        ns.router.route("y", "")
    with refused(Reason.NOT_FOUND, "vhost nope not found"):
        catalogue.namespace("public/nope")
    revision = catalogue.revision
    decisions.delete_queue(NS, "x", connection=A)
    decisions.delete_exchange(NS, "x")
    broker.unbind("x", "amq.direct")
    broker.unbind("q", "x")
    broker.unbind("q", "amq.direct")
    decisions.unbind_exchange(NS, "x", "y", "", {})
    assert catalogue.revision == revision


def test_exchange_declared_again(broker):
    exchange = broker.exchange("e", "topic", alternate_exchange="other")
    assert broker.exchange("e", "topic", alternate_exchange="other") is exchange
    text = "inequivalent arg '{}' for exchange 'e' in vhost '/': received '{}' but current is '{}'"
    with refused(Reason.EXISTS_DIFFERENT, text.format("type", "fanout", "topic")):
        broker.exchange("e", "fanout")
    with refused(Reason.EXISTS_DIFFERENT, text.format("durable", "false", "true")):
        broker.exchange("e", "topic", durable=False)
    with refused(Reason.EXISTS_DIFFERENT, text.format("internal", "true", "false")):
        broker.exchange("e", "topic", internal=True)
    with refused(Reason.EXISTS_DIFFERENT, text.format("alternate-exchange", "another", "other")):
        broker.exchange("e", "topic", alternate_exchange="another")
    with refused(Reason.NOT_SUPPORTED, "unknown exchange type 'bogus'"):
        broker.exchange("e2", "bogus")
    with refused(Reason.INVALID, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'e2' in vhost '/'"):
        broker.exchange("e2", "direct", alternate_exchange=1)


def test_conditional_deletes(broker):
    decisions, ns = broker.decisions, broker.ns
    broker.queue("q")
    broker.exchange("e")
    broker.bind("q", "e")
    with refused(Reason.IN_USE, "exchange 'e' in vhost '/' in use"):
        decisions.delete_exchange(NS, "e", if_unused=True)
    with refused(Reason.IN_USE, "queue 'q' in vhost '/' in use"):
        decisions.delete_queue(NS, "q", connection=A, if_unused=True, consumers=1)
    with refused(Reason.NOT_EMPTY, "queue 'q' in vhost '/' not empty"):
        decisions.delete_queue(NS, "q", connection=A, if_empty=True, messages=1)
    assert broker.gone(decisions.delete_queue, NS, "q", connection=A, if_empty=True, if_unused=True) == ["e -> queue q", "q"]
    assert broker.gone(decisions.delete_exchange, NS, "e", if_unused=True) == ["e"]
    assert ns.bindings == {}
    assert broker.state.values == {}


def test_auto_delete_exchanges_go_with_their_last_binding_and_take_others_along(broker):
    catalogue, decisions, ns = broker.catalogue, broker.decisions, broker.ns
    broker.queue("q")
    broker.exchange("first", "fanout", auto_delete=True)
    broker.exchange("second", "fanout", auto_delete=True)
    decisions.bind_exchange(NS, "second", "first", "", {})
    broker.bind("q", "second", "a")
    broker.bind("q", "second", "b")
    assert broker.gone(broker.unbind, "q", "second", "a") == ["second -> queue q a"]
    assert broker.gone(broker.unbind, "q", "second", "b") == ["first", "first -> exchange second", "second", "second -> queue q b"]
    assert ns.bindings == {}
    assert catalogue.statistics() == {"namespaces": 1, "exchanges": 0, "queues": 1, "topics": 0, "partitions": 0, "bindings": 0}


def test_deleting_a_queue_takes_its_bindings_and_unused_exchanges(broker):
    broker.queue("q")
    broker.exchange("auto", "topic", auto_delete=True)
    broker.bind("q", "auto", "#")
    broker.bind("q", "amq.fanout")
    queue = broker.ns.queues["q"]
    assert broker.gone(broker.decisions.delete_queue, NS, "q", connection=A) == ["amq.fanout -> queue q", "auto", "auto -> queue q #", "q"]
    assert broker.routed("amq.fanout", "") == []
    revision = broker.catalogue.revision
    broker.decisions.remove_queue(queue)
    assert broker.catalogue.revision == revision


def test_exchanges_in_a_ring_can_be_deleted(broker):
    for name in "ab":
        broker.exchange(name, "fanout", auto_delete=True)
    broker.decisions.bind_exchange(NS, "a", "b", "", {})
    broker.decisions.bind_exchange(NS, "b", "a", "", {})
    assert broker.gone(broker.decisions.delete_exchange, NS, "a") == ["a", "a -> exchange b", "b", "b -> exchange a"]
    assert broker.ns.bindings == {}


def test_binding_twice_is_one_binding_but_other_arguments_are_another(broker):
    broker.queue("q")
    assert broker.bind("q", "amq.direct", "k")[1]
    assert not broker.bind("q", "amq.direct", "k")[1]
    assert broker.bind("q", "amq.direct", "k", {"x": 1})[1]
    assert broker.routed("amq.direct", "k") == ["q"]
    broker.unbind("q", "amq.direct", "k")
    assert broker.routed("amq.direct", "k") == ["q"]
    broker.unbind("q", "amq.direct", "k", {"x": 1})
    assert broker.routed("amq.direct", "k") == []


def test_what_is_durable_survives_and_nothing_else(broker):
    kept, _ = broker.queue("kept", arguments={"x-message-ttl": 7, "x-max-length": 3, "x-note": {"deep": [1, b"\xff", None, 1.5, True, "\udcff"]}})
    broker.queue("transient", durable=False)
    broker.queue("exclusive", exclusive=True)
    broker.exchange("e", "headers", auto_delete=True, internal=True, alternate_exchange="amq.fanout")
    broker.exchange("passing", "fanout", durable=False)
    broker.bind("kept", "e", "", {"x-match": "any", "a": 1})
    broker.bind("kept", "amq.direct", "caf\udce9")
    broker.bind("kept", "amq.headers", "", {"\udcff": "\udcfe", "inner": {"\udcfd": 1}})
    broker.exchange("f", "fanout", **{"\udcff": "\udcfe"})
    broker.bind("transient", "amq.direct", "k")
    broker.bind("kept", "passing", "k")
    broker.decisions.bind_exchange(NS, "e", "amq.topic", "x.#", {})
    stream, _ = broker.queue("s", arguments={"x-queue-type": "stream", "x-max-age": "2h", "x-max-length-bytes": 100})
    topic, _ = broker.decisions.declare_topic(NS, "t", partitions=3, subject="elsewhere", max_age_ms=5)
    broker.decisions.create_namespace("tenant/space")
    broker.decisions.declare_queue("tenant/space", "kept", durable=True, exclusive=False, auto_delete=True, arguments={}, connection=A)

    again = broker.restarted()
    assert sorted(again.ns.queues) == ["kept"]
    assert sorted(again.ns.topics) == ["s", "t"]
    assert sorted(set(again.ns.exchanges) - set(Broker().ns.exchanges)) == ["e", "f"]
    assert again.ns.exchanges["f"].arguments == {"\udcff": "\udcfe"}
    assert again.ns.queues["kept"].log_id == kept.log_id
    assert again.ns.queues["kept"].arguments == kept.arguments
    assert again.ns.queues["kept"].policy == kept.policy
    e = again.ns.exchanges["e"]
    assert (e.type, e.auto_delete, e.internal, e.arguments) == ("headers", True, True, {"alternate-exchange": "amq.fanout"})
    assert sorted(again.ns.bindings) == sorted(binding.identity for binding in broker.ns.bindings.values() if binding.persistent)
    assert len(again.ns.bindings) == 4
    assert again.ns.topics["s"].partitions == stream.partitions
    assert again.ns.topics["s"].policy == stream.policy
    assert again.ns.topics["s"].policy.max_age_ms == 7_200_000
    assert again.ns.topics["t"].partitions == topic.partitions
    assert (again.ns.topics["t"].subject, again.ns.topics["t"].policy) == ("elsewhere", topic.policy)
    assert again.catalogue.namespaces["tenant/space"].queues["kept"].auto_delete
    again.queue("kept", arguments=kept.arguments)  # equivalent
    assert again.catalogue.statistics() == {"namespaces": 2, "exchanges": 2, "queues": 2, "topics": 2, "partitions": 4, "bindings": 4}


def test_a_kept_value_of_a_newer_version_stops_the_start():
    state = MemoryState()
    key = named_key(QUEUE_KEY, "public/default", "q")
    value = encode_value({})
    state.values[0, key] = value[:2] + bytes([9]) + value[3:]
    with pytest.raises(CorruptData, match="needs a reader of version 9"):
        Broker(state)
    state.values[0, key] = b"\xff\xff"
    with pytest.raises(CorruptData, match="does not decode"):
        Broker(state)


def test_streams_and_topics_meet_queues(broker):
    stream, created = broker.queue("s", arguments={"x-queue-type": "stream"})
    assert created
    assert isinstance(stream, TopicDefinition)
    assert broker.queue("s", arguments={"x-queue-type": "stream"}) == (stream, False)
    assert broker.catalogue.find_queue(NS, "s", A) is stream
    with refused(
        Reason.EXISTS_DIFFERENT, "inequivalent arg 'x-queue-type' for queue 's' in vhost '/': received none but current is the value 'stream' of type 'longstr'"
    ):
        broker.queue("s")
    with refused(
        Reason.EXISTS_DIFFERENT, "inequivalent arg 'x-max-age' for queue 's' in vhost '/': received the value '1h' of type 'longstr' but current is none"
    ):
        broker.queue("s", arguments={"x-queue-type": "stream", "x-max-age": "1h"})

    topic, _ = broker.decisions.declare_topic(NS, "t", partitions=2)
    assert broker.routed("", "t") == ["t"]
    assert broker.queue("t", arguments={"x-queue-type": "stream"}) == (topic, False)
    queue, created = broker.queue("t")
    assert created
    assert isinstance(queue, QueueDefinition)
    assert broker.ns.router.route("", "t").targets == (queue,)
    assert broker.catalogue.find_queue(NS, "t", A) is queue
    with refused(Reason.EXISTS_DIFFERENT, "topic 't' in vhost '/' has 2 partitions, not 3"):
        broker.decisions.declare_topic(NS, "t", partitions=3)


def test_limits_refuse_and_free_places_serve_again():
    broker = Broker(limits=QuotaLimits(queues=2, bindings=1, exchanges=1, namespaces=1))
    broker.queue("a")
    broker.queue("b")
    with refused(Reason.LIMIT, "there are 2 queues already, and 2 is the limit"):
        broker.queue("c")
    broker.bind("a", "amq.direct")
    with refused(Reason.LIMIT, "there are 1 bindings already, and 1 is the limit"):
        broker.bind("b", "amq.direct")
    broker.exchange("e")
    with refused(Reason.LIMIT, "there are 1 exchanges already, and 1 is the limit"):
        broker.exchange("f")
    with refused(Reason.LIMIT, "there are 1 namespaces already, and 1 is the limit"):
        broker.decisions.create_namespace("a/b")
    broker.decisions.delete_queue(NS, "a", connection=A)
    broker.queue("c")
    broker.bind("b", "amq.direct")


def test_namespaces_are_apart_and_go_when_empty(broker):
    other = broker.decisions.create_namespace("tenant/space")
    broker.queue("q")
    assert other.queues == {}
    with refused(Reason.NOT_FOUND, "no queue 'q' in vhost 'tenant/space'"):
        broker.catalogue.find_queue("tenant/space", "q", A)
    broker.decisions.declare_queue("tenant/space", "q", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=A)
    with pytest.raises(Refused, match="is not empty"):
        broker.decisions.delete_namespace("tenant/space")
    broker.decisions.delete_queue("tenant/space", "q", connection=A)
    broker.decisions.delete_namespace("tenant/space")
    assert sorted(broker.restarted().catalogue.namespaces) == ["public/default"]
    with pytest.raises(Refused, match="cannot be deleted"):
        broker.decisions.delete_namespace("public/default")


def test_names_that_cannot_be(broker):
    with pytest.raises(Refused, match="256 bytes exceeds"):
        broker.queue("é" * 128)
    with pytest.raises(Refused, match="is not UTF-8"):
        broker.queue("\udcff")
    with pytest.raises(Refused, match="name is empty"):
        broker.decisions.declare_topic(NS, "")
    broker.queue("é" * 127)


def test_bad_headers_match_leaves_no_binding(broker):
    broker.queue("q")
    with refused(Reason.INVALID, 'Invalid x-match field value <<"bogus">>; expected all, any, all-with-x, or any-with-x'):
        broker.bind("q", "amq.headers", "", {"x-match": "bogus"})
    with refused(Reason.INVALID, "Invalid x-match field type signedint (value 5); expected longstr"):
        broker.bind("q", "amq.headers", "", {"x-match": 5})
    assert broker.ns.bindings == {}
    assert broker.catalogue.statistics()["bindings"] == 0
