"""How the controller writes: fenced by its epoch, and honest about a lost reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystream.common.errors import (
    Busy,
    NoSpace,
    NotController,
    RequestTimedOut,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
)
from pystream.metadata.store import Compare, KeyValue, MetadataStore, Operation
from pystream.metadata.store.interface import holds

Fence = Callable[[], Compare | None]
CHUNK = 100  # keys of one transaction where there may be many


class Committer:
    """Transactions that hold only while this broker is the controller.

    `fence()` gives the compare that proves it (the controller key still has our create revision), or None when we know
    already that we are not.
    """

    def __init__(self, store: MetadataStore, fence: Fence) -> None:
        self._store = store
        self._fence = fence

    async def commit(self, compares: Sequence[Compare], then: Sequence[Operation], *, proof: Compare) -> int | None:
        """The revision of the change; None when one of `compares` does not hold.

        `proof` is true of the store exactly when the transaction was applied: it is read when the reply is lost.
        Raises NotController when we are no longer, RequestTimedOut when the store cannot be reached, NoSpace when its
        disk is full: nothing is known to have changed then, and the client may try again.
        """
        fence = self._fence()
        if fence is None:
            raise NotController()
        try:
            result = await self._store.transaction([fence, *compares], then)
        except StoreFull as error:
            raise NoSpace("The disk of the metadata is full.") from error
        except (StoreUnavailable, Busy) as error:
            raise RequestTimedOut(f"The metadata store cannot be reached: {error}") from error
        except StoreOutcomeUnknown as error:
            revision = await self._proven(proof)
            if revision is None:
                raise RequestTimedOut("It is not known whether the change was applied.") from error
            return revision
        if result.succeeded:
            return result.revision
        if not holds(fence, await self.get(fence.key)):
            raise NotController()
        return None

    async def get(self, key: str) -> KeyValue | None:
        """The key as it stands. Raises RequestTimedOut when the store cannot be reached."""
        try:
            return await self._store.get(key)
        except (StoreUnavailable, StoreOutcomeUnknown, Busy) as error:
            raise RequestTimedOut(f"The metadata store cannot be reached: {error}") from error

    async def _proven(self, proof: Compare) -> int | None:
        """The revision of the store when it is certain that the change was applied."""
        try:
            if not holds(proof, await self._store.get(proof.key)):
                return None
            return (await self._store.range(proof.key, limit=1)).revision
        except (StoreUnavailable, StoreOutcomeUnknown, Busy):
            return None
