"""What a share consumer measures."""

from __future__ import annotations

from collections.abc import Iterator

from pystream.client.cluster.cluster import Cluster
from pystream.client.metrics.model import Metric
from pystream.client.metrics.reading import ReadingMetrics
from pystream.client.metrics.stats import Meter


class ShareMetrics(ReadingMetrics):
    """Told by the engine and its sessions. Source: KIP-932."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("consumer-share", cluster)
        now_ms = self.now_ms()
        self._sent = Meter("acknowledgements-send", now_ms)
        self._failed = Meter("acknowledgements-error", now_ms)

    def acknowledging(self, records: int) -> None:
        """Acknowledgements of so many records went out."""
        self._sent.mark(records, self.now_ms())

    def refused(self, records: int) -> None:
        """Those of so many failed."""
        self._failed.mark(records, self.now_ms())

    def collect(self) -> Iterator[Metric]:
        now_ms = self.now_ms()
        yield from super().collect()
        for meter in (self._sent, self._failed):
            yield from meter.metrics(self.fetch_group, self.client_tags, now_ms)
        _, most = self._records_per_request.metrics(self.fetch_group, self.client_tags, now_ms)
        yield most
