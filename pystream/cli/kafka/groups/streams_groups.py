"""`kafka-streams-groups`, as Kafka's StreamsGroupCommand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import java_text, message
from pystream.cli.kafka.groups.moves import INTERNAL, ago_ms, at_time, listed, plan_of, within
from pystream.cli.kafka.groups.resetting import partitions_of, timestamp_of
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.groups import StreamsGroupDescription, StreamsMember, Tasks
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.common.errors import NonEmptyGroup, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

WIDTH: Final = 15
NOTHING_SO_LATE: Final = (
    "\nWarn: Partition {0.partition} from topic {0.topic} is empty. Falling back to latest known offset."
)
TIMEOUT_MS: Final = 30_000
STATES: Final = ("Assigning", "NotReady", "Dead", "Reconciling", "Stable", "Empty")
ACTIONS: Final = ("list", "describe", "delete", "reset-offsets", "delete-offsets")
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
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("list", "List all streams groups."),
        flag("describe", "Describe streams groups, their members and lag."),
        flag("delete", "Delete streams groups."),
        flag("reset-offsets", "Let a group without members go on elsewhere."),
        flag("delete-offsets", "Let a group without members forget topics."),
        value("group", "The streams group we wish to act on.", "streams group"),
        flag("all-groups", "Apply to all streams groups."),
        value("input-topic", "A topic that the group reads, or topic:0,1,2 to reset only these.", "topic"),
        flag("all-input-topics", "All topics that the group has committed."),
        value("state", "With --describe: the state. With --list: states shown, or wanted.", "String", bare=True),
        flag("members", "With --describe: the members."),
        flag("offsets", "With --describe: the offsets, as without it."),
        flag("verbose", "With --describe: epochs and more, too."),
        value("timeout", "For each request.", "timeout (ms)", int, TIMEOUT_MS),
        flag("dry-run", "Only show what would be done."),
        flag("execute", "Do it."),
        flag("export", "As CSV, for --from-file."),
        value("to-offset", "To this offset.", "offset", int),
        value("to-datetime", "To the first record at or after YYYY-MM-DDThh:mm:ss.sss.", "datetime"),
        value("by-duration", "So long ago, PnDTnHnMnS.", "duration"),
        flag("to-earliest", "To the first offset."),
        flag("to-latest", "To the end."),
        value("shift-by", "So far from the committed offset.", "number-of-offsets", int),
        value("from-file", "As a CSV file of TOPIC,PARTITION,OFFSET says.", "path to CSV file"),
        flag("to-current", "To the committed offset."),
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
            _list(admin, given)
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
    chosen = given.has("group") or given.has("all-groups")
    topics = given.has("input-topic") or given.has("all-input-topics")
    if given.has("describe"):
        if not chosen:
            raise WrongUsage("Option [describe] takes one of these options: [all-groups], [group]")
        if sum(map(given.has, ("members", "offsets", "state"))) > 1:
            raise WrongUsage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
        if given.value("state"):
            raise WrongUsage("Option [describe] does not take a value for [state]")
    if given.has("delete"):
        if not chosen:
            raise WrongUsage("Option [delete] takes one of these options: [all-groups], [group]")
        if topics:
            raise WrongUsage("Kafka Streams does not support topic-specific offset deletion from a streams group.")
    if given.has("delete-offsets") and not (given.has("group") and topics):
        raise WrongUsage(
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]"
        )
    if given.has("reset-offsets"):
        _check_reset(given, chosen=chosen)
    given.exclude("group", "all-groups", "list")
    if sum(map(given.has, ACTIONS)) != 1:
        raise WrongUsage(ONE_ACTION)


def _check_reset(given: Given, *, chosen: bool) -> None:
    if given.has("dry-run") and given.has("execute"):
        raise WrongUsage("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if not given.has("dry-run") and not given.has("execute"):
        raise WrongUsage("Option [reset-offsets] takes the option: [execute] or [dry-run]")
    if not chosen:
        raise WrongUsage("Option [reset-offsets] takes one of these options: [all-groups], [group]")
    for position in POSITIONS:
        given.exclude(position, *(each for each in POSITIONS if each != position))
    if not any(map(given.has, POSITIONS)):
        scenarios = ", ".join(f"[{position}]" for position in POSITIONS)
        raise WrongUsage(f"Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]")


# --- list and describe ------------------------------------------------------------------------------------------------


def _list(admin: AdminClient, given: Given) -> None:
    if not given.has("state"):
        for group in admin.list_streams_groups():
            print(group.group_id)
        return
    text = given.value("state") or ""
    known = {state.lower(): state for state in STATES}
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    if any(state not in known for state in wanted):
        raise WrongUsage(f"Invalid state list '{text}'. Valid states are: {', '.join(STATES)}")
    groups = admin.list_streams_groups(states=[known[state] for state in wanted])
    width = _width(group.group_id for group in groups)
    print(f"{'GROUP':<{width}} STATE")
    for group in groups:
        print(f"{group.group_id:<{width}} {group.state}")


def _groups(admin: AdminClient, given: Given) -> list[str]:
    if given.has("all-groups"):
        return [group.group_id for group in admin.list_streams_groups()]
    return list(dict.fromkeys(given.values("group")))


def _width(cells: Iterable[str]) -> int:
    return max([WIDTH, *map(len, cells)])


def _print(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """Columns; the last one is as long as it is where there is no width for it."""
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        print(" ".join([*cells, *row[len(widths) :]]))


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
    widths = [_width([group.group_id]), _width(each.member_id for each in members)]
    ends = [_width(each.process_id for each in members), _width(each.client_id for each in members)]
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
        [_width([group.group_id]), max(25, len(coordinator)), 25, *([15, 25] if verbose else [])],
    )


def _print_offsets(admin: AdminClient, group: StreamsGroupDescription, *, verbose: bool) -> None:
    places = _read(group)
    if not places:
        return
    name = group.group_id
    committed = admin.list_streams_group_offsets([name]).result(name)
    starts, ends = listed(admin, places, EARLIEST), listed(admin, places, LATEST)
    widths = [_width([name]), _width(place.topic for place in places), 10]
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
    done = "', '".join(results.succeeded)
    for name in results.succeeded:
        _delete_topics(admin, name, internal.get(name, []))
    if not failed:
        print(f"Deletion of requested streams groups ('{done}') was successful.")
        return
    print("\nError: Deletion of some streams groups failed:")
    for name, error in failed.items():
        said = f"java.lang.IllegalArgumentException: {error}" if isinstance(error, Mistake) else java_text(error)
        print(f"* Group '{name}' could not be deleted due to: {said}")
    if done:
        print(f"\nThese streams groups were deleted successfully: '{done}'")
    raise SystemExit(1)


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
    for error in list(results.failed.values())[:1]:
        print(f"\nError: {message(error)}")
    if not results.failed:
        print(f"Request succeeded for deleting offsets from group {name}.")
    rows = [["TOPIC", "PARTITION", "STATUS"]]
    for place in places:
        outcome = results[place]
        status = f"Error: {java_text(outcome)}" if isinstance(outcome, PystreamError) else "Successful"
        rows.append([place.topic, str(place.partition), status])
    print()
    _print(rows, [_width(place.topic for place in places), 10, 15])
    if results.failed:
        raise SystemExit(1)


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
            moved[name] = _new_offsets(admin, given, places, committed)
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


def _new_offsets(
    admin: AdminClient, given: Given, places: Sequence[TopicPartition], committed: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    if given.has("to-earliest"):
        return listed(admin, places, EARLIEST)
    if given.has("to-latest"):
        return listed(admin, places, LATEST)
    if given.has("to-datetime"):
        return at_time(admin, places, timestamp_of(given.value("to-datetime")), NOTHING_SO_LATE)
    if given.has("by-duration"):
        return at_time(admin, places, time.time_ns() // 1_000_000 - ago_ms(given.value("by-duration")), NOTHING_SO_LATE)
    if given.has("to-offset"):
        return within(admin, dict.fromkeys(places, given.value("to-offset")), quiet=True)
    if given.has("from-file"):
        plan = plan_of(given.value("from-file"))
        return within(admin, {place: plan[place] for place in places if place in plan}, quiet=True)
    ends = listed(admin, places, LATEST)
    shift = given.value("shift-by") if given.has("shift-by") else 0
    return within(admin, {place: committed.get(place, ends[place]) + shift for place in places}, quiet=True)


def _print_reset(given: Given, moved: Mapping[str, Mapping[TopicPartition, int]]) -> None:
    if given.has("export"):
        rows = [(place, offset) for offsets in moved.values() for place, offset in sorted(offsets.items())]
        print("".join(f"{place.topic},{place.partition},{offset}\n" for place, offset in rows))
        return
    lines = [("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")]
    for name, offsets in moved.items():
        lines += [(name, place.topic, str(place.partition), str(offset)) for place, offset in sorted(offsets.items())]
    print()
    _print(lines, [30, 30, 10, 15])


if __name__ == "__main__":
    main()
