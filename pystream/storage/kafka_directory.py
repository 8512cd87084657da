"""Log directories that Apache Kafka wrote: what lies in them, and how it comes into a data directory of ours.

    <log.dirs>/orders-0/    partition.metadata           "version: 0", "topic_id: <22 characters>"
                            leader-epoch-checkpoint      "0", the count, and "<epoch> <start offset>" for each epoch
                            <base offset>.log, .txnindex, <offset>.snapshot      taken as they are
                            <base offset>.index, .timeindex                      left: recovery makes them anew

Kafka 2.8 or newer (older ones wrote no topic id), message format 2. Kafka must be stopped, or killed: what it was about
to write is then cut off as after a crash of our own. Nothing in Kafka's directory is changed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pystream._native.batch import parse_header
from pystream.common.errors import DataDirectoryError, InvalidTopic, MalformedInput
from pystream.common.model import NO_LEADER_EPOCH, is_internal, uuid_bytes, validate_topic_name

HEADER_BYTES: Final = 61
MAGIC: Final = 2
TAKEN_SUFFIXES: Final = frozenset({".log", ".snapshot", ".txnindex"})
TAKEN_NAMES: Final = frozenset({"leader-epoch-checkpoint", "partition.metadata"})
STAGING_PREFIX: Final = ".importing-"
_PARTITION: Final = re.compile(r"(.+)-(\d{1,10})")
_TOPIC_ID: Final = re.compile(r"topic_id: (\S+)")


class KafkaPartition(NamedTuple):
    """One partition in a directory of Kafka. `next_producer_id` is above every producer id that wrote to it."""

    topic: str
    partition: int
    topic_id: bytes
    leader_epoch: int
    next_producer_id: int
    directory: Path


def find_partitions(log_directory: Path, topics: frozenset[str] = frozenset()) -> list[KafkaPartition]:
    """The partitions of `topics`, or of all but Kafka's own topics, in order of topic and number.

    Raises DataDirectoryError for a partition that cannot be taken over, and says why.
    """
    found = []
    for directory in sorted(log_directory.iterdir()):
        match = _PARTITION.fullmatch(directory.name)
        if match is None or not directory.is_dir():
            continue
        topic, index = match.group(1), int(match.group(2))
        wanted = topic in topics if topics else _is_users(topic)
        if wanted:
            found.append(_read_partition(directory, topic, index))
    if missing := topics - {partition.topic for partition in found}:
        raise DataDirectoryError(f"{log_directory} holds no topic {', '.join(sorted(missing))}")
    return sorted(found, key=lambda each: (each.topic, each.partition))


def _is_users(topic: str) -> bool:
    try:
        validate_topic_name(topic)
    except InvalidTopic:
        return False
    return not is_internal(topic) and not topic.startswith("__")


def _read_partition(directory: Path, topic: str, partition: int) -> KafkaPartition:
    try:
        match = _TOPIC_ID.search((directory / "partition.metadata").read_text(encoding="ascii"))
        topic_id = uuid_bytes(match.group(1)) if match else None
    except (OSError, UnicodeDecodeError, MalformedInput) as error:
        raise DataDirectoryError(f"{directory}: no readable partition.metadata: {error}") from error
    if topic_id is None:
        raise DataDirectoryError(f"{directory}: partition.metadata names no topic id")
    next_producer_id = 1 + max((_highest_producer_id(path) for path in directory.glob("*.log")), default=-1)
    return KafkaPartition(topic, partition, topic_id, _last_leader_epoch(directory), next_producer_id, directory)


def _last_leader_epoch(directory: Path) -> int:
    """The newest epoch that wrote here; NO_LEADER_EPOCH when nothing was written."""
    try:
        lines = (directory / "leader-epoch-checkpoint").read_text(encoding="ascii").split("\n")[2:]
        return max((int(line.split()[0]) for line in lines if line.strip()), default=NO_LEADER_EPOCH)
    except FileNotFoundError:
        return NO_LEADER_EPOCH
    except (OSError, ValueError) as error:
        raise DataDirectoryError(f"{directory}: unreadable leader-epoch-checkpoint: {error}") from error


def _highest_producer_id(segment: Path) -> int:
    """Over all whole batches; a torn one at the end is for recovery. Raises DataDirectoryError for an older format."""
    size = segment.stat().st_size
    highest, position = -1, 0
    with open(segment, "rb") as file:
        while position + HEADER_BYTES <= size:
            file.seek(position)
            try:
                header = parse_header(file.read(HEADER_BYTES))
            except MalformedInput:
                break
            if header.magic != MAGIC:
                raise DataDirectoryError(f"{segment}: message format {header.magic} at position {position}, expected 2")
            highest = max(highest, header.producer_id)
            position += header.size
    return highest


def copy_partition(partition: KafkaPartition, data_directory: Path) -> Path:
    """Copy a partition into a data directory: on the disk as a whole, or not there. Returns its new directory.

    Raises DataDirectoryError when a directory of this name exists.
    """
    target = data_directory / partition.directory.name
    if target.exists():
        raise DataDirectoryError(f"{target} exists already")
    staging = data_directory / f"{STAGING_PREFIX}{partition.directory.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for path in _taken(partition.directory):
        with open(path, "rb") as source, open(staging / path.name, "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
    _sync_directory(staging)
    staging.rename(target)
    _sync_directory(data_directory)
    return target


def _taken(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name in TAKEN_NAMES or path.suffix in TAKEN_SUFFIXES:
            yield path


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
