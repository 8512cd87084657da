"""Dynamic settings of topics, brokers, groups and subscriptions to client metrics.

They are changed key by key, or replaced whole. Each resource succeeds by itself.

A resource's settings are one key of the store, changed by compare-and-swap on its revision, so two changes at once
never lose one another. What the settings mean together is checked before anything is written.

Source: KIP-133, KIP-226, KIP-339. A broker's settings that fail validation answer INVALID_REQUEST, a topic's
INVALID_CONFIG: KAFKA-13609.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from pystream.common.config import INT_MAX, ConfigDefinition, ConfigKey, ConfigType
from pystream.common.errors import (
    ConcurrentTransactions,
    InvalidConfig,
    InvalidRequest,
    KafkaError,
    UnknownTopicOrPartition,
)
from pystream.common.logging import get_logger
from pystream.common.model import validate_topic_name
from pystream.controller.commit import Committer
from pystream.controller.requests import (
    Alteration,
    AlterOperation,
    ConfigAlteration,
    ConfigOutcome,
    ConfigReplacement,
    ResourceType,
)
from pystream.metadata import records
from pystream.metadata.image import ClusterImage
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store import Absent, Compare, Delete, Exists, ModRevision, Put, Value

logger = get_logger(__name__)

ATTEMPTS: Final = 10  # at one resource, while others change it at the same time
R = TypeVar("R", ConfigAlteration, ConfigReplacement)
Change = Callable[[Mapping[str, str]], dict[str, str]]
BrokerCheck = Callable[[str, Mapping[str, str], ClusterImage], None]
TopicCheck = Callable[[Mapping[str, str], ClusterImage], None]
_NODE_ID: Final = re.compile(r"([+-]?)0*([0-9]{1,10})")


class ResourceKind(NamedTuple):
    """A type of resource that need not exist to have settings: `check` raises InvalidConfig or InvalidRequest for
    settings that it may not have, `nameless` says that it needs a name.
    """

    key_of: Callable[[str], str]
    definition: ConfigDefinition[Any]
    check: Callable[[Mapping[str, str]], None]
    nameless: str


class _Resource(NamedTuple):
    """Where a resource's settings are kept, what must exist for it, and which keys it may have."""

    key: str
    conditions: tuple[Compare, ...]
    keys: Mapping[str, ConfigKey]
    check: Callable[[Mapping[str, str]], None] | None  # None: a broker's, checked key by key


class ConfigController:
    """Alters dynamic settings.

    `broker_keys`: all that a broker knows, by name; `fixed_names`: what it knows besides, and only reads at its start;
    `kinds`: further types of resources; `check_broker(name, settings, image)` raises InvalidRequest for settings of a
    broker, or of all where the name is empty, that may not follow those it has; `check_topic(settings, image)` raises
    InvalidConfig for a topic's settings that contradict one another or a broker's.
    """

    def __init__(
        self,
        publisher: ImagePublisher,
        committer: Committer,
        topic_definition: ConfigDefinition[Any],
        broker_keys: Mapping[str, ConfigKey],
        kinds: Mapping[int, ResourceKind] = MappingProxyType({}),
        fixed_names: Set[str] = frozenset(),
        check_broker: BrokerCheck = lambda name, after, image: None,
        check_topic: TopicCheck = lambda after, image: None,
    ) -> None:
        self._publisher = publisher
        self._committer = committer
        self._topic_definition = topic_definition
        self._broker_keys = broker_keys
        self._kinds = kinds
        self._fixed_names = fixed_names
        self._check_broker = check_broker
        self._check_topic = check_topic

    async def incremental_alter_configs(
        self, resources: Sequence[ConfigAlteration], *, validate_only: bool = False
    ) -> list[ConfigOutcome]:
        """Change single keys. One outcome for each resource, in their order; named twice, it is not changed."""

        def change_of(resource: ConfigAlteration) -> Callable[[_Resource], Change]:
            _check_alterations(resource.alterations)
            return lambda found: lambda before: _altered(before, resource.alterations, found.keys)

        return await self._all(resources, change_of, validate_only)

    async def alter_configs(
        self, resources: Sequence[ConfigReplacement], *, validate_only: bool = False
    ) -> list[ConfigOutcome]:
        """Replace all settings. One outcome for each resource, in their order; named twice, it is not changed."""

        def change_of(resource: ConfigReplacement) -> Callable[[_Resource], Change]:
            values = _checked_values(resource.configs)
            return lambda _: lambda _: values

        return await self._all(resources, change_of, validate_only)

    async def _all(
        self,
        resources: Sequence[R],
        change_of: Callable[[R], Callable[[_Resource], Change]],
        validate_only: bool,
    ) -> list[ConfigOutcome]:
        mentions = Counter((resource.resource_type, resource.resource_name) for resource in resources)

        async def one(resource: R) -> tuple[ConfigOutcome, int]:
            which = (resource.resource_type, resource.resource_name)
            try:
                if mentions[which] > 1:
                    raise InvalidRequest("Each resource must appear at most once.")
                found = self._resource(*which)
                revision = await self._change(which, found, change_of(resource)(found), validate_only)
            except KafkaError as error:
                return ConfigOutcome(*which, error), 0
            return ConfigOutcome(*which), revision

        work: list[Awaitable[tuple[ConfigOutcome, int]]] = [one(resource) for resource in resources]
        done = await asyncio.gather(*work)
        await self._publisher.wait_for(max((revision for _, revision in done), default=0))
        return [outcome for outcome, _ in done]

    def _resource(self, resource_type: int, name: str) -> _Resource:
        if resource_type == ResourceType.TOPIC:
            if not name:
                raise InvalidRequest("Default topic resources are not allowed.")
            validate_topic_name(name)
            topic = self._publisher.image.topics.get(name)
            if topic is None:
                raise UnknownTopicOrPartition(f"The topic '{name}' does not exist.")
            exists = Exists(records.topic_key(topic.topic_id))
            keys = self._topic_definition.keys
            return _Resource(records.topic_config_key(topic.topic_id), (exists,), keys, self._check_topics_settings)
        if resource_type == ResourceType.BROKER:
            own_key = records.broker_config_key(str(node_id_of(name)) if name else name)
            return _Resource(own_key, (), self._broker_keys, None)
        kind = self._kinds.get(resource_type)
        if kind is not None:
            if not name:
                raise InvalidRequest(kind.nameless)
            return _Resource(kind.key_of(name), (), kind.definition.keys, kind.check)
        raise InvalidRequest(f"Unknown resource type {resource_type}")

    def _check_topics_settings(self, after: Mapping[str, str]) -> None:
        self._topic_definition.validate(after)
        self._check_topic(after, self._publisher.image)

    async def _change(self, which: tuple[int, str], resource: _Resource, change: Change, validate_only: bool) -> int:
        for _ in range(ATTEMPTS):
            item = await self._committer.get(resource.key)
            before = records.decode_mapping(resource.key, item.value, "values") if item is not None else {}
            after = change(before)
            self._validate(which[1], resource, before, after)
            if validate_only or after == before:
                return 0
            value = records.encode_mapping("values", after)
            revision = await self._committer.commit(
                [*resource.conditions, ModRevision(resource.key, item.mod_revision if item is not None else 0)],
                [Put(resource.key, value) if after else Delete(resource.key)],
                proof=_written(resource.key, value if after else None),
            )
            if revision is not None:
                changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
                logger.info("settings changed", type=which[0], name=which[1], keys=",".join(changed))
                return revision
            for condition in resource.conditions:
                if await self._committer.get(condition.key) is None:
                    raise UnknownTopicOrPartition()
        raise ConcurrentTransactions(f"{resource.key} was changed by others {ATTEMPTS} times meanwhile")

    def _validate(self, name: str, resource: _Resource, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        if resource.check is not None:
            resource.check(after)
            return
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        keys = resource.keys
        fixed = sorted(n for n in changed if n in self._fixed_names or (n in keys and not keys[n].dynamic))
        if fixed:
            raise InvalidRequest(f"Cannot update these configs dynamically: Set({', '.join(fixed)})")
        for key_name, value in after.items():
            if key_name not in resource.keys:
                continue  # as Kafka does, which keeps such a key for plug-ins that may know it
            try:
                resource.keys[key_name].parse(value)
            except InvalidConfig as error:
                raise InvalidRequest(str(error)) from error
        self._check_broker(name, after, self._publisher.image)


def node_id_of(name: str, *, noun: str = "Node") -> int:
    """The broker that a resource names. Raises InvalidRequest for what is no int of 32 bits, in Kafka's words."""
    found = _NODE_ID.fullmatch(name)  # int() takes so many digits and no more, zeros too
    number = int(found[1] + found[2]) if found else None
    if number is None or not -INT_MAX - 1 <= number <= INT_MAX:
        raise InvalidRequest(f"{noun} id must be an integer, but it is: {name}")
    return number


def _written(key: str, value: bytes | None) -> Compare:
    return Absent(key) if value is None else Value(key, value)


def _checked_values(configs: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    _check_names([name for name, _ in configs])
    _check_nulls([name for name, value in configs if value is None])
    return {name: value for name, value in configs if value is not None}


def _check_alterations(alterations: Sequence[Alteration]) -> None:
    _check_names([alteration.name for alteration in alterations])
    _check_nulls([a.name for a in alterations if a.value is None and a.operation != AlterOperation.DELETE])
    for alteration in alterations:
        if alteration.operation not in {operation.value for operation in AlterOperation}:
            raise InvalidRequest(f"Unknown alter config operation {alteration.operation}")


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidRequest("Error due to duplicate config keys")


def _check_nulls(names: Sequence[str]) -> None:
    if names:
        raise InvalidRequest(f"Null value not supported for : {', '.join(names)}")


def _altered(
    before: Mapping[str, str], alterations: Sequence[Alteration], keys: Mapping[str, ConfigKey]
) -> dict[str, str]:
    """The settings after single keys were set, deleted, or had items appended and subtracted."""
    after = dict(before)
    for alteration in alterations:
        name, value = alteration.name, alteration.value
        operation = AlterOperation(alteration.operation)
        if operation is AlterOperation.DELETE:
            after.pop(name, None)
        elif operation is AlterOperation.SET:
            after[name] = value or ""
        else:
            after[name] = _with_items(operation, name, value or "", after, keys)
    return after


def _with_items(
    operation: AlterOperation, name: str, value: str, settings: Mapping[str, str], keys: Mapping[str, ConfigKey]
) -> str:
    """A list with items appended (where they are not in it yet) or subtracted. Unset, it starts from its default."""
    config_key = keys.get(name)
    if config_key is None or config_key.type is not ConfigType.LIST:
        raise InvalidConfig(f"Can't {operation.name} to key {name} because its type is not LIST.")
    items = _items(settings[name] if name in settings else config_key.text_of(config_key.default) or "")
    given = _items(value)
    if operation is AlterOperation.APPEND:
        return ",".join([*items, *(item for item in given if item not in items)])
    return ",".join(item for item in items if item not in given)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
