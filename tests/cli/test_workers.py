"""Commands on the directory of a broker that is several workers: two whose sockets answer what is written here, and none at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_workers import FILE, FakeWorker, run, served

from entrepot.admin.client import NotRunning
from entrepot.admin.requests import AddKey, AddNamespace, AddUser, CloseConnection, ConnectionRow, DeleteNamespace, KeyRow, ListConnections, ListKeys, Made
from entrepot.admin.workers_client import WorkersClient, workers_client
from entrepot.broker.users.secret_box import KEY_FILE_NAME, make_key_file
from entrepot.cli.reach import kept, running
from entrepot.cluster.workers.directory import NAME, SPLIT_FILE, SplitFile, directory_of, read
from entrepot.cluster.workers.opening import lock
from entrepot.config import load
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, NotDone, Reason, Refused, Unavailable
from entrepot.node import VOLATILE
from entrepot.server import offline
from entrepot.settings import Config
from entrepot.store.local.posix_disk import LOCK


def connection(number: int, user: str, namespace: str = "public/default") -> dict[str, Any]:
    row = ConnectionRow(number, "amqp", f"127.0.0.1:{number}", [user], [namespace], "", "pika", 1, 2, False, 0)
    return {str(key): value for key, value in msgspec.to_builtins(row).items()}


def config_of(directory: Path) -> Config:
    return load(None, {}, {"data": str(directory)}).config


MADE = {"id": "", "secret": ""}


def test_connections_are_of_all_workers_and_are_ended_where_they_are(tmp_path: Path) -> None:
    first = FakeWorker({"/connections": {"connections": [connection(1, "ann"), connection(7, "bob")]}})
    second = FakeWorker({"/connections": {"connections": [connection(1, "eve")]}, "/connections/close": MADE})
    with served(tmp_path, {0: first, 1: second}):
        status, text = run(tmp_path, "connections", "list", "--json")
        assert status == 0
        assert [(row["id"], row["users"]) for row in json.loads(text)["connections"]] == [(2, ["ann"]), (3, ["eve"]), (14, ["bob"])]
        assert run(tmp_path, "connections", "close", "3")[0] == 0
        assert second.asked[-1] == ("/connections/close", {"id": 1, "reason": "closed by an administrator"})
        with running(config_of(tmp_path)) as broker, pytest.raises(Refused, match="there is no connection 14"):
            broker.change(CloseConnection(14))
    assert [path for path, _ in first.asked] == ["/connections", "/connections/close"]


def test_groups_are_of_all_workers_and_queues_of_the_first(tmp_path: Path) -> None:
    def group(name: str) -> dict[str, Any]:
        return {
            "namespace": "public/default",
            "name": name,
            "kind": "classic",
            "state": "Empty",
            "protocol_type": "consumer",
            "members": 0,
            "partitions_committed": 1,
            "lag": 2,
        }

    first = FakeWorker({"/groups": {"groups": [group("b")]}, "/queues": {"queues": []}})
    second = FakeWorker({"/groups": {"groups": [group("a")]}})
    with served(tmp_path, {0: first, 1: second}):
        status, text = run(tmp_path, "groups", "list", "--json")
        assert (status, [row["name"] for row in json.loads(text)["groups"]]) == (0, ["a", "b"])
        assert run(tmp_path, "queues", "list")[0] == 0
        assert [path for path, _ in second.asked] == ["/groups"]


def test_changes_go_to_who_decides(tmp_path: Path) -> None:
    first = FakeWorker({"/namespaces/add": MADE, "/keys/add": (503, {"error": "who decides has ended", "reason": "UNKNOWN"})})
    second = FakeWorker({})
    with served(tmp_path, {0: first, 1: second}), running(config_of(tmp_path)) as broker:
        assert broker.change(AddNamespace("acme/new")) == Made()
        with pytest.raises(NotDone, match="look before you repeat it"):
            broker.change(AddKey("ann"))
    assert second.asked == []


@pytest.mark.parametrize("used", ["connections", "groups"])
def test_a_namespace_that_another_worker_has_in_use_stays(tmp_path: Path, used: str) -> None:
    nothing = {"/connections": {"connections": []}, "/groups": {"groups": []}, "/namespaces/delete": MADE}
    first, second = FakeWorker(dict(nothing)), FakeWorker(dict(nothing))
    group = {"namespace": "a/b", "name": "g", "kind": "", "state": "", "protocol_type": "", "members": 0, "partitions_committed": 0, "lag": 0}
    with served(tmp_path, {0: first, 1: second}), running(config_of(tmp_path)) as broker:
        second.answers[f"/{used}"] = {used: [connection(1, "eve", "a/b") if used == "connections" else group]}
        with pytest.raises(Refused) as refused:
            broker.change(DeleteNamespace("a/b"))
        assert refused.value.reason is (Reason.IN_USE if used == "connections" else Reason.NOT_EMPTY)
        second.answers[f"/{used}"] = {used: []}
        assert broker.change(DeleteNamespace("a/b")) == Made()
    assert [path for path, _ in first.asked].count("/namespaces/delete") == 1


def test_a_worker_that_is_not_there_has_no_connections_and_unknown_groups(tmp_path: Path) -> None:
    second = FakeWorker({"/connections": {"connections": [connection(1, "eve")]}, "/users": {"users": []}})
    with served(tmp_path, {1: second}):
        assert [row["id"] for row in json.loads(run(tmp_path, "connections", "list", "--json")[1])["connections"]] == [3]
        assert json.loads(run(tmp_path, "users", "list", "--json")[1]) == {"users": []}
        with running(config_of(tmp_path)) as broker:
            assert broker.rows(ListConnections(), ConnectionRow)[0].id == 3
            second.answers["/connections"] = {"connections": []}
            with pytest.raises(Unavailable, match="worker 0 does not run"):
                broker.change(DeleteNamespace("a/b"))
            with pytest.raises(Refused, match="there is no connection 4"):
                broker.change(CloseConnection(4))


def test_what_was_opened_is_closed_where_one_does_not_answer() -> None:
    closed = []

    class One:
        def close(self) -> None:
            closed.append(self)

    def make(directory: Path) -> Any:
        if directory.name == "w1":
            raise Unavailable("it does not answer")
        return One()

    with pytest.raises(Unavailable):
        workers_client(Path("/nowhere"), FILE, make)
    assert len(closed) == 1

    def nobody(_: Path) -> Any:
        raise NotRunning

    with pytest.raises(NotRunning):
        workers_client(Path("/nowhere"), FILE, nobody)
    client = WorkersClient({0: One(), 1: One()}, 2)  # type: ignore[dict-item]
    client.close()
    assert len(closed) == 3


def test_the_file_of_the_directory(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    (tmp_path / NAME).write_bytes(msgspec.json.encode(FILE))
    assert read(tmp_path) == FILE
    (tmp_path / NAME).write_bytes(b"{}")
    with pytest.raises(CorruptData, match="workers.json"):
        read(tmp_path)


def test_while_no_worker_runs_the_catalogue_is_worker_0s(tmp_path: Path) -> None:
    """Its shards are opened, and no others; secrets are sealed with the key that all have."""
    (tmp_path / NAME).write_bytes(msgspec.json.encode(FILE))
    (tmp_path / KEY_FILE_NAME).write_bytes(make_key_file(SystemEntropy()))
    own = config_of(directory_of(tmp_path, 0))
    with offline(own, range(0, 256, 2)) as node:
        for number in range(8):
            node.decisions.declare_queue(
                "public/default", f"q{number}", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=(node.broker.start_id, 1)
            )
        places = {queue.log_id: node.broker.shards.place(queue) for queue in node.catalogue.namespace("public/default").queues.values()}
        here = {log.id for log in node.store.logs()}
        assert {shard % 2 for shard in places.values()} == {0, 1}
        assert {log_id for log_id, shard in places.items() if shard % 2 == 0} == here
    shutil.rmtree(directory_of(tmp_path, 0) / VOLATILE)  # this process has it still
    with kept(config_of(tmp_path)) as broker:
        broker.change(AddUser("ann", "secret"))
        made = broker.change(AddKey("ann"))
        assert broker.rows(ListKeys("ann", secrets=True), KeyRow) == [KeyRow(made.id, "ann", made.secret)]
        broker.change(AddNamespace("a/b"))
        with pytest.raises(Unavailable, match="consumer groups is not known here"):
            broker.change(DeleteNamespace("a/b"))
    shutil.rmtree(directory_of(tmp_path, 0) / VOLATILE)
    assert not (directory_of(tmp_path, 0) / KEY_FILE_NAME).exists()
    with offline(own, range(0, 256, 2)) as node:
        assert node.users.user("ann").name == "ann"
        assert {log.id for log in node.store.logs()} == here
    with pytest.raises(Refused, match="no broker runs on"), running(config_of(tmp_path)):
        pass


def test_nothing_is_changed_amid_a_split_nor_while_somebody_has_the_directory(tmp_path: Path) -> None:
    """The store of worker 0 is not there just then, perhaps, or is about to go: what was made in its place would be lost."""
    (tmp_path / NAME).write_bytes(msgspec.json.encode(FILE))
    (tmp_path / LOCK).touch()
    (tmp_path / SPLIT_FILE).write_bytes(msgspec.json.encode(SplitFile(old=2, new=msgspec.structs.replace(FILE, workers=1))))
    with pytest.raises(Refused, match="was interrupted"), kept(config_of(tmp_path)):
        pass
    (tmp_path / SPLIT_FILE).unlink()
    held = lock(tmp_path)
    with pytest.raises(Refused, match="is in use by another process"), kept(config_of(tmp_path)):
        pass
    os.close(held)
    assert not directory_of(tmp_path, 0).exists()
    with kept(config_of(tmp_path)), pytest.raises(Refused, match="in use"):
        lock(tmp_path)
    os.close(lock(tmp_path))
