"""Small files of a log directory, in Kafka's own form.

offset checkpoint   recovery-point-offset-checkpoint, log-start-offset-checkpoint, replication-offset-checkpoint,
                    cleaner-offset-checkpoint
                    text: "0\\n" version | "<count>\\n" | "<topic> <partition> <offset>\\n" ...
partition.metadata  text: "version: 0\\n" | "topic_id: <22 characters of base64url>\\n"
meta.properties     Java properties: version=1, cluster.id, node.id, directory.id, and our pystream.format.version
scrub-place         ours, text: "0\\n" version | "<ms since 1970>\\n" when the pass began | then as an offset
                    checkpoint: of the one segment that is read next, of none when the pass is over
run-state           ours: "version 0\\n" | "boot-id <uuid>\\n" | "runs <n>\\n" | "clean <0|1>\\n" | "crc32c <hex>\\n"

What cannot be read is never trusted and never an error: the log itself must serve then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pystream._native.crc32c import crc32c
from pystream._native.io_table import replace_file
from pystream.common.errors import MalformedInput
from pystream.common.model import TopicPartition, uuid_bytes, uuid_text

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
START_OFFSETS = "log-start-offset-checkpoint"
CLEANER_OFFSETS = "cleaner-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
PARTITION_METADATA = "partition.metadata"
META_PROPERTIES = "meta.properties"
RUN_STATE = "run-state"
SCRUB_PLACE = "scrub-place"
NO_PARTITION = TopicPartition("", 0)


def read_text(path: Path) -> str | None:
    """The file as text; None when it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def write_text(path: Path, text: str) -> None:
    """The whole file, durably, or the one that was there. Raises OSError."""
    replace_file(str(path), text.encode())


def read_offsets(path: Path) -> dict[TopicPartition, int]:
    """An offset checkpoint; empty when there is none that can be trusted."""
    return _offsets_in((read_text(path) or "").split("\n")) or {}


def _offsets_in(lines: list[str]) -> dict[TopicPartition, int] | None:
    """None when these are not the lines of an offset checkpoint."""
    try:
        if lines[0] != "0" or lines[-1] != "" or int(lines[1]) != len(lines) - 3:
            return None
        found = {}
        for line in lines[2:-1]:
            topic, partition, offset = line.split(" ")
            found[TopicPartition(topic, int(partition))] = int(offset)
    except (ValueError, IndexError):
        return None
    return found if all(offset >= 0 for offset in found.values()) else None


def write_offsets(path: Path, offsets: Mapping[TopicPartition, int]) -> None:
    lines = [f"{name.topic} {name.partition} {offset}\n" for name, offset in offsets.items()]
    write_text(path, f"0\n{len(lines)}\n{''.join(lines)}")


@dataclass(frozen=True, slots=True, order=True)
class ScrubPlace:
    """How far a pass of the scrubber has come. Of two the greater one is the later."""

    began_ms: int
    over: bool
    name: TopicPartition = NO_PARTITION
    base_offset: int = 0  # segments of `name` that begin here or later are still to be read

    @classmethod
    def read(cls, path: Path) -> ScrubPlace | None:
        """None when there is none that can be trusted."""
        version, _, rest = (read_text(path) or "").partition("\n")
        began, _, offsets = rest.partition("\n")
        found = _offsets_in(["0", *offsets.split("\n")])
        if version != "0" or not began.isdigit() or found is None or len(found) > 1:
            return None
        for name, base_offset in found.items():
            return cls(int(began), False, name, base_offset)
        return cls(int(began), True)

    def write(self, path: Path) -> None:
        line = "" if self.over else f"{self.name.topic} {self.name.partition} {self.base_offset}\n"
        write_text(path, f"0\n{self.began_ms}\n{int(not self.over)}\n{line}")


def read_topic_id(directory: Path) -> bytes | None:
    """The topic id in a partition's partition.metadata; None when it cannot be told."""
    fields = dict(
        line.split(": ", 1) for line in (read_text(directory / PARTITION_METADATA) or "").splitlines() if ": " in line
    )
    if fields.get("version") != "0" or "topic_id" not in fields:
        return None
    try:
        return uuid_bytes(fields["topic_id"])
    except MalformedInput:
        return None


def write_topic_id(directory: Path, topic_id: bytes) -> None:
    """Not fsynced: a topic of thousands of partitions must not wait for as many fsyncs, and what a lost one would say
    stands in the metadata store too. Raises OSError.
    """
    temporary = directory / (PARTITION_METADATA + ".tmp")
    temporary.write_text(f"version: 0\ntopic_id: {uuid_text(topic_id)}\n", encoding="utf-8")
    temporary.replace(directory / PARTITION_METADATA)


def read_properties(path: Path) -> dict[str, str]:
    """A Java properties file of plain keys and values."""
    found = {}
    for line in (read_text(path) or "").splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith(("#", "!")):
            found[name.strip()] = value.strip().replace("\\:", ":").replace("\\=", "=")
    return found


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    written = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
    lines = [f"{name}={value}\n" for name, value in sorted(properties.items())]
    write_text(path, f"#\n#{written}\n{''.join(lines)}")


@dataclass(frozen=True, slots=True)
class RunState:
    """Who wrote to a log directory last, and how that ended."""

    boot_id: str
    runs: int
    clean: bool

    @classmethod
    def read(cls, path: Path) -> RunState | None:
        """None when there is none, or it is damaged: the last stop counts as a power loss then."""
        text = read_text(path) or ""
        body, separator, check = text.rpartition("crc32c ")
        fields = dict(line.split(" ", 1) for line in body.splitlines() if " " in line)
        try:
            if not separator or int(check, 16) != crc32c(body.encode()) or fields["version"] != "0":
                return None
            return cls(fields["boot-id"], int(fields["runs"]), fields["clean"] == "1")
        except (ValueError, KeyError):
            return None

    def write(self, path: Path) -> None:
        body = f"version 0\nboot-id {self.boot_id}\nruns {self.runs}\nclean {int(self.clean)}\n"
        write_text(path, f"{body}crc32c {crc32c(body.encode()):08x}\n")
