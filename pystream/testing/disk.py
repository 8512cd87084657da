"""Faults of the disk under a broker in the test's own process: its logs' system calls fail with an errno.

    b.disk.fail(errno.ENOSPC, call="pwritev")       # every write from now on
    b.disk.fail(errno.EIO, call="fdatasync", once=True)
    b.disk.repair()

A log that could not be written stays offline until the broker is restarted; clients are told KAFKA_STORAGE_ERROR. The
metadata store is SQLite's and is not touched by this.
"""

from __future__ import annotations

import errno
from pathlib import Path

from pystream.storage import disk_faults


class DiskFaults:
    """The disk of one broker. `repair` is for all brokers of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def fail(self, error: int, *, call: str = "", after: int = 0, once: bool = False) -> None:
        """Let system calls on the broker's logs fail with `error` (an errno), once `after` of them have passed.

        `call` is one of pwritev, pread, fdatasync, fsync, ftruncate, rename, unlink, open, fsync_directory, fallocate;
        without it all of them fail. Raises ValueError for another, for what is no errno, and past 16 faults.
        """
        if error not in errno.errorcode:
            raise ValueError(f"{error!r} is no errno; e.g. errno.EIO, errno.ENOSPC")
        if after < 0:
            raise ValueError(f"after={after}: so many calls pass before one fails, 0 or more")
        disk_faults.fail_call(after + 1, error, call=call, path=f"{self._data_dir}/", for_ever=not once)

    def repair(self) -> None:
        """End all faults of disks."""
        disk_faults.reset()
