"""Protobuf with a schema registry. Needs protobuf (extra `protobuf`).

A schema goes to the registry as its FileDescriptorProto, base64, and comes back in the same form (format=serialized),
which Confluent's registry makes of whatever was registered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from pystream.client.extras import need
from pystream.client.serdes import questions
from pystream.client.serdes.base import RegistryDeserializer, RegistrySerializer, given_strategy, referenced
from pystream.client.serdes.heard import Heard
from pystream.client.serdes.registry import Registry
from pystream.common.errors import SerializationError
from pystream.schemas import wire
from pystream.schemas.model import PROTOBUF, RegisteredSchema, Schema, SchemaReference
from pystream.schemas.subjects import SubjectNameStrategy

SERIALIZED: Final = "serialized"
BUILT_IN: Final = ("google/protobuf/", "google/type/", "confluent/")  # every registry has these files
ROOT_FILE: Final = "default"
WELL_KNOWN: Final = (
    "any",
    "source_context",
    "type",
    "api",
    "descriptor",
    "duration",
    "empty",
    "field_mask",
    "struct",
    "timestamp",
    "wrappers",
)  # in an order in which each finds what it imports


class ProtobufSerializer(RegistrySerializer):
    """Writes messages of one generated class.

        ProtobufSerializer(registry, orders_pb2.Order)

    What the class's file imports is registered too, each file under its own path, or as `reference_subject` says.
    """

    TYPE = PROTOBUF
    FORMAT = SERIALIZED

    def __init__(
        self,
        registry: Registry,
        message_type: Any,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        skip_known_types: bool = True,
        reference_subject: Callable[[str], str] = str,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of SerializerConfig. Raises InvalidConfig, MissingExtra."""
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        need_protobuf("message")
        self._message_type = message_type
        self._indexes = path_of(message_type.DESCRIPTOR)
        self._skip_known_types = skip_known_types
        self._reference_subject = reference_subject

    def record_name(self, value: Any) -> str | None:
        return str(self._message_type.DESCRIPTOR.full_name)

    def message_indexes(self, value: Any) -> tuple[int, ...]:
        return self._indexes

    def schema_to_register(self, value: Any) -> Schema:
        return self._with_references(self._message_type.DESCRIPTOR.file)

    def _with_references(self, file: Any) -> Schema:
        """A file, once all that it imports is registered. Raises Unanswered for the first that is not."""
        references = []
        for imported in file.dependencies:
            if self._skip_known_types and imported.name.startswith(BUILT_IN):
                continue
            schema = self._with_references(imported)
            subject = self._reference_subject(imported.name)
            normalize = self.config.normalize_schemas
            if self.config.auto_register_schemas:
                self._heard.known(questions.register(subject, schema, normalize=normalize))
            found = self._heard.known(questions.lookup(subject, schema, normalize=normalize))
            if found.version is None:
                raise SerializationError(f"{subject}: the registry does not say which version {imported.name} has")
            references.append(SchemaReference(imported.name, subject, found.version))
        return Schema(base64.standard_b64encode(file.serialized_pb).decode(), PROTOBUF, tuple(references))

    def writer(self, schema: Schema) -> Callable[[Any], bytes]:
        expected = self._message_type

        def written(value: Any) -> bytes:
            if not isinstance(value, expected):
                raise SerializationError(f"expected a {expected.DESCRIPTOR.full_name}, found a {type(value).__name__}")
            body: bytes = value.SerializeToString()
            return body

        return written


class ProtobufDeserializer(RegistryDeserializer):
    """Reads messages of one generated class, without asking a registry; or of classes made from the writer's schema.

    ProtobufDeserializer(message_type=orders_pb2.Order)
    ProtobufDeserializer(registry)
    """

    TYPE = PROTOBUF
    FORMAT = SERIALIZED
    HAS_INDEXES: ClassVar[bool] = True

    def __init__(
        self,
        registry: Registry | None = None,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        message_type: Any = None,
        subject_name_strategy: SubjectNameStrategy | str | None = None,
        **keywords: Any,
    ) -> None:
        """Settings are those of DeserializerConfig. Raises InvalidConfig, MissingExtra, SerializationError."""
        strategy = given_strategy(subject_name_strategy, keywords)
        super().__init__(registry, settings, strategy, keywords)
        need_protobuf("message")
        if registry is None and message_type is None:
            raise SerializationError("ProtobufDeserializer needs a registry, message_type=, or both")
        self._message_type = message_type
        self._classes: dict[tuple[Schema, tuple[int, ...]], Any] = {}

    def record_name(self, schema: Schema, found: wire.Found) -> str | None:
        return str(self._class_of(schema, found.indexes).DESCRIPTOR.full_name)

    def reader(self, topic: str, found: wire.Found, latest: RegisteredSchema | None) -> Callable[[bytes], Any]:
        if self._message_type is not None:
            parse = self._message_type.FromString
        elif latest is not None:
            parse = self._class_of(latest.schema, found.indexes).FromString
        else:
            parse = self._class_of(self.written_with(topic, found), found.indexes).FromString
        return lambda body: parse(bytes(body))

    def _class_of(self, schema: Schema, indexes: tuple[int, ...]) -> Any:
        made = self._classes.get((schema, indexes))
        if made is None:
            made = self._classes[schema, indexes] = message_class(self._asked(), schema, indexes)
        return made


def need_protobuf(module: str) -> Any:
    """One of protobuf's modules. Raises MissingExtra."""
    return need(f"google.protobuf.{module}", extra="protobuf", what="Protobuf")


def path_of(descriptor: Any) -> tuple[int, ...]:
    """Where a message lies in its file: its index among its siblings, at every depth."""
    path = []
    while (outer := descriptor.containing_type) is not None:
        path.append([each.name for each in outer.nested_types].index(descriptor.name))
        descriptor = outer
    path.append(list(descriptor.file.message_types_by_name).index(descriptor.name))
    return tuple(reversed(path))


def message_class(registry: Heard, schema: Schema, indexes: tuple[int, ...]) -> Any:
    """A class for the message at `indexes` of a schema. Raises Unanswered, SerializationError."""
    pool = need_protobuf("descriptor_pool").DescriptorPool()
    for name in WELL_KNOWN:
        pool.AddSerializedFile(need_protobuf(f"{name}_pb2").DESCRIPTOR.serialized_pb)
    for name, reference in referenced(registry, schema, format=SERIALIZED).items():
        pool.Add(_file(reference, name))
    root = _file(schema, ROOT_FILE)
    try:
        pool.Add(root)
        file = pool.FindFileByName(root.name)
    except (TypeError, KeyError) as error:
        raise SerializationError(f"the schema imports what is not among its references: {error}") from error
    siblings = list(file.message_types_by_name.values())
    descriptor = None
    for index in indexes:
        if index >= len(siblings):
            raise SerializationError(f"no message at {list(indexes)}: the schema has {len(siblings)} messages there")
        descriptor = siblings[index]
        siblings = list(descriptor.nested_types)
    return need_protobuf("message_factory").GetMessageClass(descriptor)


def _file(schema: Schema, name: str) -> Any:
    """The FileDescriptorProto of a schema, as a file called `name`. Raises SerializationError."""
    file = need_protobuf("descriptor_pb2").FileDescriptorProto()
    try:
        file.ParseFromString(base64.b64decode(schema.text, validate=True))
    except (binascii.Error, ValueError, need_protobuf("message").DecodeError) as error:
        raise SerializationError(
            f"{name}: the registry gave the schema as text, not as a descriptor (format=serialized); "
            "give the deserializer message_type="
        ) from error
    file.name = name
    return file
