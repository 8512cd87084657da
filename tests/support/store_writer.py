"""Writes to a metadata store until killed: `python -m tests.support.store_writer FILE WRITERS`.

Each writer counts upwards in two keys, `/<writer>/a` and `/<writer>/b`, both in one transaction, and prints
`<writer> <count>` once the store has acknowledged it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pystream.metadata.store import Put
from pystream.metadata.store.sqlite import SqliteStore


async def count_upwards(store: SqliteStore, writer: int) -> None:
    item = await store.get(f"/{writer}/a")
    count = int(item.value) if item is not None else 0
    while True:
        count += 1
        value = str(count).encode()
        await store.transaction([], [Put(f"/{writer}/a", value), Put(f"/{writer}/b", value)])
        print(writer, count, flush=True)


async def main(path: Path, writers: int) -> None:
    store = SqliteStore.open(path)
    await asyncio.gather(*(count_upwards(store, writer) for writer in range(writers)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
