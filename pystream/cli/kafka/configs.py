"""`kafka-configs`, as Kafka's ConfigCommand: settings of topics, brokers, groups; of users and clients see `users`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.failure import sentence
from pystream.cli.kafka import users
from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import admin_client, bootstrap, serve
from pystream.client.admin.configs import (
    AlterConfig,
    AlterOperation,
    ConfigEntry,
    ConfigResource,
    ConfigResourceType,
)
from pystream.common.config import ConfigSource
from pystream.common.errors import InvalidTopic, PystreamError
from pystream.common.model import validate_topic_name

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

TYPES: Final = (
    *("topics", "clients", "users", "brokers", "ips", "client-metrics", "groups"),
    "broker-loggers",
)
# --topic NAME is --entity-type topics --entity-name NAME, and --user-defaults the default of users
FLAGS: Final = {
    "topic": "topics",
    "client": "clients",
    "user": "users",
    "broker": "brokers",
    "broker-logger": "broker-loggers",
    "ip": "ips",
    "client-metrics": "client-metrics",
    "group": "groups",
}
DEFAULT_FLAGS: Final = {
    "client-defaults": "clients",
    "user-defaults": "users",
    "broker-defaults": "brokers",
    "ip-defaults": "ips",
}
QUOTA_TYPES: Final = ("users", "clients", "ips")
RESOURCES: Final = {
    "topics": (ConfigResourceType.TOPIC, ConfigSource.DYNAMIC_TOPIC_CONFIG),
    "brokers": (ConfigResourceType.BROKER, ConfigSource.DYNAMIC_BROKER_CONFIG),
    "broker-loggers": (ConfigResourceType.BROKER_LOGGER, None),
    "client-metrics": (ConfigResourceType.CLIENT_METRICS, ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG),
    "groups": (ConfigResourceType.GROUP, ConfigSource.DYNAMIC_GROUP_CONFIG),
}
PAIRS: Final = re.compile(r",(?=[^\]]*(?:\[|$))")
EQUALS: Final = re.compile(r"\s*=\s*(?=[^\]]*(?:\[|$))")
KEY: Final = re.compile(r"[a-zA-Z0-9._-]*")
SECRET: Final = re.compile(r"(?<=password=)[^\],]*")
WRITTEN_WRONGLY: Final = (
    'requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  '
    '"key=[val1,val2]" to group values which contain commas.'
)
TOOL: Final = Tool(
    "kafka-configs",
    "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or "
    "group",
    (
        value("bootstrap-server", "The Kafka servers to connect to.", "server to connect to"),
        value("bootstrap-controller", "The Kafka controllers to connect to.", "controller to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("describe", "List configs for the given entity."),
        flag("alter", "Alter the configuration for the entity."),
        flag("all", "List all configs for the given entity, including static configs if available."),
        value("entity-type", f"Type of entity ({'/'.join(TYPES)})"),
        value("entity-name", "Name of the entity."),
        flag("entity-default", "Default of clients, users, brokers or ips."),
        value("add-config", "Settings: k1=v1,k2=[v1,v2],k3=v3.", "k1=v1,k2=[v1,v2]"),
        value("add-config-file", "Properties file with settings.", "file"),
        value("delete-config", "Settings to take back: k1,k2.", "k1,k2", separator=","),
        *(value(name, f"The same as --entity-type {kind} --entity-name.") for name, kind in FLAGS.items()),
        *(flag(name, f"The same as --entity-type {kind} --entity-default.") for name, kind in DEFAULT_FLAGS.items()),
    ),
)

Entity = tuple[str, str | None]  # (type, name); "" for the default, None for all of the type


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    serve(TOOL, words, lambda given: work(given, words))


def work(given: Given, words: Sequence[str]) -> None:
    entities = check(given)
    try:
        _work(given, entities)
    except Mistake:
        raise
    except BrokenPipeError:
        raise
    except (PystreamError, OSError) as error:
        typed = SECRET.sub("...", " ".join(words))
        said = java_text(error) if isinstance(error, PystreamError) else sentence(error)
        raise Mistake(f"Error while executing config command with args '{typed}'\n{said}") from None


def _work(given: Given, entities: Sequence[Entity]) -> None:
    add, delete = settings_of(given), [name.strip() for name in given.values("delete-config")]
    name = "bootstrap-controller" if given.has("bootstrap-controller") else "bootstrap-server"
    with admin_client(bootstrap(given, name), load(given.value("command-config"))) as admin:
        kind, entity = entities[0]
        if given.has("describe"):
            if kind in QUOTA_TYPES:
                users.describe(admin, dict(entities))
            else:
                _describe(admin, kind, entity, every=given.has("all"))
            return
        named = [(each, whose) for each, whose in entities if whose is not None]
        if len(named) != len(entities):
            raise Mistake("An entity name must be specified for every entity type")
        if kind in QUOTA_TYPES:
            users.alter(admin, dict(named), add, delete)
        else:
            _alter(admin, kind, entity or "", add, delete)
        if entity:
            print(f"Completed updating config for {kind[:-1]} {entity}.")
        else:
            print(f"Completed updating default config for {kind} in the cluster.")


# --- what is meant ----------------------------------------------------------------------------------------------------


def entities_of(given: Given) -> list[Entity]:
    """What the flags mean, in order; types without a name have None."""
    types = [*given.values("entity-type"), *(kind for name, kind in FLAGS.items() if given.has(name))]
    types += [kind for name, kind in DEFAULT_FLAGS.items() if given.has(name)]
    texts = iter(given.values("entity-name"))
    names: list[str | None] = [
        next(texts) if name == "entity-name" else ""
        for name in given.order
        if name in ("entity-name", "entity-default")
    ]
    names += [given.value(name) for name in FLAGS if given.has(name)]
    names += ["" for name in DEFAULT_FLAGS if given.has(name)]
    if types and len(names) > len(types):
        raise Mistake("An entity name must be specified for every entity type")
    names += [None] * (len(types) - len(names))
    return list(zip(types, names, strict=False))


def check(given: Given) -> list[Entity]:
    """The entities. Raises WrongUsage and Mistake for options that do not go together."""
    if given.has("describe") == given.has("alter"):
        raise WrongUsage("Command must include exactly one action: --describe, --alter")
    for name in ("add-config", "delete-config"):
        given_with = f"[{name}]"
        if given.has("describe") and given.has(name):
            raise WrongUsage(f'Option "[describe]" can\'t be used with option "{given_with}"')
    entities = entities_of(given)
    types = [kind for kind, _ in entities]
    twice = [kind for place, kind in enumerate(types) if kind in types[:place]]
    if twice:
        raise Mistake(f"Duplicate entity type(s) specified: {','.join(twice)}")
    if not given.has("bootstrap-server") and not given.has("bootstrap-controller"):
        raise Mistake("Either --bootstrap-server or --bootstrap-controller must be specified.")
    if given.has("bootstrap-server") and given.has("bootstrap-controller"):
        raise Mistake("Only one of --bootstrap-server or --bootstrap-controller can be specified.")
    for kind in types:
        if kind not in TYPES:
            raise Mistake(
                f"Invalid entity type {kind}, the entity type must be one of {', '.join(TYPES)} with a "
                "--bootstrap-server or --bootstrap-controller argument"
            )
    if not types:
        raise Mistake("At least one entity type must be specified")
    if len(types) > 1 and set(types) != {"users", "clients"}:
        raise Mistake("Only 'users' and 'clients' entity types may be specified together")
    general = any(map(given.has, ("entity-type", "entity-name", "entity-default")))
    if general and any(map(given.has, (*FLAGS, *DEFAULT_FLAGS))):
        raise Mistake("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
    _check_names(given, entities)
    return entities


def _check_names(given: Given, entities: Sequence[Entity]) -> None:
    for kind, name in entities:
        if name and kind in ("brokers", "broker-loggers") and not re.fullmatch(r"[+-]?\d+", name):
            raise Mistake(f"The entity name for {kind} must be a valid integer broker id, but it is: {name}")
        if name and kind == "ips":
            users.check_address(name)
    kind, name = entities[0]
    if given.has("describe"):
        if name == "" and kind in ("topics", "groups", "client-metrics", "broker-loggers"):
            raise Mistake(f"--entity-default must not be specified with --describe of {kind}")
        return
    if kind in QUOTA_TYPES or kind == "brokers":
        if any(whose is None for _, whose in entities):
            raise Mistake(
                f"An entity name or default entity must be specified with --alter of {','.join(k for k, _ in entities)}"
            )
    elif not name:
        raise Mistake(f"An entity name must be specified with --alter of {kind}")
    if not any(map(given.has, ("add-config", "add-config-file", "delete-config"))):
        raise Mistake(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
        )
    if given.has("add-config") and given.has("add-config-file"):
        raise Mistake("Only one of --add-config or --add-config-file must be specified")


def settings_of(given: Given) -> dict[str, str]:
    """What is to be set. Raises Mistake, OSError."""
    path = given.value("add-config-file")
    found = {name: str(text) for name, text in load(path).items()} if path else {}
    found |= parse_pairs(given.value("add-config") or "")
    for name in found:
        if not KEY.fullmatch(name):
            raise Mistake(f"Invalid character found for config key: {name}")
    return found


def parse_pairs(text: str) -> dict[str, str]:
    """ "k1=v1,k2=[v2,v3]" -> {"k1": "v1", "k2": "v2,v3"}. Raises Mistake."""
    found: dict[str, str] = {}
    for pair in PAIRS.split(text) if text else ():
        parts = EQUALS.split(pair)
        if len(parts) != 2:
            raise Mistake(WRITTEN_WRONGLY)
        found[parts[0].strip()] = parts[1].replace("[", "").replace("]", "").strip()
    return found


# --- resources --------------------------------------------------------------------------------------------------------


def _described(admin: AdminClient, kind: str, name: str, *, every: bool) -> list[ConfigEntry]:
    """The settings of one resource by name; without `every` those that were made for it."""
    resource_type, source = RESOURCES[kind]
    if kind == "topics" and name:
        _check_topic(name)
    if kind == "brokers" and not name:
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
    resource = ConfigResource(resource_type, name)
    entries = admin.describe_configs([resource], include_synonyms=True).result(resource)
    return [entry for _, entry in sorted(entries.items()) if every or source is None or entry.source is source]


def _check_topic(name: str) -> None:
    try:
        validate_topic_name(name)
    except InvalidTopic as error:
        raise Mistake(str(error)) from None


def _describe(admin: AdminClient, kind: str, name: str | None, *, every: bool) -> None:
    if kind == "topics" and name:
        _check_topic(name)
    if name and not every and not _is_there(admin, kind, name):
        print(f"The {kind[:-1]} '{name}' doesn't exist and doesn't have dynamic config.")
        return
    for each in [name] if name is not None else _all(admin, kind):
        if each == "":
            print(f"Default configs for {kind} in the cluster are:")
        else:
            print(f"{'All' if every else 'Dynamic'} configs for {kind[:-1]} {each} are:")
        for entry in _described(admin, kind, each, every=every):
            synonyms = ", ".join(f"{one.source.name}:{one.name}={_text(one.value)}" for one in entry.synonyms)
            sensitive = "true" if entry.is_sensitive else "false"
            print(f"  {entry.name}={_text(entry.value)} sensitive={sensitive} synonyms={{{synonyms}}}")


def _text(text: str | None) -> str:
    return "null" if text is None else text


def _is_there(admin: AdminClient, kind: str, name: str) -> bool:
    """A group that nobody joined may have settings."""
    return name in _all(admin, kind) or (kind == "groups" and bool(_described(admin, kind, name, every=False)))


def _all(admin: AdminClient, kind: str) -> list[str]:
    if kind == "topics":
        return list(admin.list_topics(include_internal=True))
    if kind in ("brokers", "broker-loggers"):
        numbers = [str(node.node_id) for node in admin.describe_cluster().nodes]
        return [*numbers, ""] if kind == "brokers" else numbers
    if kind == "groups":
        return [group.group_id for group in admin.list_groups()]
    return admin.list_client_metrics_resources()


def _alter(admin: AdminClient, kind: str, name: str, add: Mapping[str, str], delete: Sequence[str]) -> None:
    there = {entry.name for entry in _described(admin, kind, name, every=False)}
    if kind == "broker-loggers":
        unknown = [logger for logger in (*delete, *add) if logger not in there]
        if unknown:
            raise Mistake(f"Invalid broker logger(s): {','.join(unknown)}")
    missing = [setting for setting in delete if setting not in there]
    if missing:
        raise Mistake(f"Invalid config(s): {','.join(missing)}")
    changes = [AlterConfig(setting, text) for setting, text in add.items()]
    changes += [AlterConfig(setting, "", AlterOperation.DELETE) for setting in delete]
    admin.incremental_alter_configs({ConfigResource(RESOURCES[kind][0], name): changes}).checked()


if __name__ == "__main__":
    main()
