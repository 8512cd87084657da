"""What is counted of share groups' records, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pystream.common.metrics import COUNTER, GAUGE, Family, Sample
from pystream.coordinator.share.partition import AcknowledgeType

if TYPE_CHECKING:
    from pystream.coordinator.share.service import ShareService

PREFIX: Final = "kafka_server_sharegroup_"


def share_families(service: ShareService) -> Iterator[Family]:
    """One family for each thing that is counted."""
    partitions, metrics = service.partitions, service.partitions.metrics
    shown = (
        ("sessions", GAUGE, "Share sessions of members.", len(service.sessions)),
        ("partitions", GAUGE, "Share partitions in memory.", len(partitions)),
        ("fetches_waiting", GAUGE, "Fetches that wait for records.", metrics.waiting),
        ("fetches_total", COUNTER, "Fetches.", metrics.fetches),
        ("records_acquired_total", COUNTER, "Deliveries of records.", metrics.acquired),
        ("lock_timeouts_total", COUNTER, "Records whose lock ran out.", metrics.lock_timeouts),
        ("state_write_failures_total", COUNTER, "States that could not be written.", metrics.write_failures),
    )
    for name, kind, text, value in shown:
        yield Family(PREFIX + name, kind, text, [Sample((), value)])
    yield Family(
        f"{PREFIX}records_acknowledged_total",
        COUNTER,
        "Records by what their members said of them.",
        [Sample((("type", kind.name.lower()),), metrics.acknowledged[kind]) for kind in AcknowledgeType],
    )
