"""`kafka-consumer-groups`, as Kafka's ConsumerGroupCommand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from pystream.cli.kafka.tool import DEFAULT_TIMEOUT_MS, Cluster, Parser, actions, parser, run
from pystream.common.errors import InvalidRequest

WIDTH: Final = 15
ABSENT: Final = "-"
REBALANCING: Final = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")
CONSUMER_TYPES: Final = ("Classic", "Consumer")


def options() -> Parser:
    made = parser("kafka-consumer-groups", "List, describe and delete consumer groups; reset and delete their offsets.")
    actions(
        made,
        list="List all consumer groups.",
        describe="Describe consumer groups, and list lag.",
        delete="Delete consumer groups.",
        reset_offsets="Reset offsets of a consumer group without members.",
        delete_offsets="Delete offsets of a consumer group.",
    )
    made.add_argument("--group", action="append", default=[], help="The group; may be repeated.")
    made.add_argument("--all-groups", action="store_true", help="All groups.")
    made.add_argument("--topic", action="append", default=[], metavar="TOPIC[:0,1]", help="May be repeated.")
    made.add_argument("--all-topics", action="store_true", help="All topics that the group has committed.")
    made.add_argument("--state", nargs="?", const="", metavar="STATES", help="With --list: filter and show; else show.")
    made.add_argument("--type", nargs="?", const="", metavar="TYPES", help="With --list: filter and show.")
    made.add_argument("--members", action="store_true", help="With --describe: the members.")
    made.add_argument("--offsets", action="store_true", help="With --describe: the offsets, as without it.")
    made.add_argument("--verbose", action="store_true", help="With --members: their partitions, too.")
    made.add_argument("--timeout", type=int, default=DEFAULT_TIMEOUT_MS, metavar="MS", help="For each request.")
    made.add_argument("--dry-run", action="store_true", help="With --reset-offsets: only show, as without --execute.")
    made.add_argument("--execute", action="store_true", help="With --reset-offsets: do it.")
    to = made.add_mutually_exclusive_group()
    to.add_argument("--to-earliest", action="store_const", const="start", dest="position", help="The first offset.")
    to.add_argument("--to-latest", action="store_const", const="end", dest="position", help="The last offset.")
    to.add_argument("--to-current", action="store_const", const="+0", dest="position", help="The committed offset.")
    to.add_argument("--to-offset", type=int, help="This offset.")
    to.add_argument("--shift-by", type=int, help="So far from the committed offset.")
    to.add_argument("--to-datetime", metavar="YYYY-MM-DDTHH:mm:SS.sss", help="The first record from this time on.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    run(options(), arguments, work, "\nError: Executing consumer group command failed due to ")


def work(given: argparse.Namespace) -> None:
    cluster = Cluster(given)
    if given.action == "list":
        _list(cluster, given)
        return
    if bool(given.group) == given.all_groups:
        raise InvalidRequest("give --group or --all-groups")
    groups = given.group
    if given.all_groups:
        groups = [row.group for row in cluster.rows("groups", "list") if row.type in CONSUMER_TYPES]
    if given.action == "describe":
        for group in groups:
            _describe(cluster, given, group)
    elif given.action == "delete":
        _delete(cluster, groups)
    elif given.action == "reset_offsets":
        _reset(cluster, given, groups)
    else:
        _delete_offsets(cluster, given, groups)


def _list(cluster: Cluster, given: argparse.Namespace) -> None:
    states = [state.strip() for state in (given.state or "").split(",") if state.strip()]
    types = [kind.strip() for kind in (given.type or "").split(",") if kind.strip()]
    rows = [row for row in cluster.rows("groups", "list", state=states, type=types) if row.type in CONSUMER_TYPES]
    if given.state is None and given.type is None:
        for row in rows:
            print(row.group)
        return
    width = max([WIDTH, *(len(row.group) for row in rows)]) + 10
    lines = [("GROUP", "TYPE", "STATE"), *((row.group, row.type, row.state) for row in rows)]
    for group, kind, state in lines:
        shown = [f"{group:<{width}}"]
        if given.type is not None:
            shown.append(f"{kind:<20}")
        if given.state is not None:
            shown.append(f"{state:<20}")
        print(" ".join(shown))


def _describe(cluster: Cluster, given: argparse.Namespace, group: str) -> None:
    answer = cluster.do("groups", "describe", groups=[group])
    for failure in answer.failures:
        print(f"\nError: {failure.error}")
    for row in answer.rows:
        if row.state == "Empty":
            print(f"\nConsumer group '{group}' has no active members.", file=sys.stderr)
        elif row.state in REBALANCING:
            print(f"\nWarning: Consumer group '{group}' is rebalancing.", file=sys.stderr)
        if given.state is not None:
            _print_table(
                [("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS")],
                [(group, str(row.coordinator), row.assignor, row.state, str(len(row.members)))],
            )
        elif given.members:
            _print_members(row, given.verbose)
        elif row.partitions:
            _print_offsets(row)


def _print_offsets(row: Any) -> None:
    def text(value: Any, prefix: str = "") -> str:
        return ABSENT if value is None or value == "" else f"{prefix}{value}"

    heads = (
        *("GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"),
        *("CONSUMER-ID", "HOST", "CLIENT-ID"),
    )
    lines = [
        (
            row.group,
            text(each.topic),
            text(each.partition),
            text(each.committed_offset),
            text(each.end_offset),
            text(each.lag),
            text(each.member_id),
            text(each.host),
            text(each.client_id),
        )
        for each in row.partitions
    ]
    _print_table([heads], lines, narrow=("PARTITION",))


def _print_members(row: Any, verbose: bool) -> None:
    heads = ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"]
    lines = [
        (
            row.group,
            each.member_id,
            each.instance_id or "",
            each.host,
            each.client_id,
            str(len(each.partitions)),
            ", ".join(each.partitions) or ABSENT,
        )
        for each in row.members
    ]
    wanted = [
        number
        for number, head in enumerate(heads)
        if (head != "ASSIGNMENT" or verbose) and (head != "GROUP-INSTANCE-ID" or any(line[number] for line in lines))
    ]
    _print_table([[heads[n] for n in wanted]], [[line[n] for n in wanted] for line in lines])


def _print_table(heads: Sequence[Sequence[str]], lines: Sequence[Sequence[str]], narrow: Sequence[str] = ()) -> None:
    """Columns of at least 15 characters, those of `narrow` of 10; the last one as long as it is."""
    widths = [
        10 if column[0] in narrow else max(WIDTH, *map(len, column)) for column in zip(*heads, *lines, strict=True)
    ]
    print()
    for line in [*heads, *lines]:
        print(" ".join([*map(str.ljust, line[:-1], widths), line[-1]]))


def _delete(cluster: Cluster, groups: Sequence[str]) -> None:
    answer = cluster.do("groups", "delete", groups=groups)
    if not answer.failures:
        names = ", ".join(f"'{row.name}'" for row in answer.rows)
        print(f"Deletion of requested consumer groups ({names}) was successful.")
        return
    print("\nError: Deletion of some consumer groups failed:")
    for failure in answer.failures:
        print(f"* Group '{failure.item}' could not be deleted due to: {failure.error}")
    if answer.rows:
        names = ", ".join(f"'{row.name}'" for row in answer.rows)
        print(f"\nThese consumer groups were deleted successfully: {names}")
    raise SystemExit(1)


def _reset(cluster: Cluster, given: argparse.Namespace, groups: Sequence[str]) -> None:
    if given.to_offset is not None:
        position = str(given.to_offset)
    elif given.shift_by is not None:
        position = f"{given.shift_by:+d}"
    elif given.to_datetime is not None:
        position = f"@{given.to_datetime}"
    elif given.position is not None:
        position = given.position
    else:
        raise InvalidRequest("--reset-offsets needs one of --to-earliest, --to-latest, --to-offset and the like")
    if not given.topic and not given.all_topics:
        raise InvalidRequest("give --topic or --all-topics")
    dry_run = given.dry_run or not given.execute
    lines = [
        (group, row.topic, str(row.partition), str(row.new_offset))
        for group in groups
        for row in cluster.rows("groups", "reset-offsets", group=group, to=position, topic=given.topic, dry_run=dry_run)
    ]
    _print_table([("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")], lines, narrow=("PARTITION",))


def _delete_offsets(cluster: Cluster, given: argparse.Namespace, groups: Sequence[str]) -> None:
    if not given.topic:
        raise InvalidRequest("--delete-offsets needs --topic")
    for group in groups:
        rows = cluster.rows("groups", "delete-offsets", group=group, topic=given.topic)
        print(f"Request succeed for deleting offsets with topic {', '.join(given.topic)} group {group}")
        print(f"\n{'TOPIC':<30} {'PARTITION':<15} {'STATUS':<15}")
        for row in rows:
            topic, _, partition = row.name.rpartition("-")
            print(f"{topic:<30} {partition:<15} {'Successful':<15}")


if __name__ == "__main__":
    main()
