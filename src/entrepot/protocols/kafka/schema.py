"""Messages by their tables: a message's text (schemas_*.py) becomes a Plan for one version, which reads and writes it as a dict.

A line of a table is one field, what is indented beneath it are the fields of its struct:

    name type [versions] [?versions] [tag=N] [=default]

    type      i8 i16 i32 i64 u16 f64 bool string bytes records uuid, struct, []type, or [] (of structs)
    versions  those that have the field: 3+ or 4-12 or 7; every version without it
    ?         may be null, in the versions given behind it or in all
    tag       a tagged field (KIP-482) of that number
    default   null, true, a number or a text; else 0, false, empty

A field's place in the text is its place on the wire. Reading gives every field of the version; tagged fields that are not there have
their default. Writing takes the default of what the dict does not have.

reading() and writing() do the same in pieces, as generators of the steps that each piece cost (net/turns.py): what is in one request or answer may be
more than a turn of the loop allows. An array may then be Rows, made one by one as they are written, or Encoded.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

import cython

from entrepot.protocols.kafka.primitives import Malformed, Writer

if not cython.compiled:
    from entrepot.protocols.kafka.primitives import Reader

_BOOL, _I8, _I16, _I32, _I64, _U16, _F64, _STRING, _BYTES, _UUID, _STRUCT = range(11)
_KINDS = {
    "bool": _BOOL,
    "i8": _I8,
    "i16": _I16,
    "i32": _I32,
    "i64": _I64,
    "u16": _U16,
    "f64": _F64,
    "string": _STRING,
    "bytes": _BYTES,
    "records": _BYTES,
    "uuid": _UUID,
    "struct": _STRUCT,
    "": _STRUCT,
}
_SIZES = {_BOOL: 1, _I8: 1, _I16: 2, _I32: 4, _I64: 8, _U16: 2, _F64: 8, _UUID: 16}
_PIECE = 16  # elements between two looks at what they cost
_STEP_BYTES = 16  # read or written, of whatever they are
_ZEROS: dict[int, Any] = {_BOOL: False, _F64: 0.0, _STRING: "", _BYTES: b"", _UUID: bytes(16)}


class Rows:
    """An array of an answer that is made while it is written: `count` elements, each asked of `rows` when its turn comes."""

    __slots__ = ("_rows", "count")

    def __init__(self, count: int, rows: Iterable[Any]) -> None:
        self.count = count
        self._rows = rows

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class Encoded:
    """An array of an answer that is ready: `count` elements as the wire has them."""

    __slots__ = ("count", "data")

    def __init__(self, count: int, data: bytes) -> None:
        self.count = count
        self.data = data


class Field:
    """A field of one version."""

    __slots__ = ("array", "default", "element_min_size", "flexible", "kind", "name", "nullable", "plan", "tag")

    def __init__(self, name: str, kind: int, array: bool, nullable: bool, tag: int, default: Any, flexible: bool, plan: Plan | None) -> None:
        self.name = name
        self.kind = kind
        self.array = array
        self.nullable = nullable
        self.tag = tag
        self.default = default
        self.flexible = flexible
        self.plan = plan
        if plan is not None:
            self.element_min_size = plan.min_size
        else:
            self.element_min_size = _SIZES.get(kind, 1 if flexible else 2 if kind == _STRING else 4)

    @property
    def min_size(self) -> int:
        """The fewest bytes it takes."""
        if self.tag >= 0:
            return 0
        if self.array:
            return 1 if self.flexible else 4
        if self.kind == _STRUCT:
            return 1 if self.nullable else self.element_min_size
        return self.element_min_size

    def read(self, reader: Reader) -> Any:
        """The field's value."""
        if not self.array:
            if self.kind == _STRUCT and self.nullable:
                return None if reader.i8() < 0 else self.read_one(reader)
            return self.read_one(reader)
        count = reader.count_or_null(self.flexible, self.element_min_size) if self.nullable else reader.count(self.flexible, self.element_min_size)
        if count < 0:
            return None
        values = []
        while count > 0:
            values.append(self.read_one(reader))
            count -= 1
        return values

    def read_one(self, reader: Reader) -> Any:
        """One element."""
        kind = self.kind
        if kind == _STRUCT:
            return self.plan.read(reader)  # type: ignore[union-attr]
        if kind == _STRING:
            return reader.maybe_string(self.flexible) if self.nullable and not self.array else reader.string(self.flexible)
        if kind == _I32:
            return reader.i32()
        if kind == _I64:
            return reader.i64()
        if kind == _I16:
            return reader.i16()
        if kind == _I8:
            return reader.i8()
        if kind == _BOOL:
            return reader.i8() != 0
        if kind == _UUID:
            return reader.octets(16)
        if kind == _U16:
            return reader.u16()
        if kind == _F64:
            return reader.f64()
        value = reader.maybe_octets(self.flexible)
        if value is None and not self.nullable:
            raise Malformed(f"null where {self.name} must be")
        return value

    def write(self, writer: Writer, value: Any) -> int:
        """The field's value onto the wire."""
        if not self.array:
            if self.kind == _STRUCT and self.nullable:
                writer.i8(-1 if value is None else 1)
                if value is None:
                    return 0
            return self.write_one(writer, value)
        if value is None:
            return writer.count(-1, self.flexible)
        if isinstance(value, Encoded):
            writer.count(value.count, self.flexible)
            return writer.octets(value.data)
        writer.count(len(value), self.flexible)
        for one in value:
            self.write_one(writer, one)
        return 0

    def reading(self, reader: Reader, into: dict[str, Any]) -> Generator[int, None, None]:
        """read() of an array, in pieces, as what `into` has under the field's name from the first on."""
        count = reader.count_or_null(self.flexible, self.element_min_size) if self.nullable else reader.count(self.flexible, self.element_min_size)
        if count < 0:
            into[self.name] = None
            return
        nested = self.plan is not None and self.plan.has_arrays
        values: list[Any] = []
        into[self.name] = values
        mark = reader.pos
        while len(values) < count:
            if nested:
                element: dict[str, Any] = {}
                values.append(element)
                yield from self.plan.reading(reader, element)  # type: ignore[union-attr]
            else:
                values.append(self.read_one(reader))
            if len(values) % _PIECE == 0:
                yield _PIECE + max(0, reader.pos - mark) // _STEP_BYTES  # positions begin anew where the reader was detached
                mark = reader.pos

    def writing(self, writer: Writer, value: Any) -> Generator[int, None, None]:
        """write() of an array, in pieces."""
        if value is None or isinstance(value, Encoded):
            before = writer.size
            self.write(writer, value)
            yield (writer.size - before) // _STEP_BYTES // _STEP_BYTES
            return
        writer.count(len(value), self.flexible)
        nested = self.plan is not None and self.plan.has_arrays
        done = 0
        mark = writer.size
        for one in value:
            if nested:
                yield from self.plan.writing(writer, one)  # type: ignore[union-attr]
            else:
                self.write_one(writer, one)
            done += 1
            if done % _PIECE == 0:
                yield 2 * _PIECE + (writer.size - mark) // _STEP_BYTES
                writer.seal_full()
                mark = writer.size
        assert done == len(value), f"{self.name} has {done} elements, and was said to have {len(value)}"

    def write_one(self, writer: Writer, value: Any) -> int:
        """One element."""
        kind = self.kind
        if kind == _STRUCT:
            return self.plan.write(writer, value)  # type: ignore[union-attr]
        if kind == _STRING:
            return writer.string(value, self.flexible)
        if kind == _I32:
            return writer.i32(value)
        if kind == _I64:
            return writer.i64(value)
        if kind in (_I16, _U16):
            return writer.i16(value)
        if kind == _I8:
            return writer.i8(value)
        if kind == _BOOL:
            return writer.i8(1 if value else 0)
        if kind == _UUID:
            return writer.octets(value)
        if kind == _F64:
            return writer.f64(value)
        return writer.sized_octets(value, self.flexible)


class Plan:
    """A struct in one version: its fields in the wire's order, then the tagged ones."""

    __slots__ = ("fields", "flexible", "has_arrays", "min_size", "tagged")

    def __init__(self, fields: list[Field], flexible: bool) -> None:
        self.fields = [field for field in fields if field.tag < 0]
        self.tagged = sorted((field for field in fields if field.tag >= 0), key=_tag_of)
        self.flexible = flexible
        self.has_arrays = _have_arrays(self.fields)
        self.min_size = max(1, _sum([field.min_size for field in fields]) + (1 if flexible else 0))

    def read(self, reader: Reader) -> dict[str, Any]:
        """The struct that `reader` is at. Raises Malformed."""
        values: dict[str, Any] = {}
        for field in self.fields:
            values[field.name] = field.read(reader)
        if self.flexible:
            for field in self.tagged:
                values[field.name] = field.default
            self._read_tags(reader, values)
        return values

    def reading(self, reader: Reader, values: dict[str, Any]) -> Generator[int, None, None]:
        """read() into `values`, in pieces."""
        for field in self.fields:
            if field.array:
                yield from field.reading(reader, values)
            else:
                values[field.name] = field.read(reader)
        if self.flexible:
            for field in self.tagged:
                values[field.name] = field.default
            self._read_tags(reader, values)

    def writing(self, writer: Writer, values: dict[str, Any]) -> Generator[int, None, None]:
        """write(), in pieces."""
        for field in self.fields:
            value = values.get(field.name, field.default)
            if field.array:
                yield from field.writing(writer, value)
            else:
                field.write(writer, value)
        if self.flexible:
            self._write_tags(writer, values)

    def _read_tags(self, reader: Reader, values: dict[str, Any]) -> int:
        left = reader.tags()
        while left > 0:
            left -= 1
            tag = reader.uvarint()
            size = reader.uvarint()
            reader.need(size)
            end = reader.pos + size
            for field in self.tagged:
                if field.tag == tag:
                    values[field.name] = field.read(reader)
                    if reader.pos != end:
                        raise Malformed(f"tagged field {tag} is not of the size that it claims")
            reader.pos = end
        return 0

    def write(self, writer: Writer, values: dict[str, Any]) -> int:
        """A struct onto the wire."""
        for field in self.fields:
            value = values.get(field.name, field.default)
            field.write(writer, value)
        if self.flexible:
            self._write_tags(writer, values)
        return 0

    def _write_tags(self, writer: Writer, values: dict[str, Any]) -> int:
        if not self.tagged:
            return writer.uvarint(0)
        given = [field for field in self.tagged if field.name in values and values[field.name] != field.default]
        writer.uvarint(len(given))
        for field in given:
            inner = Writer()
            field.write(inner, values[field.name])
            raw = b"".join(inner.finish())
            writer.uvarint(field.tag)
            writer.uvarint(len(raw) - 4)  # without the size that a writer begins with
            writer.octets(raw[4:])
        return 0


def _tag_of(field: Field) -> int:
    return field.tag


def _have_arrays(fields: list[Field]) -> bool:
    """In them, or in the structs that they are."""
    return any(field.array or (field.plan is not None and field.plan.has_arrays) for field in fields)


def _sum(sizes: list[int]) -> int:
    total = 0
    for size in sizes:
        total += size
    return total


def plan_for(text: str, version: int, flexible: bool) -> Plan:
    """The Plan of a message's table for one version."""
    lines = [(len(line) - len(line.lstrip()), line.split()) for line in text.splitlines() if line.strip()]
    plan, after = _struct(lines, 0, version, flexible)
    assert after == len(lines), lines[after]
    return plan


def _struct(lines: list[tuple[int, list[str]]], at: int, version: int, flexible: bool) -> tuple[Plan, int]:
    """The struct whose first field is line `at`, and the line behind its last."""
    indent = lines[at][0]
    fields = []
    while at < len(lines) and lines[at][0] >= indent:
        words = lines[at][1]
        at += 1
        children = None
        if at < len(lines) and lines[at][0] > indent:
            children, at = _struct(lines, at, version, flexible)
        field = _field(words, version, flexible, children)
        if field is not None:
            fields.append(field)
    return Plan(fields, flexible), at


def _field(words: list[str], version: int, flexible: bool, children: Plan | None) -> Field | None:
    """The field that a line says, None if this version has it not."""
    name, kind_text = words[0], words[1]
    array = kind_text.startswith("[]")
    kind = _KINDS[kind_text.removeprefix("[]")]
    nullable = False
    tag = -1
    default: Any = _ZEROS.get(kind, 0)
    if array:
        default = []
    elif kind == _STRUCT:
        default = {}
    for word in words[2:]:
        if word[0] == "?":
            nullable = _includes(word[1:], version)
        elif word.startswith("tag="):
            tag = int(word[4:])
        elif word[0] == "=":
            default = _default(kind, word[1:])
        elif not _includes(word, version):
            return None
    return Field(name, kind, array, nullable, tag, default, flexible, children)


def _includes(versions: str, version: int) -> bool:
    if not versions:
        return True
    if versions[len(versions) - 1] == "+":
        return version >= int(versions[: len(versions) - 1])
    first, _, last = versions.partition("-")
    return int(first) <= version <= int(last or first)


def _default(kind: int, text: str) -> Any:
    if text == "null":
        return None
    if kind == _BOOL:
        return text == "true"
    return text if kind == _STRING else int(text)
