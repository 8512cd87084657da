"""What the serdes of all three schema types share: subjects, ids, prefixes and headers, caches. No I/O of its own.

    serializer(topic, value, headers)              blocking: asks the registry where it must
    await serializer.serialize(topic, ...)         the same on the running loop
    serializer.attempt(topic, ...)                 without waiting: raises Unanswered

The clients take whichever suits them. A serializer or deserializer made for values is turned to keys by `for_key`,
which the clients do themselves.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self
from uuid import UUID

from pystream.client.serdes import questions
from pystream.client.serdes.heard import Heard
from pystream.client.serdes.registry import Registry
from pystream.client.serdes.registry_config import HEADER, PREFIX, DeserializerConfig, SerializerConfig
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import InvalidConfig, PystreamError, SerializationError
from pystream.schemas import wire
from pystream.schemas.model import RegisteredSchema, Schema
from pystream.schemas.subjects import STRATEGIES, SubjectNameStrategy

Headers = list[tuple[str | bytes, Any]]
MOST_REMEMBERED: Final = 1_000  # subjects of a serializer, writers of a deserializer


class _Target(NamedTuple):
    """How records of one subject are written."""

    registered: RegisteredSchema
    prefix: bytes
    write: Callable[[Any], bytes]


class RegistrySerializer(ABC):
    """Writes values with a schema, and says with which. `TYPE` is the type of its schemas."""

    TYPE: ClassVar[str]
    FORMAT: ClassVar[str | None] = None  # of schemas that the registry gives
    uses_headers: ClassVar[bool] = True
    is_key = False

    def __init__(
        self,
        registry: Registry,
        settings: Mapping[str, Any] | None,
        strategy: SubjectNameStrategy | None,
        keywords: Mapping[str, Any],
    ) -> None:
        self.config = SerializerConfig.load(settings, **keywords)
        self.registry = registry
        self._heard = Heard(registry)
        self._subject_of = strategy or _strategy(self.config.subject_name_strategy)
        self._targets: dict[tuple[str, str | None], _Target] = {}

    def for_key(self) -> Self:
        """The same for keys."""
        twin = copy.copy(self)
        twin.is_key = True
        twin._targets = {}
        twin._heard = Heard(self.registry)
        return twin

    def __call__(self, topic: str, value: Any, headers: Headers | None = None) -> bytes | None:
        """`value` as bytes. `headers` are added to with schema.id.serializer=header.

        Raises SerializationError, SchemaRegistryError.
        """
        while True:
            try:
                return self.attempt(topic, value, headers)
            except Unanswered as missing:
                missing.resolve()

    async def serialize(self, topic: str, value: Any, headers: Headers | None = None) -> bytes | None:
        """The same, without blocking the loop."""
        while True:
            try:
                return self.attempt(topic, value, headers)
            except Unanswered as missing:
                await missing.resolve_async()

    def attempt(self, topic: str, value: Any, headers: Headers | None = None) -> bytes | None:
        """The same with what is known. Raises Unanswered."""
        if value is None:
            return None
        try:
            target = self._target(topic, value)
            body = target.write(value)
        except Unanswered:
            raise
        except PystreamError:
            self._heard.done()
            raise
        except Exception as error:
            self._heard.done()
            raise SerializationError(f"{topic}: {type(value).__name__} does not fit its schema: {error}") from error
        if self.config.schema_id_serializer == PREFIX:
            return target.prefix + body
        if headers is None:
            raise SerializationError(f"{topic}: schema.id.serializer={HEADER} needs the record's headers, as a list")
        headers.append((wire.header_of(is_key=self.is_key), target.prefix))
        return body

    def _target(self, topic: str, value: Any) -> _Target:
        name = self.record_name(value)
        target = self._targets.get((topic, name))
        if target is not None and not self.config.use_latest_version:
            return target
        subject = self._subject_of(topic, self.is_key, name)
        if subject is None:
            raise SerializationError(f"{topic}: subject.name.strategy needs a record's name, and its schema has none")
        registered = self._registered(subject, value)
        if target is None or (target.registered is not registered and target.registered != registered):
            if len(self._targets) >= MOST_REMEMBERED:
                self._targets.clear()
            target = _Target(registered, self._prefix(subject, registered, value), self.writer(registered.schema))
            self._targets[topic, name] = target
        self._heard.done()
        return target

    def _registered(self, subject: str, value: Any) -> RegisteredSchema:
        """The schema to write with. Raises Unanswered."""
        config = self.config
        if config.use_schema_id is not None:
            found = self._heard.known(questions.schema_by_id(config.use_schema_id, subject=subject, format=self.FORMAT))
            return RegisteredSchema(config.use_schema_id, questions.known_type(found, self.TYPE), subject)
        if config.use_latest_version:
            latest = self._heard.known(questions.version(subject, format=self.FORMAT))
            questions.known_type(latest.schema, self.TYPE)
            return latest
        schema = self.schema_to_register(value)
        ask = questions.register if config.auto_register_schemas else questions.lookup
        registered = self._heard.known(ask(subject, schema, normalize=config.normalize_schemas))
        return RegisteredSchema(registered.id, schema, subject, registered.version, registered.guid)

    def _prefix(self, subject: str, registered: RegisteredSchema, value: Any) -> bytes:
        indexes = self.message_indexes(value)
        if self.config.schema_id_serializer == PREFIX:
            return wire.id_prefix(registered.id, indexes)
        guid = registered.guid
        if guid is None:  # older registries tell it with a lookup only, yet older ones have none
            guid = self._heard.known(questions.lookup(subject, registered.schema, deleted=True)).guid
        if guid is None:
            raise SerializationError(
                f"{subject}: the registry gives no GUID for schema {registered.id}; set schema.id.serializer={PREFIX}"
            )
        return wire.guid_prefix(guid, indexes)

    # --- of one schema type -------------------------------------------------------------------------------------------

    @abstractmethod
    def record_name(self, value: Any) -> str | None:
        """What the schema calls the record: for subject name strategies."""

    @abstractmethod
    def schema_to_register(self, value: Any) -> Schema:
        """The serializer's own schema. Raises Unanswered, SerializationError where it has none."""

    @abstractmethod
    def writer(self, schema: Schema) -> Callable[[Any], bytes]:
        """What makes bytes of a value. Raises Unanswered."""

    def message_indexes(self, value: Any) -> tuple[int, ...] | None:
        """The path to the message, of Protobuf."""
        return None


class RegistryDeserializer(ABC):
    """Reads values with the schema they were written with. `TYPE` is the type of its schemas."""

    TYPE: ClassVar[str]
    FORMAT: ClassVar[str | None] = None  # of schemas that the registry gives
    HAS_INDEXES: ClassVar[bool] = False
    uses_headers: ClassVar[bool] = True
    is_key = False

    def __init__(
        self,
        registry: Registry | None,
        settings: Mapping[str, Any] | None,
        strategy: SubjectNameStrategy | None,
        keywords: Mapping[str, Any],
    ) -> None:
        self.config = DeserializerConfig.load(settings, **keywords)
        self.registry = registry
        self._heard = None if registry is None else Heard(registry)
        self._subject_of = strategy or _strategy(self.config.subject_name_strategy)
        self._readers: dict[tuple[str, int | UUID, tuple[int, ...], RegisteredSchema | None], Any] = {}

    def for_key(self) -> Self:
        """The same for keys."""
        twin = copy.copy(self)
        twin.is_key = True
        twin._readers = {}
        twin._heard = None if self.registry is None else Heard(self.registry)
        return twin

    def __call__(self, topic: str, data: bytes | None, headers: Iterable[tuple[str | bytes, bytes | None]] = ()) -> Any:
        """What the bytes mean. Raises SerializationError, MalformedInput, SchemaRegistryError."""
        while True:
            try:
                return self.attempt(topic, data, headers)
            except Unanswered as missing:
                missing.resolve()

    async def deserialize(
        self, topic: str, data: bytes | None, headers: Iterable[tuple[str | bytes, bytes | None]] = ()
    ) -> Any:
        """The same, without blocking the loop."""
        while True:
            try:
                return self.attempt(topic, data, headers)
            except Unanswered as missing:
                await missing.resolve_async()

    def attempt(self, topic: str, data: bytes | None, headers: Iterable[tuple[str | bytes, bytes | None]] = ()) -> Any:
        """The same with what is known. Raises Unanswered."""
        if data is None:
            return None
        found, body = self._found(data, headers)
        try:
            return self._reader(topic, found)(body)
        except Unanswered:
            raise
        except PystreamError:
            self._done()
            raise
        except Exception as error:
            self._done()
            raise SerializationError(
                f"{topic}: {len(body)} bytes do not fit schema {found.key}: {str(error) or type(error).__name__}"
            ) from error

    def _found(self, data: bytes, headers: Iterable[tuple[str | bytes, bytes | None]]) -> tuple[wire.Found, bytes]:
        if self.config.schema_id_deserializer != PREFIX:
            header = wire.find_header(headers, wire.header_of(is_key=self.is_key))
            if header is not None:
                return wire.read_prefix(header, has_indexes=self.HAS_INDEXES), data
        found = wire.read_prefix(data, has_indexes=self.HAS_INDEXES)
        return found, data[found.data_start :]

    def _reader(self, topic: str, found: wire.Found) -> Callable[[bytes], Any]:
        latest = None
        if self.config.use_latest_version:
            latest = self._latest(topic, found)
        key = (topic, found.key, found.indexes, latest)
        read: Callable[[bytes], Any] | None = self._readers.get(key)
        if read is None:
            read = self.reader(topic, found, latest)
            if len(self._readers) >= MOST_REMEMBERED:
                self._readers.clear()
            self._readers[key] = read
            self._done()
        elif latest is not None:
            self._done()
        return read

    def _latest(self, topic: str, found: wire.Found) -> RegisteredSchema:
        subject = self._subject_of(topic, self.is_key, None)
        if subject is None:
            subject = self._subject_of(topic, self.is_key, self.record_name(self.written_with(topic, found), found))
        if subject is None:
            raise SerializationError(f"{topic}: subject.name.strategy needs a record's name, and its schema has none")
        latest = self._asked().known(questions.version(subject, format=self.FORMAT))
        questions.known_type(latest.schema, self.TYPE)
        return latest

    def written_with(self, topic: str, found: wire.Found) -> Schema:
        """The writer's schema. Raises Unanswered."""
        if isinstance(found.key, UUID):
            schema = self._asked().known(questions.schema_by_guid(found.key, format=self.FORMAT))
        else:
            subject = self._subject_of(topic, self.is_key, None)
            schema = self._asked().known(questions.schema_by_id(found.key, subject=subject, format=self.FORMAT))
        return questions.known_type(schema, self.TYPE)

    def _asked(self) -> Heard:
        if self._heard is None:
            raise SerializationError("this deserializer has no schema registry to ask; give it one")
        return self._heard

    def _done(self) -> None:
        if self._heard is not None:
            self._heard.done()

    # --- of one schema type -------------------------------------------------------------------------------------------

    @abstractmethod
    def record_name(self, schema: Schema, found: wire.Found) -> str | None:
        """What the schema calls the record: for subject name strategies. Raises Unanswered."""

    @abstractmethod
    def reader(self, topic: str, found: wire.Found, latest: RegisteredSchema | None) -> Callable[[bytes], Any]:
        """What makes a value of bytes; `latest` is the reader's schema, where one is wanted. Raises Unanswered."""


def referenced(registry: Heard, schema: Schema, *, format: str | None = None) -> dict[str, Schema]:
    """All that a schema refers to, by name, what others refer to first. Raises Unanswered."""
    found: dict[str, Schema] = {}
    seen: set[tuple[str, int]] = set()

    def visit(each: Schema) -> None:
        for reference in each.references:
            if (reference.subject, reference.version) in seen:
                continue
            seen.add((reference.subject, reference.version))
            known = registry.known(questions.version(reference.subject, reference.version, deleted=True, format=format))
            visit(known.schema)
            found[reference.name] = known.schema

    visit(schema)
    return found


def given_strategy(strategy: SubjectNameStrategy | str | None, keywords: dict[str, Any]) -> SubjectNameStrategy | None:
    """A strategy given as a function; a name becomes a setting among the keywords."""
    if isinstance(strategy, str):
        keywords["subject_name_strategy"] = strategy
        return None
    return strategy


def _strategy(name: str) -> SubjectNameStrategy:
    if name not in STRATEGIES:
        raise InvalidConfig(f"subject.name.strategy={name}; expected one of {', '.join(STRATEGIES)}, or a function")
    return STRATEGIES[name]
