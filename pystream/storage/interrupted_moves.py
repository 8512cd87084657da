"""What a crash left of replicas on their way from one log directory to another, and how the next start settles it.

    <topic>-<n>.<uuid>-future     a copy in the making: goes, as long as there is the replica that it is a copy of
    <topic>-<n> in two places     the copy is complete and took records: the place with `moved-here` is the replica,
                                  the other one was about to be deleted

`moved-here` is written into the copy before the copy gets its name, and goes after the old directory has been renamed:
at each moment one place, and one only, counts.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pystream._native.io_table import replace_file, sync_directory
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition, random_uuid
from pystream.storage.directories import DELETED_SUFFIX, LogDirectory, partition_of

logger = get_logger(__name__)

FUTURE_SUFFIX = "-future"
MARK = "moved-here"
_FUTURE = re.compile(r"(.+-[0-9]+)\.[0-9a-zA-Z_-]+-future")


def future_name(name: TopicPartition) -> str:
    """A fresh name for the directory of a copy, of the form that Kafka gives it."""
    return f"{name}.{random_uuid().hex()}{FUTURE_SUFFIX}"


def write_mark(directory: Path) -> None:
    """Durable when it returns. Raises OSError."""
    replace_file(str(directory / MARK), b"version 0\n")


def remove_mark(directory: Path) -> None:
    """Durable when it returns. Raises OSError."""
    if (directory / MARK).exists():
        (directory / MARK).unlink()
        sync_directory(str(directory))


def settle(directories: Iterable[LogDirectory]) -> dict[TopicPartition, str]:
    """Leave each partition in one place. Those that lie in two, nobody knows why, are left alone: name and reason.

    Raises OSError.
    """
    directories = list(directories)
    places: dict[TopicPartition, list[Path]] = defaultdict(list)
    for directory in directories:
        for name in directory.partitions():
            places[name].append(directory.path / str(name))
    for directory in directories:
        _remove_futures(directory.path, places)
    unclear = {}
    for name, paths in places.items():
        marked = [path for path in paths if (path / MARK).exists()]
        if len(paths) > 1 and len(marked) != 1:
            unclear[name] = f"found in {' and '.join(map(str, paths))}: remove the one that is not wanted"
        elif marked:
            _keep(marked[0], [path for path in paths if path != marked[0]])
    return unclear


def _remove_futures(path: Path, places: dict[TopicPartition, list[Path]]) -> None:
    for entry in path.iterdir():
        found = _FUTURE.fullmatch(entry.name)
        name = partition_of(found[1]) if found is not None else None
        if name is None:
            continue
        if name in places:
            shutil.rmtree(entry, ignore_errors=True)
            logger.warning("unfinished copy of a replica removed", partition=name, path=str(entry))
        else:
            logger.error("copy of a replica that is nowhere is left alone", partition=name, path=str(entry))


def _keep(replica: Path, others: list[Path]) -> None:
    for other in others:
        other.rename(other.with_name(f"{other.name}.{random_uuid().hex()}{DELETED_SUFFIX}"))
        sync_directory(str(other.parent))
        logger.warning("move of a replica finished", partition=replica.name, path=str(replica.parent))
    remove_mark(replica)
