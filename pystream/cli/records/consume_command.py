"""`pystream consume TOPIC...`: records to standard output, as text by a format, as JSON, or as Arrow.

Batches are taken whole and written at once; a record is made into Python objects only where the output needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import click

from pystream.cli.connection import accepted, client_settings, connection_options
from pystream.cli.ending import Terminating
from pystream.cli.failure import report
from pystream.cli.manual import ManualCommand
from pystream.cli.names import LiveNames
from pystream.cli.records.bounds import Bounds, Ends
from pystream.cli.records.reading import RangeReader, standard_output
from pystream.cli.records.text import unescaped
from pystream.cli.records.writers import ArrowWriter, EnvelopeWriter, Format, TextWriter, Writer, columns
from pystream.common.errors import InvalidRequest, PystreamError, UnknownTopicOrPartition
from pystream.common.model import TopicPartition

COMMAND: Final = "pystream consume"


# --- the command ------------------------------------------------------------------------------------------------------


@click.command(
    cls=ManualCommand,
    help="Write the records of topics to standard output: all there are and all that come, or up to an end.",
    notes=(
        "-f: %s value, %S its size, %k key, %K its size, %t topic, %p partition, %o offset, %T timestamp, %h headers, "
        r"%R the value's size as 4 bytes, %% a percent sign; \n \t \0 \x01 are escapes.",
        "-o: beginning, end, N, -N (before the end), s@TIME (from), e@TIME (up to; with another -o). TIME is "
        "milliseconds, an age as -1h, or 2026-11-22T10:00:00Z.",
        "-J names are kcat's; bytes that are no UTF-8 come as key_base64 and payload_base64.",
    ),
    examples=(
        "pystream consume orders -o -10 -e",
        r"pystream consume orders -f '%t [%p] %o %k %T %h\n' -o s@-1h",
        "pystream consume orders -G billing -c 100 -J",
        "pystream consume orders -e -q --arrow > orders.arrows",
    ),
    elsewhere=("kcat -C -t TOPIC", "kafka-console-consumer --topic TOPIC", "rpk topic consume TOPIC"),
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...", shell_complete=LiveNames("topics"))
@click.option("-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Only these.")
@click.option("-o", "--offset", "offsets", multiple=True, help="Where to begin, and e@TIME where to end.")
@click.option("-c", "--count", type=click.IntRange(min=1), help="End after so many records.")
@click.option("-e", "--exit", "to_end", is_flag=True, help="End where the topics end now.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell of ends.")
@click.option("-f", "--format", "format_", help=r"How a record is written; default '%s\n'.")
@click.option("-K", "--key-delimiter", help="Write the key and this before the value.")
@click.option("-D", "--delimiter", default=r"\n", help="Written after each record, without -f.")
@click.option("-Z", "--null", help="What stands for null; default nothing.", metavar="TEXT")
@click.option("-J", "--json", "as_json", is_flag=True, help="A JSON envelope for each record, one a line.")
@click.option("--arrow", is_flag=True, help="An Arrow IPC stream.")
@click.option("-G", "--group", help="As a member of this group, which goes on where it was.")
@click.option("-r", "--regex", is_flag=True, help="TOPIC is a regular expression; needs -G.")
@click.option("--committed", is_flag=True, help="Only what is committed, nothing of open and aborted transactions.")
def consume(**given: Any) -> None:
    """Read; 0 when it came to the end that was asked for."""
    raise SystemExit(run(given))


consume.params += connection_options()


def run(given: dict[str, Any]) -> int:
    """The exit code."""
    out = standard_output()
    try:
        bounds = Bounds.parse(given["offsets"], to_end=given["to_end"])
        writer = writer_of(given, out)
        with Terminating():
            (_read_group if given["group"] else _read)(given, bounds, writer, out)
            writer.close()
    except (PystreamError, OSError) as error:
        return report(COMMAND, error)
    return 0


def _read(given: dict[str, Any], bounds: Bounds, writer: Writer, out: BinaryIO) -> None:
    from pystream.client.sync.consumer import Consumer

    if given["regex"]:
        raise InvalidRequest("-r needs a group: -G GROUP")
    settings = consumer_settings(given)
    partitions = partitions_of(settings, given["topics"], given["partitions"])
    with Consumer(settings) as consumer:
        consumer.assign(partitions)
        bounds.seek(consumer, partitions)
        reader = RangeReader(consumer, writer, out, given["count"], quiet=given["quiet"])
        if bounds.is_bounded:
            reader.run_to(Ends.of(bounds, consumer, partitions))
        else:
            reader.run_on()


def _read_group(given: dict[str, Any], bounds: Bounds, writer: Writer, out: BinaryIO) -> None:
    from pystream.client.sync.consumer import Consumer

    if given["partitions"] or bounds.end_ms is not None:
        raise InvalidRequest("a group is given its partitions and has no end in time: leave -p and e@ out")
    settings = {**consumer_settings(given), "group.id": given["group"]}
    settings["auto.offset.reset"] = bounds.reset_policy()
    if not given["regex"]:
        partitions_of(settings, given["topics"], ())
    with Consumer(settings) as consumer:
        if given["regex"]:
            consumer.subscribe(pattern="|".join(given["topics"]))
        else:
            consumer.subscribe(given["topics"])
        reader = RangeReader(consumer, writer, out, given["count"], quiet=given["quiet"])
        if bounds.to_end:
            reader.run_group()
        else:
            reader.run_on()


def consumer_settings(given: dict[str, Any]) -> dict[str, str]:
    """With what the options say of the consumer; without a group nothing is committed."""
    settings = client_settings(given)
    if given["committed"]:
        settings["isolation.level"] = "read_committed"
    if not given["group"]:
        settings.pop("group.id", None)
        settings["enable.auto.commit"] = "false"
    return settings


def partitions_of(settings: dict[str, str], topics: Sequence[str], chosen: Sequence[int]) -> list[TopicPartition]:
    """All partitions, or those chosen, of each topic. Raises UnknownTopicOrPartition."""
    from pystream.client.config import AdminConfig
    from pystream.client.sync.admin import AdminClient

    with AdminClient(accepted(settings, AdminConfig)) as admin:
        described = admin.describe_topics(topics).checked()
    found = []
    for topic in dict.fromkeys(topics):
        there = [each.partition for each in described[topic].partitions]
        if missing := sorted(set(chosen) - set(there)):
            raise UnknownTopicOrPartition(f"topic {topic!r} has no partition {', '.join(map(str, missing))}")
        found += [TopicPartition(topic, number) for number in sorted(set(chosen) or there)]
    return found


def writer_of(given: dict[str, Any], out: BinaryIO) -> Writer:
    """Raises InvalidRequest where the options contradict one another."""
    ways = [
        name
        for name, wanted in (
            ("-f", given["format_"] is not None),
            ("-J", given["as_json"]),
            ("--arrow", given["arrow"]),
            ("-K", given["key_delimiter"] is not None),
        )
        if wanted
    ]
    if len(ways) > 1:
        raise InvalidRequest(f"give one of {' and '.join(ways)}")
    if given["arrow"]:
        return ArrowWriter(out)
    if given["as_json"]:
        return EnvelopeWriter(out)
    null = b"" if given["null"] is None else given["null"].encode()
    if given["format_"] is not None:
        return TextWriter(out, Format.parse(given["format_"]), columns(null))
    parts: list[bytes | str] = ["s", unescaped(given["delimiter"])]
    if given["key_delimiter"] is not None:
        parts = ["k", unescaped(given["key_delimiter"]), *parts]
    return TextWriter(out, Format.of(parts), columns(null))
