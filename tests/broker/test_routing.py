import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from memory_state import LogIds, MemoryState

from both_modes import examples
from entrepot.broker.catalogue import routing
from entrepot.broker.catalogue.arguments import same_value
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.matching import TopicTrie, make_headers_pattern
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.model.errors import Reason, Refused

NS = "public/default"


def matches(pattern: str, key: str) -> bool:
    """The definition, word by word."""
    return words_match(pattern.split(".") if pattern else [], key.split(".") if key else [])


def words_match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return words_match(pattern[1:], words) or (bool(words) and words_match(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and words_match(pattern[1:], words[1:])


def matched(trie: TopicTrie, key: str) -> set[str]:
    found: dict[str, bool] = {}
    trie.match(key, found)
    return set(found)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.orange.*", ["quick.orange.rabbit", "lazy.orange.elephant", ".orange."], ["orange", "quick.orange.new.rabbit"]),
        ("*.*.rabbit", ["quick.orange.rabbit"], ["lazy.rabbit"]),
        ("lazy.#", ["lazy", "lazy.pink.rabbit", "lazy.orange.new.rabbit", "lazy."], ["quick.lazy", "lazyfox"]),
        ("#", ["", ".", "a", "a.b.c"], []),
        ("", [""], [".", "a"]),
        ("*", ["a", "*", "#"], ["", ".", "a.b"]),
        ("*.*", [".", "a.", ".b"], ["a", "", "a.b.c"]),
        ("#.#", ["", "a", "a.b"], []),
        ("#.a.#", ["a", "x.a", "a.x", "x.a.y.a"], ["", "b", "aa"]),
        ("a.#.#.b", ["a.b", "a.x.b", "a.x.y.b"], ["a", "b", "a.bb"]),
        ("*.#", ["a", "a.b", "."], [""]),
        ("a..b", ["a..b"], ["a.b", "a.x.b"]),
    ],
)
def test_topic_patterns(pattern, yes, no):
    trie = TopicTrie()
    trie.add(pattern, "q")
    assert [key for key in yes + no if matched(trie, key)] == yes
    assert [key for key in yes + no if matches(pattern, key)] == yes


WORD = st.sampled_from(["", "a", "b", "*", "#"])
PATTERNS = st.lists(st.lists(WORD, max_size=5).map(".".join), max_size=8)
KEYS = st.lists(st.lists(WORD, max_size=6).map(".".join), min_size=1, max_size=6)


@given(PATTERNS, KEYS, st.randoms(use_true_random=False))
def test_a_trie_matches_as_the_definition_does_also_after_removals(patterns, keys, random):
    trie = TopicTrie()
    for pattern in patterns:
        trie.add(pattern, pattern)
    left = list(patterns)
    random.shuffle(left)
    while True:
        for key in keys:
            assert matched(trie, key) == {pattern for pattern in left if matches(pattern, key)}
        if not left:
            break
        trie.remove(left[len(left) - 1], left.pop())
    assert trie.count == 0


def test_many_hashes_do_not_explode():
    trie = TopicTrie()
    pattern = ".".join(["#", "a"] * 40)
    trie.add(pattern, "q")
    assert matched(trie, ".".join("a" * 120)) == {"q"}
    assert matched(trie, ".".join("a" * 120) + ".b") == set()


HEADER_CASES = [
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 0}, True),
    ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
    ({"a": 1}, {"a": 1}, True),
    ({}, {}, True),
    ({"x-match": "any"}, {"a": 1}, False),
    ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}, False),
    ({"a": None}, {"a": "anything"}, True),
    ({"a": None}, {}, False),
    ({"a": 1}, {"a": 1.0}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": 1}, {"a": "1"}, False),
    ({"a": "x"}, {"a": b"x"}, False),
    ({"x-match": "all", "x-a": 1}, {}, True),
    ({"x-match": "all-with-x", "x-a": 1}, {}, False),
    ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
    ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
    ({"x-match": "any-with-x", "x-a": 1, "b": 1}, {"x-a": 1}, True),
    ({"a": {"n": [1, "s"]}}, {"a": {"n": [1, "s"]}}, True),
    ({"a": {"n": [1, "s"]}}, {"a": {"n": [1.0, "s"]}}, False),
]


@pytest.mark.parametrize(("wanted", "headers", "expected"), HEADER_CASES)
def test_headers(wanted, headers, expected):
    assert make_headers_pattern(wanted).matches(headers) is expected


class World:
    """A namespace, and the naive answer to the same questions."""

    def __init__(self):
        self.decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
        self.catalogue = self.decisions.catalogue
        self.ns = self.catalogue.namespace(NS)

    def queue(self, name, **arguments):
        return self.decisions.declare_queue(NS, name, durable=False, exclusive=False, auto_delete=False, arguments=arguments, connection=(b"here", 1))[0]

    def exchange(self, name, exchange_type, alternate=None, internal=False):
        self.decisions.declare_exchange(
            NS,
            name,
            exchange_type,
            durable=False,
            auto_delete=False,
            internal=internal,
            arguments={} if alternate is None else {"alternate-exchange": alternate},
        )

    def bind(self, queue, exchange, key="", **arguments):
        self.decisions.bind_queue(NS, queue, exchange, key, arguments, 1)

    def chain(self, source, destination, key="", **arguments):
        self.decisions.bind_exchange(NS, destination, source, key, arguments)

    def names(self, exchange, key, headers=None):
        route = self.ns.router.route(exchange, key)
        targets = self.ns.router.route_with_headers(exchange, key, headers or {}) if route.needs_headers else route.targets
        assert len(set(targets)) == len(targets)
        return sorted(target.name for target in targets)

    def naive(self, exchange, key, headers):
        """Queues by definition, from the binding list alone."""
        if exchange == "":
            return [key] if key in self.ns.queues else []
        found, seen, waiting = set(), {exchange}, [exchange]
        while waiting:
            here = self.ns.exchanges[waiting.pop()]
            hits = [binding for binding in self.ns.bindings.values() if binding.source is here and self.binds(binding, key, headers)]
            alternate = here.arguments.get("alternate-exchange")
            reached = [binding.destination.name for binding in hits if binding.identity[1] == "exchange"]
            if not hits and alternate is not None:
                if alternate == "" and key in self.ns.queues:
                    found.add(key)
                if alternate in self.ns.exchanges:
                    reached.append(alternate)
            found |= {binding.destination.name for binding in hits if binding.identity[1] == "queue"}
            waiting += [name for name in reached if name not in seen]
            seen |= set(reached)
        return sorted(found)

    def binds(self, binding, key, headers):
        kind = binding.source.type
        if kind == "direct":
            return binding.routing_key == key
        if kind == "topic":
            return matches(binding.routing_key, key)
        if kind == "fanout":
            return True
        mode = binding.arguments.get("x-match", "all")
        wanted = [(name, value) for name, value in binding.arguments.items() if name != "x-match" and (not name.startswith("x-") or mode.endswith("-x"))]
        answers = [name in headers and (value is None or same_value(value, headers[name])) for name, value in wanted]
        return all(answers) if mode.startswith("all") else any(answers)


@pytest.fixture
def world():
    return World()


def test_exchanges_of_each_type(world):
    for name in "qr":
        world.queue(name)
    world.bind("q", "amq.direct", "k")
    world.bind("r", "amq.direct", "k")
    world.bind("q", "amq.fanout", "ignored")
    world.bind("q", "amq.topic", "a.*")
    world.bind("r", "amq.topic", "#")
    world.bind("q", "amq.match", a=1)
    assert world.names("amq.direct", "k") == ["q", "r"]
    assert world.names("amq.direct", "other") == []
    assert world.names("amq.fanout", "any") == ["q"]
    assert world.names("amq.topic", "a.b") == ["q", "r"]
    assert world.names("amq.topic", "b") == ["r"]
    assert world.names("amq.match", "", {"a": 1}) == ["q"]
    assert world.names("amq.match", "", {"a": 2}) == []


def test_exchanges_bound_to_exchanges_in_a_ring(world):
    for name in ("one", "two", "three"):
        world.exchange(name, "fanout")
        world.queue(f"q-{name}")
        world.bind(f"q-{name}", name)
    world.chain("one", "two")
    world.chain("two", "three")
    world.chain("three", "one")
    world.chain("one", "one")
    assert world.names("two", "") == ["q-one", "q-three", "q-two"]


def test_alternate_exchanges(world):
    world.exchange("lost", "fanout")
    world.exchange("e", "direct", alternate="lost")
    world.exchange("by-name", "direct", alternate="")
    world.exchange("nowhere", "direct", alternate="missing")
    world.exchange("dead-end", "fanout")
    for name in ("q", "rest"):
        world.queue(name)
    world.bind("q", "e", "k")
    world.bind("rest", "lost")
    world.chain("e", "dead-end", "d")
    assert world.names("e", "k") == ["q"]
    assert world.names("e", "other") == ["rest"]
    assert world.names("e", "d") == []  # a binding matched, though it led nowhere
    assert world.names("by-name", "q") == ["q"]
    assert world.names("nowhere", "q") == []
    world.exchange("missing", "fanout")
    world.bind("q", "missing")
    assert world.names("nowhere", "q") == ["q"]


def test_an_internal_exchange_takes_nothing_from_publishers(world):
    world.exchange("inner", "fanout", internal=True)
    world.queue("q")
    world.bind("q", "inner")
    with pytest.raises(Refused, match="cannot publish to internal exchange 'inner' in vhost '/'") as caught:
        world.ns.router.route("inner", "")
    assert caught.value.reason is Reason.NOT_PERMITTED
    world.chain("amq.fanout", "inner")
    assert world.names("amq.fanout", "") == ["q"]


def test_headers_behind_another_exchange_make_the_route_depend_on_them(world):
    world.queue("q")
    world.chain("amq.fanout", "amq.headers")
    assert not world.ns.router.route("amq.fanout", "").needs_headers  # nothing is bound there
    world.bind("q", "amq.headers", a=1)
    assert world.ns.router.route("amq.fanout", "").needs_headers
    assert world.names("amq.fanout", "", {"a": 1}) == ["q"]


def test_routes_with_several_keys_name_each_target_once(world):
    for name in "qr":
        world.queue(name)
    assert [target.name for target in world.ns.router.route_keys("", ["q", "r", "q"], {})] == ["q", "r"]


def test_routes_are_cached_until_something_changes_and_the_cache_is_bounded(world, monkeypatch):
    router = world.ns.router
    world.queue("q")
    first = router.route("", "q")
    assert router.route("", "q") is first
    version = router.version
    world.queue("r")
    assert router.version != version
    assert router.route("", "q") is not first
    for number in range(routing.CACHE_MAX):
        router.route("", f"absent{number}")
    assert router.route("", "q").targets == (world.ns.queues["q"],)


class TestSubjects:
    def test_a_topic_receives_what_is_published_under_its_subject(self, world):
        topic, _ = world.decisions.declare_topic(NS, "news.world")
        world.decisions.declare_topic(NS, "other", subject="")
        world.queue("q")
        world.bind("q", "amq.topic", "news.*")
        assert world.names("amq.topic", "news.world") == ["news.world", "q"]
        assert world.names("amq.topic", "other") == []
        world.decisions.change_subject(topic, "else")
        assert world.names("amq.topic", "news.world") == ["q"]
        assert world.names("amq.topic", "else") == ["news.world"]

    def test_a_subject_is_a_name_and_no_pattern(self, world):
        world.decisions.declare_topic(NS, "news.*")
        assert world.names("amq.topic", "news.x") == []
        assert world.names("amq.topic", "news.*") == ["news.*"]

    def test_what_is_published_into_a_topic_goes_on_one_hop(self, world):
        first, _ = world.decisions.declare_topic(NS, "first")
        world.decisions.declare_topic(NS, "second", subject="first")
        third, _ = world.decisions.declare_topic(NS, "third")
        world.queue("q")
        world.queue("far")
        assert world.ns.router.route_subject(first).targets == (first,)
        world.bind("q", "amq.topic", "first")
        world.bind("far", "amq.topic", "third")
        world.decisions.bind(NS, "amq.topic", third, "first", {})
        # not to `second`, reached by a subject only; to `third`, bound; but not on to `far` by the subject of `third`
        assert {target.name for target in world.ns.router.route_subject(first).targets} == {"first", "q", "third"}
        assert world.names("", "first") == ["first", "q", "third"]

    def test_what_arrives_by_subject_is_not_sent_on(self, world):
        world.decisions.declare_topic(NS, "t", subject="s")
        world.queue("q")
        world.bind("q", "amq.topic", "s")
        assert world.names("amq.topic", "s") == ["q", "t"]

    def test_an_alternate_is_not_used_where_a_subject_matched(self, world):
        world.decisions.declare_topic(NS, "t")
        assert world.names("amq.topic", "t") == ["t"]


EXCHANGES = {"d": "direct", "f": "fanout", "t": "topic", "h": "headers", "d2": "direct", "t2": "topic"}
QUEUES = ["q1", "q2", "q3", "a"]
KEY = st.sampled_from(["", "a", "a.b", "a.*", "#", "*.b", "b.#", "q1"])
VALUES = st.sampled_from([1, 1.0, True, "1", None, 0.0, -0.0, [1], [1.0], {"a": [0.0]}, {"a": [-0.0]}, [math.nan], math.nan])
HEADERS = st.dictionaries(st.sampled_from(["h1", "h2", "x-h"]), VALUES, max_size=3)
MATCH = st.sampled_from(["all", "any", "all-with-x", "any-with-x"])


class Routes(RuleBasedStateMachine):
    """Declare, bind, unbind, delete in any order: the router answers as the binding list does."""

    @initialize(alternates=st.lists(st.sampled_from([None, "", *EXCHANGES]), min_size=len(EXCHANGES), max_size=len(EXCHANGES)))
    def start(self, alternates):
        self.world = World()
        self.alternates = dict(zip(EXCHANGES, alternates, strict=True))

    def ensure(self, name):
        if name in EXCHANGES:
            self.world.exchange(name, EXCHANGES[name], self.alternates[name])
        else:
            self.world.queue(name)

    @rule(source=st.sampled_from([*EXCHANGES]), destination=st.sampled_from([*QUEUES, *EXCHANGES]), key=KEY, headers=HEADERS, match=MATCH)
    def bind(self, source, destination, key, headers, match):
        self.ensure(source)
        self.ensure(destination)
        if destination in EXCHANGES:
            self.world.chain(source, destination, key, **{"x-match": match}, **headers)
        else:
            self.world.bind(destination, source, key, **{"x-match": match}, **headers)

    @rule(data=st.data())
    def unbind(self, data):
        bindings = list(self.world.ns.bindings.values())
        if bindings:
            binding = data.draw(st.sampled_from(bindings))
            self.world.decisions.unbind(NS, binding.source.name, binding.destination, binding.routing_key, binding.arguments)

    @rule(name=st.sampled_from(QUEUES))
    def delete_queue(self, name):
        self.world.decisions.delete_queue(NS, name, connection=(b"here", 1))

    @rule(name=st.sampled_from([*EXCHANGES]))
    def delete_exchange(self, name):
        self.world.decisions.delete_exchange(NS, name)

    @rule(key=KEY, headers=HEADERS)
    def publish(self, key, headers):
        for exchange in ["", *EXCHANGES]:
            if exchange == "" or exchange in self.world.ns.exchanges:
                assert self.world.names(exchange, key, headers) == self.world.naive(exchange, key, headers)

    @invariant()
    def indexes_agree(self):
        ns = self.world.ns
        ends = itertools.chain(ns.exchanges.values(), ns.queues.values())
        assert sum(len(end.bindings_in) for end in ends) == len(ns.bindings)
        assert sum(len(exchange.bindings_out) for exchange in ns.exchanges.values()) == len(ns.bindings)
        assert self.world.catalogue.statistics()["bindings"] == len(ns.bindings)


Routes.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
TestRoutes = Routes.TestCase


def test_headers_that_no_binding_wants_cost_nothing(world):
    """However many bindings there are, and whichever they want of what is wanted often."""
    router = world.catalogue.namespace(NS).router
    world.queue("q")
    for number in range(2000):
        world.bind("q", "amq.match", **{"x-match": "any"}, **{f"h{index}": number for index in range(10)})
        world.bind("q", "amq.match", kind="order", number=number)
    assert world.names("amq.match", "", {f"h{index}": -1 for index in range(10)} | {"kind": "order", "number": -1}) == []
    assert router.taken_steps() < 10
    assert world.names("amq.match", "", {"kind": "order", "number": 1999}) == ["q"]
    assert router.taken_steps() < 10
    assert world.names("amq.match", "", {"kind": "order"}) == []


def test_bindings_that_want_the_same_are_looked_at_once(world):
    router = world.catalogue.namespace(NS).router
    world.chain("amq.topic", "amq.match", "#")
    topic = world.decisions.declare_topic(NS, "t")
    count = 300
    for number in range(count):
        world.queue(f"q{number}")
        world.bind(f"q{number}", "amq.match", a=1)
    asked = []
    router.may_carry = lambda _, makers: asked.append(makers) or True
    assert len(router.subject_candidates(world.catalogue.find_topic(NS, topic.name if hasattr(topic, "name") else "t"))) == count
    assert len(asked) < 3 * count


@pytest.mark.parametrize("long", [False, True])
def test_tables_and_lists_that_are_wanted_are_looked_into_and_others_are_not(world, long):
    router = world.catalogue.namespace(NS).router
    table = {"inner": [1, {"deep": [None] * (2000 if long else 2)}]}
    world.queue("q")
    world.bind("q", "amq.match", table=table, plain=1)
    assert world.names("amq.match", "", {"table": table, "plain": 1}) == ["q"]
    assert world.names("amq.match", "", {"table": {"inner": [1, {"deep": [None] * 3}]}, "plain": 1}) == []
    router.taken_steps()
    assert world.names("amq.match", "", {"other": [None] * 100_000, "plain": [None] * 100_000}) == []
    assert router.taken_steps() < 3
    world.decisions.unbind(NS, "amq.match", world.catalogue.find_queue(NS, "q", 1), "", {"table": table, "plain": 1})
    assert world.names("amq.match", "", {"table": table, "plain": 1}) == []


def test_what_is_nested_deeply_is_counted(world):
    router = world.catalogue.namespace(NS).router
    deep = []
    for _ in range(400):
        deep = [deep]
    world.queue("q")
    world.bind("q", "amq.match", deep=deep)
    router.taken_steps()
    assert world.names("amq.match", "", {"deep": deep}) == ["q"]
    assert router.taken_steps() >= 8 * 400 // 16
    assert world.names("amq.match", "", {"deep": [deep]}) == []


def test_what_routing_costs_is_told_once(world):
    router = world.catalogue.namespace(NS).router
    world.queue("q")
    assert router.taken_steps() == 0
    for number in range(100):
        world.bind("q", "amq.match", **{f"h{index}": number for index in range(10)})
        world.bind("q", "amq.topic", "#.a.*." * 5 + str(number))
    router.route_with_headers("amq.match", "", {f"h{index}": 7 for index in range(10)} | {f"g{number}": 1 for number in range(400)})
    by_headers = router.taken_steps()
    assert by_headers >= 50
    assert router.taken_steps() == 0
    router.route("amq.topic", ".".join(["a"] * 50))
    assert router.taken_steps() >= 20
    router.route("amq.topic", ".".join(["a"] * 50))  # it is remembered
    assert router.taken_steps() == 0
