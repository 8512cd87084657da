"""`pystream produce TOPIC [FILE]...`: records from standard input or files into a topic.

Reading and sending overlap; what was sent is bounded by the producer's memory, and what is not acknowledged yet by
UNSETTLED calls. The first record that fails ends the command.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pystream.cli.connection import client_settings, connection_options, timeout_ms_of
from pystream.cli.ending import Terminating
from pystream.cli.failure import report
from pystream.cli.manual import ManualCommand
from pystream.cli.names import LiveNames
from pystream.cli.progress import progress
from pystream.cli.records.sources import COLUMNAR, FORMATS, Reading, Rows, rows_of
from pystream.cli.records.text import unescaped
from pystream.common.errors import InvalidRequest, MalformedInput, PystreamError

if TYPE_CHECKING:
    from pystream.client.producer.batch_delivery import BatchDelivery
    from pystream.client.sync.producer import Producer

COMMAND: Final = "pystream produce"
STANDARD_INPUT: Final = "-"
UNSETTLED: Final = 64  # calls whose records may be under way
DEFAULTS: Final = {"batch.size": str(256 << 10), "linger.ms": "5"}  # a pipe is no service: fuller batches


@dataclass(slots=True)
class Sent:
    """What was acknowledged: of each partition how many records, and the first and last offset."""

    records: int = 0
    partitions: dict[int, list[int]] = field(default_factory=dict)

    def add(self, partition: int, first_offset: int, count: int) -> None:
        self.records += count
        seen = self.partitions.setdefault(partition, [0, first_offset, first_offset])
        seen[0] += count
        seen[1] = min(seen[1], first_offset)
        seen[2] = max(seen[2], first_offset + count - 1)

    def as_json(self, topic: str) -> dict[str, Any]:
        return {
            "topic": topic,
            "records": self.records,
            "partitions": [
                {"partition": partition, "records": count, "first_offset": first, "last_offset": last}
                for partition, (count, first, last) in sorted(self.partitions.items())
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where records go, and what each of them gets."""

    topic: str
    partition: int | None = None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def send_all(producer: Producer, target: Target, chunks: Iterator[Rows], sent: Sent) -> None:
    """Send every row and wait for the last; `sent` counts what was acknowledged, whatever is raised."""
    under_way: deque[BatchDelivery] = deque()
    try:
        for rows in chunks:
            under_way.append(_send(producer, target, rows))
            while under_way and (len(under_way) > UNSETTLED or under_way[0].done()):
                _settle(under_way.popleft(), sent)
        producer.flush()
    finally:
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            _settle_rest(under_way, sent)


def _settle_rest(under_way: deque[BatchDelivery], sent: Sent) -> None:
    """All of them, then the first error of any: what came after it may well have been written."""
    first: BaseException | None = None
    while under_way:
        try:
            _settle(under_way.popleft(), sent)
        except PystreamError as error:
            first = first or error
    if first is not None and sys.exc_info()[0] is None:
        raise first


def _send(producer: Producer, target: Target, rows: Rows) -> BatchDelivery:
    count = len(rows.values)
    keys = rows.keys if rows.keys is not None or target.key is None else [target.key] * count
    headers: Any = rows.headers
    if target.headers:
        own = rows.headers or [[]] * count
        headers = [[*each, *target.headers] for each in own]
    return producer.send_batch(target.topic, rows.values, keys, headers, rows.timestamps, target.partition)


def _settle(delivery: BatchDelivery, sent: Sent) -> None:
    error = delivery.exception()
    for span in delivery.spans():
        if span.error is None:
            sent.add(span.partition, span.first_offset, span.record_count)
    if error is not None:
        raise error


# --- the command ------------------------------------------------------------------------------------------------------


@click.command(
    cls=ManualCommand,
    help="Write records to a topic: a line of standard input or of files each, or as --format says.",
    notes=(
        "Formats: lines; raw (a file is a record); json (envelopes, as `pystream consume -J` writes them); ndjson, "
        "csv, arrow and parquet, whose rows are written as JSON objects, or --value-column alone.",
        r"-K and -D take \n, \t, \0 and \x01 as escapes. Records without a key go to partitions in turn.",
    ),
    examples=(
        "echo 'c0001:12.50' | pystream produce payments -K :",
        "pystream produce payments card-payments.csv --format csv --key-column card",
        "pystream consume payments -e -q -J | pystream produce copies --format json",
        "pystream produce logs /var/log/syslog -H source=syslog -z zstd --json",
    ),
    elsewhere=("kcat -P -t TOPIC", "kafka-console-producer --topic TOPIC", "rpk topic produce TOPIC"),
)
@click.argument("topic", shell_complete=LiveNames("topics"))
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--format", "format_", type=click.Choice(FORMATS), default="lines", show_default=True, help="See below.")
@click.option("-p", "--partition", type=click.IntRange(min=0), help="To this partition only.")
@click.option("-k", "--key", help="The key of every record.")
@click.option("-K", "--key-delimiter", help="The key of a record comes before this, its value behind.")
@click.option("-D", "--delimiter", default=r"\n", show_default=True, help="Between records.")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Of every record; may be repeated."
)
@click.option("-Z", "--empty-is-null", is_flag=True, help="Empty values and keys are null: a tombstone.")
@click.option("-z", "--compression", type=click.Choice(("none", "gzip", "snappy", "lz4", "zstd")), help="Codec.")
@click.option(
    "--acks", type=click.Choice(("all", "1", "0")), default="all", show_default=True, help="Who must have it."
)
@click.option("--key-column", metavar="NAME", help="Of formats with columns: the key.")
@click.option("--value-column", metavar="NAME", help="Of formats with columns: the value, instead of the whole row.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, and no sum at the end.")
@click.option("--json", "as_json", is_flag=True, help="What was written, as JSON on standard output, be it nothing.")
def produce(**given: Any) -> None:
    """Send; 0 when all was acknowledged."""
    raise SystemExit(run(given))


produce.params += connection_options()


def run(given: dict[str, Any]) -> int:
    """The exit code."""
    sent = Sent()
    settings = {**DEFAULTS, **producer_settings(given)}
    try:
        target, reading = target_of(given), reading_of(given)
        from pystream.client.sync.producer import Producer

        with Terminating(), Producer(settings) as producer:
            producer.partitions(target.topic)  # an unknown topic, or no broker, is told before anything is read
            with ExitStack() as streams:
                _send_streams(producer, target, reading, given, sent, streams)
    except (PystreamError, OSError) as error:
        said = sent.records or isinstance(error, MalformedInput)
        written = f"; {sent.records} records are written" if said else ""
        if given["as_json"]:
            tell(sent, given["topic"], as_json=True, quiet=True)
        return report(COMMAND, error, more=written)
    tell(sent, target.topic, as_json=given["as_json"], quiet=given["quiet"])
    return 0


def _send_streams(
    producer: Producer, target: Target, reading: Reading, given: dict[str, Any], sent: Sent, streams: ExitStack
) -> None:
    files: Sequence[Path] = given["files"]
    sizes = sum(file.stat().st_size for file in files) if files else None
    quiet = given["quiet"] or (not files and sys.stdin.isatty())
    advance = streams.enter_context(progress(f"to {target.topic}", sizes, quiet=quiet))
    send_all(producer, target, _chunks(files, reading, advance), sent)


def _chunks(files: Sequence[Path], reading: Reading, advance: Callable[[int], object]) -> Iterator[Rows]:
    if not files:
        yield from rows_of(sys.stdin.buffer, reading, advance)
    for file in files:
        with file.open("rb") as stream:
            yield from _named(file, rows_of(stream, reading, advance))


def _named(file: Path, chunks: Iterator[Rows]) -> Iterator[Rows]:
    """Errors say of which file they are."""
    try:
        yield from chunks
    except PystreamError as error:
        raise type(error)(f"{file}: {error}") from None


def target_of(given: dict[str, Any]) -> Target:
    """Raises InvalidRequest."""
    pairs: list[tuple[str, bytes | None]] = []
    for text in given["headers"]:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidRequest(f"-H wants NAME=VALUE, got {text!r}")
        pairs.append((name, value.encode() if equals else None))
    key = None if given["key"] is None else given["key"].encode()
    return Target(topic=given["topic"], partition=given["partition"], key=key, headers=tuple(pairs))


def reading_of(given: dict[str, Any]) -> Reading:
    """Raises InvalidRequest for options that contradict one another."""
    kind = given["format_"]
    columns = [f"--{name}-column" for name in ("key", "value") if given[f"{name}_column"] is not None]
    if columns and kind not in COLUMNAR:
        raise InvalidRequest(f"{columns[0]} needs a format with columns: {', '.join(COLUMNAR)}")
    delimiter = unescaped(given["delimiter"])
    if not delimiter:
        raise InvalidRequest("-D must not be empty; --format raw takes the input as one record")
    if given["key_delimiter"] is not None and kind not in ("lines", "raw"):
        raise InvalidRequest(f"-K is for lines; the key of --format {kind} is a column or a field")
    if given["key_delimiter"] == "":
        raise InvalidRequest("-K must not be empty")
    return Reading(
        format=kind,
        delimiter=delimiter,
        key_delimiter=None if given["key_delimiter"] is None else unescaped(given["key_delimiter"]),
        empty_is_null=given["empty_is_null"],
        key_column=given["key_column"],
        value_column=given["value_column"],
    )


def producer_settings(given: dict[str, Any]) -> dict[str, str]:
    """With what the options say of the producer; -X says more."""
    settings = client_settings(given)
    settings.setdefault("max.block.ms", str(timeout_ms_of(given)))
    if given["acks"] != "all":
        settings["acks"] = given["acks"]
    if given["compression"] is not None:
        settings["compression.type"] = given["compression"]
    return settings


def tell(sent: Sent, topic: str, *, as_json: bool, quiet: bool) -> None:
    """The sum: as JSON where it was asked for, else to whoever looks at the terminal."""
    if as_json:
        print(json.dumps(sent.as_json(topic)))
    elif not quiet and sys.stderr.isatty():
        print(f"{sent.records} records to {len(sent.partitions)} partitions of {topic}", file=sys.stderr)
