"""What the transaction coordinator counts. Source: Kafka's AddPartitionsToTxnManager."""

from __future__ import annotations

from dataclasses import dataclass, field

from pystream.common.error_codes import NONE
from pystream.common.metrics import Histogram


@dataclass(slots=True)
class VerificationMetrics:
    """Produce requests that asked whether they may write to the partitions of a transaction."""

    failures: int = 0
    times_ms: Histogram = field(default_factory=Histogram)

    def note(self, code: int, took_ms: int) -> None:
        """One has its answer."""
        self.failures += code != NONE
        self.times_ms.observe(took_ms)
