"""Kafka's message schemas, read off the dataclasses of `kio` into a small model for tools/codegen/emit.py.

kio 0.6.5 (Apache-2.0, see tools/codegen/NOTICE) holds the schemas of Apache Kafka 4.2 as one dataclass for each struct
and version. Two versions of a struct are equal here when their bytes are: then they share one reader and one writer.
"""

from __future__ import annotations

import dataclasses
import typing
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version as installed_version
from typing import Any

from kio.index import load_entity_schema
from kio.schema.index import api_key_map, schema_name_map
from kio.serial._introspect import EntityField, EntityTupleField, classify_field, get_field_tag, is_optional
from kio.static.constants import EntityType

KIO_VERSION = "0.6.5"

# kio's name of a type -> ours, which is a method of Reader and Writer.
KINDS = {
    "bool": "boolean",
    "error_code": "int16",
    "timedelta_i32": "int32",
    "timedelta_i64": "int64",
    "datetime_i64": "int64",
}
SIZES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint16": 2, "float64": 8, "boolean": 1, "uuid": 16}
ZEROS = {"boolean": "False", "float64": "0.0", "string": '""', "bytes": 'b""', "records": 'b""', "uuid": "ZERO_UUID"}
MILLISECONDS = {"timedelta_i32", "timedelta_i64", "datetime_i64"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct in one version. `default` is a Python expression; `compact` chooses the encoding."""

    name: str
    kind: str
    compact: bool
    is_array: bool
    nullable: bool
    tag: int | None
    default: str
    struct: Struct | None

    @property
    def shape(self) -> tuple[str, bool, int | None]:
        """What must stay the same over all versions, for one class to hold them."""
        return self.kind, self.is_array, self.tag

    @property
    def smallest_element(self) -> int:
        """Bytes that one value takes at least, not counting the array around it."""
        if self.struct is not None:
            return 1 if self.nullable and not self.is_array else self.struct.smallest
        prefix = 1 if self.compact else (2 if self.kind == "string" else 4)
        return SIZES.get(self.kind, prefix)

    @property
    def smallest(self) -> int:
        if self.tag is not None:
            return 0
        if self.is_array:
            return 1 if self.compact else 4
        return self.smallest_element


@dataclass(frozen=True, slots=True)
class Struct:
    """One version of a struct: what its bytes are."""

    name: str
    flexible: bool
    fields: tuple[Field, ...]

    @property
    def smallest(self) -> int:
        return sum(field.smallest for field in self.fields) + (1 if self.flexible else 0)

    @property
    def plain(self) -> list[Field]:
        return [field for field in self.fields if field.tag is None]

    @property
    def tagged(self) -> list[Field]:
        """In ascending order of tags, as KIP-482 wants them written."""
        return sorted((field for field in self.fields if field.tag is not None), key=lambda field: field.tag or 0)

    def nested(self) -> Iterator[Struct]:
        """The structs inside, each before what holds it."""
        for field in self.fields:
            if field.struct is not None:
                yield from field.struct.nested()
                yield field.struct


@dataclass(frozen=True, slots=True)
class Message:
    """A request, response, header or record: its top struct in every version."""

    name: str
    header_versions: dict[int, int]
    versions: dict[int, Struct]


@dataclass(frozen=True, slots=True)
class Schema:
    """One module to write: all messages of one API key, or one header or record (`api_key` None)."""

    name: str
    api_key: int | None
    messages: tuple[Message, ...]


def schemas() -> list[Schema]:
    """Every schema that kio has: by API key, then the others by name."""
    if installed_version("kio") != KIO_VERSION:
        raise SystemExit(f"kio {installed_version('kio')} is installed, expected {KIO_VERSION}")
    keys = {name: key for key, name in api_key_map.items()}
    names = sorted(schema_name_map, key=lambda name: (keys.get(name, 1 << 16), name))
    return [schema_of(name, keys.get(name)) for name in names]


def schema_of(name: str, api_key: int | None) -> Schema:
    versions = schema_name_map[name]
    types = sorted({entity_type for found in versions.values() for entity_type in found}, key=lambda found: found.value)
    loaded = {
        entity_type: {
            version: load_entity_schema(name, version, entity_type)
            for version in sorted(versions)
            if entity_type in versions[version]
        }
        for entity_type in types
    }
    shared = shared_names(loaded)
    return Schema(name, api_key, tuple(message_of(entities, shared) for entities in loaded.values()))


def nested_names(entity: Any) -> set[str]:
    found = set()
    for field in dataclasses.fields(entity):
        shape = classify_field(field)
        if isinstance(shape, EntityField | EntityTupleField):
            found |= {shape.type_.__name__} | nested_names(shape.type_)
    return found


def shared_names(loaded: dict[EntityType, dict[int, Any]]) -> set[str]:
    """Names of nested structs that a request and its response both have, though they differ."""
    names = [set().union(*(nested_names(entity) for entity in entities.values())) for entities in loaded.values()]
    return names[0] & names[1] if len(names) > 1 else set()


def message_of(entities: dict[int, Any], shared: set[str]) -> Message:
    name = next(iter(entities.values())).__name__
    renamed = {nested: name + nested for nested in shared}
    headers = {
        version: int(entity.__header_schema__.__version__)
        for version, entity in entities.items()
        if hasattr(entity, "__header_schema__")
    }
    return Message(name, headers, {version: struct_of(entity, renamed) for version, entity in entities.items()})


def struct_of(entity: Any, renamed: dict[str, str]) -> Struct:
    name = renamed.get(entity.__name__, entity.__name__)
    fields = tuple(field_of(field, entity, renamed) for field in dataclasses.fields(entity))
    return Struct(name, bool(entity.__flexible__), fields)


def field_of(field: Any, entity: Any, renamed: dict[str, str]) -> Field:
    shape = classify_field(field)
    struct = struct_of(shape.type_, renamed) if isinstance(shape, EntityField | EntityTupleField) else None
    type_name = "struct" if struct is not None else str(field.metadata["kafka_type"])
    kind = KINDS.get(type_name, type_name)
    # The client id keeps its old form in request header 2, so that any broker can read it (KIP-482).
    is_client_id = entity.__name__ == "RequestHeader" and field.name == "client_id"
    return Field(
        name=f"{field.name}_ms" if type_name in MILLISECONDS else field.name,
        kind=kind,
        compact=bool(entity.__flexible__) and not is_client_id,
        is_array=shape.is_array,
        nullable=is_nullable(field, type_name, shape.is_array),
        tag=get_field_tag(field),
        default=default_of(field, kind, shape.is_array),
        struct=struct,
    )


def is_nullable(field: Any, type_name: str, is_array: bool) -> bool:
    """Whether the wire has a null here. kio also has None for a zero identifier and for a time of -1: plain values."""
    if is_array:
        return bool(is_optional(field)) and typing.get_origin(field.type) is not tuple
    return bool(is_optional(field)) and type_name not in ("uuid", "datetime_i64")


def default_of(field: Any, kind: str, is_array: bool) -> str:
    """The default of Kafka's schema as an expression; a struct's is None: all its fields at their defaults."""
    value = field.default
    if is_array:
        if value is not dataclasses.MISSING and value not in ((), None):
            raise ValueError(f"array {field.name} has the default {value!r}")
        return "None" if value is None else "()"
    if kind == "struct":
        parts = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        if any(getattr(value, part.name) != part.default for part in parts):
            raise ValueError(f"struct {field.name} has the default {value!r}, not that of its fields")
        return "None"
    if kind == "records" and is_optional(field):
        return "None"
    if value is dataclasses.MISSING:
        return ZEROS.get(kind, "0")
    if value is None:
        return {"uuid": "ZERO_UUID", "int64": "-1"}.get(kind, "None")
    if isinstance(value, timedelta):
        return repr(round(value.total_seconds() * 1000))
    if isinstance(value, uuid.UUID):
        raise ValueError(f"identifier {field.name} has the default {value!r}")
    if isinstance(value, str):
        return '"' + value + '"'
    return repr(float(value)) if kind == "float64" else repr(bool(value)) if kind == "boolean" else repr(int(value))
