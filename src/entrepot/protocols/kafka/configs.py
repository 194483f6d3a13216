"""Configuration as Kafka asks for it: of topics, and what little a client may know of the broker's."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import CHANGES_MAX, AlterTopicConfig, ConfigEntry, DescribeTopicConfig
from entrepot.protocols.kafka.answers import code_of, counted, text_of
from entrepot.protocols.kafka.cluster import node_ids, own_id, undecided
from entrepot.protocols.kafka.error_codes import TOPIC, ErrorCode
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.schema import Rows

TOPIC_RESOURCE, BROKER_RESOURCE = 2, 4
DEFAULT_CONFIG, TOPIC_CONFIG, STATIC_BROKER_CONFIG = 5, 1, 4  # config_source
DESCRIPTION_STEPS = 120  # of what is set of a topic, told or changed
TYPES = {"boolean": 1, "string": 2, "int": 3, "short": 4, "long": 5, "double": 6, "list": 7}
OPERATIONS = {0: "set", 1: "delete", 2: "append", 3: "subtract"}


def describe_configs(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DescribeConfigs. Of the broker's own settings those are shown that clients' limits depend on, by Kafka's names; they are read-only."""
    resources = values["resources"]
    exchange.state = values
    exchange.ask(
        (DescribeTopicConfig(found["resource_name"], found["configuration_keys"]) if found["resource_type"] == TOPIC_RESOURCE else None for found in resources),
        _configs_described,
        DESCRIPTION_STEPS,
    )


def _configs_described(exchange: Exchange, calls: list[Any]) -> None:
    resources = exchange.state["resources"]
    exchange.answer({"results": Rows(len(resources), _descriptions(exchange, calls))})


def _descriptions(exchange: Exchange, calls: list[Any]) -> Iterator[dict[str, Any]]:
    values = exchange.state
    answers = iter(calls)
    for resource in values["resources"]:
        row = {"resource_type": resource["resource_type"], "resource_name": resource["resource_name"], "error_code": 0, "error_message": None}
        if resource["resource_type"] == TOPIC_RESOURCE:
            call = next(answers)
            row["error_code"] = code_of(exchange, call, TOPIC)
            row["error_message"] = text_of(call.error)
            if call.outcome == DONE:
                row["configs"] = Rows(len(call.result), map(partial(_config, values), call.result))
        elif resource["resource_type"] == BROKER_RESOURCE:
            number = _broker_named(exchange, resource["resource_name"])
            if number is not None:
                row["configs"] = _of_the_broker(exchange, number, resource["configuration_keys"])
            else:
                row["error_code"] = int(ErrorCode.INVALID_REQUEST)
                row["error_message"] = f"brokers are {', '.join(map(str, node_ids(exchange.session)))}"
        else:
            row["error_code"] = int(ErrorCode.INVALID_REQUEST)
            row["error_message"] = f"there is no configuration of resource type {resource['resource_type']}"
        yield row


def _broker_named(exchange: Exchange, name: str) -> int | None:
    """The id of a node that is meant; "" is the one that is asked. All have the same configuration, so that each answers for any."""
    return next((one for one in node_ids(exchange.session) if str(one) == name), None) if name else own_id(exchange.session)


def _of_the_broker(exchange: Exchange, number: int, keys: list[str] | None) -> list[dict[str, Any]]:
    settings = exchange.session.settings
    found = {
        "broker.id": number,
        "connections.max.idle.ms": int(settings.idle_s * 1000),
        "fetch.max.bytes": settings.fetch_size_max,
        "socket.request.max.bytes": settings.produce_size_max,
    }
    return [
        {
            "name": name,
            "value": str(value),
            "read_only": True,
            "config_source": STATIC_BROKER_CONFIG,
            "is_sensitive": False,
            "synonyms": [],
            "config_type": TYPES["int"],
        }
        for name, value in found.items()
        if keys is None or name in keys
    ]


def _config(values: dict[str, Any], entry: ConfigEntry) -> dict[str, Any]:
    synonyms = []
    if values["include_synonyms"]:
        if not entry.is_default:
            synonyms.append({"name": entry.name, "value": entry.value, "source": TOPIC_CONFIG})
        synonyms.append({"name": entry.name, "value": entry.default, "source": DEFAULT_CONFIG})
    return {
        "name": entry.name,
        "value": entry.value,
        "read_only": False,
        "config_source": DEFAULT_CONFIG if entry.is_default else TOPIC_CONFIG,
        "is_sensitive": False,
        "synonyms": synonyms,
        "config_type": TYPES.get(entry.type, 0),
        "documentation": entry.documentation if values.get("include_documentation") else None,
    }


def incremental_alter_configs(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of IncrementalAlterConfigs."""
    yield from _mark_twice(values["resources"])
    exchange.state = values
    exchange.ask(
        (
            AlterTopicConfig(
                resource["resource_name"],
                [(OPERATIONS[change["config_operation"]], change["name"], change["value"]) for change in resource["configs"]],
                values["validate_only"],
            )
            if _cannot_alter(resource) is None
            else None
            for resource in values["resources"]
        ),
        _altered,
        DESCRIPTION_STEPS,
    )


def _mark_twice(resources: list[dict[str, Any]]) -> Generator[int, None, None]:
    """Note of each resource whether the request has it twice: then it is altered neither time."""
    named: dict[tuple[int, str], int] = {}
    yield from counted(((resource["resource_type"], resource["resource_name"]) for resource in resources), named)
    for resource in resources:
        resource["twice"] = named[resource["resource_type"], resource["resource_name"]] > 1
        yield 1


def _cannot_alter(resource: dict[str, Any]) -> str | None:
    if resource["twice"]:
        return f"'{resource['resource_name']}' is altered twice"
    if resource["resource_type"] != TOPIC_RESOURCE:
        return f"only topics (resource type {TOPIC_RESOURCE}) have configuration that can be altered, not type {resource['resource_type']}"
    if len(resource["configs"]) > CHANGES_MAX:
        return f"{len(resource['configs'])} changes at once; {CHANGES_MAX} are allowed"
    names = [change["name"] for change in resource["configs"]]
    if len(set(names)) < len(names):
        return "a key is altered twice"
    if any(change.get("config_operation", 0) not in OPERATIONS for change in resource["configs"]):
        return "operations are " + ", ".join(f"{number} ({name})" for number, name in OPERATIONS.items())
    return None


def _altered(exchange: Exchange, calls: list[Any]) -> None:
    resources = exchange.state["resources"]
    exchange.answer({"responses": Rows(len(resources), _alterations(exchange, calls))})


def _alterations(exchange: Exchange, calls: list[Any]) -> Iterator[dict[str, Any]]:
    answers = iter(calls)
    for resource in exchange.state["resources"]:
        reason = _cannot_alter(resource)
        row = {"resource_type": resource["resource_type"], "resource_name": resource["resource_name"]}
        if reason is not None:
            exchange.session.count_error(exchange)
            yield row | {"error_code": int(ErrorCode.INVALID_REQUEST), "error_message": reason}
            continue
        call = next(answers)
        yield row | {"error_code": code_of(exchange, call, TOPIC, undecided(exchange.session)), "error_message": text_of(call.error)}


def alter_configs(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of AlterConfigs: what is not named goes back to its default. Deprecated since Kafka 2.3, and still used."""
    exchange.state = values
    yield from _mark_twice(values["resources"])
    requests = (DescribeTopicConfig(found["resource_name"]) if _cannot_alter(found) is None else None for found in values["resources"])
    exchange.ask(requests, _replace, DESCRIPTION_STEPS)


def _replace(exchange: Exchange, calls: list[Any]) -> None:
    exchange.ask(_replacements(exchange.state, calls), _altered, DESCRIPTION_STEPS)


def _replacements(values: dict[str, Any], calls: list[Any]) -> Iterator[AlterTopicConfig | None]:
    answers = iter(calls)
    for resource in values["resources"]:
        if _cannot_alter(resource) is not None:
            yield None
            continue
        call = next(answers)
        changes: list[tuple[str, str, str | None]] = [("set", change["name"], change["value"]) for change in resource["configs"]]
        named = {change["name"] for change in resource["configs"]}
        if call.outcome == DONE:
            changes += [("delete", entry.name, None) for entry in call.result if not entry.is_default and entry.name not in named]
        yield AlterTopicConfig(resource["resource_name"], changes, values["validate_only"])
