"""`pystream logs dump`: what the files of a partition hold, one entry a line. A broker may have them open."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from pystream.cli.failure import report
from pystream.cli.manual import ManualCommand
from pystream.common.errors import NotFound, PystreamError
from pystream.storage.repair.dump import KINDS, Entry, entries

COMMAND = "pystream logs dump"


@click.command(
    cls=ManualCommand,
    help="Print what segments, indexes and snapshots hold, entry by entry. Changes nothing.",
    notes=(
        f"PATH is a file ({', '.join(f'*{kind}' for kind in KINDS)}), or a partition's directory: all its segments.",
    ),
    examples=(
        "pystream logs dump data/orders-0/00000000000000000000.log --records",
        "pystream logs dump data/orders-0 --json -n 100",
    ),
    elsewhere=("kafka-dump-log --files FILE --print-data-log",),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, exists=True))
@click.option("-r", "--records", is_flag=True, help="Of segments the records in each batch, too.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="At most so many entries of each file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def dump(paths: tuple[Path, ...], records: bool, count: int | None, as_json: bool) -> None:
    try:
        for file in _files(paths):
            _print(file, islice(entries(file, records=records), count), as_json)
    except (PystreamError, OSError) as error:
        raise SystemExit(report(COMMAND, error)) from None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Raises NotFound for a directory without segments."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        segments = sorted(path.glob("*.log"))
        if not segments:
            raise NotFound(f"{path} holds no segment; name the directory of a partition, or files")
        yield from segments


def _print(file: Path, found: Iterable[Entry], as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(f"{json.dumps({'file': file.name, **_plain(entry)})}\n" for entry in found)
        return
    sys.stdout.write(f"{file}\n")
    sys.stdout.writelines(
        f"{' '.join(f'{name}: {_shown(value)}' for name, value in entry.items())}\n" for entry in found
    )


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return ",".join(f"{name}={_shown(each)}" for name, each in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else str(value)


def _plain(entry: Entry) -> Entry:
    """As JSON has it: bytes as text; headers as `consume -J` has them, names and values in one list."""

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [each for name, content in value for each in (name, text(content))]
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value

    return {name: text(value) for name, value in entry.items()}
