"""`kafka-streams-application-reset`, as Kafka's StreamsResetter: an application of Kafka Streams begins anew.

Its group goes back in the input topics, to their ends in intermediate topics, and its internal topics are deleted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.groups.moves import INTERNAL, ago_ms, at_time, listed, plan_of, within
from pystream.cli.kafka.groups.resetting import timestamp_of
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, former, value
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import admin_client, serve
from pystream.client.admin.groups import GroupDescription
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.common.errors import GroupIdNotFound, PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

POSITIONS: Final = ("to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by")
TOOL: Final = Tool(
    "kafka-streams-application-reset",
    "This tool helps to quickly reset an application in order to reprocess its data from scratch. It does not delete "
    "output topics, nor local state: call KafkaStreams#cleanUp() or delete state.dir, or what comes out will be wrong.",
    (
        value("application-id", "REQUIRED: The Kafka Streams application ID (application.id).", "id"),
        value("bootstrap-server", "The server(s) to connect to.", "server to connect to", str, "localhost:9092"),
        value(
            "input-topics", "Topics to read again, from their beginning unless said otherwise.", "list", separator=","
        ),
        value("intermediate-topics", "[deprecated] Topics to go on with at their ends.", "list", separator=","),
        value("internal-topics", "Of the internal topics, the ones to delete; else all.", "list", separator=","),
        value("to-offset", "Reset offsets to a specific offset.", "Long", int),
        value("to-datetime", "To the first record at or after YYYY-MM-DDThh:mm:ss.sss.", "String"),
        value("by-duration", "So long ago, PnDTnHnMnS.", "String"),
        flag("to-earliest", "Reset offsets to earliest offset."),
        flag("to-latest", "Reset offsets to latest offset."),
        value("from-file", "A CSV file of TOPIC,PARTITION,OFFSET.", "String"),
        value("shift-by", "So far from where the group stands.", "number-of-offsets", int),
        value("command-config", "Properties of the admin client.", "file name"),
        former("config-file", "command-config", "file name"),
        flag("force", "Remove members that are still in the group."),
        flag("dry-run", "Only show what would be done."),
    ),
    unasked="Missing required option(s) [application-id]",
    renamed="Option --{} has been deprecated and will be removed in a future version. Use --{} instead.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="ERROR: ")


def work(given: Given) -> None:
    if not given.has("application-id"):
        raise WrongUsage("Missing required option(s) [application-id]")
    for position in POSITIONS:
        given.exclude(position, *(each for each in POSITIONS if each != position))
    settings = load(given.value("command-config"))
    with admin_client(given.value("bootstrap-server"), settings) as admin:
        _remove_members(admin, given)
        there = list(admin.list_topics())
        if given.has("dry-run"):
            print("----Dry run displays the actions which will be performed when running Streams Reset Tool----")
        all_found = _reset_offsets(admin, given, there)
        _delete_internal(admin, given, there)
    if not all_found:
        raise SystemExit(1)


def _remove_members(admin: AdminClient, given: Given) -> None:
    name = given.value("application-id")
    described = admin.describe_consumer_groups([name])[name]
    if isinstance(described, GroupIdNotFound):
        return
    if isinstance(described, PystreamError):
        raise described
    assert isinstance(described, GroupDescription)
    if not described.members:
        return
    if given.has("force"):
        print(f"Force deleting all active members in the group: {name}")
        admin.remove_members_from_consumer_group(name).checked()
        return
    members = ", ".join(f"(memberId={each.member_id}, clientId={each.client_id})" for each in described.members)
    raise Mistake(
        f"java.lang.IllegalStateException: Consumer group '{name}' is still active and has following members: "
        f"[{members}]. Make sure to stop all running application instances before running the reset tool. You can use "
        "option '--force' to remove active members from the group."
    )


# --- offsets ----------------------------------------------------------------------------------------------------------


def _reset_offsets(admin: AdminClient, given: Given, there: Sequence[str]) -> bool:
    """Whether all topics that were named are there."""
    named = {kind: list(dict.fromkeys(given.values(f"{kind}-topics"))) for kind in ("input", "intermediate")}
    if given.has("intermediate-topics"):
        print("WARN: `--intermediate-topics` is deprecated and will be removed in a future release")
    if not any(named.values()):
        print("No input or intermediate topics specified. Skipping seek.")
        return True
    for kind, words in (("input", "Reset-offsets for input"), ("intermediate", "Seek-to-end for intermediate")):
        if named[kind]:
            print(f"{words} topics [{', '.join(named[kind])}]")
    missing = {kind: [topic for topic in topics if topic not in there] for kind, topics in named.items()}
    for kind, topics in missing.items():
        if topics:
            print(f"Following {kind} topics are not found, skipping them")
            for topic in topics:
                print(f"Topic: {topic}" if kind == "input" else f"Topic:{topic}")
    inputs, ends = (
        _partitions(admin, [topic for topic in named[kind] if topic in there]) for kind in ("input", "intermediate")
    )
    if inputs or ends:
        offsets = _print_inputs(admin, given, inputs) if inputs else {}
        if ends:
            offsets |= _print_ends(admin, given, ends)
        if not given.has("dry-run"):
            admin.alter_consumer_group_offsets(given.value("application-id"), offsets).checked()
        print("Done.")
    return not any(missing.values())


def _partitions(admin: AdminClient, topics: Sequence[str]) -> list[TopicPartition]:
    described = admin.describe_topics(topics).checked()
    return [TopicPartition(topic, each.partition) for topic in topics for each in described[topic].partitions]


def _print_ends(admin: AdminClient, given: Given, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    group = given.value("application-id")
    print(f"Following intermediate topics offsets will be reset to end (for consumer group {group})")
    for place in places:
        print(f"Topic: {place.topic}")
    return listed(admin, places, LATEST)


def _print_inputs(admin: AdminClient, given: Given, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    group = given.value("application-id")
    print(f"Following input topics offsets will be reset to (for consumer group {group})")
    try:
        offsets = _new_offsets(admin, given, places)
    except WrongUsage as error:
        raise Mistake(str(error)) from None
    except Mistake:
        print("ERROR: Resetting offsets failed.", file=sys.stderr)
        raise
    for place in places:
        print(f"Topic: {place.topic} Partition: {place.partition} Offset: {offsets[place]}")
    return offsets


def _new_offsets(admin: AdminClient, given: Given, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    if given.has("to-datetime"):
        return at_time(admin, places, timestamp_of(given.value("to-datetime")))
    if given.has("by-duration"):
        return at_time(admin, places, time.time_ns() // 1_000_000 - ago_ms(given.value("by-duration")))
    if given.has("to-latest"):
        return listed(admin, places, LATEST)
    if given.has("to-offset"):
        return within(admin, dict.fromkeys(places, given.value("to-offset")))
    if given.has("shift-by"):
        group = given.value("application-id")
        ends = listed(admin, places, LATEST)
        committed = admin.list_consumer_group_offsets([group]).result(group)
        stands = {place: committed[place].offset if place in committed else ends[place] for place in places}
        return within(admin, {place: offset + given.value("shift-by") for place, offset in stands.items()})
    if given.has("from-file"):
        plan = plan_of(given.value("from-file"))
        absent = [str(place) for place in places if place not in plan]
        if absent:
            raise Mistake(f"the file says nothing of {', '.join(absent)}")
        return within(admin, {place: plan[place] for place in places})
    return listed(admin, places, EARLIEST)


# --- internal topics --------------------------------------------------------------------------------------------------


def _delete_internal(admin: AdminClient, given: Given, there: Sequence[str]) -> None:
    prefix = f"{given.value('application-id')}-"
    users = {*given.values("input-topics"), *given.values("intermediate-topics")}
    inferred = [
        topic for topic in there if topic.startswith(prefix) and INTERNAL.fullmatch(topic) and topic not in users
    ]
    topics = given.values("internal-topics")
    if any(topic not in inferred for topic in topics):
        raise Mistake(
            "java.lang.IllegalArgumentException: Invalid topic specified in the --internal-topics option. Ensure that "
            "the topics specified are all internal topics. Do a dry run without the --internal-topics option to see "
            "the list of all internal topics that can be deleted."
        )
    meant = topics or inferred
    print(f"Deleting {'specified' if topics else 'inferred'} internal topics [{', '.join(meant)}]")
    if not given.has("dry-run") and meant:
        failed = admin.delete_topics(meant).failed
        for topic, error in failed.items():
            print(f"ERROR: deleting topic {topic}\n{java_text(error)}", file=sys.stderr)
        if failed:
            raise Mistake("java.lang.RuntimeException: Encountered an error deleting one or more topics")
    print("Done.")


if __name__ == "__main__":
    main()
