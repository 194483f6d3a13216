"""The table of actions against Amazon's own model of the service, as botocore ships it."""

import base64
import json
import xml.etree.ElementTree as ET
from typing import Any, get_args, get_origin, get_type_hints

import botocore.loaders
import msgspec
import pytest
from port_double import Bench, http, json_request, parse_answers

from entrepot.protocols.sqs import query_protocol
from entrepot.protocols.sqs.actions import ACTIONS, Shape
from entrepot.protocols.sqs.errors import ERRORS
from entrepot.protocols.sqs.handlers import HANDLERS

MODEL = botocore.loaders.Loader().load_service_model("sqs", "service-2")
SHAPES = MODEL["shapes"]
KINDS = {"string": str, "integer": int, "long": int, "boolean": bool, "blob": bytes}

# Names in the Query protocol, which the model no longer says: as SQS documents them.
FLATTENED = {
    "AttributeNames": "AttributeName",
    "MessageSystemAttributeNames": "MessageSystemAttributeName",
    "MessageAttributeNames": "MessageAttributeName",
    "Attributes": "Attribute",
    "tags": "Tag",
    "Tags": "Tag",
    "TagKeys": "TagKey",
    "AWSAccountIds": "AWSAccountId",
    "Actions": "ActionName",
    "MessageAttributes": "MessageAttribute",
    "MessageSystemAttributes": "MessageSystemAttribute",
    "StringListValues": "StringListValue",
    "BinaryListValues": "BinaryListValue",
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Messages": "Message",
    "Results": "ListMessageMoveTasksResultEntry",
    "Failed": "BatchResultErrorEntry",
}


def test_every_action_is_in_the_table_and_answered():
    assert set(ACTIONS) == set(MODEL["operations"]) == set(HANDLERS)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_requests_and_answers_have_the_fields_of_the_model(name):
    action, operation = ACTIONS[name], MODEL["operations"][name]
    check_shape(action.request, operation["input"]["shape"])
    assert set(action.required) == set(SHAPES[operation["input"]["shape"]].get("required", ()))
    if "output" in operation:
        assert action.result is not None
        check_shape(action.result, operation["output"]["shape"])
    else:
        assert action.result is None


def check_shape(shape: type[Shape], modelled: str) -> None:
    members = SHAPES[modelled]["members"]
    hints = get_type_hints(shape)
    assert set(hints) == set(members), modelled
    by_name = {field.name: field for field in query_protocol.fields_of(shape)}
    for name, member in members.items():
        plain = next(option for option in get_args(hints[name]) if option is not type(None))
        check_type(plain, member["shape"])
        if SHAPES[member["shape"]]["type"] in ("list", "map"):
            assert by_name[name].query_name == flattened(modelled, name), (modelled, name)
        else:
            assert by_name[name].query_name == name


def flattened(modelled: str, name: str) -> str:
    if name == "Entries":
        return SHAPES[SHAPES[modelled]["members"][name]["shape"]]["member"]["shape"]
    if name == "Successful":
        return SHAPES[SHAPES[modelled]["members"][name]["shape"]]["member"]["shape"]
    return FLATTENED[name]


def check_type(hint: Any, modelled: str) -> None:
    shape = SHAPES[modelled]
    if shape["type"] == "list":
        assert get_origin(hint) is list
        check_type(get_args(hint)[0], shape["member"]["shape"])
    elif shape["type"] == "map":
        assert get_origin(hint) is dict
        assert get_args(hint)[0] is str
        check_type(get_args(hint)[1], shape["value"]["shape"])
    elif shape["type"] == "structure":
        check_shape(hint, modelled)
    else:
        assert hint is KINDS[shape["type"]]


def test_every_modelled_error_has_its_code_in_both_protocols():
    modelled = {name for name, shape in SHAPES.items() if shape.get("exception")}
    assert modelled <= set(ERRORS)
    assert {error["shape"] for operation in MODEL["operations"].values() for error in operation["errors"]} <= modelled
    for name in modelled:
        assert ERRORS[name].code
        assert 400 <= ERRORS[name].status < 500


# ---- every field through both protocols


def value_of(hint: Any, number: int = 1) -> Any:
    """Some value of a type."""
    plain = next((option for option in get_args(hint) if option is not type(None)), hint) if type(None) in get_args(hint) else hint
    if get_origin(plain) is list:
        return [value_of(get_args(plain)[0], 1), value_of(get_args(plain)[0], 2)]
    if get_origin(plain) is dict:
        return {"one": value_of(get_args(plain)[1], 1), "two": value_of(get_args(plain)[1], 2)}
    if isinstance(plain, type) and issubclass(plain, Shape):
        hints = get_type_hints(plain)
        return plain(**{name: value_of(inner, number) for name, inner in hints.items()})
    return {str: f"text {number} <&>\u00e9", int: 40 + number, bool: True, bytes: b"\x00\xff" + bytes([number])}[plain]


def as_form(prefix: str, value: Any, shape: type[Shape], form: dict[str, str]) -> None:
    for field in query_protocol.fields_of(shape):
        content = getattr(value, field.name)
        name = prefix + field.query_name
        if field.kind == "list":
            for number, item in enumerate(content, 1):
                put(f"{name}.{number}", item, form)
        elif field.kind == "map":
            for number, (key, item) in enumerate(content.items(), 1):
                form[f"{name}.{number}.{field.key_name}"] = key
                put(f"{name}.{number}.Value", item, form)
        else:
            put(name, content, form)


def put(name: str, value: Any, form: dict[str, str]) -> None:
    if isinstance(value, Shape):
        as_form(name + ".", value, type(value), form)
    elif isinstance(value, bytes):
        form[name] = base64.b64encode(value).decode()
    else:
        form[name] = str(value)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_a_request_with_every_field_is_read_from_both_protocols(name):
    action = ACTIONS[name]
    whole = value_of(action.request)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=action.request) == whole
    form = {"Action": name, "Version": "2012-11-05"}
    as_form("", whole, action.request, form)
    assert query_protocol.parse_request(form) == (action, whole)


@pytest.mark.parametrize("name", sorted(name for name, action in ACTIONS.items() if action.result))
def test_an_answer_with_every_field_is_written_in_both_protocols(name):
    action = ACTIONS[name]
    whole = value_of(action.result)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=action.result) == whole
    document = ET.fromstring(query_protocol.encode_answer(action, whole, "id"))
    space = "{" + query_protocol.NAMESPACE + "}"
    assert document.tag == f"{space}{name}Response"
    assert document.findtext(f"{space}ResponseMetadata/{space}RequestId") == "id"
    assert read_xml(document.find(f"{space}{name}Result"), action.result, space) == whole


def read_xml(node: Any, shape: type[Shape], space: str) -> Any:
    values: dict[str, Any] = {}
    hints = get_type_hints(shape)
    for field in query_protocol.fields_of(shape):
        found = node.findall(space + field.query_name)
        plain = next(option for option in get_args(hints[field.name]) if option is not type(None))
        if field.kind == "list":
            values[field.name] = [read_item(item, get_args(plain)[0], space) for item in found]
        elif field.kind == "map":
            values[field.name] = {item.findtext(space + field.key_name): read_item(item.find(space + "Value"), get_args(plain)[1], space) for item in found}
        elif found:
            values[field.name] = read_item(found[0], plain, space)
    return shape(**values)


def read_item(node: Any, hint: Any, space: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, Shape):
        return read_xml(node, hint, space)
    text = node.text or ""
    return {str: str, int: int, bool: lambda raw: raw == "true", bytes: base64.b64decode}[hint](text)


# ---- errors as they are answered


@pytest.mark.parametrize("shape", sorted(ERRORS))
def test_an_error_is_answered_as_each_protocol_says_it(shape, monkeypatch):
    from entrepot.protocols.sqs import session as session_module
    from entrepot.protocols.sqs.errors import SqsError
    from entrepot.protocols.sqs.handlers import ROUTES, Route

    def fail(exchange):
        raise SqsError(shape, 'why <it> "failed"')

    key = b"AmazonSQS.ListQueues"
    monkeypatch.setitem(session_module.ROUTES, key, Route(ROUTES[key].action, fail))
    connection = Bench().session()
    connection.send(json_request("ListQueues", b"{}"))
    [(status, headers, body)] = parse_answers(connection.received())
    code = ERRORS[shape]
    fault = "Receiver" if code.status >= 500 else "Sender"
    assert status == code.status
    assert headers["x-amzn-query-error"] == f"{code.code};{fault}"
    assert json.loads(body) == {"__type": f"com.amazonaws.sqs#{shape}", "message": 'why <it> "failed"'}
    assert len(headers["x-amzn-requestid"]) == 36
    connection.send(http(b"Action=ListQueues", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}))
    [(status, headers, body)] = parse_answers(connection.received())
    assert status == code.status
    error = ET.fromstring(body).find("{*}Error")
    assert (error.findtext("{*}Type"), error.findtext("{*}Code"), error.findtext("{*}Message")) == (fault, code.code, 'why <it> "failed"')
    assert ET.fromstring(body).findtext("{*}RequestId") == headers["x-amzn-requestid"]
