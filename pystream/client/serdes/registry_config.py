"""What a client of a schema registry, and the serdes that use it, can be set to: the names of Confluent's clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pystream.client.config import texts_of
from pystream.common.config import ConfigSource, ConfigType, Layer, Password, definition_of, key
from pystream.common.errors import InvalidConfig

ALIASES: Final = {"url": "schema.registry.url"}
PREFIX: Final = "prefix"
HEADER: Final = "header"
DUAL: Final = "dual"


class Loadable:
    """A config that is loaded from dotted names and keywords."""

    __slots__ = ()

    @classmethod
    def load(cls, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> Self:
        """Raises InvalidConfig."""
        given = {ALIASES.get(name, name): value for name, value in {**(settings or {}), **keywords}.items()}
        definition = definition_of(cls)
        return definition.load(Layer(ConfigSource.STATIC_BROKER_CONFIG, texts_of(definition, given)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig(Loadable):
    """Settings of a SchemaRegistryClient."""

    schema_registry_url: tuple[str, ...] = key(
        "schema.registry.url", doc="http(s)://host:port of one registry or several, which are tried in turn."
    )
    basic_auth_user_info: Password | None = key("basic.auth.user.info", default=None, doc="user:password.")  # noqa: RUF009
    bearer_auth_token: Password | None = key("bearer.auth.token", default=None, doc="Sent with every request.")  # noqa: RUF009
    ssl_ca_location: str | None = key("ssl.ca.location", default=None, doc="PEM file of those who are trusted.")
    ssl_certificate_location: str | None = key("ssl.certificate.location", default=None, doc="PEM file, our own.")
    ssl_key_location: str | None = key("ssl.key.location", default=None, doc="PEM file of our key.")
    ssl_key_password: Password | None = key("ssl.key.password", default=None, doc="Of our key.")  # noqa: RUF009
    http_proxy: str | None = key("proxy", default=None, doc="URL of a proxy.")
    timeout: float = key("timeout", default=30.0, type=ConfigType.DOUBLE, minimum=0, doc="Seconds for one request.")
    max_retries: int = key("max.retries", default=3, minimum=0, doc="After refusals that may pass, and silence.")
    retries_wait_ms: int = key("retries.wait.ms", default=1_000, minimum=0, doc="Wait before the first retry.")
    retries_max_wait_ms: int = key("retries.max.wait.ms", default=20_000, minimum=0, doc="Longest wait before one.")
    cache_capacity: int = key("cache.capacity", default=1_000, minimum=1, doc="Answers that are remembered.")
    cache_latest_ttl_sec: float | None = key(
        "cache.latest.ttl.sec",
        default=None,
        type=ConfigType.DOUBLE,
        minimum=0.1,
        doc="How long the latest version of a subject is believed; unset: for ever.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SerializerConfig(Loadable):
    """Settings of a serializer that registers or finds its schema."""

    auto_register_schemas: bool = key(
        "auto.register.schemas", default=True, doc="Register the schema under its subject; false: it must be there."
    )
    normalize_schemas: bool = key("normalize.schemas", default=False, doc="Have the registry bring it to normal form.")
    use_schema_id: int | None = key("use.schema.id", default=None, doc="Write with the schema of this id.")
    use_latest_version: bool = key(
        "use.latest.version", default=False, doc="Write with the subject's latest version; needs no registering."
    )
    schema_id_serializer: str = key(
        "schema.id.serializer", default=PREFIX, valid=(PREFIX, HEADER), doc="Id in the payload, or GUID in a header."
    )
    subject_name_strategy: str = key(
        "subject.name.strategy", default="TOPIC", doc="TOPIC, RECORD, TOPIC_RECORD; a function goes in as an argument."
    )

    def __post_init__(self) -> None:
        if self.auto_register_schemas and (self.use_latest_version or self.use_schema_id is not None):
            found = "use.latest.version" if self.use_latest_version else "use.schema.id"
            raise InvalidConfig(f"{found} needs auto.register.schemas=false: nothing is registered then")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeserializerConfig(Loadable):
    """Settings of a deserializer that finds the writer's schema."""

    use_latest_version: bool = key(
        "use.latest.version", default=False, doc="Read with the subject's latest version as the reader's schema."
    )
    schema_id_deserializer: str = key(
        "schema.id.deserializer", default=DUAL, valid=(DUAL, PREFIX), doc="Look into headers first, or not at all."
    )
    subject_name_strategy: str = key(
        "subject.name.strategy", default="TOPIC", doc="TOPIC, RECORD, TOPIC_RECORD; a function goes in as an argument."
    )
