"""What a manifest says, checked from end to end before anything is asked of a cluster.

    topics:
      - {name: orders, partitions: 6, replication_factor: 1, configs: {retention.ms: 86400000}}
    configs:
      - {type: brokers, configs: {log.cleaner.threads: 2}}          # without a name the default of all brokers
    acls:
      - {principal: User:alice, operations: [read, describe], resource: topic, name: orders, pattern: prefixed}
    quotas:
      - {entity: {user: alice}, quotas: {producer_byte_rate: 1048576}}

YAML, of which JSON is a part. A setting that is null goes back to its default, a quota that is null is removed. What a
topic does not say (partitions, replication factor) is the broker's default. Several files make one manifest.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from pystream.client.admin.acls import AclBinding, AclOperation, AclPermission, PatternType, ResourceType
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.users import QuotaEntity
from pystream.client.operations.acls import ACTIONS, PATTERNS, PERMISSIONS, RESOURCES
from pystream.common.errors import InvalidRequest

SECTIONS: Final = ("topics", "configs", "acls", "quotas")
CONFIG_TYPES: Final = {
    "topics": ConfigResourceType.TOPIC,
    "brokers": ConfigResourceType.BROKER,
    "groups": ConfigResourceType.GROUP,
    "client-metrics": ConfigResourceType.CLIENT_METRICS,
}
QUOTA_PARTS: Final = ("user", "client-id", "ip")
CLUSTER_NAME: Final = "kafka-cluster"
INDEX: Final = re.compile(r"\[(\d+)\]")
LARGEST_COUNT: Final = 2**31 - 1
MOST_ENTRIES: Final = 100_000


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic that should be there; None is whatever it has, or the broker's default."""

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    configs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Manifest:
    """All files together; a section that none of them has is None, and nothing of its kind is looked at."""

    topics: dict[str, WantedTopic] | None = None
    configs: dict[ConfigResource, dict[str, str | None]] | None = None
    acls: list[AclBinding] | None = None
    quotas: dict[QuotaEntity, dict[str, float | None]] | None = None


def parse(texts: Sequence[str]) -> Manifest:
    """Raises InvalidRequest that names the place: `line 4: topics[2].partitions: expected a number …`."""
    manifest = Manifest()
    for number, text in enumerate(texts, 1):
        where = f"file {number}: " if len(texts) > 1 else ""
        try:
            found = yaml.load(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
            raise InvalidRequest(f"{where}{line}{error.problem or error.context}") from None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise InvalidRequest(f"{where}no YAML: {' '.join(str(error).split())}") from None
        try:
            _add(manifest, found)
        except Misplaced as error:
            raise InvalidRequest(f"{where}line {_line_of(text, error.path)}: {error}") from None
    if all(getattr(manifest, section) is None for section in SECTIONS):
        raise InvalidRequest(f"nothing is declared: expected some of {', '.join(SECTIONS)}")
    return manifest


class Misplaced(InvalidRequest):
    """What stands at `path` cannot be meant: topics[2].configs.retention.ms."""

    def __init__(self, path: str, said: str) -> None:
        super().__init__(f"{path}: {said}" if path else f"the file: {said}")
        self.path = path


def _line_of(text: str, path: str) -> int:
    """The line of what the path leads to, or of the last on the way that is there."""
    node = yaml.compose(text, Loader=_Loader)
    line, rest = 1, path
    while rest:
        if isinstance(node, yaml.SequenceNode) and (number := INDEX.match(rest)) is not None:
            node = node.value[int(number[1])]
            rest = rest[number.end() :].removeprefix(".")
        elif isinstance(node, yaml.MappingNode):
            keys = {str(key.value): (key, value) for key, value in node.value}
            name = max((key for key in keys if _leads(rest, key)), key=len, default=None)
            if name is None:
                break
            key, node = keys[name]
            line, rest = key.start_mark.line + 1, rest[len(name) :].removeprefix(".")
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line


def _leads(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


class _Loader(yaml.SafeLoader):
    """Plain values only; a key that comes twice, which YAML forbids and PyYAML overlooks, is refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", name.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} comes twice", name.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _add(manifest: Manifest, found: Any) -> None:
    place = Place("")
    if not isinstance(found, dict):
        raise place.wrong(f"an object with {', '.join(SECTIONS)}", found)
    sections = place.fields(found, SECTIONS)
    readers: dict[str, Callable[[Manifest, Place, dict[str, Any]], None]] = {
        "topics": _topic,
        "configs": _config,
        "acls": _acl,
        "quotas": _quota,
    }
    for section in SECTIONS:
        if section not in sections:
            continue
        entries = sections[section]
        at = Place(section)
        if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
            raise at.wrong("a list", entries)
        if getattr(manifest, section) is None:
            setattr(manifest, section, [] if section == "acls" else {})
        for number, entry in enumerate(entries):
            inner = at.item(number)
            if not isinstance(entry, dict):
                raise inner.wrong("an object", entry)
            readers[section](manifest, inner, entry)


def _topic(manifest: Manifest, place: Place, entry: dict[str, Any]) -> None:
    given = place.fields(entry, ("name", "partitions", "replication_factor", "configs"))
    name = place.text(given, "name")
    topics = manifest.topics
    assert topics is not None
    if name in topics:
        raise Misplaced(place.path, f"topic {name!r} is declared twice")
    topics[name] = WantedTopic(
        name,
        place.count(given, "partitions"),
        place.count(given, "replication_factor"),
        place.settings(given.get("configs"), "configs"),
    )


def _config(manifest: Manifest, place: Place, entry: dict[str, Any]) -> None:
    given = place.fields(entry, ("type", "name", "configs"))
    kind = place.choice(given, "type", tuple(CONFIG_TYPES))
    name = _scalar(given["name"]) if given.get("name") is not None else ""
    if not name and kind != "brokers":
        raise Misplaced(f"{place}.name", "is missing; only brokers have a default of all")
    resource = ConfigResource(CONFIG_TYPES[kind], name or "")
    configs = manifest.configs
    assert configs is not None
    if resource in configs:
        raise Misplaced(place.path, f"{kind} {name} is declared twice".replace("  ", " "))
    configs[resource] = place.settings(given.get("configs"), "configs")


def _acl(manifest: Manifest, place: Place, entry: dict[str, Any]) -> None:
    names = ("principal", "operation", "operations", "resource", "name", "pattern", "permission", "host")
    given = place.fields(entry, names)
    resource = place.choice(given, "resource", RESOURCES)
    operations = given.get("operations", given.get("operation"))
    listed = operations if isinstance(operations, list) else [operations]
    acls = manifest.acls
    assert acls is not None
    for number, _ in enumerate(listed):
        operation = place.item(number, ".operations").choice({"": listed[number]}, "", ACTIONS)
        binding = AclBinding(
            resource_type=ResourceType[_constant(resource)],
            resource_name=CLUSTER_NAME if resource == "cluster" else place.text(given, "name"),
            principal=place.text(given, "principal"),
            operation=AclOperation[_constant(operation)],
            permission=AclPermission[_constant(place.choice(given, "permission", PERMISSIONS, "allow"))],
            pattern_type=PatternType[_constant(place.choice(given, "pattern", PATTERNS, "literal"))],
            host=place.text(given, "host", "*"),
        )
        if binding in acls:
            raise Misplaced(place.path, "is declared twice")
        acls.append(binding)


def _quota(manifest: Manifest, place: Place, entry: dict[str, Any]) -> None:
    given = place.fields(entry, ("entity", "quotas"))
    parts = given.get("entity")
    if not isinstance(parts, dict) or not parts:
        raise place.named("entity").wrong("an object as {user: alice}", parts)
    place.named("entity").fields(parts, QUOTA_PARTS)
    entity = QuotaEntity.of({kind: None if name is None else str(name) for kind, name in parts.items()})
    values = given.get("quotas")
    if not isinstance(values, dict) or not values:
        raise place.named("quotas").wrong("an object as {producer_byte_rate: 1048576}", values)
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise place.named(f"quotas.{name}").wrong("a number", value)
    quotas = manifest.quotas
    assert quotas is not None
    if entity in quotas:
        raise Misplaced(place.path, "the entity is declared twice")
    quotas[entity] = {str(name): None if value is None else float(value) for name, value in values.items()}


# --- places and values ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the manifest something stands: topics[2].configs."""

    path: str

    def __str__(self) -> str:
        return self.path

    def item(self, number: int, of: str = "") -> Place:
        return Place(f"{self.path}{of}[{number}]")

    def named(self, name: str) -> Place:
        return Place(f"{self.path}.{name}" if name and self.path else name or self.path)

    def wrong(self, expected: str, found: Any) -> InvalidRequest:
        shown = "nothing" if found is None else repr(found)
        return Misplaced(self.path, f"expected {expected}, found {shown[:60]}")

    def fields(self, found: dict[Any, Any], known: Sequence[str]) -> dict[str, Any]:
        """Raises InvalidRequest for a name that nobody knows."""
        for name in found:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known)}"
                at = f"{self.path}.{name}" if self.path else str(name)
                raise Misplaced(at, f"there is no such key; {hint}")
        return found

    def text(self, found: Mapping[str, Any], name: str, default: str | None = None) -> str:
        value = found.get(name, default)
        text = None if isinstance(value, dict | list) else _scalar(value)
        if not text:
            raise self.named(name).wrong("a text", value)
        return text

    def choice(self, found: Mapping[str, Any], name: str, choices: Sequence[str], default: str | None = None) -> str:
        value = found.get(name, default)
        text = str(value).lower().replace("_", "-")
        if value is None or text not in choices:
            raise self.named(name).wrong(f"one of {', '.join(choices)}", value)
        return text

    def count(self, found: Mapping[str, Any], name: str) -> int | None:
        value = found.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_COUNT:
            raise self.named(name).wrong("a whole number above 0", value)
        return value

    def settings(self, found: Any, name: str) -> dict[str, str | None]:
        """Kafka's settings are texts: true -> "true", [a, b] -> "a,b"."""
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self.named(name).wrong("an object of settings", found)
        settings: dict[str, str | None] = {}
        for key, value in found.items():
            if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value)):
                raise self.named(f"{name}.{key}").wrong("a value", value)
            settings[str(key)] = _scalar(value)
        return settings


def _scalar(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_scalar(each) or "" for each in value)
    return str(value)


def _constant(text: str) -> str:
    return text.upper().replace("-", "_")
