"""What was fetched and not yet taken: filled in the loop, taken by the user's task or thread.

Bounded by the fetcher, which asks for no more of a partition than has room. `nudge` is called, in the taker's thread,
when taking made room that the fetcher waits for: it says so by `wants_room`, and looks again at the sizes after that.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pystream._native.message_batch import MessageBatch
from pystream.client.consumer.positions import PartitionState


class Fetched:
    """The records of one partition in one answer, from row `start` on."""

    __slots__ = ("batch", "size_bytes", "start", "state", "version")

    def __init__(self, state: PartitionState, version: int, batch: MessageBatch) -> None:
        self.state = state
        self.version = version  # of the state when they were asked for
        self.batch = batch
        self.start = 0
        self.size_bytes = max(batch.size_bytes, memoryview(batch.data).nbytes)  # what it became, where compressed

    @property
    def is_current(self) -> bool:
        """Whether the partition still stands where they were fetched for."""
        return self.version == self.state.version


class FetchBuffer:
    """A queue in the order of arrival; batches of paused partitions wait aside. Thread-safe."""

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Fetched] = deque()
        self._nudge = nudge
        self.size_bytes = 0
        self.wants_room = False

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, fetched: Fetched) -> None:
        """Hold a batch until it is taken."""
        with self._lock:
            self._count(fetched, fetched.size_bytes)
            self._queue.append(fetched)

    def put_back(self, fetched: Fetched) -> None:
        """Hold the rest of a batch that was taken; it comes first."""
        with self._lock:
            self._count(fetched, fetched.size_bytes)
            self._queue.appendleft(fetched)

    def _count(self, fetched: Fetched, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        fetched.state.queued_bytes += size_bytes

    def take(self) -> Fetched | None:
        """The next batch whose partition still stands where it was fetched for; None when there is none.

        The batches of paused partitions stay where they are; those of partitions that moved are dropped.
        """
        found = None
        freed = False
        with self._lock:
            kept: deque[Fetched] | None = None
            while self._queue:
                fetched = self._queue.popleft()
                if fetched.is_current and fetched.state.is_held:
                    kept = deque() if kept is None else kept
                    kept.append(fetched)
                    continue
                self._count(fetched, -fetched.size_bytes)
                freed = True
                if fetched.is_current:
                    found = fetched
                    break
            if kept:
                self._queue.extendleft(reversed(kept))
        if freed and self.wants_room:
            self.wants_room = False
            self._nudge()
        return found

    def has_some(self) -> bool:
        """Whether `take` would find something."""
        with self._lock:
            return any(fetched.is_current and not fetched.state.is_held for fetched in self._queue)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            for fetched in self._queue:
                self._count(fetched, -fetched.size_bytes)
            self._queue.clear()
