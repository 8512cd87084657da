"""How full a log directory's disk is, and the reserve that keeps the broker alive when it is.

    ok      at least 5 % and 2 GiB are free
    low     less than that: retention runs at once
    full    less than 1 %, or than the reserve: produce is refused; the reserve is given back so that everything else
            can go on

On a disk so small that 2 GiB are more than a tenth of it, a tenth counts instead.  And whether it still can be read.
"""

from __future__ import annotations

import enum
import os
from collections import deque
from pathlib import Path

from pystream.common.logging import get_logger

logger = get_logger(__name__)

GIB = 1 << 30
RESERVE_FILE = ".reserve"
LARGEST_RESERVE_PART = 0.005  # of the disk
MAX_READ_ERRORS, READ_ERRORS_MS = 10, 60_000


class DiskState(enum.Enum):
    OK = "ok"
    LOW = "low"
    FULL = "full"


def state_of(*, total_bytes: int, free_bytes: int, reserve_bytes: int) -> DiskState:
    """`free_bytes` includes the reserve while that is held."""
    if total_bytes <= 0:
        return DiskState.OK
    if free_bytes < total_bytes * 0.01 or free_bytes < reserve_bytes:
        return DiskState.FULL
    if free_bytes < max(total_bytes * 0.05, min(2 * GIB, total_bytes * 0.1)):
        return DiskState.LOW
    return DiskState.OK


class Disk:
    """The disk of one log directory."""

    def __init__(self, path: Path, *, reserve_bytes: int) -> None:
        self.state = DiskState.OK
        self._path = path
        total, _ = self.usage()
        self._reserve_bytes = min(reserve_bytes, int(total * LARGEST_RESERVE_PART))
        self._reserve = path / RESERVE_FILE

    @property
    def holds_reserve(self) -> bool:
        return self._reserve.exists()

    def usage(self) -> tuple[int, int]:
        """(bytes in all, bytes free to us). Raises OSError."""
        stats = os.statvfs(self._path)
        return stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize

    def check(self) -> DiskState:
        """Look at the disk; take the reserve when there is room, give it back when it is full. Raises OSError when the
        directory cannot be looked at.
        """
        total, free = self.usage()
        held = self._reserve.stat().st_size if self._reserve.exists() else 0
        self.state = state_of(total_bytes=total, free_bytes=free + held, reserve_bytes=self._reserve_bytes)
        if self.state is DiskState.FULL:
            self._reserve.unlink(missing_ok=True)
        elif self.state is DiskState.OK and held < self._reserve_bytes:
            self._take_reserve()
        return self.state

    def _take_reserve(self) -> None:
        """A file system or a quota that does not give it: the directory goes without."""
        try:
            handle = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._reserve_bytes)
            finally:
                os.close(handle)
        except OSError as error:
            logger.warning("no reserve could be taken", path=str(self._path), error=error)
            self._reserve_bytes = 0
            self._reserve.unlink(missing_ok=True)


class ReadErrors:
    """The reads that one disk has failed lately: a few are each a fetch's own misfortune, many are the disk's end."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def are_too_many(self, new: int, now_ms: int) -> bool:
        """Note `new` ones; True when MAX_READ_ERRORS or more fell into the last READ_ERRORS_MS."""
        if new:
            self._seen.append((now_ms, new))
        while self._seen and self._seen[0][0] < now_ms - READ_ERRORS_MS:
            self._seen.popleft()
        return sum(count for _, count in self._seen) >= MAX_READ_ERRORS
