"""Handlers of operations on settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.configs import (
    AlterConfig,
    AlterOperation,
    ConfigEntry,
    ConfigResource,
    ConfigResourceType,
)
from pystream.client.operations.configs import ChangedSetting, Setting
from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer
from pystream.common.config import ConfigSource
from pystream.common.errors import InvalidRequest

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

RESOURCE_TYPES: Final = {
    "topics": ConfigResourceType.TOPIC,
    "brokers": ConfigResourceType.BROKER,
    "broker-loggers": ConfigResourceType.BROKER_LOGGER,
    "groups": ConfigResourceType.GROUP,
    "client-metrics": ConfigResourceType.CLIENT_METRICS,
}
WRITTEN: Final = {kind: text for text, kind in RESOURCE_TYPES.items()}
DEFAULTS: Final = (ConfigSource.DEFAULT_CONFIG, ConfigSource.STATIC_BROKER_CONFIG)


async def describe(admin: AdminClient, *, type: str, names: Sequence[str], all: bool, key: Sequence[str]) -> Answer:
    """Without `all` what was set for the resource itself; settings that were asked for by name are always told."""
    results = await admin.describe_configs(_resources(type, names), names=list(key) or None, include_synonyms=True)
    described = answer(
        results,
        lambda resource, entries: [
            _setting(resource, entry)
            for _, entry in sorted(entries.items())
            if all or key or entry.source not in DEFAULTS
        ],
    )
    return Answer([row for rows in described.rows for row in rows], described.failures)


async def alter(
    admin: AdminClient,
    *,
    type: str,
    names: Sequence[str],
    set: dict[str, str],
    unset: Sequence[str],
    append: dict[str, str],
    subtract: dict[str, str],
    dry_run: bool,
) -> Answer:
    """The same changes for all of them."""
    changes = alterations(set, unset, append, subtract)
    resources = _resources(type, names)
    results = await admin.incremental_alter_configs(dict.fromkeys(resources, changes), validate_only=dry_run)
    would = "would be: " if dry_run else ""
    changed = answer(
        results,
        lambda resource, _: [
            ChangedSetting(each.name, would + described_change(each), written(resource)) for each in changes
        ],
    )
    return Answer([row for rows in changed.rows for row in rows], changed.failures)


def alterations(
    set: Mapping[str, str],
    unset: Sequence[str],
    append: Mapping[str, str] | None = None,
    subtract: Mapping[str, str] | None = None,
) -> list[AlterConfig]:
    """The changes meant. Raises InvalidRequest for none, and for two of one setting."""
    changes = [
        *(AlterConfig(name, value) for name, value in set.items()),
        *(AlterConfig(name, None, AlterOperation.DELETE) for name in unset),
        *(AlterConfig(name, value, AlterOperation.APPEND) for name, value in (append or {}).items()),
        *(AlterConfig(name, value, AlterOperation.SUBTRACT) for name, value in (subtract or {}).items()),
    ]
    if not changes:
        raise InvalidRequest("nothing to change: name a setting to set or to unset")
    names = [each.name for each in changes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"{twice} is to be changed in two ways")
    return changes


def described_change(change: AlterConfig) -> str:
    """As `set retention.ms=1000`."""
    verb = change.operation.name.lower()
    if change.operation is AlterOperation.DELETE:
        return f"unset {change.name}"
    return f"{verb} {change.name}={change.value}"


def written(resource: ConfigResource) -> str:
    """As users write it: "topics orders"."""
    return f"{WRITTEN[resource.type]} {resource.name}".rstrip()


def _resources(kind: str, names: Sequence[str]) -> list[ConfigResource]:
    if not names and kind != "brokers":
        raise InvalidRequest(f"name the {kind} meant; only brokers have a default of all")
    return [ConfigResource(RESOURCE_TYPES[kind], name) for name in names or ("",)]


def _setting(resource: ConfigResource, entry: ConfigEntry) -> Setting:
    return Setting(
        entry.name,
        entry.value,
        entry.source.name,
        written(resource),
        entry.is_read_only,
        entry.is_sensitive,
        None if entry.type is None else entry.type.name,
        [f"{each.source.name}:{each.name}={each.value}" for each in entry.synonyms],
    )
