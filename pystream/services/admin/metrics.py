"""MetricService: what this server counts, its client's connections, and what others serve (`metrics.sources`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from pystream.client.admin.client import AdminClient
from pystream.client.cluster.retry import allowed_ms
from pystream.client.grpc.messages import metrics_pb2
from pystream.client.grpc.status import InvalidFields
from pystream.client.operations.declaration import Failure
from pystream.client.operations.handlers.answers import whole_match
from pystream.common.clock import Clock
from pystream.common.errors import PystreamError
from pystream.common.metrics import GAUGE, Family, Registry, Sample
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.conversion import failures_of
from pystream.services.admin.exposition import families, fetched

OWN: Final = "admin"  # the source of what this server counts
LONGEST_FETCH_MS: Final = 5_000
MARGIN_MS: Final = 50  # of a deadline, for the sources that have answered

Matches = Callable[[str], object]


class Metrics:
    """The work of MetricService."""

    def __init__(self, registry: Registry, admin: AdminClient, config: AdminServerConfig, clock: Clock) -> None:
        self._registry = registry
        self._admin = admin
        self._config = config
        self._clock = clock

    async def list_metrics(self, request: metrics_pb2.ListMetricsRequest) -> Any:
        """Those whose name the pattern matches. A source that does not answer is a failure, and no other's."""
        matches = whole_match(request.pattern) if request.HasField("pattern") else bool
        sources = [OWN, *self._config.metrics_sources]
        if request.HasField("source"):
            if request.source not in sources:
                raise InvalidFields([("source", f"{request.source!r} is none of {', '.join(sources)}")])
            sources = [request.source]
        outcomes = await asyncio.gather(*(self._of(source, matches) for source in sources))
        failures = [Failure(s, each) for s, each in zip(sources, outcomes, strict=True) if not isinstance(each, list)]
        return metrics_pb2.ListMetricsResponse(
            results=[metric for each in outcomes if isinstance(each, list) for metric in each],
            failures=failures_of(failures),
        )

    async def _of(self, source: str, matches: Matches) -> list[metrics_pb2.Metric] | PystreamError:
        try:
            if source == OWN:
                own = [*self._registry.families(), *await self._of_client()]
                return [_message(family, source) for family in own if matches(family.name)]
            return [_message(family, source) async for family in self._fetched(source, matches)]
        except PystreamError as error:
            return error

    async def _fetched(self, source: str, matches: Matches) -> AsyncIterator[Family]:
        timeout_ms = max(allowed_ms(self._clock, LONGEST_FETCH_MS + MARGIN_MS) - MARGIN_MS, 1)
        text = await fetched(source, timeout_ms=timeout_ms, most_bytes=self._config.max_metrics_bytes)
        async for family in families(text, matches):
            yield family

    async def _of_client(self) -> Sequence[Family]:
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


def _message(family: Family, source: str) -> metrics_pb2.Metric:
    samples = [
        metrics_pb2.MetricSample(labels=dict(sample.labels), value=float(sample.value), suffix=sample.suffix)
        for sample in family.samples
    ]
    return metrics_pb2.Metric(name=family.name, type=family.type, help=family.help, samples=samples, source=source)
