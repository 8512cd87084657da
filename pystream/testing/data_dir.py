"""Where the data of a broker under test lies: in memory where the machine has room, and not for longer than its owner.

    /dev/shm/pystream-test-k3j2x9/
        owner       locked for as long as the test's process lives, however that ends
        data/       log.dirs

A process that is killed leaves its directory behind; the next one that makes a broker finds it unlocked and removes it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
LEAST_MEMORY_BYTES: Final = 128 << 20
PREFIX: Final = "pystream-test-"
YOUNG_PREFIX: Final = "pystream-young-"  # not locked yet: not to be taken for left behind
OWNER: Final = "owner"
DATA: Final = "data"


class TemporaryData:
    """A new directory, until `remove` or the end of the process that made it; a fork of that leaves it alone."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or _parent()
        _remove_left_behind(parent)
        young = Path(tempfile.mkdtemp(prefix=YOUNG_PREFIX, dir=parent))
        owner = _locked(young / OWNER, create=True)
        assert owner is not None, "nobody else knows of it"
        home = young.rename(young.with_name(young.name.replace(YOUNG_PREFIX, PREFIX)))
        self.path = home / DATA
        self.path.mkdir()
        self._finalizer = weakref.finalize(self, _remove, home, owner, os.getpid())

    def remove(self) -> None:
        """Harmless when it is gone."""
        self._finalizer()


def _parent() -> Path:
    has_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= LEAST_MEMORY_BYTES
    return MEMORY if has_memory else Path(tempfile.gettempdir())


def _remove(home: Path, owner: int, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(home, ignore_errors=True)
        os.close(owner)


def _locked(path: Path, *, create: bool = False) -> int | None:
    """A descriptor that holds the file's lock; None where another process has it, or there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
    except OSError:
        if create:
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@functools.cache  # once in a process
def _remove_left_behind(parent: Path) -> None:
    for home in parent.glob(PREFIX + "*"):
        owner = _locked(home / OWNER)
        if owner is not None:
            shutil.rmtree(home, ignore_errors=True)
            os.close(owner)
