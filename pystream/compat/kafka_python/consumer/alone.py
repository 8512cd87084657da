"""A subscription without a group: the consumer reads all partitions of its topics, as kafka-python lets it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any, Final

from pystream.client.admin.routes import ask_metadata
from pystream.client.sync.consumer import Consumer as SdkConsumer
from pystream.common.error_codes import NONE
from pystream.common.model import TopicPartition

MISSING_SECONDS: Final = 0.1  # between two looks for topics that are not there yet


class Alone:
    """Looks for partitions now and then, while the application polls."""

    def __init__(
        self, sdk: SdkConsumer, topics: Iterable[str], pattern: str | None, listener: Any, seconds: float
    ) -> None:
        self.topics = set(topics)
        self.pattern = None if pattern is None else re.compile(pattern)
        self._sdk = sdk
        self._listener = listener
        self._seconds = seconds
        self._next_look = 0.0

    @property
    def wait_seconds(self) -> float:
        """Until partitions are looked for again."""
        return max(self._next_look - time.monotonic(), 0.0)

    def look(self) -> None:
        """Read what came. Raises as the SDK does."""
        if time.monotonic() < self._next_look:
            return
        found = self._sdk._run(self._partitions())
        complete = self.pattern is not None or {place.topic for place in found} == self.topics
        self._next_look = time.monotonic() + (self._seconds if complete else min(MISSING_SECONDS, self._seconds))
        held = self._sdk.assignment()
        if found == held:
            return
        if held and self._listener is not None:
            self._listener.on_partitions_revoked(held)
        self._sdk.assign(sorted(found))
        if self._listener is not None:
            self._listener.on_partitions_assigned(found)

    async def _partitions(self) -> set[TopicPartition]:
        cluster = self._sdk._engine.cluster
        if self.pattern is None:
            cluster.track(self.topics)
            known = (await cluster.refresh()).topics
            return {
                TopicPartition(name, each.partition)
                for name, info in known.items()
                if name in self.topics
                for each in info.partitions
            }
        response = await ask_metadata(cluster, None)
        names = {told.name for told in response.topics if self._fits(told)}
        self.topics = {name for name in names if name is not None}
        return {
            TopicPartition(told.name, each.partition_index)
            for told in response.topics
            if told.name in self.topics
            for each in told.partitions
        }

    def _fits(self, told: Any) -> bool:
        if told.error_code != NONE or (told.is_internal and self._sdk.config.exclude_internal_topics):
            return False
        return self.pattern is not None and self.pattern.match(told.name or "") is not None
