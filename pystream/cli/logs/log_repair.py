"""`pystream logs verify`, `pystream logs repair`: what an operator does about damaged logs of a stopped broker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pystream.cli.failure import sentence
from pystream.cli.manual import ManualCommand
from pystream.cli.progress import progress
from pystream.common.errors import NotFound, PystreamError
from pystream.common.model import TopicPartition
from pystream.storage.checkpoints import META_PROPERTIES
from pystream.storage.repair.salvage import salvage
from pystream.storage.repair.verification import (
    LOST_AND_FOUND,
    PartitionReport,
    cut_at_damage,
    held,
    partitions_of,
    verify_partition,
)

EXIT_CODES = "0 done, or nothing is damaged; 1 damage was found, or it did not work; 2 wrong usage, or not there."
UNCHANGED = "nothing is damaged, nothing was changed"


def chosen(data_dir: Path, partitions: Sequence[str]) -> list[TopicPartition]:
    """The partitions named as TOPIC-NUMBER or TOPIC; all when none is named. Raises NotFound for what is not there."""
    there = partitions_of(data_dir)
    if not there and not (data_dir / META_PROPERTIES).exists():
        inside = data_dir / "broker"  # where `pystream up` has it
        hint = f"; did you mean {inside}?" if (inside / META_PROPERTIES).exists() else ""
        raise NotFound(f"{data_dir} is not the data directory of a broker{hint}")
    if not partitions:
        return there
    for wanted in partitions:
        if not any(wanted in (name.topic, str(name)) for name in there):
            raise NotFound(f"{data_dir} holds no partition of {wanted}")
    return [name for name in there if {name.topic, str(name)} & set(partitions)]


def describe(report: PartitionReport) -> list[str]:
    """One line, and one for each fault."""
    state = "DAMAGED" if report.is_damaged else "torn tail" if report.faults else "ok"
    gaps = f", {report.gaps} offsets without a record" if report.gaps else ""
    lines = [
        f"{report.name}: {state}; offsets {report.start_offset} to {report.end_offset}, {report.records} records in "
        f"{report.batches} batches and {report.segments} segments, {report.size_bytes} bytes{gaps}"
    ]
    for fault in report.faults:
        behind = "nothing valid follows"
        if fault.valid_again_at is not None:
            behind = f"valid again at position {fault.valid_again_at}"
        lines.append(
            f"  {fault.segment:020d}.log, position {fault.position} of {fault.file_bytes}, "
            f"offset {fault.offset}: {fault.reason}; {behind}"
        )
    return lines


@click.command(
    cls=ManualCommand,
    help="Read logs from end to end and say what is damaged; changes nothing. Exit code 1 for damage.",
    examples=("pystream logs verify ./data/broker orders --records",),
    exit_codes=EXIT_CODES,
)
@click.argument("data_dir", type=click.Path(path_type=Path, file_okay=False))
@click.argument("partitions", nargs=-1, metavar="[TOPIC | TOPIC-NUMBER]...")
@click.option("--records", is_flag=True, help="Decompress batches and check every record in them, too.")
@click.option("--compacted", is_flag=True, help="Offsets may be missing, as compaction leaves them.")
def verify(data_dir: Path, partitions: tuple[str, ...], records: bool, compacted: bool) -> None:
    damaged = 0
    try:
        names = chosen(data_dir, partitions)
        with held(data_dir), progress("verifying", len(names), unit="partitions") as advance:
            for name in names:
                report = verify_partition(data_dir, name, records=records, compacted=compacted)
                damaged += report.is_damaged
                click.echo("\n".join(describe(report)))
                advance(1)
    except BrokenPipeError:
        raise  # see `ending`
    except (PystreamError, OSError) as error:
        print(f"pystream logs verify: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, NotFound) else 1) from None
    click.echo(f"{len(names)} partitions read, {damaged} damaged")
    if damaged:
        raise SystemExit(1)


@click.command(
    cls=ManualCommand,
    help="Make a damaged partition writable again. What goes is kept in lost+found/ of the directory.",
    examples=("pystream logs repair ./data/broker orders-0 --truncate",),
    exit_codes=EXIT_CODES,
)
@click.argument("data_dir", type=click.Path(path_type=Path, file_okay=False))
@click.argument("partition", metavar="TOPIC-NUMBER")
@click.option("--truncate", is_flag=True, help="End the log before its first damaged batch.")
@click.option("--salvage", "salvages", is_flag=True, help="Keep every batch that is whole, at its offset.")
@click.option("--compacted", is_flag=True, help="Offsets may be missing, as compaction leaves them.")
def repair(data_dir: Path, partition: str, truncate: bool, salvages: bool, compacted: bool) -> None:
    if truncate == salvages:
        raise click.UsageError("give one of --truncate and --salvage")
    try:
        names = [name for name in chosen(data_dir, [partition]) if str(name) == partition]
        if not names:
            raise NotFound(f"{data_dir} holds no partition {partition}; name one partition, as TOPIC-NUMBER")
        lines = (_salvaged if salvages else _truncated)(data_dir, names[0], compacted)
    except (PystreamError, OSError) as error:
        print(f"pystream logs repair: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, NotFound) else 1) from None
    click.echo("\n".join(lines))


def _truncated(data_dir: Path, name: TopicPartition, compacted: bool) -> list[str]:
    report, cut_bytes = cut_at_damage(data_dir, name, compacted=compacted)
    if cut_bytes == 0:
        return [*describe(report), UNCHANGED]
    kept = data_dir / LOST_AND_FOUND / str(name)
    return [*describe(report), f"cut {cut_bytes} bytes at the first damage; they are kept in {kept}"]


def _salvaged(data_dir: Path, name: TopicPartition, compacted: bool) -> list[str]:
    result = salvage(data_dir, name, compacted=compacted)
    if result.segments == 0:
        return [*describe(result.report), UNCHANGED]
    kept = data_dir / LOST_AND_FOUND / str(name)
    return [
        *describe(result.report),
        f"{result.segments} segments written anew; {result.dropped_bytes} bytes and {result.lost_offsets} offsets are "
        f"lost, {result.stamped} batches had their offset or leader epoch put right; the old segments are in {kept}",
    ]
