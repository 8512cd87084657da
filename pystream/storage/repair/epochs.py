"""The leader epochs that a partition's `leader-epoch-checkpoint` tells of, held against its batches.

A batch's leader epoch lies outside its checksum. The file is written before the recovery point moves: below that point
it knows every epoch, above it may lag. Recovery judges by the same rules, see `native/log_replay.pyx`, and by the
newest epoch in the metadata. A log that it found damaged bears its mark: the file is complete then, and stays so.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Self

from pystream._native.leader_epochs import decode_leader_epochs
from pystream._native.log_recovery import DAMAGE_MARK

EPOCHS_FILE = "leader-epoch-checkpoint"
LARGEST_OFFSET = 2**63 - 1


class KnownEpochs:
    """`entries`: (epoch, start offset), oldest first; `complete_below`: the offset from which they may lag."""

    def __init__(self, entries: list[tuple[int, int]], complete_below: int) -> None:
        self._epochs = [epoch for epoch, _ in entries]
        self._starts = [start for _, start in entries]
        self._complete_below = complete_below

    @classmethod
    def read(cls, partition: Path, complete_below: int) -> Self:
        """Knows nothing where the file is missing or unreadable: it is built anew from the log then."""
        try:
            entries = decode_leader_epochs((partition / EPOCHS_FILE).read_bytes())
        except FileNotFoundError:
            entries = None
        if (partition / DAMAGE_MARK).exists():
            complete_below = LARGEST_OFFSET
        return cls(entries or [], complete_below)

    def at(self, offset: int) -> int | None:
        """The only epoch that a batch may have that begins at `offset`; None where the file does not tell."""
        slot = bisect_right(self._starts, offset) - 1
        if slot < 0 or (slot + 1 == len(self._starts) and offset >= self._complete_below):
            return None
        return self._epochs[slot]

    def begin_inside(self, first_offset: int, last_offset: int) -> bool:
        """Whether an entry other than the first begins behind the first offset of this batch: no leader began there."""
        slot = bisect_right(self._starts, first_offset)
        return 0 < slot < len(self._starts) and self._starts[slot] <= last_offset
