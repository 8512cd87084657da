"""`pystream bench produce | consume | round-trip`: how fast a cluster is, measured with our own client."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from pystream.cli.connection import client_settings, connection_options
from pystream.cli.ending import Terminating
from pystream.cli.failure import report
from pystream.cli.live.load import Advance, Figures, consume, produce, round_trip, topic_for
from pystream.cli.manual import ManualCommand
from pystream.cli.names import LiveNames
from pystream.cli.output import DOCUMENTS, FORMATS, Layout, write
from pystream.cli.progress import progress
from pystream.common.errors import PystreamError

COLUMNS: Final = (
    *("test", "records", "seconds", "records_per_second", "mb_per_second", "cpu_us_per_record"),
    *("p50_ms", "p99_ms", "p999_ms", "max_ms"),
)
LAYOUT: Final = Layout(row=Figures, columns=COLUMNS, single=True)
PRODUCER: Final = {"batch.size": str(256 << 10)}
NOTE: Final = (
    "Without TOPIC one is made, and deleted at the end. -X sets the client: -X acks=1, -X compression.type=lz4."
)


@click.group(help="Measure a cluster: write, read, send round.", no_args_is_help=True)
def bench() -> None:
    """The noun; its verbs follow."""


def _options(command: click.Command) -> click.Command:
    command.params += [
        click.Option(["-o", "--output", "output_format"], type=click.Choice(FORMATS), default="table", help="Format."),
        click.Option(["--json", "as_json"], is_flag=True, help="The same as -o json."),
        click.Option(["-q", "--quiet"], is_flag=True, help="No progress."),
        *connection_options(),
    ]
    bench.add_command(command)
    return command


def topic_argument(required: bool) -> Callable[[Any], Any]:
    return click.argument("topic", required=required, shell_complete=LiveNames("topics"))


def count_option(default: int) -> Callable[[Any], Any]:
    kind = click.IntRange(min=1)
    return click.option("-n", "--records", "count", type=kind, default=default, show_default=True, help="How many.")


def size_option(command: Any) -> Any:
    kind = click.IntRange(min=0)
    named = click.option("-s", "--size", "size_bytes", type=kind, default=100, show_default=True, help="Bytes of each.")
    return named(command)


@_options
@click.command(
    "produce",
    cls=ManualCommand,
    help="Write records as fast as they go, or at a rate.",
    notes=(NOTE,),
    examples=("pystream bench produce -n 1000000 -s 100", "pystream bench produce orders --rate 5000 --json"),
    elsewhere=("kafka-producer-perf-test",),
)
@topic_argument(required=False)
@click.option(
    "-n", "--records", "count", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="How many."
)
@click.option(
    "-s", "--size", "size_bytes", type=click.IntRange(min=0), default=100, show_default=True, help="Bytes of each."
)
@click.option(
    "-p", "--partitions", type=click.IntRange(min=1), default=1, show_default=True, help="Of a topic made for it."
)
@click.option("--rate", type=click.IntRange(min=1), help="At most so many a second.")
@click.option("--one-by-one", is_flag=True, help="With a call for each record, instead of one for a thousand.")
def produce_command(**given: Any) -> None:
    def work(settings: dict[str, str], advance: Advance) -> Figures:
        with topic_for(settings, given["topic"], given["partitions"]) as topic:
            return produce(
                {**PRODUCER, **settings},
                topic,
                count=given["count"],
                size_bytes=given["size_bytes"],
                rate=given["rate"],
                one_by_one=given["one_by_one"],
                advance=advance,
            )

    raise SystemExit(_run("produce", given, given["count"], work))


@_options
@click.command(
    "consume",
    cls=ManualCommand,
    help="Read a topic from its beginning, as fast as it comes.",
    notes=("-X sets the client: -X fetch.max.bytes=1048576.",),
    examples=("pystream bench consume orders", "pystream bench consume orders -n 1000000 --one-by-one --json"),
    elsewhere=("kafka-consumer-perf-test",),
)
@topic_argument(required=True)
@click.option("-n", "--records", "count", type=click.IntRange(min=1), help="How many; all there are without.")
@click.option("--one-by-one", is_flag=True, help="With a Python object for each record, instead of columns.")
def consume_command(**given: Any) -> None:
    def work(settings: dict[str, str], advance: Advance) -> Figures:
        return consume(settings, given["topic"], count=given["count"], one_by_one=given["one_by_one"], advance=advance)

    raise SystemExit(_run("consume", given, given["count"], work))


@_options
@click.command(
    "round-trip",
    cls=ManualCommand,
    help="Send records one by one, each when the last has come back.",
    notes=(NOTE,),
    examples=("pystream bench round-trip -n 1000", "pystream bench round-trip orders -s 1000 --json"),
    elsewhere=("kafka-e2e-latency",),
)
@topic_argument(required=False)
@click.option(
    "-n", "--records", "count", type=click.IntRange(min=1), default=1_000, show_default=True, help="How many."
)
@click.option(
    "-s", "--size", "size_bytes", type=click.IntRange(min=0), default=100, show_default=True, help="Bytes of each."
)
def round_trip_command(**given: Any) -> None:
    def work(settings: dict[str, str], advance: Advance) -> Figures:
        with topic_for(settings, given["topic"], 1) as topic:
            return round_trip(
                settings,
                topic,
                count=given["count"],
                size_bytes=given["size_bytes"],
                timeout=given["timeout"],
                advance=advance,
            )

    raise SystemExit(_run("round-trip", given, given["count"], work))


def _run(
    test: str, given: dict[str, Any], total: int | None, work: Callable[[dict[str, str], Advance], Figures]
) -> int:
    """The exit code; figures go to standard output."""
    output_format = "json" if given["as_json"] else given["output_format"]
    try:
        with Terminating(), progress(test, total, unit="records", quiet=given["quiet"]) as advance:
            figures = work(client_settings(given), advance)
    except PystreamError as error:
        if output_format in DOCUMENTS:
            write(LAYOUT, [], output_format, sys.stdout)
        return report(f"pystream bench {test}", error)
    write(LAYOUT, [figures], output_format, sys.stdout)
    return 0
