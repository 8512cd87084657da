"""What polls owe the user of rebalances: partitions that come or go, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pystream.common.model import TopicPartition


class RebalanceStep:
    """Partitions that come or go: the face calls the user's callback with them, then `Engine.finish_step`."""

    __slots__ = ("apply", "finished", "is_told", "kind", "partitions")

    def __init__(self, kind: str, partitions: list[TopicPartition], apply: Callable[[], object]) -> None:
        self.kind = kind
        self.partitions = partitions
        self.apply = apply  # brings it about: in the loop, before the callback for what comes, after it for what goes
        self.is_told = False  # the callback was begun: it is not called for this again
        self.finished = asyncio.get_running_loop().create_future()


class Steps:
    """Filled and emptied in the loop, so that no step is the user's and given up at once. True while some are here."""

    def __init__(self) -> None:
        self._waiting: deque[RebalanceStep] = deque()
        self._begun: RebalanceStep | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting) or (self._begun is not None and not self._begun.is_told)

    @property
    def _interrupted(self) -> RebalanceStep | None:
        """What was begun, and the poll ended before the user was told (Ctrl-C): the next poll goes on with it."""
        return None if self._begun is None or self._begun.is_told else self._begun

    def add(self, step: RebalanceStep) -> None:
        """Behind the others."""
        self._waiting.append(step)

    def next(self) -> RebalanceStep | None:
        """The one to be told now."""
        step = self._interrupted
        if step is None and self._waiting:
            step = self._begun = self._waiting.popleft()
        return step

    def finished(self, step: RebalanceStep) -> None:
        """The user was told."""
        if self._begun is step:
            self._begun = None

    def drop_interrupted(self) -> None:
        """What follows tells of its partitions, too."""
        if self._interrupted is not None:
            self._begun = None

    def take_all(self) -> list[RebalanceStep]:
        """Those that were not begun; none of them waits any more."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def clear(self) -> None:
        """Nothing is owed any more."""
        self._waiting.clear()
        self._begun = None
