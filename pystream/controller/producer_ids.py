"""Producer ids: claimed in blocks, so that most new producers cost no transaction and no id is given out twice.

    pid-block    "<first id that belongs to nobody> <random claim>"

The claim makes each value unique: after a lost reply it tells our block from one that another broker took meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from pystream.common.config import LONG_MAX
from pystream.common.errors import CoordinatorLoadInProgress, StoreDamaged, UnknownServerError
from pystream.controller.commit import Committer
from pystream.metadata.records import PRODUCER_IDS_KEY
from pystream.metadata.store import ModRevision, Put, Value

BLOCK_SIZE: Final = 1_000
ATTEMPTS: Final = 10


class ProducerIdAllocator:
    """One per broker. A block that a stopped broker had left is lost: there are 2**63 of them."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._next = 0
        self._end = 0
        self._turn = asyncio.Lock()

    async def next_id(self) -> int:
        """An id that nobody has or had. Raises RequestTimedOut, NoSpace, CoordinatorLoadInProgress: try again."""
        async with self._turn:
            if self._next == self._end:
                self._next = await self._claim_block()
                self._end = self._next + BLOCK_SIZE
            self._next += 1
            return self._next - 1

    async def _claim_block(self) -> int:
        for _ in range(ATTEMPTS):
            item = await self._committer.get(PRODUCER_IDS_KEY)
            first = _decoded(item.value) if item is not None else 0
            if first > LONG_MAX - BLOCK_SIZE:
                raise UnknownServerError("Exhausted all producer ids")
            value = f"{first + BLOCK_SIZE} {secrets.token_hex(8)}".encode()
            revision = await self._committer.commit(
                [ModRevision(PRODUCER_IDS_KEY, item.mod_revision if item is not None else 0)],
                [Put(PRODUCER_IDS_KEY, value)],
                proof=Value(PRODUCER_IDS_KEY, value),
            )
            if revision is not None:
                return first
        raise CoordinatorLoadInProgress(f"other brokers claimed {ATTEMPTS} blocks of producer ids meanwhile")


def _decoded(value: bytes) -> int:
    try:
        return int(value.split()[0])
    except (ValueError, IndexError) as error:
        raise StoreDamaged(f"{PRODUCER_IDS_KEY}: {value[:40]!r} is no number") from error
