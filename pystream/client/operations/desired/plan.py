"""What has to be done so that a cluster is as a manifest says: nothing twice, nothing that is so already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pystream.client.admin.acls import AclBinding, AclFilter
from pystream.client.admin.configs import AlterConfig, AlterOperation, ConfigEntry, ConfigResource, ConfigResourceType
from pystream.client.admin.topics import NewTopic, TopicDescription
from pystream.client.admin.users import QuotaEntity
from pystream.client.operations.declaration import Failure
from pystream.client.operations.desired.manifest import Manifest, WantedTopic
from pystream.common.config import ConfigSource
from pystream.common.errors import InvalidPartitions, InvalidReplicationFactor, PystreamError, UnknownTopicOrPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

OWN_SOURCES: Final = {
    ConfigResourceType.TOPIC: (ConfigSource.DYNAMIC_TOPIC_CONFIG,),
    ConfigResourceType.BROKER: (ConfigSource.DYNAMIC_BROKER_CONFIG, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
    ConfigResourceType.GROUP: (ConfigSource.DYNAMIC_GROUP_CONFIG,),
    ConfigResourceType.CLIENT_METRICS: (ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG,),
}
Setting = tuple[ConfigResource, str]


@dataclass(slots=True)
class Plan:
    """The changes, in the order of doing them, and what cannot be done."""

    new_topics: dict[str, NewTopic] = field(default_factory=dict)
    partitions: dict[str, tuple[int, int]] = field(default_factory=dict)  # from, to
    settings: dict[Setting, tuple[str | None, str | None]] = field(default_factory=dict)  # from, to; None: the default
    new_acls: list[AclBinding] = field(default_factory=list)
    old_acls: list[AclBinding] = field(default_factory=list)
    quotas: dict[QuotaEntity, dict[str, tuple[float | None, float | None]]] = field(default_factory=dict)
    old_topics: list[str] = field(default_factory=list)
    impossible: list[Failure] = field(default_factory=list)

    def alterations(self) -> dict[ConfigResource, list[AlterConfig]]:
        """The settings by resource."""
        found: dict[ConfigResource, list[AlterConfig]] = {}
        for (resource, name), (_, value) in self.settings.items():
            operation = AlterOperation.DELETE if value is None else AlterOperation.SET
            found.setdefault(resource, []).append(AlterConfig(name, value, operation))
        return found

    def quota_changes(self) -> dict[QuotaEntity, dict[str, float | None]]:
        """The quotas by entity; None removes."""
        return {entity: {name: to for name, (_, to) in each.items()} for entity, each in self.quotas.items()}


async def make(admin: AdminClient, manifest: Manifest, *, prune: bool) -> Plan:
    """Compare. With `prune`, what the manifest does not name goes, in the sections that it has; nothing internal."""
    plan = Plan()
    if manifest.topics is not None:
        await _topics(admin, manifest.topics, plan, prune)
    if manifest.configs:
        await _settings(admin, manifest.configs, plan, prune)
    if manifest.acls is not None:
        there = await admin.describe_acls()
        plan.new_acls = [each for each in manifest.acls if each not in set(there)]
        plan.old_acls = [each for each in there if each not in set(manifest.acls)] if prune else []
    if manifest.quotas is not None:
        await _quotas(admin, manifest.quotas, plan, prune)
    return plan


async def _topics(admin: AdminClient, wanted: Mapping[str, WantedTopic], plan: Plan, prune: bool) -> None:
    described = await admin.describe_topics(wanted) if wanted else {}
    present: dict[str, TopicDescription] = {}
    for name, told in described.items():
        if isinstance(told, UnknownTopicOrPartition):
            topic = wanted[name]
            configs = {key: value for key, value in topic.configs.items() if value is not None}
            plan.new_topics[name] = NewTopic(name, topic.partitions or -1, topic.replication_factor or -1, configs)
        elif isinstance(told, PystreamError):
            plan.impossible.append(Failure(f"topic {name}", told))
        else:
            present[name] = told
            _shape(wanted[name], told, plan)
    settings = {ConfigResource(ConfigResourceType.TOPIC, name): dict(wanted[name].configs) for name in present}
    if settings:
        await _settings(admin, settings, plan, prune)
    if prune:
        listed = await admin.list_topics()
        plan.old_topics = [name for name in listed if name not in wanted and not name.startswith("__")]


def _shape(wanted: WantedTopic, there: TopicDescription, plan: Plan) -> None:
    count = len(there.partitions)
    if wanted.partitions is not None and wanted.partitions < count:
        error = InvalidPartitions(f"has {count} partitions, and never fewer again: {wanted.partitions} cannot be")
        plan.impossible.append(Failure(f"topic {wanted.name}", error))
    elif wanted.partitions is not None and wanted.partitions > count:
        plan.partitions[wanted.name] = (count, wanted.partitions)
    replicas = len(there.partitions[0].replicas) if there.partitions else 0
    if wanted.replication_factor not in (None, replicas):
        said = f"has {replicas} replicas, not {wanted.replication_factor}: reassigning them is not done by apply"
        plan.impossible.append(Failure(f"topic {wanted.name}", InvalidReplicationFactor(said)))


async def _settings(
    admin: AdminClient, wanted: Mapping[ConfigResource, Mapping[str, str | None]], plan: Plan, prune: bool
) -> None:
    for resource, told in (await admin.describe_configs(wanted)).items():
        if isinstance(told, PystreamError):
            plan.impossible.append(Failure(str(resource), told))
            continue
        own = {name: entry for name, entry in told.items() if _is_own(resource, entry)}
        for name, value in wanted[resource].items():
            entry = own.get(name)
            if entry is not None and entry.is_sensitive and value is not None:
                continue  # nobody tells whether it differs
            if (None if entry is None else entry.value) != value:
                plan.settings[resource, name] = (None if entry is None else entry.value, value)
        if prune:
            for name in sorted(own.keys() - wanted[resource].keys()):
                plan.settings[resource, name] = (own[name].value, None)


def _is_own(resource: ConfigResource, entry: ConfigEntry) -> bool:
    """Whether it was set for the resource itself."""
    sources = OWN_SOURCES[resource.type]
    if resource.type is ConfigResourceType.BROKER:
        sources = sources[1:] if resource.name == "" else sources[:1]
    return entry.source in sources


async def _quotas(
    admin: AdminClient, wanted: Mapping[QuotaEntity, Mapping[str, float | None]], plan: Plan, prune: bool
) -> None:
    there = await admin.describe_client_quotas()
    for entity, values in wanted.items():
        now = there.get(entity, {})
        changes = {name: (now.get(name), value) for name, value in values.items() if now.get(name) != value}
        if prune:
            changes |= {name: (value, None) for name, value in now.items() if name not in values}
        if changes:
            plan.quotas[entity] = changes
    if prune:
        for entity, values in there.items():
            if entity not in wanted and values:
                plan.quotas[entity] = {name: (value, None) for name, value in values.items()}


def filter_of(acl: AclBinding) -> AclFilter:
    """Matches this entry only."""
    return AclFilter(
        resource_type=acl.resource_type,
        resource_name=acl.resource_name,
        principal=acl.principal,
        operation=acl.operation,
        permission=acl.permission,
        pattern_type=acl.pattern_type,
        host=acl.host,
    )
