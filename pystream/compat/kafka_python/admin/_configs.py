"""Settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pystream.client.admin import configs as sdk_configs
from pystream.common.errors import PystreamError
from pystream.compat.kafka_python.admin._calls import Calls, raise_first
from pystream.compat.kafka_python.admin._model import (
    AlterConfigOp,
    ConfigFilterType,
    ConfigResource,
    ConfigResourceType,
    ConfigSourceType,
    ConfigType,
)
from pystream.compat.kafka_python.errors import translated


class ConfigCalls(Calls):
    """Calls on settings."""

    def describe_configs(
        self,
        config_resources: Iterable[ConfigResource],
        include_synonyms: bool = False,
        config_filter: ConfigFilterType | str = "modified",
    ) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """{type: {name: {key: {"value": …, "config_source": …}}}}, the settings that `config_filter` keeps."""
        keeps = ConfigFilterType.build_from(config_filter)
        told: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        for resource in config_resources:
            key = _sdk_resource(resource)
            names = None if resource.configs is None else list(resource.configs)
            found = self._run(self._sdk.describe_configs([key], names=names, include_synonyms=include_synonyms)).result(
                key
            )
            entries = {name: _entry(each, include_synonyms) for name, each in found.items()}
            told.setdefault(resource.resource_type.name.lower(), {})[key.name] = {
                name: entry
                for name, entry in entries.items()
                if keeps.keeps(ConfigSourceType[entry["config_source"]], entry["read_only"])
            }
        return told

    def list_config_resources(self, resource_types: Iterable[Any] | None = None) -> dict[str, list[str]]:
        """{type: [names]} of everything that has settings."""
        kinds = [
            sdk_configs.ConfigResourceType(ConfigResourceType.build_from(each).value) for each in resource_types or ()
        ]
        told: dict[str, list[str]] = {}
        for resource in self._run(self._sdk.list_config_resources(kinds)):
            told.setdefault(resource.type.name.lower(), []).append(resource.name)
        return told

    def alter_configs(
        self,
        config_resources: Iterable[ConfigResource],
        validate_only: bool = False,
        raise_on_unknown: bool = True,
        incremental: bool | None = None,
    ) -> dict[str, dict[str, str]]:
        """Change the settings in each resource's `configs`: {key: value} or {key: (AlterConfigOp, value)}."""
        resources = list(config_resources)
        if raise_on_unknown:
            self._check_known(resources)
        changes = {_sdk_resource(resource): _changes(resource.configs) for resource in resources}
        return self._altered(resources, changes, validate_only)

    def reset_configs(
        self,
        config_resources: Iterable[ConfigResource],
        validate_only: bool = False,
        raise_on_unknown: bool = True,
        incremental: bool | None = None,
    ) -> dict[str, dict[str, str]]:
        """Bring the settings in each resource's `configs` back to their defaults."""
        resources = list(config_resources)
        if raise_on_unknown:
            self._check_known(resources)
        changes = {
            _sdk_resource(resource): [
                sdk_configs.AlterConfig(name, None, sdk_configs.AlterOperation.DELETE)
                for name in resource.configs or ()
            ]
            for resource in resources
        }
        return self._altered(resources, changes, validate_only)

    def _check_known(self, resources: list[ConfigResource]) -> None:
        wanted = [ConfigResource(resource.resource_type, resource.name) for resource in resources]
        known = self.describe_configs(wanted, config_filter=ConfigFilterType.DYNAMIC)
        for resource in resources:
            names = known[resource.resource_type.name.lower()][str(resource.name)]
            unknown = set(resource.configs or ()) - set(names)
            if unknown:
                raise ValueError(f"Unrecognized configs: {unknown}")

    def _altered(self, resources: list[ConfigResource], changes: Any, validate_only: bool) -> dict[str, dict[str, str]]:
        found = self._run(self._sdk.incremental_alter_configs(changes, validate_only=validate_only))
        raise_first(found.values())
        told: dict[str, dict[str, str]] = {}
        for resource in resources:
            key = _sdk_resource(resource)
            each = found[key]
            text = str(translated(each)) if isinstance(each, PystreamError) else "OK"
            told.setdefault(resource.resource_type.name.lower(), {})[key.name] = text
        return told


def _sdk_resource(resource: ConfigResource) -> sdk_configs.ConfigResource:
    kinds = (ConfigResourceType.BROKER, ConfigResourceType.BROKER_LOGGER)
    name = str(resource.name)
    if resource.resource_type in kinds and name and not name.isdecimal():
        raise ValueError(f"Broker resource names must be an integer or a string represented integer, found {name!r}")
    return sdk_configs.ConfigResource(sdk_configs.ConfigResourceType(resource.resource_type.value), name)


def _changes(configs: Any) -> list[sdk_configs.AlterConfig]:
    if not isinstance(configs, dict):
        raise TypeError("alter_configs requires configs as a dict of {key: (op, value)} or {key: value}")
    found = []
    for name, given in configs.items():
        operation, value = given if isinstance(given, tuple) else (AlterConfigOp.SET, given)
        kind = sdk_configs.AlterOperation(AlterConfigOp.build_from(operation).value)
        text = None if value is None or kind is sdk_configs.AlterOperation.DELETE else str(value)
        found.append(sdk_configs.AlterConfig(name, text, kind))
    return found


def _entry(found: sdk_configs.ConfigEntry, include_synonyms: bool) -> dict[str, Any]:
    return {
        "value": found.value,
        "read_only": found.is_read_only,
        "config_source": _source(int(found.source)).name,
        "is_sensitive": found.is_sensitive,
        "synonyms": [
            {"name": each.name, "value": each.value, "source": _source(int(each.source)).name}
            for each in (found.synonyms if include_synonyms else ())
        ],
        "config_type": ConfigType.UNKNOWN.name if found.type is None else ConfigType(int(found.type)).name,
        "documentation": found.documentation,
    }


def _source(number: int) -> ConfigSourceType:
    known = ConfigSourceType._value2member_map_
    return ConfigSourceType(number) if number in known else ConfigSourceType.UNKNOWN
