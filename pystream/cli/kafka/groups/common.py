"""What the tools of consumer, share and streams groups have in common: options, states, columns, words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pystream.cli.kafka.failures import java_text, message
from pystream.cli.kafka.options import Given, Mistake, Option, WrongUsage, flag, value
from pystream.client.admin.groups import GroupListing
from pystream.common.errors import (
    GroupSubscribedToTopic,
    PystreamError,
    TopicAuthorizationFailed,
    UnknownTopicOrPartition,
)
from pystream.common.model import TopicPartition

WIDTH: Final = 15
NARROW: Final = 10
OF_PARTITIONS: Final = (GroupSubscribedToTopic, TopicAuthorizationFailed, UnknownTopicOrPartition)
PARTLY: Final = "Encountered some partition-level error, see the follow-up details."
TIMEOUT_MS: Final = 30_000
ACTIONS: Final = ("list", "describe", "delete", "reset-offsets", "delete-offsets")


def group_options(kind: str, verbose: str, timeout_ms: int = TIMEOUT_MS) -> tuple[Option, ...]:
    """Those of every tool; `kind` as "share group"."""
    return (
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("list", f"List all {kind}s."),
        flag("describe", f"Describe {kind}s, their members and offsets."),
        flag("delete", f"Delete {kind}s."),
        flag("reset-offsets", "Let a group without members go on elsewhere."),
        flag("delete-offsets", "Let a group forget topics."),
        value("group", f"The {kind} we wish to act on.", kind),
        flag("all-groups", f"Apply to all {kind}s."),
        value("state", "With --describe: the state. With --list: states shown, or wanted.", "String", bare=True),
        flag("members", "With --describe: the members."),
        flag("offsets", "With --describe: the offsets, as without it."),
        flag("verbose", verbose),
        value("timeout", "For each request.", "timeout (ms)", int, timeout_ms),
        flag("dry-run", "Only show what would be done."),
        flag("execute", "Do it."),
        value("to-datetime", "To the first record at or after YYYY-MM-DDThh:mm:ss.sss.", "datetime"),
        flag("to-earliest", "To the first offset."),
        flag("to-latest", "To the end."),
    )


# of consumer and streams groups, which keep one offset of a partition
MOVES: Final = (
    flag("export", "As CSV, for --from-file."),
    value("to-offset", "To this offset.", "offset", int),
    value("by-duration", "So long ago, PnDTnHnMnS.", "duration"),
    value("shift-by", "So far from the committed offset.", "number-of-offsets", int),
    value("from-file", "As a CSV file of TOPIC,PARTITION,OFFSET says.", "path to CSV file"),
    flag("to-current", "To the committed offset."),
)


def require_one_action(given: Given, said: str) -> None:
    """Raises WrongUsage for none of the actions, and for two."""
    if sum(map(given.has, ACTIONS)) != 1:
        raise WrongUsage(said)


def is_chosen(given: Given) -> bool:
    """Whether groups are named."""
    return given.has("group") or given.has("all-groups")


def check_describe(given: Given) -> None:
    """Raises WrongUsage for what does not go together with --describe."""
    if not given.has("describe"):
        return
    if not is_chosen(given):
        raise WrongUsage("Option [describe] takes one of these options: [all-groups], [group]")
    if sum(map(given.has, ("members", "offsets", "state"))) > 1:
        raise WrongUsage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
    if given.value("state"):
        raise WrongUsage("Option [describe] does not take a value for [state]")


def check_positions(given: Given, positions: Sequence[str], *, execution: bool = True) -> None:
    """Raises WrongUsage for two positions, and for what does not say whether to do it."""
    if given.has("dry-run") and given.has("execute"):
        raise WrongUsage("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
    if execution and not given.has("dry-run") and not given.has("execute"):
        raise WrongUsage("Option [reset-offsets] takes the option: [execute] or [dry-run]")
    for position in positions:
        given.exclude(position, *(each for each in positions if each != position))


def require_position(given: Given, positions: Sequence[str]) -> None:
    """Raises WrongUsage for none."""
    if not any(map(given.has, positions)):
        scenarios = ", ".join(f"[{position}]" for position in positions)
        raise WrongUsage(f"Option '[reset-offsets]' requires one of the following scenarios: [{scenarios}]")


def states_of(given: Given, known: Sequence[str]) -> list[str]:
    """Those that --state names. Raises WrongUsage for one that is none."""
    text = given.value("state") or ""
    names = {state.lower(): state for state in known}
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    if any(state not in names for state in wanted):
        raise WrongUsage(f"Invalid state list '{text}'. Valid states are: {', '.join(known)}")
    return [names[state] for state in wanted]


def print_groups(given: Given, states: Sequence[str], ask: Callable[[Sequence[str]], Iterable[GroupListing]]) -> None:
    """Ids, or with --state a table; `ask` lists the groups in some states, or in any."""
    if not given.has("state"):
        for group in ask(()):
            print(group.group_id)
        return
    groups = list(ask(states_of(given, states)))
    width = width_of(group.group_id for group in groups)
    print(f"{'GROUP':<{width}} STATE")
    for group in groups:
        print(f"{group.group_id:<{width}} {group.state}")


def width_of(cells: Iterable[str]) -> int:
    """Of a column: as long as the longest cell, and no less than WIDTH."""
    return max([WIDTH, *map(len, cells)])


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Columns; what there is no width for is as long as it is."""
    return " ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), *row[len(widths) :]])


def print_deletion(kind: str, done: Sequence[str], failed: Mapping[str, PystreamError]) -> None:
    """`kind` as "share group". Leaves by SystemExit where a group could not be deleted."""
    names = ", ".join(f"'{name}'" for name in done)
    if not failed:
        print(f"Deletion of requested {kind}s ({names}) was successful.")
        return
    print(f"\nError: Deletion of some {kind}s failed:")
    for name, error in failed.items():
        said = f"java.lang.IllegalArgumentException: {error}" if isinstance(error, Mistake) else java_text(error)
        print(f"* Group '{name}' could not be deleted due to: {said}")
    if names:
        print(f"\nThese {kind}s were deleted successfully: {names}")
    raise SystemExit(1)


def print_offset_deletion(
    name: str, outcomes: Mapping[TopicPartition, PystreamError | None], places: Sequence[TopicPartition]
) -> None:
    """What became of each partition; of -1 nothing was asked. Leaves by SystemExit where one could not be forgotten."""
    errors = [error for error in outcomes.values() if error is not None]
    told = [error for place, error in outcomes.items() if error is not None and place.partition >= 0]
    if told:
        print(f"\nError: {PARTLY if isinstance(told[0], OF_PARTITIONS) else message(told[0])}")
    else:
        print(f"Request succeeded for deleting offsets from group {name}.")
    rows = [["TOPIC", "PARTITION", "STATUS"]]
    for place in places:
        error = outcomes[place]
        partition = str(place.partition) if place.partition >= 0 else "-"
        rows.append([place.topic, partition, f"Error: {java_text(error)}" if error else "Successful"])
    widths = [width_of(place.topic for place in places), NARROW, WIDTH]
    print("".join(f"\n{line(row, widths)}" for row in rows))
    if errors:
        raise SystemExit(1)


def print_csv(moved: Mapping[str, Mapping[TopicPartition, int]], *, with_group: bool) -> None:
    """What --from-file reads."""
    rows = [
        (*((name,) if with_group else ()), place.topic, str(place.partition), str(offset))
        for name, offsets in moved.items()
        for place, offset in sorted(offsets.items())
    ]
    print("".join(f"{','.join(row)}\n" for row in rows))
