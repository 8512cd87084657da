"""What kafka-python's three clients have in common here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pystream.client.cluster.cluster import Cluster
from pystream.client.sync.runner import Runner
from pystream.common.errors import PystreamError
from pystream.compat.kafka_python.errors import KafkaTimeoutError


def bootstrap(cluster: Cluster, runner: Runner, timeout_ms: int, close: Callable[[], object] | None = None) -> None:
    """Learn who the brokers are. Raises KafkaTimeoutError after `timeout_ms`, and closes the client then."""
    try:
        runner.run(cluster.retrying("bootstrap", lambda _: cluster.refresh(), timeout_ms=timeout_ms))
    except PystreamError as error:
        if close is not None:
            close()
        raise KafkaTimeoutError(f"Unable to bootstrap from {cluster.config.bootstrap_servers}: {error}") from error


def is_connected(cluster: Cluster) -> bool:
    """Whether some broker is."""
    return any(cluster.connections.existing(node_id) for node_id in (*cluster.metadata.nodes, *range(-2, -10, -1)))


def metrics_of(cluster: Cluster, kind: str) -> dict[str, Any]:
    """The SDK's counts, in the group that kafka-python has them in."""
    return {f"{kind}-metrics": {name: float(count) for name, count in cluster.connections.metrics().items()}}
