"""JSON Schema with a schema registry. Needs jsonschema (extra `jsonschema`).

References are resolved among those that are registered with the schema, never by fetching a URL.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from pystream.client.extras import need
from pystream.client.serdes.base import RegistryDeserializer, RegistrySerializer, given_strategy, referenced
from pystream.client.serdes.heard import Heard
from pystream.client.serdes.registry import Registry
from pystream.common.errors import SerializationError
from pystream.schemas import wire
from pystream.schemas.model import JSON, RegisteredSchema, Schema
from pystream.schemas.subjects import SubjectNameStrategy

Check = Callable[[Any], None]


class JsonSchemaSerializer(RegistrySerializer):
    """Writes what JSON can hold, dataclasses, or what `to_dict` makes dicts of, checked against its schema.

    JsonSchemaSerializer(registry, '{"title": "Order", "type": "object", "properties": {...}}')
    JsonSchemaSerializer(registry, auto_register_schemas=False, use_latest_version=True, validate=False)
    """

    TYPE = JSON

    def __init__(
        self,
        registry: Registry,
        schema: str | Mapping[str, Any] | Schema | None = None,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        to_dict: Callable[[Any], Any] | None = None,
        validate: bool = True,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of SerializerConfig. Raises InvalidConfig, MissingExtra."""
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        self._validate = validate
        if validate:
            need_jsonschema()
        self._schema = None if schema is None else json_schema(schema)
        self._to_dict = to_dict
        self._name = None if self._schema is None else _title(self._schema)
        self._encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

    def record_name(self, value: Any) -> str | None:
        return self._name

    def schema_to_register(self, value: Any) -> Schema:
        if self._schema is None:
            raise SerializationError("this serializer has no schema; give it one, or set use.latest.version")
        return self._schema

    def writer(self, schema: Schema) -> Callable[[Any], bytes]:
        check = checker(self._heard, schema) if self._validate else None
        encode, to_dict = self._encode, self._to_dict

        def written(value: Any) -> bytes:
            plain = _plain(value) if to_dict is None else to_dict(value)
            if check is not None:
                check(plain)
            return encode(plain).encode()

        return written


class JsonSchemaDeserializer(RegistryDeserializer):
    """Reads JSON, or what `from_dict` makes of it, checked against `schema` where one is given, else the writer's.

    JsonSchemaDeserializer(registry)
    JsonSchemaDeserializer(registry, from_dict=lambda fields: Order(**fields), validate=False)
    """

    TYPE = JSON

    def __init__(
        self,
        registry: Registry,
        schema: str | Mapping[str, Any] | Schema | None = None,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        from_dict: Callable[[Any], Any] | None = None,
        validate: bool = True,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of DeserializerConfig. Raises InvalidConfig, MissingExtra."""
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        self._validate = validate
        if validate:
            need_jsonschema()
        self._schema = None if schema is None else json_schema(schema)
        self._from_dict = from_dict

    def record_name(self, schema: Schema, found: wire.Found) -> str | None:
        return _title(schema)

    def reader(self, topic: str, found: wire.Found, latest: RegisteredSchema | None) -> Callable[[bytes], Any]:
        check: Check | None = None
        if self._validate:
            schema = self._schema if latest is None else latest.schema
            check = checker(self._asked(), schema or self.written_with(topic, found))
        from_dict = self._from_dict

        def value_of(body: bytes) -> Any:
            value = json.loads(body)
            if check is not None:
                check(value)
            return value if from_dict is None else from_dict(value)

        return value_of


def need_jsonschema() -> Any:
    """The module. Raises MissingExtra."""
    return need("jsonschema", extra="jsonschema", what="JSON Schema")


def json_schema(given: str | Mapping[str, Any] | Schema) -> Schema:
    """What users give: a text, what JSON makes of it, or a Schema with references."""
    if isinstance(given, Schema):
        return given
    return Schema(given if isinstance(given, str) else json.dumps(given), JSON)


def checker(registry: Heard, schema: Schema) -> Check:
    """Raises SerializationError for a value that does not fit. Raises Unanswered, SerializationError itself."""
    jsonschema = need_jsonschema()
    referencing = need("referencing", extra="jsonschema", what="JSON Schema")
    draft7 = need("referencing.jsonschema", extra="jsonschema", what="JSON Schema").DRAFT7
    known = referencing.Registry()
    for name, reference in referenced(registry, schema).items():
        resource = referencing.Resource.from_contents(json.loads(reference.text), default_specification=draft7)
        known = known.with_resource(name, resource)
    try:
        told = json.loads(schema.text)
        kind = jsonschema.validators.validator_for(told)
        kind.check_schema(told)
    except (ValueError, jsonschema.exceptions.SchemaError) as error:
        raise SerializationError(f"not a JSON Schema: {error}") from error
    validator = kind(told, registry=known)

    def check(value: Any) -> None:
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if error is not None:
            place = f" at {error.json_path}" if error.path else ""
            raise SerializationError(f"does not fit its JSON Schema{place}: {error.message}")

    return check


def _title(schema: Schema) -> str | None:
    told = json.loads(schema.text)
    title = told.get("title") if isinstance(told, dict) else None
    return None if title is None else str(title)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
