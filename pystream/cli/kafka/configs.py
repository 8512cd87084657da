"""`kafka-configs`, as Kafka's ConfigCommand."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pystream.cli.kafka.tool import Cluster, Parser, actions, parser, run
from pystream.cli.settings import from_file
from pystream.common.errors import InvalidRequest

RESOURCES: Final = ("topics", "brokers", "broker-loggers", "client-metrics", "groups")
QUOTA_PARTS: Final = {"users": "user", "clients": "client-id", "ips": "ip"}
QUOTA_NAMES: Final = {"users": "user-principal", "clients": "client-id", "ips": "ip"}
# --topic NAME is --entity-type topics --entity-name NAME, and --user-defaults the default of users
SHORT: Final = {
    "topic": "topics",
    "broker": "brokers",
    "broker_logger": "broker-loggers",
    "group": "groups",
    "client_metrics": "client-metrics",
    "user": "users",
    "client": "clients",
    "ip": "ips",
}
PAIR: Final = re.compile(r"\s*([^=,\s]+)\s*=\s*(\[[^\]]*\]|[^,]*)\s*(?:,|$)")

Entity = tuple[str, str | None]  # (type, name); None for the default


def options() -> Parser:
    made = parser("kafka-configs", "Describe and change settings of topics, brokers, users, clients and others.")
    actions(made, describe="List settings of the entity.", alter="Change settings of the entity.")
    made.add_argument("--entity-type", action="append", default=[], choices=[*RESOURCES, *QUOTA_PARTS])
    made.add_argument("--entity-name", action="append", default=[], help="Its name.")
    made.add_argument("--entity-default", action="store_true", help="The default of its type.")
    for name in SHORT:
        made.add_argument(
            f"--{name.replace('_', '-')}", metavar="NAME", help=f"The same as --entity-type {SHORT[name]}."
        )
        if SHORT[name] in (*QUOTA_PARTS, "brokers"):
            made.add_argument(f"--{name}-defaults", action="store_true", help=f"The default of {SHORT[name]}.")
    made.add_argument("--all", action="store_true", help="Settings that are the default, too.")
    made.add_argument("--add-config", metavar="K1=V1,K2=[V2,V3]", help="Settings to set.")
    made.add_argument("--add-config-file", type=Path, metavar="FILE", help="Properties with settings to set.")
    made.add_argument("--delete-config", metavar="K1,K2", help="Settings to take back.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    run(options(), arguments, work, "Error while executing config command: ")


def work(given: argparse.Namespace) -> None:
    cluster = Cluster(given)
    meant = entities(given)
    quotas = [kind in QUOTA_PARTS for kind, _ in meant]
    if given.action == "alter":
        _alter(cluster, given, meant)
    elif all(quotas):
        _describe_quotas(cluster, meant)
    elif any(quotas) or len(meant) > 1:
        raise InvalidRequest("only users, clients and ips can be named together")
    else:
        _describe(cluster, given, *meant[0])


def entities(given: argparse.Namespace) -> list[Entity]:
    """What the flags mean. Raises InvalidRequest for nothing, and for names without types."""
    names: list[str | None] = [*given.entity_name, *([None] if given.entity_default else [])]
    if len(names) > len(given.entity_type):
        raise InvalidRequest("an --entity-name needs an --entity-type")
    if len(given.entity_type) > 1 and len(names) < len(given.entity_type):
        raise InvalidRequest("each of several --entity-type needs its --entity-name")
    names += [""] * (len(given.entity_type) - len(names))  # all of a type
    found: list[Entity] = list(zip(given.entity_type, names, strict=True))
    for name, kind in SHORT.items():
        if getattr(given, name) is not None:
            found.append((kind, getattr(given, name)))
        if getattr(given, f"{name}_defaults", False):
            found.append((kind, None))
    if not found:
        raise InvalidRequest("At least one entity type must be specified")
    return found


def parse_pairs(text: str) -> dict[str, str]:
    """ "k1=v1,k2=[v2,v3]" -> {"k1": "v1", "k2": "v2,v3"}."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        pair = PAIR.match(text, position)
        if pair is None:
            raise InvalidRequest('Invalid entity config: all configs to be added must be in the format "key=val".')
        found[pair[1]] = pair[2].strip().removeprefix("[").removesuffix("]")
        position = pair.end()
    return found


def _alter(cluster: Cluster, given: argparse.Namespace, meant: list[Entity]) -> None:
    add = from_file(given.add_config_file) if given.add_config_file else {}
    add |= parse_pairs(given.add_config or "")
    delete = [name.strip() for name in (given.delete_config or "").split(",") if name.strip()]
    if not add and not delete:
        raise InvalidRequest("At least one of --add-config, --add-config-file, or --delete-config must be specified")
    if any(name == "" for _, name in meant):
        raise InvalidRequest("an entity name must be specified with --alter")
    kind, name = meant[0]
    if kind in QUOTA_PARTS:
        if any(other not in QUOTA_PARTS for other, _ in meant):
            raise InvalidRequest("only users, clients and ips can be named together")
        entity = {QUOTA_PARTS[other]: each or "" for other, each in meant}
        cluster.rows("quotas", "alter", entity=entity, set=add, unset=delete)
    elif len(meant) > 1:
        raise InvalidRequest("only users, clients and ips can be named together")
    else:
        names = [] if name is None else [name]
        cluster.rows("configs", "alter", type=kind, names=names, set=add, unset=delete)
    if name is None:
        print(f"Completed updating default config for {kind} in the cluster.")
    else:
        print(f"Completed updating config for {kind.removesuffix('s')} {name}.")


def _describe(cluster: Cluster, given: argparse.Namespace, kind: str, name: str | None) -> None:
    for each in [name] if name != "" else _all_names(cluster, kind):
        if each is None:
            print(f"Default configs for {kind} in the cluster are:")
        else:
            print(f"{'All' if given.all else 'Dynamic'} configs for {kind.removesuffix('s')} {each} are:")
        names = [] if each is None else [each]
        for row in cluster.rows("configs", "describe", type=kind, names=names, all=True):
            if given.all or _own(kind, each, row):
                value = "null" if row.value is None else row.value
                sensitive = "true" if row.sensitive else "false"
                print(f"  {row.name}={value} sensitive={sensitive} synonyms={{{', '.join(row.synonyms)}}}")


def _own(kind: str, name: str | None, row: Any) -> bool:
    """Whether the setting was made for the entity itself."""
    sources = {
        "topics": "DYNAMIC_TOPIC_CONFIG",
        "brokers": "DYNAMIC_BROKER_CONFIG" if name else "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "broker-loggers": "DYNAMIC_BROKER_LOGGER_CONFIG",
        "client-metrics": "DYNAMIC_CLIENT_METRICS_CONFIG",
        "groups": "DYNAMIC_GROUP_CONFIG",
    }
    return bool(row.source == sources[kind])


def _all_names(cluster: Cluster, kind: str) -> list[str | None]:
    if kind == "topics":
        return [row.name for row in cluster.rows("topics", "list", internal=True)]
    if kind in ("brokers", "broker-loggers"):
        brokers: list[str | None] = [str(row.broker) for row in cluster.rows("cluster", "brokers")]
        return [*brokers, None] if kind == "brokers" else brokers
    if kind == "groups":
        return [row.group for row in cluster.rows("groups", "list")]
    raise InvalidRequest(f"name the {kind} meant")


def _describe_quotas(cluster: Cluster, meant: list[Entity]) -> None:
    entity = {QUOTA_PARTS[kind]: name or "" for kind, name in meant if name != ""}
    every = [QUOTA_PARTS[kind] for kind, name in meant if name == ""]
    order = {part: kind for kind, part in QUOTA_PARTS.items()}
    for row in cluster.rows("quotas", "describe", entity=entity, any=every, strict=True):
        who = ", ".join(
            f"the default {QUOTA_NAMES[kind]}"
            if row.parts[part] is None
            else f"{QUOTA_NAMES[kind]} '{row.parts[part]}'"
            for part, kind in order.items()
            if part in row.parts
        )
        values = ", ".join(f"{key}={value}" for key, value in row.quotas.items())
        print(f"Quota configs for {who} are {values}")


if __name__ == "__main__":
    main()
