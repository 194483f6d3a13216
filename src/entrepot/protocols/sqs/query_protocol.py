"""The Query protocol: a form becomes the structure of its action, and an answer XML, both by the table in actions.py; or JSON, where the client says Accept.

A list is `Name.1`, `Name.2`..., a map `Name.1.Name` and `Name.1.Value` (or what the table says), a structure `Name.Field`. Numbers of
a list need not be without gaps; what the table does not know is passed over.
"""

from __future__ import annotations

import base64
import html
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from entrepot.protocols.sqs.actions import ACTIONS, Action, Shape
from entrepot.protocols.sqs.characters import percent_decoded
from entrepot.protocols.sqs.errors import ErrorCode, SqsError
from entrepot.protocols.sqs.wrong_input import why_wrong

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
PARAMETERS_MAX = 4096  # of one request: ten messages with ten attributes each are under 600
FORM_MAX_BYTES = 4 << 20  # of one: the bodies of a call may have 1 MiB, which is 3 MiB with every octet of it escaped
DEPTH_MAX = 8  # of names with points
_JSON = msgspec.json.Encoder()
_JSON_NAMES = {"Messages": "messages", "QueueUrls": "queueUrls"}  # what JSON calls otherwise
AT_ENDPOINT_ONLY = frozenset({"CreateQueue", "ListQueues"})
"""Actions that a queue's URL is no address for."""


def not_here(name: str) -> SqsError:
    """The action is none that is asked for at this address."""
    return SqsError("UnknownOperationException", f"The action {name[:80]} is not valid for this endpoint.")


class FieldShape(NamedTuple):
    """One field as the Query protocol sees it. `kind`: "scalar", "list", "map" or "structure"; `inner`: what is in it."""

    name: str
    query_name: str
    kind: str
    inner: Any
    key_name: str


@cache
def fields_of(shape: type[Shape]) -> tuple[FieldShape, ...]:
    """Every field of a structure."""
    hints = get_type_hints(shape, include_extras=True)
    found = []
    for field in msgspec.structs.fields(shape):
        hint = hints[field.name]
        query_name, key_name = field.name, "Name"
        if get_origin(hint) is not None and hasattr(hint, "__metadata__"):
            extra = hint.__metadata__[0].extra
            query_name, key_name = extra["query"], extra["key"]
            hint = get_args(hint)[0]
        plain = next(option for option in (get_args(hint) or (hint,)) if option is not type(None))
        origin = get_origin(plain)
        if origin is list:
            found.append(FieldShape(field.name, query_name, "list", get_args(plain)[0], key_name))
        elif origin is dict:
            found.append(FieldShape(field.name, query_name, "map", get_args(plain)[1], key_name))
        elif isinstance(plain, type) and issubclass(plain, Shape):
            found.append(FieldShape(field.name, query_name, "structure", plain, key_name))
        else:
            found.append(FieldShape(field.name, query_name, "scalar", plain, key_name))
    return tuple(found)


def parse_form(text: bytes) -> dict[str, str]:
    """Names and values of a form, or of what stands behind `?`. Of a name twice the last counts. Raises SqsError."""
    if len(text) > FORM_MAX_BYTES:
        raise SqsError("SerializationException", f"The request is a form of {len(text)} bytes; at most {FORM_MAX_BYTES} are taken.")
    pairs = text.split(b"&", PARAMETERS_MAX)
    if len(pairs) > PARAMETERS_MAX:
        raise SqsError("SerializationException", f"The request is no form of at most {PARAMETERS_MAX} parameters.")
    form: dict[str, str] = {}
    try:
        for pair in pairs:
            if pair:
                name, _, value = pair.partition(b"=")
                form[percent_decoded(name).decode()] = percent_decoded(value).decode()
    except UnicodeError as error:
        raise SqsError("SerializationException", f"The request is no form of UTF-8: {why_wrong(error, percent_decoded(text))}.") from None
    return form


def parse_request(form: dict[str, str]) -> tuple[Action, Any]:
    """Action and request of a form. Raises SqsError."""
    name = form.get("Action")
    if name is None:
        raise SqsError("MissingRequiredParameterException", "The request must contain the parameter Action.")
    action = ACTIONS.get(name)
    if action is None:
        raise not_here(name)
    tree: dict[str, Any] = {}
    for key, value in form.items():
        parts = key.split(".")
        if len(parts) > DEPTH_MAX:
            continue
        node = tree
        for part in parts[:-1]:
            below = node.get(part)
            if not isinstance(below, dict):
                below = node[part] = {}
            node = below
        if not isinstance(node.get(parts[-1]), dict):
            node[parts[-1]] = value
    try:
        return action, msgspec.convert(_structure(tree, action.request), action.request, strict=False)
    except msgspec.ValidationError as error:
        raise SqsError("InvalidParameterValueException", f"The request has a parameter of the wrong type: {why_wrong(error)}.") from None


def _structure(tree: dict[str, Any], shape: type[Shape]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields_of(shape):
        raw = tree.get(field.query_name)
        if raw is None:
            continue
        if field.kind == "list":
            values[field.name] = [_value(item, field.inner) for item in _numbered(raw)]
        elif field.kind == "map":
            entries = [item for item in _numbered(raw) if isinstance(item, dict) and isinstance(item.get(field.key_name), str)]
            values[field.name] = {item[field.key_name]: _value(item.get("Value", ""), field.inner) for item in entries}
        else:
            values[field.name] = _value(raw, field.inner)
    return values


def _numbered(raw: Any) -> list[Any]:
    """Items of a list by their numbers; a value without a number is a list of one."""
    if not isinstance(raw, dict):
        return [raw]
    return [raw[number] for number in sorted((key for key in raw if key.isascii() and key.isdigit() and len(key) < 10), key=int)]


def _value(raw: Any, inner: Any) -> Any:
    if isinstance(inner, type) and issubclass(inner, Shape):
        return _structure(raw, inner) if isinstance(raw, dict) else raw
    return raw


def encode_answer(action: Action, result: Any, request_id: str) -> bytes:
    """The XML of an answer."""
    front, behind = around_answer(action, request_id)
    parts = [front]
    if action.result is not None and result is not None:
        _write(parts, result)
    parts.append(behind)
    return encode_text("".join(parts))


def around_answer(action: Action, request_id: str) -> tuple[str, str]:
    """The XML of an answer, what is before its result and what behind."""
    front, behind = f'<?xml version="1.0"?><{action.name}Response xmlns="{NAMESPACE}">', ""
    if action.result is not None:
        front += f"<{action.name}Result>"
        behind = f"</{action.name}Result>"
    return front, f"{behind}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action.name}Response>"


def element(name: str, value: Any) -> str:
    """The XML of a part of a result."""
    parts: list[str] = []
    _element(parts, name, value)
    return "".join(parts)


def encode_text(text: str) -> bytes:
    """As it goes to the client."""
    return text.encode("utf-8", "surrogateescape")


def encode_answer_json(action: Action, result: Any, request_id: str) -> bytes:
    """The JSON of an answer: as the XML, with what is not there as null, lists as lists, and maps as lists of their entries."""
    answer: dict[str, Any] = {"ResponseMetadata": {"RequestId": request_id}}
    if action.result is not None:
        answer[f"{action.name}Result"] = _plain(action.result() if result is None else result)
    return _JSON.encode({f"{action.name}Response": answer})


def encode_error_json(code: ErrorCode, text: str, request_id: str) -> bytes:
    """The JSON of an error."""
    fault = "Sender" if code.is_sender_fault else "Receiver"
    shown = text.encode(errors="replace").decode()
    return _JSON.encode({"Error": {"Code": code.code, "Detail": None, "Message": shown, "Type": fault}, "RequestId": request_id})


def _plain(value: Any) -> Any:
    if isinstance(value, Shape):
        found = {}
        for field in fields_of(type(value)):
            content = getattr(value, field.name)
            if field.kind == "map" and content is not None:
                content = [{field.key_name: key, "Value": item} for key, item in content.items()]
            found[_JSON_NAMES.get(field.name, field.name)] = _plain(content)
        return found
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="replace")
    return value


def encode_error(code: ErrorCode, text: str, request_id: str) -> bytes:
    """The XML of an error."""
    fault = "Sender" if code.is_sender_fault else "Receiver"
    return (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{NAMESPACE}"><Error><Type>{fault}</Type><Code>{code.code}</Code>'
        f"<Message>{_text(text)}</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode("utf-8", "replace")


def _write(parts: list[str], value: Shape) -> None:
    for field in fields_of(type(value)):
        content = getattr(value, field.name)
        if content is None:
            continue
        name = field.query_name
        if field.kind == "list":
            for item in content:
                _element(parts, name, item)
        elif field.kind == "map":
            for key, item in content.items():
                parts.append(f"<{name}><{field.key_name}>{_text(key)}</{field.key_name}>")
                _element(parts, "Value", item)
                parts.append(f"</{name}>")
        else:
            _element(parts, name, content)


def _element(parts: list[str], name: str, value: Any) -> None:
    parts.append(f"<{name}>")
    if isinstance(value, Shape):
        _write(parts, value)
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, bytes):
        parts.append(base64.b64encode(value).decode())
    else:
        parts.append(_text(str(value)))
    parts.append(f"</{name}>")


def _text(text: str) -> str:
    return html.escape(text, quote=False).replace("\r", "&#13;").replace('"', "&quot;")
