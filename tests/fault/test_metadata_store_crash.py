"""kill -9 in the middle of commits: what the store acknowledged is there afterwards, whole."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pystream.metadata.store import read_all
from pystream.metadata.store.sqlite import SqliteStore
from tests.support.broker_process import ROOT

WRITERS = 4


def write_until_killed(path: Path, acknowledgements: int) -> dict[int, int]:
    """The last count that each writer was told is safe, when the process was killed."""
    command = [sys.executable, "-m", "tests.support.store_writer", str(path), str(WRITERS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last: dict[int, int] = {}
        for _ in range(acknowledgements):
            writer, count = map(int, process.stdout.readline().split())
            last[writer] = count
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                writer, count = map(int, line.split())
                last[writer] = count
    return last


async def counts(path: Path) -> dict[str, int]:
    store = SqliteStore.open(path)
    try:
        items, revision = await read_all(store, "/")
        assert all(item.mod_revision <= revision for item in items)
        assert revision == 1 + sum(int(item.value) for item in items if item.key.endswith("/a"))
        return {item.key: int(item.value) for item in items}
    finally:
        await store.close()


@pytest.mark.unsanitized
def test_acknowledged_transactions_outlive_a_killed_process(tmp_path: Path, full: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    random_source = random.Random(seed)
    path = tmp_path / "metadata.db"
    for _ in range(100 if full else 8):
        acknowledged = write_until_killed(path, random_source.randrange(1, 200))
        found = asyncio.run(counts(path))
        for writer, count in acknowledged.items():
            assert found[f"/{writer}/a"] == found[f"/{writer}/b"] >= count
