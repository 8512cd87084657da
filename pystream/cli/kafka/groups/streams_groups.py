"""`kafka-streams-groups`, as Kafka's StreamsGroupCommand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.groups.common import (
    ACTIONS,
    MOVES,
    check_describe,
    check_positions,
    group_options,
    is_chosen,
    line,
    print_csv,
    print_deletion,
    print_groups,
    print_offset_deletion,
    require_one_action,
    require_position,
    width_of,
)
from pystream.cli.kafka.groups.moves import INTERNAL, listed, moved_to, plan_of
from pystream.cli.kafka.groups.resetting import partitions_of
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.groups import StreamsGroupDescription, StreamsMember, Tasks
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.common.errors import NonEmptyGroup, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

STATES: Final = ("Assigning", "NotReady", "Dead", "Reconciling", "Stable", "Empty")
POSITIONS: Final = (
    *("to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "shift-by", "from-file"),
    "to-current",
)
ONE_ACTION: Final = (
    "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or --delete-offsets."
)
TOOL: Final = Tool(
    "kafka-streams-groups",
    "This tool helps to list, or describe streams groups.",
    (
        *group_options("streams group", "With --describe: epochs and more, too."),
        *MOVES,
        value("input-topic", "A topic that the group reads, or topic:0,1,2 to reset only these.", "topic"),
        flag("all-input-topics", "All topics that the group has committed."),
        flag(
            "delete-all-internal-topics", "With --delete, and --reset-offsets --execute: the internal topics go, too."
        ),
        value("delete-internal-topic", "Only this one; with --reset-offsets --execute.", "String"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="\nError: Executing streams group command failed due to ", to_output=True)


def work(given: Given) -> None:
    check(given)
    timeout_ms = given.value("timeout")
    with admin_of(given, default_api_timeout_ms=timeout_ms, request_timeout_ms=timeout_ms) as admin:
        if given.has("list"):
            print_groups(given, STATES, lambda states: admin.list_streams_groups(states=states))
        elif given.has("describe"):
            for name in _groups(admin, given):
                _describe(admin, given, name)
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
    topics = given.has("input-topic") or given.has("all-input-topics")
    if given.has("delete"):
        if not is_chosen(given):
            raise WrongUsage("Option [delete] takes one of these options: [all-groups], [group]")
        if topics:
            raise WrongUsage("Kafka Streams does not support topic-specific offset deletion from a streams group.")
    if given.has("delete-offsets") and not (given.has("group") and topics):
        raise WrongUsage(
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]"
        )
    if given.has("reset-offsets"):
        check_positions(given, ())
        if not is_chosen(given):
            raise WrongUsage("Option [reset-offsets] takes one of these options: [all-groups], [group]")
        check_positions(given, POSITIONS)
        require_position(given, POSITIONS)
    given.exclude("group", "all-groups", "list")
    require_one_action(given, ONE_ACTION)


# --- list and describe ------------------------------------------------------------------------------------------------


def _groups(admin: AdminClient, given: Given) -> list[str]:
    if given.has("all-groups"):
        return [group.group_id for group in admin.list_streams_groups()]
    return list(dict.fromkeys(given.values("group")))


def _print(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    for row in rows:
        print(line(row, widths))


def _describe(admin: AdminClient, given: Given, name: str) -> None:
    group = admin.describe_streams_groups([name]).result(name)
    verbose = given.has("verbose")
    if given.has("members"):
        if group.members:
            _print_members(group, verbose=verbose)
    elif given.has("state"):
        _print_state(admin, group, verbose=verbose)
    else:
        _print_offsets(admin, group, verbose=verbose)


def _print_members(group: StreamsGroupDescription, *, verbose: bool) -> None:
    members = group.members
    widths = [width_of([group.group_id]), width_of(each.member_id for each in members)]
    ends = [width_of(each.process_id for each in members), width_of(each.client_id for each in members)]
    if not verbose:
        rows = [[group.group_id, each.member_id, each.process_id, each.client_id, _tasks(each)] for each in members]
        _print([["GROUP", "MEMBER", "PROCESS", "CLIENT-ID", "ASSIGNMENTS"], *rows], [*widths, *ends])
        return
    heads = ["GROUP", "TARGET-ASSIGNMENT-EPOCH", "TOPOLOGY-EPOCH", "MEMBER", "MEMBER-PROTOCOL", "MEMBER-EPOCH"]
    rows = [
        [
            *(group.group_id, str(group.target_assignment_epoch), str(group.topology_epoch), each.member_id),
            *("classic" if each.is_classic else "streams", str(each.member_epoch), each.process_id, each.client_id),
            _tasks(each) + _of(each.target_assignment, "TARGET-"),
        ]
        for each in members
    ]
    _print([[*heads, "PROCESS", "CLIENT-ID", "ASSIGNMENTS"], *rows], [widths[0], 25, 14, widths[1], 15, 15, *ends])


def _tasks(member: StreamsMember) -> str:
    return _of(member.assignment, "")


def _of(tasks: Tasks, prefix: str) -> str:
    """ACTIVE: 0:[0,1]; STANDBY: …"""
    found = ""
    for kind, parts in (("ACTIVE", tasks.active), ("STANDBY", tasks.standby), ("WARMUP", tasks.warmup)):
        if parts:
            said = ", ".join(f"{each}:[{','.join(map(str, numbers))}]" for each, numbers in sorted(parts.items()))
            found += f"{prefix}{kind}: {said}; "
    return found


def _print_state(admin: AdminClient, group: StreamsGroupDescription, *, verbose: bool) -> None:
    if group.state == "Empty":
        print(f"\nError: Streams group '{group.group_id}' has no active members.")
    node = next(node for node in admin.describe_cluster().nodes if node.node_id == group.coordinator_id)
    coordinator = f"{node.host}:{node.port} ({node.node_id})"
    epochs = [str(group.group_epoch), str(group.target_assignment_epoch)] if verbose else []
    heads = ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"] if verbose else []
    _print(
        [
            ["GROUP", "COORDINATOR (ID)", "STATE", *heads, "#MEMBERS"],
            [group.group_id, coordinator, group.state, *epochs, str(len(group.members))],
        ],
        [width_of([group.group_id]), max(25, len(coordinator)), 25, *([15, 25] if verbose else [])],
    )


def _print_offsets(admin: AdminClient, group: StreamsGroupDescription, *, verbose: bool) -> None:
    places = _read(group)
    if not places:
        return
    name = group.group_id
    committed = admin.list_streams_group_offsets([name]).result(name)
    starts, ends = listed(admin, places, EARLIEST), listed(admin, places, LATEST)
    widths = [width_of([name]), width_of(place.topic for place in places), 10]
    heads, rows = ["GROUP", "TOPIC", "PARTITION"], []
    for place in places:
        found = committed.get(place)
        lag = str(ends[place] - (starts[place] if found is None else found.offset))
        row = [name, place.topic, str(place.partition)]
        if verbose:
            epoch = "-" if found is None or found.leader_epoch < 0 else str(found.leader_epoch)
            row += ["-" if found is None else str(found.offset), epoch, str(ends[place])]
        rows.append([*row, lag])
    if verbose:
        heads += ["CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET"]
        widths += [15] * 4
    _print([[*heads, "OFFSET-LAG"], *rows], widths)


def _read(group: StreamsGroupDescription) -> list[TopicPartition]:
    """The partitions that active tasks read."""
    topics = {
        each.subtopology_id: [*each.source_topics, *each.repartition_source_topics] for each in group.subtopologies
    }
    return sorted(
        {
            TopicPartition(topic, partition)
            for member in group.members
            for subtopology, partitions in member.assignment.active.items()
            for partition in partitions
            for topic in topics.get(subtopology, ())
        }
    )


# --- change -----------------------------------------------------------------------------------------------------------


def _delete(admin: AdminClient, given: Given) -> None:
    there = {group.group_id: group.state for group in admin.list_streams_groups()}
    names = list(there) if given.has("all-groups") else list(dict.fromkeys(given.values("group")))
    failed: dict[str, PystreamError] = {}
    for name in names:
        if name not in there:
            failed[name] = Mistake(f"Group '{name}' does not exist or is not a streams group.")
        elif there[name] != "Empty":
            failed[name] = NonEmptyGroup(f"Streams group '{name}' is not EMPTY.")
    meant = [name for name in names if name not in failed]
    internal = {name: _internal(admin, name) for name in meant} if given.has("delete-all-internal-topics") else {}
    results = admin.delete_streams_groups(meant)
    failed |= results.failed
    for name in results.succeeded:
        _delete_topics(admin, name, internal.get(name, []))
    print_deletion("streams group", list(results.succeeded), failed)


def _internal(admin: AdminClient, name: str) -> list[str]:
    return [topic for topic in admin.list_topics() if topic.startswith(f"{name}-") and INTERNAL.fullmatch(topic)]


def _delete_topics(admin: AdminClient, name: str, topics: Sequence[str]) -> None:
    if not topics:
        return
    failed = admin.delete_topics(topics).failed
    for topic, error in failed.items():
        print(f"\nError: Deletion of internal topic '{topic}' of group '{name}' failed: {message(error)}")
    if failed:
        raise SystemExit(1)
    print(f"Deletion of associated internal topics of the streams groups ('{name}') was successful.")


def _inputs(admin: AdminClient, name: str) -> dict[TopicPartition, int]:
    """What the group has committed of topics that are not its own."""
    committed = admin.list_streams_group_offsets([name]).result(name)
    return {
        place: found.offset
        for place, found in committed.items()
        if not (place.topic.startswith(f"{name}-") and INTERNAL.fullmatch(place.topic))
    }


def _delete_offsets(admin: AdminClient, given: Given) -> None:
    name = given.value("group")
    if given.has("all-input-topics"):
        admin.describe_streams_groups([name]).result(name)
        places = sorted(_inputs(admin, name))
    else:
        places = partitions_of(admin, given.values("input-topic"))
    results = admin.delete_streams_group_offsets(name, places)
    print_offset_deletion(name, results, places)


def _reset(admin: AdminClient, given: Given) -> None:
    moved: dict[str, dict[TopicPartition, int]] = {}
    refused = False
    for name in _groups(admin, given):
        group = admin.describe_streams_groups([name]).result(name)
        if group.state not in ("Empty", "Dead"):
            print(
                f"\nError: Assignments can only be reset if the group '{name}' is inactive, but the current state is "
                f"{group.state}."
            )
            refused = True
            continue
        committed = _inputs(admin, name)
        places = _meant(admin, given, name, committed)
        refused = refused or places is None
        if places:
            moved[name] = moved_to(admin, given, places, committed)
            if given.has("execute"):
                admin.alter_streams_group_offsets(name, moved[name]).checked()
        if given.has("execute"):
            topics = _internal(admin, name) if given.has("delete-all-internal-topics") else []
            _delete_topics(admin, name, given.values("delete-internal-topic") or topics)
    _print_reset(given, moved)
    if refused:
        raise SystemExit(1)


def _meant(
    admin: AdminClient, given: Given, name: str, committed: Mapping[TopicPartition, int]
) -> list[TopicPartition] | None:
    """The partitions to reset; None where the group does not read them."""
    if given.has("from-file") and not given.has("input-topic"):
        return sorted(plan_of(given.value("from-file")))
    if given.has("all-input-topics"):
        return sorted(committed)
    if not given.has("input-topic"):
        raise WrongUsage("One of the reset scopes should be defined: --all-topics, --topic.")
    places = partitions_of(admin, given.values("input-topic"))
    if {place.topic for place in places} <= {place.topic for place in committed}:
        return places
    print(f"\nError: One or more topics are not part of the group '{name}'.")
    return None


def _print_reset(given: Given, moved: Mapping[str, Mapping[TopicPartition, int]]) -> None:
    if given.has("export"):
        print_csv(moved, with_group=False)
        return
    lines = [("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")]
    for name, offsets in moved.items():
        lines += [(name, place.topic, str(place.partition), str(offset)) for place, offset in sorted(offsets.items())]
    print()
    _print(lines, [30, 30, 10, 15])


if __name__ == "__main__":
    main()
