"""Consumer groups: membership of both kinds, and looking at groups. What a group does is the broker's; here are only its words on the wire."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import repeat
from typing import Any

from entrepot.broker.calls import group_requests as ask
from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import AllowedActions, DescribeTopics, TopicDescription
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka import operations
from entrepot.protocols.kafka.answers import ASKED_AT_ONCE, chunks, code_of, error_code, text_of
from entrepot.protocols.kafka.cluster import group_code
from entrepot.protocols.kafka.error_codes import CONSUMER_GROUP, GROUP, ErrorCode
from entrepot.protocols.kafka.exchange import ASK_STEPS, Exchange
from entrepot.protocols.kafka.schema import Rows

ALLOWED_AT_ONCE = 64  # groups in one question of what the user may do with them
ANSWER_STEPS = 8  # of what all members of a group are answered at once
DESCRIPTION_STEPS = 40  # of looking at one group
UNAVAILABLE = ErrorCode.COORDINATOR_NOT_AVAILABLE


# ---- groups whose members agree among themselves


def join_group(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of JoinGroup. From version 4 on a member without an id is told to come back with one (KIP-394)."""
    session = exchange.session
    timeout_ms = values["session_timeout_ms"]
    exchange.state = values["member_id"]
    exchange.ask(
        [
            ask.JoinGroup(
                group=values["group_id"],
                member_id=values["member_id"],
                instance_id=values.get("group_instance_id"),
                client_id=session.client_id,
                client_host=f"/{session.peer.host}",
                session_timeout_ms=timeout_ms,
                rebalance_timeout_ms=values["rebalance_timeout_ms"] if exchange.version >= 1 else timeout_ms,
                protocol_type=values["protocol_type"],
                protocols=[(protocol["name"], protocol["metadata"]) for protocol in values["protocols"]],
                require_known_member_id=exchange.version >= 4,
                can_skip_assignment=exchange.version >= 9,
                reason=values.get("reason"),
            )
        ],
        _joined,
    )


def _joined(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    yield ANSWER_STEPS
    call = calls[0]
    if call.outcome != DONE:
        member_id = exchange.state
        if isinstance(call.error, Refused) and call.error.reason is Reason.MEMBER_ID_REQUIRED:
            member_id = call.result
        code = group_code(exchange, call)
        exchange.answer({"error_code": code, "protocol_name": None if exchange.version >= 7 else "", "member_id": member_id})
        return
    joined: ask.JoinResult = call.result
    exchange.answer(
        {
            "generation_id": joined.generation,
            "protocol_type": joined.protocol_type,
            "protocol_name": joined.protocol,
            "leader": joined.leader,
            "skip_assignment": joined.skip_assignment,
            "member_id": joined.member_id,
            "members": Rows(
                len(joined.members),
                ({"member_id": name, "group_instance_id": instance, "metadata": metadata} for name, instance, metadata in joined.members),
            ),
        }
    )


def sync_group(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of SyncGroup."""
    assignments = {assignment["member_id"]: assignment["assignment"] for assignment in values["assignments"]}
    exchange.ask(
        [
            ask.SyncGroup(
                group=values["group_id"],
                generation=values["generation_id"],
                member_id=values["member_id"],
                instance_id=values.get("group_instance_id"),
                protocol_type=values.get("protocol_type"),
                protocol=values.get("protocol_name"),
                assignments=assignments,
            )
        ],
        _synced,
    )


def _synced(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    yield ANSWER_STEPS
    call = calls[0]
    if call.outcome != DONE:
        exchange.answer({"error_code": group_code(exchange, call)})
        return
    protocol_type, protocol, assignment = call.result
    exchange.answer({"protocol_type": protocol_type, "protocol_name": protocol, "assignment": assignment})


def heartbeat(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of Heartbeat."""
    exchange.ask([ask.Heartbeat(values["group_id"], values["generation_id"], values["member_id"], values.get("group_instance_id"))], _beaten)


def _beaten(exchange: Exchange, calls: list[Any]) -> None:
    exchange.answer({"error_code": group_code(exchange, calls[0])})


def leave_group(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of LeaveGroup: one member before version 3, then any number."""
    members = values.get("members")
    if members is None:
        members = [{"member_id": values["member_id"]}]
    exchange.state = members
    leaving = ((member["member_id"], member.get("group_instance_id"), member.get("reason")) for member in members)
    exchange.ask((ask.LeaveGroup(values["group_id"], some) for some in chunks(leaving)), _left, lambda request: ASK_STEPS + 4 * len(request.members))


def _left(exchange: Exchange, calls: list[Any]) -> None:
    refused = next((call for call in calls if call.outcome != DONE), None)
    if refused is not None:
        exchange.answer({"error_code": group_code(exchange, refused)})
        return
    codes = (error_code(exchange, error, GROUP, UNAVAILABLE) for call in calls for error in call.result)
    if exchange.version < 3:
        exchange.answer({"error_code": next(codes, 0)})
        return
    rows = (
        {"member_id": member["member_id"], "group_instance_id": member["group_instance_id"], "error_code": code}
        for member, code in zip(exchange.state, codes, strict=True)
    )
    exchange.answer({"error_code": 0, "members": Rows(len(exchange.state), rows)})


# ---- groups whose coordinator assigns (KIP-848)


def consumer_group_heartbeat(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ConsumerGroupHeartbeat."""
    session = exchange.session
    owned = values["topic_partitions"]
    exchange.ask(
        [
            ask.ConsumerHeartbeat(
                group=values["group_id"],
                member_id=values["member_id"],
                member_epoch=values["member_epoch"],
                instance_id=values["instance_id"],
                rack_id=values["rack_id"],
                rebalance_timeout_ms=values["rebalance_timeout_ms"],
                client_id=session.client_id,
                client_host=f"/{session.peer.host}",
                subscribed_names=values["subscribed_topic_names"],
                subscribed_regex=values.get("subscribed_topic_regex"),
                assignor=values["server_assignor"],
                owned=None if owned is None else {topic["topic_id"]: topic["partitions"] for topic in owned},
            )
        ],
        _consumer_beaten,
    )


def _consumer_beaten(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    if call.outcome != DONE:
        exchange.answer({"error_code": group_code(exchange, call, CONSUMER_GROUP), "error_message": text_of(call.error)})
        return
    found: ask.ConsumerHeartbeatResult = call.result
    assignment = None
    if found.assignment is not None:
        assignment = {"topic_partitions": [{"topic_id": topic_id, "partitions": partitions} for topic_id, partitions in found.assignment.items()]}
    exchange.answer(
        {
            "member_id": found.member_id,
            "member_epoch": found.member_epoch,
            "heartbeat_interval_ms": found.heartbeat_interval_ms,
            "assignment": assignment,
        }
    )


# ---- looking at groups


def list_groups(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ListGroups: those that this node coordinates; clients ask every one."""
    exchange.ask([ask.ListGroups(values.get("states_filter", []), values.get("types_filter", []))], _listed)


def _listed(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    groups = call.result if call.outcome == DONE else []
    exchange.answer(
        {
            "error_code": code_of(exchange, call, GROUP, UNAVAILABLE),
            "groups": Rows(
                len(groups),
                ({"group_id": group, "protocol_type": protocol_type, "group_state": state, "group_type": kind} for group, protocol_type, state, kind in groups),
            ),
        }
    )


def describe_groups(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DescribeGroups: groups of the classic kind; before version 6 a group that is not there is a dead one."""
    exchange.state = values["groups"]
    exchange.ask(_describing(values["groups"], values.get("include_authorized_operations", False)), _described, DESCRIPTION_STEPS)


def _describing(groups: list[str], with_operations: bool) -> Iterator[Any]:
    """What to ask of groups that are described; last, if it is wanted, what the user may do with each."""
    for group in groups:
        yield ask.DescribeGroup(group)
    if with_operations and groups:
        for some in chunks(groups, ALLOWED_AT_ONCE):
            yield AllowedActions(list(some))


def _split(exchange: Exchange, calls: list[Any]) -> tuple[list[Any], Iterator[dict[str, Any]]]:
    """The calls of _describing() as those of the groups, and what is told of operations: each group's fields, none where they are not wanted."""
    count = len(exchange.state)
    return calls[:count], _operated(calls[count:])


def _operated(calls: list[Any]) -> Iterator[dict[str, Any]]:
    for call in calls:
        if call.outcome == DONE:
            for actions in call.result:
                yield {"authorized_operations": operations.bits(operations.GROUP, actions)}
        else:
            yield from repeat({}, ALLOWED_AT_ONCE)
    yield from repeat({})


def _with_operations(row: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return row | fields if fields and row.get("error_code", 0) == 0 else row


def _described(exchange: Exchange, calls: list[Any]) -> None:
    calls, operated = _split(exchange, calls)
    rows = (_with_operations(_classic_group(exchange, group, call), fields) for group, call, fields in zip(exchange.state, calls, operated, strict=False))
    exchange.answer({"groups": Rows(len(calls), rows)})


def _classic_group(exchange: Exchange, group: str, call: Any) -> dict[str, Any]:
    if call.outcome == DONE and call.result.kind == "classic":
        found: ask.GroupDescription = call.result
        return {
            "group_id": group,
            "group_state": found.state,
            "protocol_type": found.protocol_type,
            "protocol_data": found.protocol,
            "members": Rows(len(found.members), map(_classic_member, found.members)),
        }
    row: dict[str, Any] = {"group_id": group, "group_state": "", "error_code": int(ErrorCode.GROUP_ID_NOT_FOUND)}
    row["error_message"] = f"group '{group}' is not a classic group" if call.outcome == DONE else text_of(call.error)
    if call.outcome != DONE:
        row["error_code"] = group_code(exchange, call)
    if row["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND:
        row["group_state"] = "Dead"
        if exchange.version < 6:
            row["error_code"] = 0
    return row


def _classic_member(member: ask.MemberDescription) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "group_instance_id": member.instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "member_metadata": member.metadata,
        "member_assignment": member.assignment,
    }


def consumer_group_describe(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ConsumerGroupDescribe. Topics of assignments are named as they are called now."""
    exchange.state = values["group_ids"]
    exchange.ask(_describing(values["group_ids"], values["include_authorized_operations"]), _consumers_found, DESCRIPTION_STEPS)


def _consumers_found(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    calls, operated = _split(exchange, calls)
    ids: dict[bytes, None] = {}
    for call in calls:
        if call.outcome == DONE:
            for member in call.result.members:
                ids.update(dict.fromkeys((*member.assigned, *member.target)))
                yield 2 + len(member.assigned) // 4
    if not ids:
        _describe_consumers(exchange, calls, operated, {})
        return

    def named(exchange: Exchange, answers: list[Any]) -> None:
        found = (topic for answer in answers if answer.outcome == DONE for topic in answer.result)
        _describe_consumers(exchange, calls, operated, {topic.id: topic.name for topic in found if isinstance(topic, TopicDescription)})

    exchange.ask((DescribeTopics(ids=some) for some in chunks(ids)), named, ASKED_AT_ONCE * 3)


def _describe_consumers(exchange: Exchange, calls: list[Any], operated: Iterator[dict[str, Any]], names: dict[bytes, str]) -> None:
    rows = (
        _with_operations(_consumer_group(exchange, group, call, names), fields) for group, call, fields in zip(exchange.state, calls, operated, strict=False)
    )
    exchange.answer({"groups": Rows(len(calls), rows)})


def _consumer_group(exchange: Exchange, group: str, call: Any, names: dict[bytes, str]) -> dict[str, Any]:
    if call.outcome != DONE:
        return {"group_id": group, "error_code": group_code(exchange, call, CONSUMER_GROUP), "error_message": text_of(call.error)}
    found: ask.GroupDescription = call.result
    if found.kind != "consumer":
        return {"group_id": group, "error_code": int(ErrorCode.GROUP_ID_NOT_FOUND), "error_message": f"group '{group}' is not a consumer group"}
    return {
        "group_id": group,
        "group_state": found.state,
        "group_epoch": found.epoch,
        "assignment_epoch": found.assignment_epoch,
        "assignor_name": found.assignor,
        "members": Rows(len(found.members), (_consumer(member, names) for member in found.members)),
    }


def _consumer(member: ask.MemberDescription, names: dict[bytes, str]) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "rack_id": member.rack_id,
        "member_epoch": member.member_epoch,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": member.subscribed_names,
        "subscribed_topic_regex": member.subscribed_regex,
        "assignment": _assignment(member.assigned, names),
        "target_assignment": _assignment(member.target, names),
        "member_type": 0 if member.is_classic else 1,
    }


def _assignment(partitions: dict[bytes, list[int]], names: dict[bytes, str]) -> dict[str, Any]:
    rows = ({"topic_id": topic, "topic_name": names.get(topic, ""), "partitions": found} for topic, found in partitions.items())
    return {"topic_partitions": Rows(len(partitions), rows)}


def delete_groups(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DeleteGroups."""
    exchange.state = values["groups_names"]
    exchange.ask((ask.DeleteGroup(group) for group in values["groups_names"]), _deleted, DESCRIPTION_STEPS)


def _deleted(exchange: Exchange, calls: list[Any]) -> None:
    rows = ({"group_id": group, "error_code": group_code(exchange, call)} for group, call in zip(exchange.state, calls, strict=True))
    exchange.answer({"results": Rows(len(calls), rows)})
