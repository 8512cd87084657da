"""Kafka's own reading of a log directory: `kafka-dump-log`, run and parsed.

The tool prints one line per batch, one per record below it, one per index entry or producer, and its complaints.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.conformance import java

DUMP_SECONDS = 120
# what the tool prints when a file and its index, or a file and itself, do not agree
COMPLAINTS = re.compile(
    r"mismatch|out of order|non-consecutive|invalid bytes|failed|exception|isvalid: false", re.IGNORECASE
)
_FIELD = re.compile(r"(\w+): (\S+)")
_RECORD = re.compile(
    r"\| offset: (\d+) CreateTime: (-?\d+) keySize: (-?\d+) valueSize: (-?\d+).*? headerKeys: \[(.*?)\]"
    r"(?: key: (\S*))?(?: payload: (\S*))?$"
)


class DumpedRecord(NamedTuple):
    """Text as the tool prints it: UTF-8. A null key or value is None."""

    offset: int
    timestamp_ms: int
    key: str | None
    value: str | None
    header_names: tuple[str, ...]


class Dump(NamedTuple):
    batches: list[dict[str, str]]
    records: list[DumpedRecord]


def run(*options: str, files: list[Path]) -> str:
    """The tool's output. Fails when it complains about what it reads."""
    assert files
    command = [*java.command(), "-cp", java.class_path(), "kafka.tools.DumpLogSegments"]
    names = ",".join(map(str, files))
    done = subprocess.run([*command, *options, "--files", names], capture_output=True, text=True, timeout=DUMP_SECONDS)
    assert done.returncode == 0, done.stderr[-2_000:]
    complaint = COMPLAINTS.search(done.stdout)
    assert complaint is None, done.stdout[max(0, complaint.start() - 500) : complaint.end() + 500]
    return done.stdout


def dump_log(segments: list[Path]) -> Dump:
    """Every batch and record of the segments, in order; keys and values are to be printable and without blanks."""
    dump = Dump([], [])
    for line in run("--deep-iteration", "--print-data-log", files=segments).splitlines():
        if line.startswith("baseOffset: "):
            dump.batches.append(dict(_FIELD.findall(line)))
        elif line.startswith("|") and "endTxnMarker:" not in line:
            dump.records.append(_record(line))
    return dump


def _record(line: str) -> DumpedRecord:
    match = _RECORD.match(line)
    assert match is not None, line
    offset, timestamp_ms, key_size, value_size, header_names, key, value = match.groups()
    names = tuple(header_names.split(",")) if header_names else ()
    return DumpedRecord(
        int(offset),
        int(timestamp_ms),
        None if int(key_size) < 0 else key or "",
        None if int(value_size) < 0 else value or "",
        names,
    )


def dump_producers(snapshot: Path) -> list[dict[str, str]]:
    """The producers of a producer snapshot."""
    text = run(files=[snapshot])
    return [dict(_FIELD.findall(line)) for line in text.splitlines() if line.startswith("producerId: ")]
