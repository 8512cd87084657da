"""Configurations of topics, brokers, loggers, groups and client metrics: describe, alter, list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, Told, outcome
from pystream.client.admin.routes import ANYWHERE, Route, ToNodes
from pystream.client.given import ConfigValue, config_text, listed, mapped
from pystream.common.config import ConfigSource, ConfigType
from pystream.common.errors import InvalidConfig, PystreamError
from pystream.protocol.messages.alter_configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
)
from pystream.protocol.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
)
from pystream.protocol.messages.incremental_alter_configs import AlterableConfig as IncrementalConfig
from pystream.protocol.messages.incremental_alter_configs import AlterConfigsResource as IncrementalResource
from pystream.protocol.messages.incremental_alter_configs import AlterConfigsResourceResponse as IncrementalResponse
from pystream.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from pystream.protocol.messages.list_config_resources import ListConfigResourcesRequest

EXAMPLE: Final = '{ConfigResource(ConfigResourceType.TOPIC, "orders"): {"retention.ms": 1000}}'
ALL_TYPES_SINCE = 1  # version of ListConfigResources; before, client metrics only


class ConfigResourceType(Told):
    """What has configurations, by the numbers of the protocol."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigResource(NamedTuple):
    """Something with configurations. A broker is named by its number; "" is the default of all brokers."""

    type: ConfigResourceType
    name: str

    def __str__(self) -> str:
        return f"{self.type.name.lower()} {self.name!r}"


class AlterOperation(IntEnum):
    """What is done with one setting."""

    SET = 0
    DELETE = 1  # back to the default
    APPEND = 2  # to a list
    SUBTRACT = 3  # from a list


class AlterConfig(NamedTuple):
    """One change of one setting."""

    name: str
    value: str | None = None
    operation: AlterOperation = AlterOperation.SET


@dataclass(frozen=True, slots=True)
class ConfigSynonym:
    """Another place that has a value for the same setting."""

    name: str
    value: str | None
    source: ConfigSource


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting. The value of a secret is None."""

    name: str
    value: str | None
    source: ConfigSource
    is_read_only: bool
    is_sensitive: bool
    type: ConfigType | None = None
    synonyms: tuple[ConfigSynonym, ...] = ()
    documentation: str | None = None

    @property
    def is_default(self) -> bool:
        return self.source is ConfigSource.DEFAULT_CONFIG


Changes = Mapping[str, ConfigValue] | Iterable[AlterConfig]
Described = dict[str, ConfigEntry]


class ConfigOperations(AdminBase):
    """Operations on configurations."""

    async def describe_configs(
        self,
        resources: Iterable[ConfigResource],
        *,
        names: Iterable[str] | None = None,
        include_synonyms: bool = False,
        include_documentation: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[ConfigResource, Described]:
        """The settings of each resource by name, only `names` where given. A broker's own come from that broker."""
        keys = listed(names)

        async def ask(asked: Asked, wanted: list[ConfigResource]) -> dict[ConfigResource, Described | PystreamError]:
            request = DescribeConfigsRequest(
                resources=[
                    DescribeConfigsResource(resource_type=each.type, resource_name=each.name, configuration_keys=keys)
                    for each in wanted
                ],
                include_synonyms=include_synonyms,
                include_documentation=include_documentation,
            )
            response = await asked.ask(request)
            found: dict[ConfigResource, Described | PystreamError] = {}
            for told in response.results:
                resource = ConfigResource(ConfigResourceType(told.resource_type), told.resource_name)
                entries = {entry.name: _entry(entry) for entry in told.configs}
                found[resource] = outcome(told.error_code, told.error_message, entries, str(resource))
            return found

        return await self._each("describe_configs", resources, self._home(), ask, timeout_ms=timeout_ms)

    async def incremental_alter_configs(
        self,
        changes: Mapping[ConfigResource, Changes],
        *,
        validate_only: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[ConfigResource, None]:
        """Change some settings and leave the others: {topic: {"retention.ms": "1000", "segment.ms": None}}.

        None deletes, which brings back the default. AlterConfig also appends to lists and subtracts from them.
        """
        wanted = {resource: _alterations(each) for resource, each in mapped(changes, EXAMPLE).items()}

        async def ask(asked: Asked, group: list[ConfigResource]) -> dict[ConfigResource, PystreamError | None]:
            resources = [
                IncrementalResource(
                    resource_type=resource.type,
                    resource_name=resource.name,
                    configs=[
                        IncrementalConfig(
                            name=each.name, config_operation=each.operation, value=config_text(each.value)
                        )
                        for each in wanted[resource]
                    ],
                )
                for resource in group
            ]
            request = IncrementalAlterConfigsRequest(resources=resources, validate_only=validate_only)
            response = await asked.ask(request)
            return _altered(response.responses)

        route = self._home() if any(_of_one_broker(resource) for resource in wanted) else self._controller()
        return await self._each("incremental_alter_configs", wanted, route, ask, timeout_ms=timeout_ms)

    async def alter_configs(
        self,
        configs: Mapping[ConfigResource, Mapping[str, ConfigValue]],
        *,
        validate_only: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[ConfigResource, None]:
        """Replace all settings of each resource; what is not named goes back to its default.

        Kafka deprecated it for `incremental_alter_configs`, which does not undo what others changed meanwhile.
        """
        mapped(configs, EXAMPLE)

        async def ask(asked: Asked, group: list[ConfigResource]) -> dict[ConfigResource, PystreamError | None]:
            resources = [
                AlterConfigsResource(
                    resource_type=resource.type,
                    resource_name=resource.name,
                    configs=[
                        AlterableConfig(name=name, value=config_text(value))
                        for name, value in configs[resource].items()
                    ],
                )
                for resource in group
            ]
            response = await asked.ask(AlterConfigsRequest(resources=resources, validate_only=validate_only))
            return _altered(response.responses)

        return await self._each("alter_configs", configs, self._home(), ask, timeout_ms=timeout_ms)

    async def list_config_resources(
        self, types: Iterable[ConfigResourceType] = (), *, timeout_ms: int | None = None
    ) -> list[ConfigResource]:
        """Everything that has settings, of the given types (KIP-1142)."""
        kinds = [int(kind) for kind in listed(types)]
        response = await self._once(
            "list_config_resources",
            ListConfigResourcesRequest(resource_types=kinds),
            lowest=0 if kinds == [ConfigResourceType.CLIENT_METRICS] else ALL_TYPES_SINCE,
            timeout_ms=timeout_ms,
        )
        return [
            ConfigResource(ConfigResourceType(told.resource_type), told.resource_name)
            for told in response.config_resources
        ]

    async def list_client_metrics_resources(self, *, timeout_ms: int | None = None) -> list[str]:
        """The names of the subscriptions to clients' metrics (KIP-714)."""
        found = await self.list_config_resources([ConfigResourceType.CLIENT_METRICS], timeout_ms=timeout_ms)
        return [resource.name for resource in found]

    def _home(self) -> Route[ConfigResource]:
        """Each resource at the broker that has it; most at any."""
        return ToNodes(self.cluster, _broker_of)


def _of_one_broker(resource: ConfigResource) -> bool:
    return resource.type in (ConfigResourceType.BROKER, ConfigResourceType.BROKER_LOGGER) and resource.name != ""


def _broker_of(resource: ConfigResource) -> int:
    if not _of_one_broker(resource):
        return ANYWHERE
    if not resource.name.isdecimal():
        raise InvalidConfig(f"{resource}: a broker is named by its number, or '' for the default of all")
    return int(resource.name)


def _alterations(changes: Changes) -> list[AlterConfig]:
    if isinstance(changes, Mapping):
        return [
            AlterConfig(name, config_text(value), AlterOperation.DELETE if value is None else AlterOperation.SET)
            for name, value in changes.items()
        ]
    return listed(changes)


def _altered(
    responses: Iterable[AlterConfigsResourceResponse | IncrementalResponse],
) -> dict[ConfigResource, PystreamError | None]:
    found: dict[ConfigResource, PystreamError | None] = {}
    for told in responses:
        resource = ConfigResource(ConfigResourceType(told.resource_type), told.resource_name)
        found[resource] = outcome(told.error_code, told.error_message, None, str(resource))
    return found


def _entry(told: DescribeConfigsResourceResult) -> ConfigEntry:
    return ConfigEntry(
        told.name,
        told.value,
        _source(told.config_source),
        told.read_only,
        told.is_sensitive,
        _type(told.config_type),
        tuple(ConfigSynonym(each.name, each.value, _source(each.source)) for each in told.synonyms),
        told.documentation or None,
    )


def _type(number: int) -> ConfigType | None:
    """None where the broker does not say, or says what is newer than this client."""
    is_told = number != ConfigType.UNKNOWN and number in ConfigType._value2member_map_
    return ConfigType(number) if is_told else None


def _source(number: int) -> ConfigSource:
    """A number that is newer than this client is unknown to it."""
    return ConfigSource(number) if number in ConfigSource._value2member_map_ else ConfigSource.UNKNOWN
