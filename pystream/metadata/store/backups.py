"""Copies of the embedded metadata store beside it: what an operator puts back when the file itself is damaged.

metadata.db                 the store
metadata.db.backup          the newest copy
metadata.db.backup-old      the one before
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from pystream.common.clock import SleepingClock
from pystream.common.logging import get_logger
from pystream.metadata.store.sqlite import SqliteStore

logger = get_logger(__name__)


def newest_of(store_path: Path) -> Path:
    return store_path.with_name(store_path.name + ".backup")


def older_of(store_path: Path) -> Path:
    return store_path.with_name(store_path.name + ".backup-old")


async def keep_backups(store: SqliteStore, store_path: Path, clock: SleepingClock, *, interval_ms: int) -> None:
    """A copy now when there is none, then one every `interval_ms`, until cancelled.

    One that cannot be made is told of and tried again when the next is due.
    """
    if not newest_of(store_path).exists():
        await _back_up(store, store_path)
    while True:
        await clock.sleep_ms(interval_ms)
        await _back_up(store, store_path)


async def _back_up(store: SqliteStore, store_path: Path) -> None:
    """At every moment there is at least one whole copy, if there was one before."""
    newest = newest_of(store_path)
    fresh = newest.with_name(newest.name + "-new")
    try:
        await store.backup(fresh)
        await asyncio.to_thread(_rotate, fresh, newest, older_of(store_path))
    except (OSError, sqlite3.Error) as error:
        logger.error("metadata not backed up", path=newest, error=error)


def _rotate(fresh: Path, newest: Path, older: Path) -> None:
    if newest.exists():
        newest.replace(older)
    fresh.replace(newest)
