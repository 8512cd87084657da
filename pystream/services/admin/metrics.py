"""MetricService: what this server counts, and its client's connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pystream.client.admin.client import AdminClient
from pystream.client.grpc.messages import metrics_pb2
from pystream.client.operations.handlers.answers import whole_match
from pystream.common.metrics import GAUGE, Family, Registry, Sample


class Metrics:
    """The work of MetricService."""

    def __init__(self, registry: Registry, admin: AdminClient) -> None:
        self._registry = registry
        self._admin = admin

    async def list_metrics(self, request: metrics_pb2.ListMetricsRequest) -> Any:
        """Those whose name the pattern matches."""
        matches = whole_match(request.pattern) if request.HasField("pattern") else None
        families = [*self._registry.families(), *await self._of_client()]
        return metrics_pb2.ListMetricsResponse(
            results=[
                metrics_pb2.Metric(
                    name=family.name,
                    type=family.type,
                    help=family.help,
                    samples=[
                        metrics_pb2.MetricSample(
                            labels=dict(sample.labels), value=float(sample.value), suffix=sample.suffix
                        )
                        for sample in family.samples
                    ],
                )
                for family in families
                if matches is None or matches(family.name)
            ]
        )

    async def _of_client(self) -> Iterable[Family]:
        """The admin client's own, by Kafka's names."""
        return [
            Family(
                f"kafka_admin_client_{name.replace('-', '_').replace('.', '_')}",
                GAUGE,
                f"{name} of the server's admin client.",
                [Sample((), value)],
            )
            for name, value in (await self._admin.metrics()).items()
        ]
