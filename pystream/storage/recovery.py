"""What a start is told of the logs that it recovers, and what it has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pystream.common.model import TopicPartition
from pystream.storage.config import LogConfig


class Known(NamedTuple):
    """What the metadata tells of logs, see LogManager.open()."""

    configs: Callable[[str], LogConfig]
    leader_epochs: Callable[[TopicPartition, bytes], int | None]


@dataclass(slots=True)
class RecoveryReport:
    """What open() found, summed up; each partition's own report is `native.recovery`."""

    partitions: int = 0
    clean_directories: int = 0
    lossy_directories: int = 0
    scanned_bytes: int = 0
    cut_bytes: int = 0
    alarms: int = 0
    damaged: list[TopicPartition] = field(default_factory=list)
    failed: dict[TopicPartition, str] = field(default_factory=dict)
