"""Random messages for the codec tests: made as kio's dataclasses, which are the oracle, and turned into ours.

The walk uses kio's own description of its fields, not tools/codegen's model of it: a mistake there must not hide here.
"""

from __future__ import annotations

import dataclasses
import io
import random
import typing
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from kio.index import load_entity_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.serial._implicit_defaults import get_tagged_field_default
from kio.serial._introspect import EntityField, EntityTupleField, classify_field, get_field_tag, is_optional

from pystream.protocol.message import ZERO_UUID, Message, Struct

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SPANS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-_.äß€漢𝄞\x00"


class Entity(NamedTuple):
    """One of the 625 top-level structs: a request, response, header or record in one version."""

    schema: str
    kind: str
    version: int
    oracle: Any

    def __str__(self) -> str:
        return f"{self.schema}-{self.kind}-v{self.version}"

    @property
    def ours(self) -> type[Message]:
        found: type[Message] = getattr(import_module(f"pystream.protocol.messages.{self.schema}"), self.oracle.__name__)
        return found


@cache
def entities() -> list[Entity]:
    return [
        Entity(schema, entity_type.name, version, load_entity_schema(schema, version, entity_type))
        for schema, versions in sorted(schema_name_map.items())
        for version, types in sorted(versions.items())
        for entity_type in sorted(types, key=lambda found: found.name)
    ]


def oracle_bytes(value: Any) -> bytes:
    """The bytes that kio writes for one of its own values."""
    output = io.BytesIO()
    entity_writer(type(value))(output, value)
    return output.getvalue()


def oracle_value(oracle: Any, data: bytes) -> Any:
    """What kio reads from bytes known to be right: others may end the process (design/broker.md, section 5)."""
    value, size = entity_reader(oracle)(data, 0)
    assert size == len(data)
    return value


class Values:
    """Random values of kio's dataclasses, with the edges of each type more often than chance would have it."""

    def __init__(self, seed: int, longest: int = 3) -> None:
        self.random = random.Random(seed)
        self.longest = longest

    def entity(self, oracle: Any) -> Any:
        return oracle(**{field.name: self.field(field) for field in dataclasses.fields(oracle)})

    def field(self, field: Any) -> Any:
        shape = classify_field(field)
        tagged = get_field_tag(field) is not None
        if tagged and self.random.random() < 0.4:
            return get_tagged_field_default(field)
        # A tagged field that is None is absent: kio cannot write the null of a nullable one.
        is_tuple = typing.get_origin(field.type) is tuple  # its elements may be None, not the array
        if is_optional(field) and not tagged and not is_tuple and self.random.random() < 0.25:
            return None
        if isinstance(shape, EntityTupleField):
            return tuple(self.entity(shape.type_) for _ in range(self.random.randint(0, self.longest)))
        if isinstance(shape, EntityField):
            return self.entity(shape.type_)
        kind = field.metadata["kafka_type"]
        if shape.is_array:
            return tuple(self.primitive(kind) for _ in range(self.random.randint(0, self.longest)))
        return self.primitive(kind)

    def primitive(self, kind: str) -> Any:
        """One value of a type that kio names `kind`."""
        roll = self.random
        if kind in SPANS:
            return self.integer(SPANS[kind])
        if kind in ("bytes", "records"):
            return roll.randbytes(roll.choice((0, 1, 2, 7, 127, 128, 300)))
        if kind in ("timedelta_i32", "timedelta_i64"):
            return timedelta(milliseconds=self.integer(31 if kind == "timedelta_i32" else 40))
        makers = {
            "uint16": lambda: roll.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF)),
            "bool": lambda: roll.random() < 0.5,
            "string": self.text,
            "float64": lambda: roll.choice((0.0, -0.5, 1e300, roll.random())),
            "uuid": lambda: uuid.UUID(int=roll.getrandbits(128)) if roll.random() < 0.8 else None,
            "error_code": lambda: roll.choice(list(ErrorCode)),
            "datetime_i64": lambda: EPOCH + timedelta(milliseconds=roll.randint(0, 1 << 41)),
        }
        return makers[kind]()

    def integer(self, bits: int) -> int:
        edges = (0, 1, -1, (1 << bits) - 1, -(1 << bits))
        return self.random.choice(edges) if self.random.random() < 0.5 else self.random.getrandbits(bits)

    def text(self) -> str:
        size = self.random.choice((0, 1, 3, 9, 126, 127, 128, 260) if self.random.random() < 0.3 else (0, 1, 5))
        return "".join(self.random.choice(ALPHABET) for _ in range(size))


def to_ours(value: Any, ours: Any) -> Any:
    """Our message with the values of kio's."""
    hints = type_hints(ours)
    arguments = {}
    for field in dataclasses.fields(value):
        kind = str(field.metadata.get("kafka_type", ""))
        name = f"{field.name}_ms" if kind.startswith(("timedelta", "datetime")) else field.name
        found = getattr(value, field.name)
        shape = classify_field(field)
        is_absent = get_field_tag(field) is not None and isinstance(shape, EntityField)
        if (is_absent and found == get_tagged_field_default(field)) or (shape.is_array and found is None):
            arguments[name] = None
        else:
            arguments[name] = plain(found, kind, nested_class(hints[name]))
    return ours(**arguments)


@cache
def type_hints(ours: Any) -> dict[str, Any]:
    return typing.get_type_hints(ours.__init__, vars(import_module(ours.__module__))) if ours.__slots__ else {}


def nested_class(hint: Any) -> Any:
    """The struct inside of `Sequence[X] | None` and its like; None when there is none."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return hint
    return next((found for part in typing.get_args(hint) if (found := nested_class(part)) is not None), None)


def plain(value: Any, kind: str, nested: Any) -> Any:
    """A value of kio as the plain value that ours has in its place."""
    if isinstance(value, tuple):
        return [plain(item, kind, nested) for item in value]
    if dataclasses.is_dataclass(value):
        return to_ours(value, nested)
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, ErrorCode):
        return int(value.value)
    if kind == "uuid":
        return ZERO_UUID if value is None else value.bytes
    if kind == "datetime_i64" and value is None:
        return -1
    return value


def defaults(oracle: Any, ours: Any) -> list[tuple[str, Any, Any]]:
    """(field, kio's default, ours) of every field that kio gives one, nested structs too; kio's in our plain form."""
    made, hints, found = ours(), type_hints(ours), []
    for field in dataclasses.fields(oracle):
        kind = str(field.metadata.get("kafka_type", ""))
        name = f"{field.name}_ms" if kind.startswith(("timedelta", "datetime")) else field.name
        shape = classify_field(field)
        nested = nested_class(hints[name])
        if isinstance(shape, EntityField | EntityTupleField):
            found += defaults(shape.type_, nested)
        if field.default is dataclasses.MISSING:
            continue
        is_absent = get_field_tag(field) is not None and isinstance(shape, EntityField)
        theirs = None if is_absent or (shape.is_array and field.default is None) else plain(field.default, kind, nested)
        found.append((f"{ours.__name__}.{name}", theirs, getattr(made, name)))
    return found


def sample(entity: Entity, seed: int) -> bytes:
    """Bytes of a random message."""
    return oracle_bytes(Values(seed).entity(entity.oracle))
