"""`kafka-groups`, as Kafka's GroupsCommand: the groups of all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pystream.cli.kafka.options import Given, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.groups import GroupListing, GroupType

WIDTH: Final = 20
TYPES: Final = {each.value.lower(): each for each in GroupType if each is not GroupType.UNKNOWN}
TOOL: Final = Tool(
    "kafka-groups",
    "This tool helps to list groups of all types.",
    (
        value("bootstrap-server", "REQUIRED: The Kafka server to connect to.", "server to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("list", "List the groups."),
        value("group-type", "Only groups of this type: classic, consumer, share or streams.", "type"),
        value("protocol", "Only groups of this protocol type.", "protocol"),
        flag("consumer", "Only groups of consumers, classic and simple ones too."),
        flag("share", "Only share groups."),
        flag("streams", "Only streams groups."),
    ),
    unasked="Missing required option(s) [bootstrap-server]",
)
FILTERS: Final = ("consumer", "share", "streams")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="Error while executing groups command : ", to_output=True, classes=False)


def work(given: Given) -> None:
    if not given.has("bootstrap-server"):
        raise WrongUsage("Missing required option(s) [bootstrap-server]")
    if not given.has("list"):
        raise WrongUsage("Command must include exactly one action: --list.")
    if given.has("group-type") and given.value("group-type").lower() not in TYPES:
        raise WrongUsage("--group-type must be a valid group type.")
    for name in FILTERS:
        given.exclude(
            name, *(each for each in ("consumer", "group-type", "protocol", "share", "streams") if each != name)
        )
    with admin_of(given) as admin:
        rows = [
            (each.group_id, each.type.value, each.protocol_type) for each in admin.list_groups() if _meant(given, each)
        ]
    width = max([WIDTH, *(len(cell) for row in rows for cell in row)])
    print(" ".join(f"{head:<{width}}" for head in ("GROUP", "TYPE", "PROTOCOL")))
    for row in rows:
        print("".join(f"{cell:<{width}} " for cell in row))


def _meant(given: Given, group: GroupListing) -> bool:
    kind, protocol = given.value("group-type"), given.value("protocol")
    if kind is not None:
        return group.type is TYPES[kind.lower()] and protocol in (None, group.protocol_type)
    if protocol is not None:
        return bool(group.protocol_type == protocol)
    if given.has("consumer"):
        return group.protocol_type in ("consumer", "") or group.type is GroupType.CONSUMER
    if given.has("share"):
        return group.type is GroupType.SHARE
    return not given.has("streams") or group.type is GroupType.STREAMS


if __name__ == "__main__":
    main()
