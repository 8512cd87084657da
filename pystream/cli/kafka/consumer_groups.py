"""`kafka-consumer-groups`, as Kafka's ConsumerGroupCommand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.groups.common import (
    ACTIONS,
    MOVES,
    NARROW,
    check_describe,
    check_positions,
    group_options,
    is_chosen,
    line,
    print_csv,
    print_deletion,
    print_offset_deletion,
    states_of,
    width_of,
)
from pystream.cli.kafka.groups.moves import moved_to, plan_of
from pystream.cli.kafka.groups.resetting import print_new_offsets
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.groups import GroupDescription, GroupType, MemberDescription
from pystream.client.admin.partitions import LATEST
from pystream.client.operations.handlers.positions import parse_partitions
from pystream.common.errors import (
    GroupIdNotFound,
    InvalidRequest,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

ABSENT: Final = "-"
STATES: Final = (
    *("Reconciling", "Stable", "Assigning", "Empty"),
    *("PreparingRebalance", "CompletingRebalance", "Dead"),
)
REBALANCING: Final = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")
TYPES: Final = {"consumer": GroupType.CONSUMER, "classic": GroupType.CLASSIC}
POSITIONS: Final = (
    *("to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current"),
    "from-file",
)
ONE_ACTION: Final = (
    "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, "
    "--validate-regex"
)
NOT_EXECUTED: Final = (
    "WARN: No action will be performed as the --execute option is missing. In a future major release, the default "
    "behavior of this command will be to prompt the user before executing the reset rather than doing a dry run. You "
    "should add the --dry-run option explicitly if you are scripting this command and want to keep the current default "
    "behavior without prompting."
)
TOOL: Final = Tool(
    "kafka-consumer-groups",
    "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset "
    "consumer group offsets.",
    (
        *group_options("consumer group", "With --describe: epochs and assignments, too.", 5_000),
        *MOVES,
        value("topic", "A topic, or topic:0,1,2 for only these partitions; may be repeated.", "topic"),
        flag("all-topics", "All topics that the group has committed."),
        value("type", "With --list: types shown, or wanted: consumer, classic.", "String", bare=True),
        value("validate-regex", "Whether brokers take this regular expression of a subscription.", "regex"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    words = "\nError: Executing consumer group command failed due to "
    serve(TOOL, arguments, work, failed=words, to_output=True)


def work(given: Given) -> None:
    check(given)
    if given.has("validate-regex"):
        _validate(given.value("validate-regex"))
        return
    timeout_ms = given.value("timeout")
    with admin_of(given, default_api_timeout_ms=timeout_ms, request_timeout_ms=timeout_ms) as admin:
        if given.has("list"):
            _list(admin, given)
        elif given.has("describe"):
            _describe(admin, given)
        elif given.has("delete"):
            results = admin.delete_groups(_groups(admin, given))
            print_deletion("consumer group", list(results.succeeded), results.failed)
        elif given.has("reset-offsets"):
            _reset(admin, given)
        else:
            _delete_offsets(admin, given)


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    actions = sum(map(given.has, (*ACTIONS, "validate-regex")))
    if actions == 0 or (actions > 1 and given.has("validate-regex")):
        raise WrongUsage(ONE_ACTION)
    if given.has("validate-regex"):
        return
    given.require("bootstrap-server")
    check_describe(given)
    chosen = is_chosen(given)
    if given.has("delete"):
        if not chosen:
            raise WrongUsage("Option [delete] takes one of these options: [all-groups], [group]")
        if given.has("topic"):
            raise WrongUsage("The consumer does not support topic-specific offset deletion from a consumer group.")
    if given.has("delete-offsets") and not (given.has("group") and given.has("topic")):
        raise WrongUsage("Option [delete-offsets] takes the following options: [group], [topic]")
    if given.has("reset-offsets"):
        if not given.has("dry-run") and not given.has("execute"):
            print(NOT_EXECUTED, file=sys.stderr)
        check_positions(given, (), execution=False)
        if not chosen:
            raise WrongUsage("Option [reset-offsets] takes one of these options: [all-groups], [group]")
        check_positions(given, POSITIONS, execution=False)
    given.exclude("group", "all-groups", "list")
    given.exclude("topic", "list", "describe")
    if actions > 1:
        raise WrongUsage(ONE_ACTION)
    for name in ("members", "offsets", "verbose", "state", "type"):
        needs = ("list",) if name == "type" else ("list", "describe") if name == "state" else ("describe",)
        if given.has(name) and not any(map(given.has, needs)):
            raise WrongUsage(f"Option(s) [{name}] are unavailable given other options on the command line")


def _validate(expression: str) -> None:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        print(f"The regular expression `{expression}` is invalid: {said.partition(':')[0]}.")
        return
    print(f"The regular expression `{expression}` is valid.")


def _groups(admin: AdminClient, given: Given) -> list[str]:
    if given.has("all-groups"):
        return [group.group_id for group in admin.list_consumer_groups()]
    return list(dict.fromkeys(given.values("group")))


# --- list and describe ------------------------------------------------------------------------------------------------


def _list(admin: AdminClient, given: Given) -> None:
    text = given.value("type") or ""
    names = [part.strip().lower() for part in text.split(",") if part.strip()]
    if any(name not in TYPES for name in names):
        raise WrongUsage(f"Invalid types list '{text}'. Valid types are: Consumer, Classic")
    wanted = {TYPES[name] for name in names}
    listed = admin.list_consumer_groups(states=states_of(given, STATES))
    groups = [group for group in listed if not wanted or group.type in wanted]
    if not given.has("state") and not given.has("type"):
        for group in groups:
            print(group.group_id)
        return
    rows = [["GROUP", "TYPE", "STATE"], *([group.group_id, group.type.value, group.state] for group in groups)]
    shown = [0, *([1] if given.has("type") else []), *([2] if given.has("state") else [])]
    widths = [width_of(group.group_id for group in groups) + 10, 20, 20]
    for row in rows:
        print(line([row[number] for number in shown], [widths[number] for number in shown]))


def _describe(admin: AdminClient, given: Given) -> None:
    described = admin.describe_consumer_groups(_groups(admin, given)).checked()
    for name, group in sorted(described.items()):
        if given.has("state"):
            _print_state(admin, group, verbose=given.has("verbose"))
        elif given.has("members"):
            _print_members(group, verbose=given.has("verbose"))
        else:
            _print_offsets(admin, name, group, verbose=given.has("verbose"))


def _note(group: GroupDescription, rows: int) -> bool:
    """Say what state the group is in; whether there is something to print."""
    if group.state == "Dead":
        print(f"\nError: Consumer group '{group.group_id}' does not exist.")
    elif group.state == "Empty":
        print(f"\nConsumer group '{group.group_id}' has no active members.", file=sys.stderr)
    elif group.state in REBALANCING:
        print(f"\nWarning: Consumer group '{group.group_id}' is rebalancing.", file=sys.stderr)
    return group.state != "Dead" and rows > 0


def _print(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    print("".join(f"\n{line(row, widths)}" for row in rows))


def _print_state(admin: AdminClient, group: GroupDescription, *, verbose: bool) -> None:
    if not _note(group, 1):
        return
    node = next(node for node in admin.describe_cluster().nodes if node.node_id == group.coordinator_id)
    coordinator = f"{node.host}:{node.port}  ({node.node_id})"
    epochs = [_epoch(group.group_epoch), _epoch(group.assignment_epoch)] if verbose else []
    heads = ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"] if verbose else []
    _print(
        [
            ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", *heads, "#MEMBERS"],
            [group.group_id, coordinator, group.assignor or ABSENT, group.state, *epochs, str(len(group.members))],
        ],
        [width_of([group.group_id]), max(25, len(coordinator)), 20, 20, *([15, 25] if verbose else [])],
    )


def _epoch(epoch: int) -> str:
    return ABSENT if epoch < 0 else str(epoch)


def _print_members(group: GroupDescription, *, verbose: bool) -> None:
    if not _note(group, 1):
        return
    static = any(each.instance_id for each in group.members)
    rows = [_member(group, each, static=static, verbose=verbose) for each in group.members]
    heads = ["GROUP", "CONSUMER-ID", *(["GROUP-INSTANCE-ID"] if static else []), "HOST", "CLIENT-ID", "#PARTITIONS"]
    if verbose:
        heads += ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]
    rows = [[*row, ""] for row in [heads, *rows]] if not verbose else [heads, *rows]
    least = {"GROUP-INSTANCE-ID": 17, "CURRENT-ASSIGNMENT": 20, "TARGET-ASSIGNMENT": 20}
    _print(rows, [max(width_of(column), least.get(column[0], 0)) for column in zip(*rows, strict=True) if column[0]])


def _member(group: GroupDescription, each: MemberDescription, *, static: bool, verbose: bool) -> list[str]:
    row = [group.group_id, each.member_id, *([each.instance_id or ""] if static else []), each.host, each.client_id]
    row.append(str(len(each.assignment)))
    if verbose:
        target = each.target_assignment if each.target_assignment is not None else ()
        row += [_epoch(each.member_epoch), _assigned(each.assignment)]
        row += [_epoch(group.assignment_epoch), _assigned(target)]
    return row


def _assigned(partitions: Iterable[TopicPartition]) -> str:
    topics: dict[str, list[str]] = {}
    for place in sorted(partitions):
        topics.setdefault(place.topic, []).append(str(place.partition))
    return ";".join(f"{topic}:{','.join(numbers)}" for topic, numbers in topics.items()) or ABSENT


def _print_offsets(admin: AdminClient, name: str, group: GroupDescription, *, verbose: bool) -> None:
    committed = admin.list_consumer_group_offsets([name]).result(name)
    owners = {place: member for member in group.members for place in member.assignment}
    idle = [member for member in group.members if not member.assignment]
    places = [*sorted(owners), *sorted(set(committed) - set(owners))]
    if not _note(group, len(places) + len(idle)):
        return
    ends = admin.list_offsets(dict.fromkeys(places, LATEST)).succeeded if places else {}
    rows = []
    for place in places:
        found, end, owner = committed.get(place), ends.get(place), owners.get(place)
        offset = None if found is None else found.offset
        lag = None if offset is None or end is None else end.offset - offset
        row = [name, place.topic, str(place.partition)]
        if verbose:
            row.append(ABSENT if found is None or found.leader_epoch < 0 else str(found.leader_epoch))
        rows.append([*row, *map(_text, (offset, None if end is None else end.offset, lag)), *_owner(owner)])
    for member in idle:
        rows.append([name, *[ABSENT] * (6 if verbose else 5), *_owner(member)])
    epoch = ["LEADER-EPOCH"] if verbose else []
    heads = ["GROUP", "TOPIC", "PARTITION", *epoch, "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"]
    heads += ["CONSUMER-ID", "HOST", "CLIENT-ID"]
    widths = [width_of(row[0] for row in rows), width_of(row[1] for row in rows), NARROW, *[15] * (4 if verbose else 3)]
    _print([heads, *rows], [*widths, width_of(row[-3] for row in rows), width_of(row[-2] for row in rows)])


def _text(number: int | None) -> str:
    return ABSENT if number is None else str(number)


def _owner(member: MemberDescription | None) -> list[str]:
    return [ABSENT] * 3 if member is None else [member.member_id, member.host, member.client_id]


# --- change -----------------------------------------------------------------------------------------------------------


def _reset(admin: AdminClient, given: Given) -> None:
    names = _groups(admin, given)
    moved: dict[str, Mapping[TopicPartition, int]] = {}
    described = admin.describe_consumer_groups(names)
    refused = False
    for name in names:
        group = described[name]
        if isinstance(group, PystreamError) and not isinstance(group, GroupIdNotFound):
            raise group
        if isinstance(group, GroupDescription) and group.state not in ("Empty", "Dead"):
            print(
                f"\nError: Assignments can only be reset if the group '{name}' is inactive, but the current state is "
                f"{group.state}."
            )
            moved[name], refused = {}, True
            continue
        moved[name] = _new_offsets(admin, given, name)
        if given.has("execute") and moved[name]:
            admin.alter_consumer_group_offsets(name, moved[name]).checked()
    if given.has("export"):
        print_csv(moved, with_group=len(given.values("group")) != 1)
    else:
        print_new_offsets(moved)
    if refused:
        raise SystemExit(1)


def _new_offsets(admin: AdminClient, given: Given, name: str) -> Mapping[TopicPartition, int]:
    committed = {place: found.offset for place, found in admin.list_consumer_group_offsets([name]).result(name).items()}
    if given.has("from-file"):
        plan = _plan(given, name)
        if plan is None:
            print(f"\nError: No reset plan for group {name} found")
            return {}
        return moved_to(admin, given, sorted(plan), committed, plan=plan)
    if given.has("all-topics"):
        places = sorted(committed)
    elif given.has("topic"):
        try:
            places = _partitions(admin, given.values("topic"))
        except UnknownTopicOrPartition as error:
            raise Mistake(message(error)) from None
    else:
        raise WrongUsage("One of the reset scopes should be defined: --all-topics, --topic.")
    if not any(map(given.has, POSITIONS)):
        scenarios = ", ".join(f"[{position}]" for position in POSITIONS)
        raise WrongUsage(f"Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]")
    if given.has("shift-by"):
        for place in places:
            if place not in committed:
                raise WrongUsage(
                    f"Cannot shift offset for partition {place} since there is no current committed offset"
                )
    return moved_to(admin, given, places, committed)


def _plan(given: Given, name: str) -> dict[TopicPartition, int] | None:
    """What the file says of the group; with several groups its lines begin with theirs."""
    path = given.value("from-file")
    lines = _lines(path)
    if len(given.values("group")) == 1 and all(each.count(",") == 2 for each in lines):
        return plan_of(path)
    own = [each.partition(",")[2] for each in lines if each.partition(",")[0] == name]
    return plan_of(path, "\n".join(own)) if own else None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"java.io.IOException: Unable to read file {path}") from None


def _partitions(admin: AdminClient, texts: Sequence[str]) -> list[TopicPartition]:
    """topic, or topic:0,1,2; those that are named need not be there. Raises WrongUsage, or what a broker says."""
    for text in texts:
        _, colon, numbers = text.partition(":")
        for number in numbers.split(",") if colon else ():
            if not number.isdecimal():
                raise WrongUsage(f"Invalid partition '{number}' specified in topic arg '{text}''")
    try:
        wanted = parse_partitions(texts)
    except InvalidRequest as error:
        raise WrongUsage(str(error)) from None
    found = {TopicPartition(topic, number) for topic, numbers in wanted.items() for number in numbers or ()}
    whole = [topic for topic, numbers in wanted.items() if numbers is None]
    described = admin.describe_topics(whole).checked() if whole else {}
    found |= {TopicPartition(name, each.partition) for name in whole for each in described[name].partitions}
    return sorted(found)


def _delete_offsets(admin: AdminClient, given: Given) -> None:
    name, topics = given.value("group"), given.values("topic")
    outcomes: dict[TopicPartition, PystreamError | None] = {}
    for topic in topics:
        try:
            outcomes |= dict.fromkeys(_partitions(admin, [topic]))
        except WrongUsage:
            raise
        except PystreamError as error:
            outcomes[TopicPartition(topic, -1)] = error
    places = [place for place, outcome in outcomes.items() if outcome is None]
    outcomes |= dict(admin.delete_consumer_group_offsets(name, places)) if places else {}
    print_offset_deletion(name, outcomes, sorted(outcomes))


if __name__ == "__main__":
    main()
