"""Serializers and deserializers, and the client of a schema registry. Names are loaded when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystream.client.serdes.avro import AvroDeserializer, AvroSerializer
    from pystream.client.serdes.json_schema import JsonSchemaDeserializer, JsonSchemaSerializer
    from pystream.client.serdes.plain import (
        BooleanDeserializer,
        BooleanSerializer,
        BytesDeserializer,
        BytesSerializer,
        DoubleDeserializer,
        DoubleSerializer,
        FloatDeserializer,
        FloatSerializer,
        IntegerDeserializer,
        IntegerSerializer,
        JsonDeserializer,
        JsonSerializer,
        LongDeserializer,
        LongSerializer,
        ShortDeserializer,
        ShortSerializer,
        StringDeserializer,
        StringSerializer,
        UUIDDeserializer,
        UUIDSerializer,
    )
    from pystream.client.serdes.protobuf import ProtobufDeserializer, ProtobufSerializer
    from pystream.client.serdes.registry_clients import AsyncSchemaRegistryClient, SchemaRegistryClient
    from pystream.schemas.model import RegisteredSchema, Schema, SchemaReference

__all__ = [
    "AsyncSchemaRegistryClient",
    "AvroDeserializer",
    "AvroSerializer",
    "BooleanDeserializer",
    "BooleanSerializer",
    "BytesDeserializer",
    "BytesSerializer",
    "DoubleDeserializer",
    "DoubleSerializer",
    "FloatDeserializer",
    "FloatSerializer",
    "IntegerDeserializer",
    "IntegerSerializer",
    "JsonDeserializer",
    "JsonSchemaDeserializer",
    "JsonSchemaSerializer",
    "JsonSerializer",
    "LongDeserializer",
    "LongSerializer",
    "ProtobufDeserializer",
    "ProtobufSerializer",
    "RegisteredSchema",
    "Schema",
    "SchemaReference",
    "SchemaRegistryClient",
    "ShortDeserializer",
    "ShortSerializer",
    "StringDeserializer",
    "StringSerializer",
    "UUIDDeserializer",
    "UUIDSerializer",
]

_PLAIN: Final = "pystream.client.serdes.plain"
_HOMES: Final = {  # name -> the module that has it, where that is not _PLAIN
    "AsyncSchemaRegistryClient": "pystream.client.serdes.registry_clients",
    "AvroDeserializer": "pystream.client.serdes.avro",
    "AvroSerializer": "pystream.client.serdes.avro",
    "JsonSchemaDeserializer": "pystream.client.serdes.json_schema",
    "JsonSchemaSerializer": "pystream.client.serdes.json_schema",
    "ProtobufDeserializer": "pystream.client.serdes.protobuf",
    "ProtobufSerializer": "pystream.client.serdes.protobuf",
    "RegisteredSchema": "pystream.schemas.model",
    "Schema": "pystream.schemas.model",
    "SchemaReference": "pystream.schemas.model",
    "SchemaRegistryClient": "pystream.client.serdes.registry_clients",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, _PLAIN)), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
