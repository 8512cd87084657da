"""Transactions as metrics, under the names that the JMX exporter gives Kafka's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pystream.broker.monitoring.coordinator_metrics import load_time_families, single
from pystream.common.metrics import COUNTER, GAUGE, HISTOGRAM, Family, Sample
from pystream.coordinator.transaction.state import LABELS

if TYPE_CHECKING:
    from pystream.coordinator.transaction.coordinator import TransactionCoordinator

MARKERS: Final = "kafka_coordinator_transaction_transactionmarkerchannelmanager_"
VERIFICATION: Final = "kafka_server_addpartitionstotxnmanager_"


def transaction_families(transactions: TransactionCoordinator) -> Iterator[Family]:
    """One family for each thing that is counted. From any thread."""
    yield from load_time_families("transactioncoordinatormetrics", transactions.runtime)
    markers, verifications = transactions.markers, transactions.verifications
    text = "Markers that could not be written and wait to be tried again."
    yield single(f"{MARKERS}unknowndestinationqueuesize", GAUGE, text, markers.delayed_markers)
    text = "Transactions whose markers are written, and whose end is still to be recorded."
    yield single(f"{MARKERS}logappendretryqueuesize", GAUGE, text, markers.delayed_completions)
    text = "Produce requests to partitions that are not in their transaction."
    yield single(f"{VERIFICATION}verificationfailurerate_total", COUNTER, text, verifications.failures)
    text = "Milliseconds until a Produce knew whether it may write in its transaction."
    yield Family(f"{VERIFICATION}verificationtimems", HISTOGRAM, text, verifications.times_ms.samples(()))
    found = Counter(
        transaction.state
        for shard in transactions.runtime.active()
        for transaction in list(shard.transactions.values())
    )
    samples = [Sample((("state", label),), found[state]) for state, label in LABELS.items()]
    yield Family("pystream_transactions", GAUGE, "Transactional ids by the state of their transaction.", samples)
