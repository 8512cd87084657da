"""`kafka-share-groups`, as Kafka's ShareGroupCommand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.groups.common import (
    ACTIONS,
    check_describe,
    check_positions,
    group_options,
    is_chosen,
    line,
    print_deletion,
    print_groups,
    require_one_action,
    require_position,
    width_of,
)
from pystream.cli.kafka.groups.resetting import dated, partitions_of, print_new_offsets
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.groups import GroupDescription
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.common.errors import GroupIdNotFound, NonEmptyGroup, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

STATES: Final = ("Empty", "Dead", "Stable")
ONE_ACTION: Final = (
    "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets."
)
POSITIONS: Final = ("to-datetime", "to-earliest", "to-latest")
TOOL: Final = Tool(
    "kafka-share-groups",
    "This tool helps to list, describe, reset and delete share groups.",
    (
        *group_options("share group", "With --describe: epochs, too."),
        value("topic", "A topic, or topic:0,1,2 to reset only these partitions.", "topic"),
        flag("all-topics", "All topics of the group."),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    words = "\nError: Executing share group command failed due to "
    serve(TOOL, arguments, work, failed=words, to_output=True)


def work(given: Given) -> None:
    check(given)
    timeout_ms = given.value("timeout")
    timeouts = {"default_api_timeout_ms": timeout_ms, "request_timeout_ms": timeout_ms}
    with admin_of(given, **timeouts) as admin:
        if given.has("list"):
            print_groups(given, STATES, lambda states: admin.list_share_groups(states=states))
        elif given.has("describe"):
            _describe(admin, given)
        elif given.has("delete"):
            _delete(admin, given)
        elif given.has("reset-offsets"):
            _reset(admin, given)
        else:
            _delete_offsets(admin, given)


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if not any(map(given.has, ACTIONS)):
        raise WrongUsage(ONE_ACTION)
    given.require("bootstrap-server")
    check_describe(given)
    if given.has("delete"):
        if not is_chosen(given):
            raise WrongUsage("Option [delete] takes the options [group] or [all-groups]")
        if given.has("topic"):
            raise WrongUsage("Option [delete] does not take the option: [topic]")
    if given.has("delete-offsets") and not (given.has("group") and given.has("topic")):
        raise WrongUsage("Option [delete-offsets] takes the following options: [group], [topic]")
    if given.has("reset-offsets"):
        check_positions(given, ())
        if not given.has("group"):
            raise WrongUsage("Option [reset-offsets] takes the option: [group]")
        check_positions(given, POSITIONS)
        if not given.has("topic") and not given.has("all-topics"):
            raise WrongUsage("Option [reset-offsets] takes one of these options: [all-topics], [topic]")
        require_position(given, POSITIONS)
    given.exclude("group", "all-groups", "list")
    given.exclude("topic", "list", "describe")
    require_one_action(given, ONE_ACTION)
    if given.has("verbose") and not given.has("describe"):
        raise WrongUsage("Option(s) [verbose] are unavailable given other options on the command line")


# --- list and describe ------------------------------------------------------------------------------------------------


def _groups(admin: AdminClient, given: Given) -> list[str]:
    if given.has("all-groups"):
        return [group.group_id for group in admin.list_share_groups()]
    return sorted(set(given.values("group")))


def _describe(admin: AdminClient, given: Given) -> None:
    names = _groups(admin, given)
    described = admin.describe_share_groups(names).checked()
    for name in names:
        group = described[name]
        if given.has("members"):
            _print_members(group, verbose=given.has("verbose"))
        elif given.has("state"):
            _print_state(admin, group, verbose=given.has("verbose"))
        else:
            _print_offsets(admin, name, verbose=given.has("verbose"))


def _printed(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """Each row behind a line feed, then a line feed."""
    print("".join(f"\n{line(row, widths)}" for row in rows))


def _empty_note(group: GroupDescription, rows: int) -> bool:
    """Say that nobody or nothing is there; whether there is something to print."""
    if group.state == "Dead":
        print(f"\nError: Share group '{group.group_id}' does not exist.")
    elif group.state == "Empty":
        print(f"\nShare group '{group.group_id}' has no active members.", file=sys.stderr)
    return group.state != "Dead" and rows > 0


def _print_members(group: GroupDescription, *, verbose: bool) -> None:
    if not _empty_note(group, len(group.members)):
        return
    rows = [
        [
            group.group_id,
            each.member_id,
            each.host,
            each.client_id,
            str(len(each.assignment)),
            *([str(each.member_epoch)] if verbose else []),
            _assigned(each.assignment),
        ]
        for each in sorted(group.members, key=lambda member: member.member_id)
    ]
    epoch = ["MEMBER-EPOCH"] if verbose else []
    heads = ["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", *epoch, "ASSIGNMENT"]
    widths = [width_of(column) for column in zip(*(row[:4] for row in rows), strict=True)]
    _printed([heads, *rows], [*widths, 12, *([13] if verbose else [])])


def _assigned(partitions: Iterable[TopicPartition]) -> str:
    topics: dict[str, list[int]] = {}
    for place in sorted(partitions):
        topics.setdefault(place.topic, []).append(place.partition)
    return ";".join(f"{topic}:{','.join(map(str, numbers))}" for topic, numbers in topics.items())


def _print_state(admin: AdminClient, group: GroupDescription, *, verbose: bool) -> None:
    _empty_note(group, 1)
    node = next(node for node in admin.describe_cluster().nodes if node.node_id == group.coordinator_id)
    coordinator = f"{node.host}:{node.port}  ({node.node_id})"
    epochs = [str(group.group_epoch), str(group.assignment_epoch)] if verbose else []
    heads = ["GROUP-EPOCH", "ASSIGNMENT-EPOCH"] if verbose else []
    _printed(
        [
            ["GROUP", "COORDINATOR (ID)", "STATE", *heads, "#MEMBERS"],
            [group.group_id, coordinator, group.state, *epochs, str(len(group.members))],
        ],
        [width_of([group.group_id]), max(25, len(coordinator)), 15, *([12, 17] if verbose else [])],
    )


def _print_offsets(admin: AdminClient, name: str, *, verbose: bool) -> None:
    offsets = admin.list_share_group_offsets([name]).result(name)
    if not offsets:
        print(f"\nShare group '{name}' has no offset information.")
        return
    rows = [
        [
            name,
            place.topic,
            str(place.partition),
            *([str(found.leader_epoch)] if verbose else []),
            str(found.start_offset),
            "-" if found.lag is None else str(found.lag),
        ]
        for place, found in sorted(offsets.items())
    ]
    epoch = ["LEADER-EPOCH"] if verbose else []
    heads = ["GROUP", "TOPIC", "PARTITION", *epoch, "START-OFFSET", "LAG"]
    widths = [width_of([name]), width_of(row[1] for row in rows), 10, *([13] if verbose else []), 13]
    _printed([heads, *rows], widths)


# --- change -----------------------------------------------------------------------------------------------------------


def _delete(admin: AdminClient, given: Given) -> None:
    there = {group.group_id: group.state for group in admin.list_share_groups()}
    names = list(there) if given.has("all-groups") else list(dict.fromkeys(given.values("group")))
    failed: dict[str, PystreamError] = {}
    for name in names:
        if name not in there:
            failed[name] = Mistake(f"Group '{name}' is not a share group.")
        elif there[name] != "Empty":
            failed[name] = NonEmptyGroup(f"Share group '{name}' is not EMPTY.")
    results = admin.delete_share_groups([name for name in names if name not in failed])
    failed |= results.failed
    print_deletion("share group", list(results.succeeded), failed)


def _delete_offsets(admin: AdminClient, given: Given) -> None:
    name, topics = given.value("group"), sorted(set(given.values("topic")))
    results = admin.delete_share_group_offsets(name, topics)
    for error in list(results.failed.values())[:1]:
        if isinstance(error, GroupIdNotFound | NonEmptyGroup):
            print(f"\nError: {message(error)}")
    width = width_of(topics)
    rows = [("TOPIC", "STATUS")]
    for topic in topics:
        outcome = results[topic]
        rows.append((topic, f"Error: {message(outcome)}" if isinstance(outcome, PystreamError) else "Successful"))
    print("".join(f"\n{topic:<{width}} {status}" for topic, status in rows))
    if results.failed:
        raise SystemExit(1)


def _reset(admin: AdminClient, given: Given) -> None:
    name = given.value("group")
    described = admin.describe_share_groups([name])[name]
    if isinstance(described, GroupDescription) and described.state not in ("Empty", "Dead"):
        raise Mistake(f"Share group '{name}' is not empty.")
    if isinstance(described, PystreamError) and not isinstance(described, GroupIdNotFound):
        raise described
    if given.has("topic"):
        places = partitions_of(admin, given.values("topic"))
    else:
        places = sorted(admin.list_share_group_offsets([name]).result(name))
    offsets = dated(admin, places, _timestamp(given))
    if given.has("execute"):
        admin.alter_share_group_offsets(name, offsets).checked()
    print_new_offsets({name: offsets})


def _timestamp(given: Given) -> int | str:
    if given.has("to-earliest"):
        return EARLIEST
    return LATEST if given.has("to-latest") else str(given.value("to-datetime"))


if __name__ == "__main__":
    main()
