"""The configuration as it is read: from defaults, then a TOML file, then the environment, then flags; the last one wins.

Its sections stand in settings.py, those of protocols in their packages; here they are put together, as the table of protocols says.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import msgspec

from entrepot.model.errors import Reason, Refused
from entrepot.model.mismatch import mismatch_text
from entrepot.protocol_table import listeners, protocols
from entrepot.settings import Config, Key, Limits, Section, User, address, key, keys_of, sections

SECTIONS_BEHIND = "groups"  # where the sections of protocols stand that do not say
LIMITS_BEHIND = "unfinished_bytes"  # and their limits

T = TypeVar("T")


def keys() -> Iterator[Key]:
    """Every key of fixed name, in the order of the reference."""
    yield from keys_of(Config)
    for name, kind in listeners().kinds.items():
        yield Key(f"listen.{name}", str, kind.address, key(kind.title + ("; needs [tls]" if kind.without_tls else "")))
    own = [(protocol.settings.after or SECTIONS_BEHIND, (protocol.name, protocol.settings)) for protocol in protocols().values() if protocol.settings]
    for name, section in _placed(list(sections().items()), own, lambda one: one[0]):
        yield from _limits() if section is Limits else keys_of(section, f"{name}.")


def _limits() -> Iterator[Key]:
    own = [(found.limits.after or LIMITS_BEHIND, each) for found in protocols().values() if found.limits for each in keys_of(found.limits, "limits.")]
    return _placed(list(keys_of(Limits, "limits.")), own, lambda one: one.name.removeprefix("limits."))


def _placed(general: Sequence[T], own: Sequence[tuple[str, T]], name_of: Callable[[T], str]) -> Iterator[T]:
    """What is general, and behind each of it what of `own` names it."""
    assert {after for after, _ in own} <= {name_of(each) for each in general}, own
    for each in general:
        yield each
        yield from (one for after, one in own if after == name_of(each))


def _of_protocols() -> Iterator[tuple[str, type[Section]]]:
    """The protocols' sections, with the name of the table of TOML that they lie in."""
    for protocol in protocols().values():
        if protocol.settings is not None:
            yield protocol.name, protocol.settings
        if protocol.limits is not None:
            yield "limits", protocol.limits


def value_of(config: Config, found: Key) -> Any:
    """What a key is set to."""
    section, _, name = found.name.rpartition(".")
    if found.section is None:
        return config.listen.get(name, found.default)
    holder = getattr(config, section, None) if section else config
    return getattr(holder if isinstance(holder, found.section) else config.of(found.section), name)


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and what its reader should be told."""

    config: Config
    notes: list[str]


def load(file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Loaded:
    """The configuration from `file`, then `environment`, then `flags` (dotted key -> text).

    Raises Refused (INVALID) naming the key, the value, where it stands, and what is allowed.
    """
    table = {found.name: found for found in keys()}
    values: dict[str, Any] = {}
    users: dict[str, User] = {}
    notes: list[str] = []
    if file is not None:
        _take_table(_read(file), "", str(file), table, values, users)
    by_variable = {found.environment: found for found in table.values()}
    for name, text in (environment or {}).items():
        if name in by_variable:
            found = by_variable[name]
            values[found.name] = _convert(found, text, f"environment variable {name}")
        elif name.startswith("ENTREPOT_") and (near := difflib.get_close_matches(name, by_variable, 1, 0.85)):
            notes.append(f"environment variable {name} is none of Entrepot's; {near[0]} is")
    for name, text in (flags or {}).items():
        if name not in table:
            raise _unknown(name, "command line", table)
        values[name] = _convert(table[name], text, "command line")
    return Loaded(_build(values, users), notes)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise Refused(Reason.INVALID, f"configuration {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(Reason.INVALID, f"configuration {file} is not TOML: {error}") from None


def _take_table(found: Mapping[str, Any], prefix: str, source: str, table: Mapping[str, Key], values: dict[str, Any], users: dict[str, User]) -> None:
    for name, value in found.items():
        dotted = prefix + name
        if dotted == "users":
            users.update(_users(value, source))
        elif dotted in table:
            values[dotted] = _convert(table[dotted], value, source)
        elif isinstance(value, dict) and any(there.startswith(dotted + ".") for there in table):
            _take_table(value, dotted + ".", source, table, values, users)
        else:
            raise _unknown(dotted, source, table)


def _users(value: object, source: str) -> dict[str, User]:
    if not isinstance(value, dict):
        raise Refused(Reason.INVALID, f"users ({source}): a table per user is expected: [users.NAME]")
    users = {}
    for name, fields in value.items():
        try:
            users[name] = msgspec.convert(fields, User)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(User))
            raise Refused(Reason.INVALID, f"users.{name} ({source}): {mismatch_text(str(error))}; a user has: {known}") from None
    return users


def _unknown(name: str, source: str, table: Mapping[str, Key]) -> Refused:
    near = difflib.get_close_matches(name, table, 1)
    section = name.rpartition(".")[0]
    there = [known for known in table if known.rpartition(".")[0] == section] or list(table)
    return Refused(Reason.INVALID, f"{name} ({source}): there is no such key; " + (f"{near[0]} is meant?" if near else "there are: " + ", ".join(there)))


_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)\Z")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _convert(found: Key, value: object, source: str) -> Any:
    plain = value
    if isinstance(plain, str):
        if found.type is int and found.extra["unit"] == "bytes" and (size := _SIZE.match(plain)):
            plain = int(size[1]) * _SIZE_UNITS[size[2]]
        elif get_origin(found.type) is tuple and source.startswith(("environment", "command")):
            plain = [part.strip() for part in plain.split(",") if part.strip()]
    try:
        return msgspec.convert(plain, Annotated[found.type, _bounds(found)], strict=not isinstance(plain, str))
    except msgspec.ValidationError:
        default = ", ".join(found.default) if isinstance(found.default, tuple) else found.default
        raise Refused(Reason.INVALID, f"{found.name} = {_shown(value)} ({source}): {found.allowed} is expected (default: {_shown(default)})") from None


def _shown(value: object) -> str:
    """As it stands in TOML, where that is one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _bounds(found: Key) -> msgspec.Meta:
    return msgspec.Meta(ge=found.meta.ge, le=found.meta.le) if found.type is int else msgspec.Meta()


def _build(values: Mapping[str, Any], users: Mapping[str, User]) -> Config:
    arguments: dict[str, Any] = {found.name: values[found.name] for found in keys_of(Config) if found.name in values}
    for name, section in sections().items():
        arguments[name] = section(**_given(section, name, values))
    parts: dict[type[Section], Section] = {}
    for name, section in _of_protocols():
        if given := _given(section, name, values):
            parts[section] = section(**given)
    listen = {name: values[f"listen.{name}"] for name in listeners().kinds if f"listen.{name}" in values}
    return Config(**arguments, listen=listen, users=dict(users), parts=parts)


def packed(config: Config) -> dict[str, Any]:
    """As JSON can have it, for another process of this version: what is not as by default."""
    values = {found.name: value_of(config, found) for found in keys()}
    defaults = {found.name: found.default for found in keys()}
    users = {name: msgspec.to_builtins(user) for name, user in config.users.items()}
    return {"values": {name: value for name, value in values.items() if value != defaults[name]}, "users": users}


def unpacked(plain: Mapping[str, Any]) -> Config:
    """What was packed. Raises Refused."""
    table = {found.name: found for found in keys()}
    values: dict[str, Any] = {}
    _take_table(plain["values"], "", "the parent process", table, values, {})
    return _build(values, _users(plain["users"], "the parent process"))


def _given(section: type[Section], name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is given of a section's keys."""
    dotted = {field.name: f"{name}.{field.name}" for field in msgspec.structs.fields(section)}
    return {field: values[key_name] for field, key_name in dotted.items() if key_name in values}


def listening_only(given: Sequence[str]) -> dict[str, str]:
    """The flags for `--listen PROTOCOL=HOST:PORT`…: those listeners and no others."""
    names = list(listeners().kinds)
    chosen = dict.fromkeys(names, "")
    for text in given:
        name, equals, where = text.partition("=")
        if not equals or name not in names:
            raise Refused(Reason.INVALID, f"--listen {text}: PROTOCOL=HOST:PORT is expected, PROTOCOL one of {', '.join(names)}")
        address(name, where)
        chosen[name] = where
    return {f"listen.{name}": where for name, where in chosen.items()}


def listened(config: Config) -> dict[str, str]:
    """Each listener's address, "" for nowhere. Refused where one over TLS is wanted and [tls] does not say with which certificate and key."""
    given = {name: config.listen.get(name, kind.address) for name, kind in listeners().kinds.items()}
    missing = [f"tls.{name}" for name in ("certificate", "key") if not getattr(config.tls, name)]
    for name, where in given.items():
        if where and listeners().kinds[name].without_tls and missing:
            raise Refused(Reason.INVALID, f"listen.{name} = '{where}': a listener over TLS needs {' and '.join(missing)}: PEM files, by their paths")
    return given
