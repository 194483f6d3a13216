from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrepot.config import keys, listening_only, load, packed, unpacked, value_of
from entrepot.model.errors import Refused
from entrepot.settings import Config, address


def write(folder: Path, text: str) -> Path:
    file = folder / "entrepot.toml"
    file.write_text(text)
    return file


def test_the_last_source_wins(tmp_path: Path) -> None:
    file = write(tmp_path, 'log_level = "debug"\n[limits]\nconnections = 1\naccept_backlog = 11\nclose_timeout_ms = 111\n')
    environment = {"ENTREPOT_LIMITS_CONNECTIONS": "2", "ENTREPOT_LIMITS_ACCEPT_BACKLOG": "22", "HOME": "/"}
    config = load(file, environment, {"limits.connections": "3"}).config
    assert (config.limits.connections, config.limits.accept_backlog, config.limits.close_timeout_ms) == (3, 22, 111)
    assert config.log_level == "debug"
    assert config.limits.stop_grace_ms == Config().limits.stop_grace_ms


def test_nothing_given_is_the_defaults() -> None:
    assert load().config == Config()


@pytest.mark.parametrize(("text", "size"), [("1048576", 1 << 20), ("64 MiB", 64 << 20), ("1GiB", 1 << 30), ("2097152 B", 2 << 20)])
def test_sizes_have_units(text: str, size: int) -> None:
    assert load(environment={"ENTREPOT_DISK_RESERVE_BYTES": text}).config.disk.reserve_bytes == size


def test_lists_are_separated_by_commas() -> None:
    assert load(flags={"namespaces": "a/b, c/d"}).config.namespaces == ("a/b", "c/d")


def test_users_stand_in_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[users.ann]\npassword = "s"\nnamespaces = ["a/b"]\n[users.bob]\npassword = "t"\nadministrator = true\n')
    users = load(file).config.users
    assert users["ann"].namespaces == ("a/b",)
    assert users["bob"].administrator


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"ENTREPOT_LIMITS_CONNECTIONS": "0"},
            ["limits.connections", "'0'", "environment variable ENTREPOT_LIMITS_CONNECTIONS", "whole number of connections", "at least 1", "16000"],
        ),
        ({"ENTREPOT_LIMITS_CONNECTIONS": "many"}, ["limits.connections", "'many'"]),
        ({"ENTREPOT_LIMITS_ACCEPT_BACKLOG": "65536"}, ["at most 65535"]),
        ({"ENTREPOT_DURABILITY_MODE": "yes"}, ["durability.mode", "'yes'", "fsync | interval | none"]),
        ({"ENTREPOT_DISK_RESERVE_BYTES": "1 MB"}, ["disk.reserve_bytes", "'1 MB'", "64 KiB"]),
    ],
)
def test_an_error_names_key_value_source_and_what_is_allowed(environment: dict[str, str], words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        load(environment=environment)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nconections = 1", ["limits.conections", "entrepot.toml", "limits.connections is meant?"]),
        ("[durability]\nzzz = 1", ["durability.zzz", "there is no such key"]),
        ("[limits]\nconnections = true", ["limits.connections = true"]),
        ("[limits]\nconnections = 1.5", ["limits.connections = 1.5"]),
        ("limits = 1", ["limits", "there is no such key"]),
        ("limits =", ["entrepot.toml is not TOML"]),
        ("[users.ann]\npassword = 5", ["users.ann", "password must be a string, and is a whole number"]),
        ("users = 1", ["users", "[users.NAME]"]),
        ("[users.ann]\npasword = 'x'", ["users.ann", "password, namespaces, administrator"]),
    ],
)
def test_an_error_in_the_file_is_as_clear(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        load(write(tmp_path, text))
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="none.toml cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_an_unknown_flag_is_refused_and_a_near_variable_noted() -> None:
    with pytest.raises(Refused, match=r"limits.conns \(command line\)"):
        load(flags={"limits.conns": "1"})
    loaded = load(environment={"ENTREPOT_LIMITS_CONECTIONS": "1", "ENTREPOT_PURE": "1"})
    assert loaded.notes == ["environment variable ENTREPOT_LIMITS_CONECTIONS is none of Entrepot's; ENTREPOT_LIMITS_CONNECTIONS is"]


@pytest.mark.parametrize("found", list(keys()), ids=lambda found: found.name)
def test_every_key_is_documented_and_its_default_is_allowed(found: object) -> None:
    assert found.meta.description
    text = (
        ",".join(found.default) if isinstance(found.default, tuple) else str(found.default).lower() if isinstance(found.default, bool) else str(found.default)
    )
    assert value_of(load(flags={found.name: text}).config, found) == found.default
    if found.name.startswith("limits."):
        assert found.extra["at"]
        assert found.extra["unit"]


def test_no_two_keys_share_a_variable() -> None:
    variables = [found.environment for found in keys()]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(("text", "expected"), [("127.0.0.1:5672", ("127.0.0.1", 5672)), ("[::1]:0", ("::1", 0)), ("name:65535", ("name", 65535))])
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address("amqp", text) == expected


@pytest.mark.parametrize("text", ["5672", ":5672", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(Refused, match=r"listen.amqp = .*HOST:PORT"):
        address("amqp", text)


def test_listen_flags_are_all_there_is() -> None:
    assert listening_only(["http=127.0.0.1:0"]) == {
        "listen.amqp": "",
        "listen.amqps": "",
        "listen.kafka": "",
        "listen.kafkas": "",
        "listen.sqs": "",
        "listen.sqss": "",
        "listen.stomp": "",
        "listen.stomps": "",
        "listen.stomp-ws": "",
        "listen.stomp-wss": "",
        "listen.mqtt": "",
        "listen.mqtts": "",
        "listen.mqtt-ws": "",
        "listen.mqtt-wss": "",
        "listen.http": "127.0.0.1:0",
    }
    with pytest.raises(
        Refused, match="PROTOCOL one of amqp, amqps, kafka, kafkas, sqs, sqss, stomp, stomps, stomp-ws, stomp-wss, mqtt, mqtts, mqtt-ws, mqtt-wss, http"
    ):
        listening_only(["gopher=127.0.0.1:0"])


def test_a_configuration_that_another_process_gets_is_the_same(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'http_hosts = ["a", "b"]\nworkers = 3\n[listen]\namqp = ""\n[kafka]\nnode_id = 7\ncreate_topics = false\n'
        '[limits]\nchannels = 5\nconnections = 6\n[users.ann]\npassword = "x"\nnamespaces = ["a/b"]\nadministrator = true\n',
    )
    config = load(file).config
    told = json.loads(json.dumps(packed(config)))
    assert [value_of(unpacked(told), found) for found in keys()] == [value_of(config, found) for found in keys()]
    assert unpacked(told).users == config.users
    assert set(told["values"]) == {"http_hosts", "workers", "listen.amqp", "kafka.node_id", "kafka.create_topics", "limits.channels", "limits.connections"}
