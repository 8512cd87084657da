"""Keeps the image of a store's metadata, and tells subscribers of each change.

publisher = ImagePublisher(store, clock)
await publisher.load()
publisher.subscribe(apply_to_data_plane)
supervisor.start("watch metadata", publisher.run())
...
revision = await controller.create_topics(...)
await publisher.wait_for(revision)                 the image shows what was created, and so do all subscribers
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

from pystream.common.clock import SECOND_MS, SleepingClock
from pystream.common.errors import StoreCompacted, StoreOutcomeUnknown, StoreUnavailable
from pystream.common.logging import get_logger
from pystream.metadata.image import ClusterImage, Delta, describe, difference
from pystream.metadata.store import Batch, Event, MetadataStore

logger = get_logger(__name__)

Subscriber = Callable[[Delta, ClusterImage], None]
RETRY_MS: Final = SECOND_MS


class ImagePublisher:
    """One per process. Subscribers are plain functions, called in the order in which they subscribed."""

    def __init__(self, store: MetadataStore, clock: SleepingClock) -> None:
        self._store = store
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = itertools.count()
        self.image = ClusterImage()

    def subscribe(self, subscriber: Subscriber) -> None:
        """`subscriber(delta, image)` is called after each change, with the new image."""
        self._subscribers.append(subscriber)

    async def load(self) -> ClusterImage:
        """Read everything, and tell subscribers what differs from the image before."""
        page = await self._store.range("")
        first, items = page.revision, list(page.items)
        while page.next is not None:
            page = await self._store.range("", start=page.next)
            items += page.items
        image, _ = ClusterImage().apply((Event(item.mod_revision, item.key, item) for item in items), first)
        image = await self._complete(image, up_to=page.revision)
        logger.info("metadata loaded", revision=image.revision, **describe(image))
        self._publish(image, difference(self.image, image))
        return image

    async def run(self) -> None:
        """Follow the store until cancelled. An unreachable store is asked again; the last image stays in force."""
        behind = False
        while True:
            try:
                if behind:
                    await self.load()
                    behind = False
                async for batch in self._store.watch("", self.image.revision + 1):
                    self._take(batch)
            except StoreCompacted as error:
                logger.warning("metadata watch fell behind", minimum_revision=error.minimum_revision)
                behind = True
            except (StoreUnavailable, StoreOutcomeUnknown) as error:
                logger.limited("metadata store unreachable", error=error, revision=self.image.revision)
                await self._clock.sleep_ms(RETRY_MS)

    async def wait_for(self, revision: int) -> ClusterImage:
        """The image, once it is of `revision` or later and subscribers have been told."""
        if self.image.revision < revision:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (revision, next(self._sequence), reached))
            await reached
        return self.image

    async def _complete(self, image: ClusterImage, up_to: int) -> ClusterImage:
        """Pages of a long range come from different revisions: replay what happened while they were read."""
        if image.revision >= up_to:
            return image
        async for batch in self._store.watch("", image.revision + 1):
            image, _ = image.apply(batch.events, batch.revision)
            if image.revision >= up_to:
                break
        return image

    def _take(self, batch: Batch) -> None:
        image, delta = self.image.apply(batch.events, batch.revision)
        self._publish(image, delta)

    def _publish(self, image: ClusterImage, delta: Delta) -> None:
        self.image = image
        if delta:
            for subscriber in self._subscribers:
                subscriber(delta, image)
        while self._waiting and self._waiting[0][0] <= image.revision:
            reached = heapq.heappop(self._waiting)[2]
            if not reached.done():
                reached.set_result(None)
