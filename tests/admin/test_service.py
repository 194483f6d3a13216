"""The administration over one node in this process: lists in bounded steps, changes, and requests that mean nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.admin.changes import Changes
from entrepot.admin.figures import AT_ONCE, Figures
from entrepot.admin.lists import NAMES_PER_STEP, Lists, _noted
from entrepot.admin.requests import CHANGES, LISTS, UNAVAILABLE, AddKey, ListGroups, ListTopics
from entrepot.admin.service import STEPS_PER_TURN, Service
from entrepot.admin.status import LinkStatus, Self, Status, readings
from entrepot.broker.calls.group_requests import CommitOffsets, CommittedOffset
from entrepot.broker.calls.port import Sink, complete, make_ask
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.clock import SystemClock
from entrepot.cluster.greeting import START_SIZE
from entrepot.cluster.link_figures import LinkFigures
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.config import load
from entrepot.entropy import SystemEntropy
from entrepot.http.session import Later, Pause, Request, Response
from entrepot.metrics import Metrics
from entrepot.model.errors import OutcomeUnknown, Unavailable
from entrepot.model.principal import Principal
from entrepot.node import VOLATILE, Membership, Node

NS = "public/default"


class NoNetwork:
    listeners: tuple[Any, ...] = ()


class Administered:
    """A node, its service, and the loop that both are on."""

    def __init__(self, runner: asyncio.Runner, node: Node) -> None:
        self.runner = runner
        self.node = node
        self.service = Service(node, NoNetwork(), runner.get_loop())  # type: ignore[arg-type]

    def ask(self, path: str, body: bytes = b"", method: str = "POST") -> Response:
        """The answer, once it is there."""
        answer = self.service(Request(method, path, "", {}, body))
        if isinstance(answer, Response):
            return answer
        return self.runner.run(_taken(answer))

    def listed(self, name: str, **request: Any) -> list[dict[str, Any]]:
        answer = self.ask(f"/{name}", json.dumps(request).encode())
        assert answer.status == 200, answer
        assert not isinstance(answer.body, bytes)
        rows: list[dict[str, Any]] = json.loads(b"".join(answer.body))[name]
        return rows

    def queue(self, name: str, namespace: str = NS) -> Any:
        definition, _ = self.node.decisions.declare_queue(
            namespace, name, durable=False, exclusive=False, auto_delete=False, arguments={}, connection=(self.node.broker.start_id, 1)
        )
        return definition

    def topic(self, name: str, partitions: int) -> None:
        self.node.decisions.create_topic(NS, name, partitions, {})


async def _taken(later: Later) -> Response:
    taken: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    later.take(taken.set_result)
    return await taken


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.001)


@contextmanager
def administered(directory: Path, *, follows: bool = False, **settings: str) -> Iterator[Administered]:
    async def opened() -> Node:
        config = load(None, {}, {"data": str(directory), **settings}).config
        place = WorkerPlace(number=1, count=2, start="01" * START_SIZE, data=str(directory))
        words: dict[str, Any] = {"journal": lambda text: None, "on_condemned": lambda name, start, why: None}
        membership = Membership(place, "c", 256, bytes(32), **words) if follows else None
        return Node(config, asyncio.get_running_loop(), SystemClock(), SystemEntropy(), lambda error: None, membership=membership)

    with asyncio.Runner() as runner:
        node = runner.run(opened())
        try:
            yield Administered(runner, node)
        finally:
            runner.run(node.close())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Administered]:
    with administered(tmp_path / "data") as found:
        yield found


@pytest.mark.parametrize(("prefix", "found"), [("", 10_000), ("queue-99", 111), ("nothing", 0)])
def test_ten_thousand_queues_take_turns(here: Administered, monkeypatch: pytest.MonkeyPatch, prefix: str, found: int) -> None:
    for number in range(10_000):
        here.queue(f"queue-{number}")
    steps = 0
    of_lists = Lists.steps

    def counted(lists: Lists, request: Any) -> Iterator[Any]:
        nonlocal steps
        for step in of_lists(lists, request):
            steps += 1
            yield step

    monkeypatch.setattr(Lists, "steps", counted)
    answer = here.ask("/queues", json.dumps({"prefix": prefix}).encode())
    assert not isinstance(answer.body, bytes)
    text, before = b"", 0
    for part in answer.body:
        assert part  # or the connection would not hear that it was sent
        assert steps - before <= STEPS_PER_TURN
        text, before = text + part, steps
    assert steps == found  # the others are not looked at
    assert len({row["name"] for row in json.loads(text)["queues"]}) == found


def test_what_comes_and_goes_between_two_parts_does_not_disturb(here: Administered) -> None:
    for number in range(3 * STEPS_PER_TURN):
        here.queue(f"queue-{number}")
    answer = here.ask("/queues")
    assert not isinstance(answer.body, bytes)
    parts = [next(answer.body), next(answer.body)]
    last = here.node.catalogue.namespace(NS).queues[f"queue-{3 * STEPS_PER_TURN - 1}"]
    here.node.decisions.remove_queue(last)
    here.queue("new")
    names = [row["name"] for row in json.loads(b"".join([*parts, *answer.body]))["queues"]]
    assert names == sorted(f"queue-{number}" for number in range(3 * STEPS_PER_TURN - 1))


@pytest.mark.parametrize("changed", [False, True])
def test_names_are_noted_in_steps(changed: bool) -> None:
    table = dict.fromkeys(range(3 * NAMES_PER_STEP))
    noted = _noted(table)
    assert next(noted) is None
    if changed:
        del table[5]
        table[-1] = None
        table[-2] = None
    assert list(filter(None, noted)) == list(filter(None, table))


def test_bindings_of_one_exchange_are_listed_in_parts(here: Administered) -> None:
    """Those that go meanwhile are left out; keys that are no text are shown."""
    here.queue("q")
    for number in range(3 * STEPS_PER_TURN):
        here.node.decisions.bind(NS, "amq.direct", here.node.catalogue.namespace(NS).queues["q"], f"key-{number}", {})
    here.node.decisions.bind(NS, "amq.fanout", here.node.catalogue.namespace(NS).queues["q"], "caf\udce9", {"a": b"\xff", "b": "\udce9", "c": [True, 1.5]})
    answer = here.ask("/bindings", b'{"prefix": "amq.direct"}')
    assert not isinstance(answer.body, bytes)
    parts = [next(answer.body)]
    here.node.decisions.unbind(NS, "amq.direct", here.node.catalogue.namespace(NS).queues["q"], f"key-{3 * STEPS_PER_TURN - 1}", {})
    parts.extend(answer.body)
    assert len(parts) > 3
    assert [row["routing_key"] for row in json.loads(b"".join(parts))["bindings"]] == [f"key-{number}" for number in range(3 * STEPS_PER_TURN - 1)]
    (row,) = here.listed("bindings", prefix="amq.fanout")
    assert (row["routing_key"], row["arguments"]) == ("caf\\udce9", "a=\\xff, b=\\udce9, c=[true, 1.5]")


class SlowOwner:
    """Of another process: answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []

    def ask(self, question: Any, done: Any) -> None:
        self.asked.append((question, done))

    def answer(self, error: Any = None) -> None:
        question, done = self.asked.pop(0)
        done(error, None if error else [(1, 0, 0, 1, 2, 3)] * len(question.log_ids))


class Timers:
    """The last call of all."""

    def call_later(self, _: float, call: Any) -> Any:
        self.call = call
        return SimpleNamespace(cancel=lambda: None)


class SlowTable:
    def __init__(self) -> None:
        self.owners = [SlowOwner(), SlowOwner()]

    def owner(self, definition: Any) -> SlowOwner:
        return self.owners[definition.name >= "queue-5"]


@pytest.mark.parametrize("error", [None, Unavailable("it is gone")])
def test_while_owners_elsewhere_have_not_answered_a_list_waits(here: Administered, error: Any) -> None:
    for number in range(10):
        here.queue(f"queue-{number}")
    table = SlowTable()
    here.service._lists._figures = Figures(table, Timers())  # type: ignore[arg-type]
    answer = here.ask("/queues")
    assert not isinstance(answer.body, bytes)
    parts = [next(answer.body)]
    pause = next(answer.body)
    assert isinstance(pause, Pause)
    went_on: list[bool] = []
    pause.take(lambda: went_on.append(True))
    table.owners[0].answer()
    assert went_on == []
    table.owners[1].answer(error)
    assert went_on == [True]
    parts.extend(answer.body)
    rows = [(row["name"], row["known"], row["consumers"]) for row in json.loads(b"".join(parts))["queues"]]  # type: ignore[arg-type]
    known = [number < 5 or error is None for number in range(10)]
    assert rows == [(f"queue-{number}", known[number], 2 * known[number]) for number in range(10)]


def test_a_list_does_not_wait_for_ever_and_not_again_for_who_was_silent(here: Administered) -> None:
    for number in range(3 * AT_ONCE):
        here.queue(f"queue-{number:03}")
    table, timers = SlowTable(), Timers()
    table.owner = lambda definition: table.owners[definition.name[-1] == "7"]  # type: ignore[method-assign]
    figures = here.service._lists._figures = Figures(table, timers)  # type: ignore[arg-type]
    silent = table.owners[1]

    def listed() -> list[str]:
        answer = here.ask("/queues")
        parts: list[bytes] = []
        assert not isinstance(answer.body, bytes)
        for part in answer.body:
            if isinstance(part, Pause):
                went_on: list[bool] = []
                part.take(partial(went_on.append, True))
                while table.owners[0].asked:
                    table.owners[0].answer()
                if not went_on:
                    timers.call()
                assert went_on == [True]
            else:
                parts.append(part)
        return [row["name"] for row in json.loads(b"".join(parts))["queues"] if row["known"]]

    for _ in range(2):
        assert [name for name in listed() if name.endswith("7")] == []
        assert len(silent.asked) == 1  # of three pieces, of two lists
    silent.answer()
    assert figures._late == set()
    assert len(listed()) == 3 * AT_ONCE - sum(f"{number:03}"[-1] == "7" for number in range(3 * AT_ONCE))
    assert len(silent.asked) == 1  # it was asked again


def test_what_is_got(here: Administered) -> None:
    service = Service(here.node, NoNetwork(), here.runner.get_loop(), {"/x": lambda: Response(200, b"here")})  # type: ignore[arg-type]
    assert service(Request("GET", "/x", "", {}, b"")).body == b"here"  # type: ignore[union-attr]
    assert service(Request("POST", "/x", "", {}, b"")).status == 405  # type: ignore[union-attr]


def test_the_status_of_a_process(here: Administered) -> None:
    place = WorkerPlace(number=1, count=2, start="00" * START_SIZE, data="/d")
    links = [LinkFigures("w0", True, 1.5, 100, 2, 3)]
    network: Any = NoNetwork()
    network.connection_count = 4
    network.tick = SimpleNamespace(bytes_received=5, bytes_sent=6)
    here.queue("q")
    process = Self(here.node, network, SystemClock(), lambda: "it stops", place, SimpleNamespace(figures=lambda: links))
    found = msgspec.json.decode(readings(Metrics(), process)["/v1/status"]().body, type=Status)  # type: ignore[arg-type]
    assert (found.worker, found.workers, found.shards, found.shards_open, found.shards_all) == (1, 2, 128, 128, 256)
    assert (found.why_not_ready, found.connections, found.bytes_in, found.bytes_out) == ("it stops", 4, 5, 6)
    assert found.links == [LinkStatus("w0", True, 1.5, 100, 2, 3)]
    closed(here, 7)
    assert process.status().shards_open == 127
    alone = Self(here.node, network, SystemClock(), lambda: None).status()
    assert (alone.workers, alone.shards, alone.links, alone.why_not_ready, alone.decides) == (1, 256, [], "", True)
    assert readings(Metrics(), process)["/metrics"]().status == 200


class Quiet(Sink):
    def completed(self, call: Any) -> None:
        pass


@pytest.mark.parametrize(("request_", "field"), [(ListTopics(), "partitions"), (ListGroups(), "partitions_committed")], ids=["topics", "groups"])
def test_partitions_are_counted_in_steps(here: Administered, request_: Any, field: str) -> None:
    count = 10 * AT_ONCE
    here.topic("wide", count)
    door = here.node.broker.attach(Quiet(), Principal("guest"), NS)
    offsets = {("wide", partition): CommittedOffset(0) for partition in range(count)}
    door.submit(make_ask(1, CommitOffsets("readers", -1, "", None, offsets)))
    steps = list(Lists(here.node, None).steps(request_))
    assert len(steps) > count // AT_ONCE
    assert [getattr(row, field) for row in steps if row is not None] == [count]
    assert not door.closed


def test_a_namespace_in_use_stays(here: Administered) -> None:
    here.ask("/namespaces/add", b'{"name": "acme/orders"}')
    door = here.node.broker.attach(Quiet(), Principal("guest"), "acme/orders")
    answer = here.ask("/namespaces/delete", b'{"name": "acme/orders"}')
    assert (answer.status, json.loads(answer.body)["reason"]) == (409, "IN_USE")  # type: ignore[arg-type]
    door.close()
    assert here.ask("/namespaces/delete", b'{"name": "acme/orders"}').status == 200


def test_lists_are_narrowed(here: Administered) -> None:
    here.ask("/namespaces/add", b'{"name": "acme/orders"}')
    here.queue("a-1", "acme/orders")
    here.queue("a-2")
    here.queue("b")
    assert {row["name"] for row in here.listed("queues", prefix="a-")} == {"a-1", "a-2"}
    assert {row["name"] for row in here.listed("queues", namespace="acme/orders")} == {"a-1"}
    assert {row["name"] for row in here.listed("namespaces", prefix="acme/")} == {"acme/orders"}
    here.ask("/users/add", b'{"name": "ann", "password": "x", "namespaces": ["acme/orders"]}')
    assert {row["name"] for row in here.listed("users", namespace=NS)} == {"guest"}
    for name in ("queues", "topics", "groups", "exchanges", "bindings", "connections", "users", "namespaces"):
        answer = here.ask(f"/{name}", b'{"namespace": "acme/nothing"}')
        assert (answer.status, json.loads(answer.body)["reason"]) == (404, "NOT_FOUND")  # type: ignore[arg-type]


def test_changes_are_there_after_a_restart(tmp_path: Path) -> None:
    with administered(tmp_path / "data") as here:
        assert here.ask("/users/add", b'{"name": "ann", "password": "secret", "administrator": true}').status == 200
        assert here.ask("/users/permit", b'{"name": "ann", "namespace": "acme/orders", "read": "x.*", "write": ""}').status == 200
        assert here.ask("/users/forbid", b'{"name": "ann", "namespace": "public/default"}').status == 200
        assert here.ask("/users/delete", b'{"name": "guest"}').status == 200
        assert here.ask("/namespaces/add", b'{"name": "acme/orders"}').status == 200
        made = json.loads(here.ask("/keys/add", b'{"user": "ann"}').body)  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "data" / VOLATILE)  # this process has it still
    with administered(tmp_path / "data") as here:
        (ann,) = here.listed("users")
        assert (ann["name"], ann["administrator"], ann["forbidden"]) == ("ann", True, [NS])
        assert {"namespace": "acme/orders", "configure": ".*", "write": "", "read": "x.*"} in ann["permissions"]
        assert [row["name"] for row in here.listed("namespaces", namespace="acme/orders")] == ["acme/orders"]
        assert here.listed("keys", user="ann", secrets=True) == [{"id": made["id"], "user": "ann", "secret": made["secret"]}]
        assert here.listed("keys", user="ann")[0]["secret"] == ""
        verifier = here.node.users.user("ann").verifiers[0]
        assert verifier.is_password("secret")
        assert here.ask("/users/set-password", b'{"name": "ann", "password": "other"}').status == 200
        assert not here.node.users.user("ann").verifiers[0].is_password("secret")
        assert here.ask("/keys/delete", json.dumps({"id": made["id"]}).encode()).status == 200
        assert here.listed("keys", user="ann") == []


@pytest.mark.parametrize(("path", "body"), [("/users/delete", b'{"name": "guest"}'), ("/users/add", b'{"name": "ann", "password": "x"}')])
def test_a_change_is_answered_when_it_is_durable(here: Administered, path: str, body: bytes) -> None:
    durable: list[Any] = []

    class Owner:
        def committed(self, group: Any) -> None:
            durable.extend(group.calls)

        def store_failed(self, error: BaseException) -> None:
            raise error

    here.node.store.set_owner(Owner())
    later = here.service(Request("POST", path, "", {}, body))
    assert isinstance(later, Later)
    taken: list[Response] = []
    later.take(taken.append)
    here.runner.run(_until(lambda: bool(durable)))
    assert taken == []
    here.node.store.set_owner(here.node.broker)
    complete(durable)
    assert [answer.status for answer in taken] == [200]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/users/add", b'{"name": "guest2"}', 400),  # no password
        ("/users/add", b'{"name": "guest2", "password": ""}', 400),
        ("/users/add", b'{"name": "ann", "password": "x", "admin": true}', 400),  # no such field: a typing error must not make less of a user, or more
        ("/users/delete", b'{"name": "nobody"}', 404),
        ("/users/permit", b'{"name": "guest", "namespace": "*", "read": "("}', 400),
        ("/keys", b'{"user": "nobody"}', 404),
        ("/namespaces/add", b'{"name": "public/default"}', 409),
        ("/namespaces/add", b'{"name": "nothing"}', 400),
        ("/namespaces/delete", b'{"name": "public/default"}', 403),
        ("/namespaces/delete", b'{"name": "acme/none"}', 404),
        ("/connections/close", b'{"id": 1}', 404),
        ("/connections/close", b'{"id": 1, "reason": "%s"}' % (b"x" * 129), 400),
        ("/nothing", b"", 404),
        ("/queues", b"[" * 5000, 400),
        ("/queues", b"\xff", 400),
    ],
)
def test_what_is_refused_says_why(here: Administered, path: str, body: bytes, status: int) -> None:
    answer = here.ask(path, body)
    assert isinstance(answer.body, bytes)
    assert (answer.status, set(json.loads(answer.body))) == (status, {"error", "reason"})
    assert [user.name for user in here.node.users.users()] == ["guest"]


def test_a_namespace_that_is_not_empty_stays(here: Administered) -> None:
    here.ask("/namespaces/add", b'{"name": "acme/orders"}')
    queue = here.queue("q", "acme/orders")
    assert here.ask("/namespaces/delete", b'{"name": "acme/orders"}').status == 409
    here.node.decisions.remove_queue(queue)
    assert here.ask("/namespaces/delete", b'{"name": "acme/orders"}').status == 200


def closed(here: Administered, shard: int) -> None:
    done: list[bool] = []
    here.node.broker.shard_moves.close(shard, lambda: done.append(True))
    here.runner.run(_until(lambda: bool(done)))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/add", b'{"name": "bob", "password": "x"}'),
        ("/users/set-password", b'{"name": "guest", "password": "x"}'),
        ("/users/delete", b'{"name": "guest"}'),
        ("/users/permit", b'{"name": "guest", "namespace": "*", "read": "x"}'),
        ("/users/forbid", b'{"name": "guest", "namespace": "*"}'),
        ("/keys/add", b'{"user": "guest"}'),
        ("/namespaces/add", b'{"name": "acme/new"}'),
        ("/namespaces/delete", b'{"name": "acme/old"}'),
    ],
)
def test_changes_are_made_where_the_catalogue_is(here: Administered, path: str, body: bytes) -> None:
    assert here.ask("/namespaces/add", b'{"name": "acme/old"}').status == 200

    def listed() -> list[list[dict[str, Any]]]:
        return [here.listed("users"), here.listed("namespaces"), here.listed("keys", user="guest")]

    before = listed()
    closed(here, CATALOGUE)
    answer = here.ask(path, body)
    assert isinstance(answer.body, bytes)
    assert (answer.status, json.loads(answer.body)["reason"]) == (503, UNAVAILABLE)
    assert listed() == before


def test_a_key_that_is_gone_when_it_is_told_of_is_no_fault_of_who_tells(here: Administered) -> None:
    """Else the process that decides would be taken for a broken one."""
    told: list[Any] = []
    here.node.administration.ask = lambda _, done: done(None, "AKIDGONE")  # type: ignore[method-assign]
    Changes(here.node, None).perform(AddKey("guest"), None, lambda error, made: told.append((error, made)))
    ((error, made),) = told
    assert (type(error), made.secret) == (OutcomeUnknown, "")


@pytest.mark.parametrize("follows", [False, True])
def test_who_follows_seeds_nothing(tmp_path: Path, follows: bool) -> None:
    seeds = {"namespaces": "acme/orders"}
    with administered(tmp_path / "data", follows=follows, **seeds) as here:
        assert ("acme/orders" in here.node.catalogue.namespaces) is not follows
        answer = here.ask("/users/add", b'{"name": "ann", "password": "x"}')
        assert answer.status == (503 if follows else 200)
        assert [user.name for user in here.node.users.users()] == (["guest"] if follows else ["ann", "guest"])


def test_a_namespace_whose_groups_may_be_elsewhere_stays(here: Administered) -> None:
    assert here.ask("/namespaces/add", b'{"name": "acme/old"}').status == 200
    closed(here, 7)
    assert here.ask("/namespaces/delete", b'{"name": "acme/old"}').status == 503


def test_a_queue_on_its_way_is_listed_without_figures(here: Administered) -> None:
    here.queue("here")
    definition, _ = here.node.decisions.declare_queue(NS, "away", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=(b"start", 1))
    closed(here, definition.runtime.log.shard)
    assert sorted((row["name"], row["known"]) for row in here.listed("queues")) == [("away", False), ("here", True)]


def test_only_posts_are_answered(here: Administered) -> None:
    answers = [here.ask("/users/delete", b'{"name": "guest"}', method) for method in ("GET", "HEAD", "DELETE")]
    assert {answer.status for answer in answers} == {405}
    assert here.node.users.maybe_user("guest") is not None


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "namespace", "id"]), inner))


@pytest.fixture(scope="module")
def one_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administered]:
    with administered(tmp_path_factory.mktemp("admin") / "data") as found:
        yield found


@given(name=st.sampled_from(sorted([*LISTS, *CHANGES])), body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_request_raises(one_for_all: Administered, name: str, body: bytes) -> None:
    answer = one_for_all.ask(f"/{name}", body)
    json.loads(answer.body if isinstance(answer.body, bytes) else b"".join(answer.body))
