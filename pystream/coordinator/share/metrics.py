"""What is counted of share groups' records on this broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pystream.coordinator.share.partition import Acknowledgement, AcknowledgeType


@dataclass(slots=True)
class ShareMetrics:
    """Records since the start, but for `waiting`, a level: fetches that wait for records."""

    waiting: int = 0
    fetches: int = 0
    acquired: int = 0
    lock_timeouts: int = 0
    write_failures: int = 0
    acknowledged: Counter[AcknowledgeType] = field(default_factory=Counter)

    def count(self, said: Iterable[Acknowledgement]) -> None:
        """Acknowledgements that were done."""
        for found in said:
            if len(found.types) == 1:
                self.acknowledged[AcknowledgeType(found.types[0])] += found.last - found.first + 1
            else:
                for kind, count in Counter(found.types).items():
                    self.acknowledged[AcknowledgeType(kind)] += count
