"""Avro with a schema registry. Needs fastavro (extra `avro`)."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from pystream.client.extras import need
from pystream.client.serdes.base import RegistryDeserializer, RegistrySerializer, given_strategy, referenced
from pystream.client.serdes.heard import Heard
from pystream.client.serdes.registry import Registry
from pystream.common.errors import SerializationError
from pystream.schemas import wire
from pystream.schemas.model import AVRO, RegisteredSchema, Schema
from pystream.schemas.subjects import SubjectNameStrategy


class AvroSerializer(RegistrySerializer):
    """Writes dicts, dataclasses, or what `to_dict` makes dicts of.

        AvroSerializer(registry, '{"type": "record", "name": "Order", "fields": [...]}')
        AvroSerializer(registry, auto_register_schemas=False, use_latest_version=True)

    `strict` refuses records whose fields are not exactly the schema's. A (name, value) tuple picks a union's branch.
    """

    TYPE = AVRO

    def __init__(
        self,
        registry: Registry,
        schema: str | Mapping[str, Any] | list[Any] | Schema | None = None,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        to_dict: Callable[[Any], Any] | None = None,
        strict: bool = False,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of SerializerConfig. Raises InvalidConfig, MissingExtra."""
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        self._fastavro = need_fastavro()
        self._schema = None if schema is None else avro_schema(schema)
        self._to_dict = to_dict
        self._strict = strict
        self._name = None if self._schema is None else schema_name(self._schema)

    def record_name(self, value: Any) -> str | None:
        return self._name

    def schema_to_register(self, value: Any) -> Schema:
        if self._schema is None:
            raise SerializationError("this serializer has no schema; give it one, or set use.latest.version")
        return self._schema

    def writer(self, schema: Schema) -> Callable[[Any], bytes]:
        parsed = parsed_schema(self._fastavro, self._heard, schema)
        write, strict, to_dict = self._fastavro.schemaless_writer, self._strict, self._to_dict
        if is_bytes(parsed):  # bare bytes have no length in front of them: the record has one
            return lambda value: bytes(value if to_dict is None else to_dict(value))

        def written(value: Any) -> bytes:
            out = io.BytesIO()
            write(out, parsed, _plain(value) if to_dict is None else to_dict(value), strict=strict)
            return out.getvalue()

        return written


class AvroDeserializer(RegistryDeserializer):
    """Reads dicts, or what `from_dict` makes of them, as `schema` has them where one is given, else as the writer did.

    AvroDeserializer(registry)
    AvroDeserializer(registry, my_schema, from_dict=lambda fields: Order(**fields))
    """

    TYPE = AVRO

    def __init__(
        self,
        registry: Registry,
        schema: str | Mapping[str, Any] | list[Any] | Schema | None = None,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        from_dict: Callable[[Any], Any] | None = None,
        return_record_name: bool = False,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of DeserializerConfig. `return_record_name` tells records of a union apart by a tuple.

        Raises InvalidConfig, MissingExtra.
        """
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        self._fastavro = need_fastavro()
        self._schema = None if schema is None else avro_schema(schema)
        self._from_dict = from_dict
        self._return_record_name = return_record_name

    def record_name(self, schema: Schema, found: wire.Found) -> str | None:
        return schema_name(schema)

    def reader(self, topic: str, found: wire.Found, latest: RegisteredSchema | None) -> Callable[[bytes], Any]:
        registry = self._asked()
        writers = parsed_schema(self._fastavro, registry, self.written_with(topic, found))
        wanted = self._schema if latest is None else latest.schema
        readers = None if wanted is None else parsed_schema(self._fastavro, registry, wanted)
        read, with_name, from_dict = self._fastavro.schemaless_reader, self._return_record_name, self._from_dict
        if is_bytes(writers):
            return bytes if from_dict is None else lambda body: from_dict(bytes(body))

        def value_of(body: bytes) -> Any:
            value = read(io.BytesIO(body), writers, readers, return_record_name=with_name)
            return value if from_dict is None else from_dict(value)

        return value_of


def need_fastavro() -> Any:
    """The module. Raises MissingExtra."""
    return need("fastavro", extra="avro", what="Avro")


def avro_schema(given: str | Mapping[str, Any] | list[Any] | Schema) -> Schema:
    """What users give: a text, what JSON makes of it, or a Schema with references."""
    if isinstance(given, Schema):
        return given
    text = given.strip() if isinstance(given, str) else json.dumps(given)
    return Schema(text if text[:1] in ("{", "[") else '{"type":' + text + "}")  # registries know no bare names


def schema_name(schema: Schema) -> str | None:
    """The full name of a record; of primitives their type; none of a union."""
    told = json.loads(schema.text)
    if not isinstance(told, dict):
        return None
    name, namespace = told.get("name"), told.get("namespace")
    if name is None:
        return told["type"] if isinstance(told.get("type"), str) else None
    return str(name) if "." in name or not namespace else f"{namespace}.{name}"


def is_bytes(parsed: Any) -> bool:
    """Whether the whole schema is bytes."""
    return bool(parsed == "bytes" or (isinstance(parsed, dict) and parsed.get("type") == "bytes"))


def parsed_schema(fastavro: Any, registry: Heard, schema: Schema) -> Any:
    """As fastavro wants it, with what it refers to. Raises Unanswered, SerializationError."""
    others: dict[str, Any] = {}
    for name, reference in referenced(registry, schema).items():
        told = others[name] = json.loads(reference.text)
        full = schema_name(reference)
        if full is not None:
            others[full] = told
    try:
        if not others:
            return fastavro.parse_schema(json.loads(schema.text))
        others["$root"] = json.loads(schema.text)
        return fastavro.schema.load_schema("$root", repo=_Repository(others))
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, ValueError) as error:
        raise SerializationError(f"not a schema of Avro: {error}") from error


class _Repository:
    """Where fastavro finds the schemas that another refers to."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def load(self, name: str) -> Any:
        if name not in self._schemas:
            raise SerializationError(f"the schema refers to {name}, which is not among its references")
        return json.loads(json.dumps(self._schemas[name]))  # fastavro writes into what it gets


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
