"""KafkaAdminClient: kafka-python's, over the SDK's. Answers are dicts in the words of Kafka's protocol."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Self, TypeVar

from pystream.client.admin.client import AdminClient as SdkAdminClient
from pystream.client.config import AdminConfig
from pystream.client.sync import runner
from pystream.common.errors import PystreamError
from pystream.compat.kafka_python._client import bootstrap, metrics_of
from pystream.compat.kafka_python._settings import check_timeouts, settings_of
from pystream.compat.kafka_python.admin._configs import ConfigCalls
from pystream.compat.kafka_python.admin._groups import GroupCalls
from pystream.compat.kafka_python.admin._topics import TopicCalls
from pystream.compat.kafka_python.admin._users import UserCalls
from pystream.compat.kafka_python.errors import KafkaTimeoutError, translated

T = TypeVar("T")
OWN: Final = frozenset({"bootstrap_timeout_ms", "max_in_flight_requests_per_connection"})
WAIT_SECONDS: Final = 0.05  # between two looks for a new topic's leaders

LEFT_OUT: Final = {
    "abort_transaction": "pystream.client.AdminClient.abort_transaction",
    "api_versions": "pystream.client.AdminClient.describe_features",
    "describe_producers": "pystream.client.AdminClient.describe_producers",
    "describe_topic_partitions": "describe_topics, or pystream.client.AdminClient.describe_topics",
    "describe_transactions": "pystream.client.AdminClient.describe_transactions",
    "find_hanging_transactions": "pystream.client.AdminClient.list_transactions",
    "get_broker_version_data": "pystream.client.AdminClient.describe_features",
    "list_transactions": "pystream.client.AdminClient.list_transactions",
    "update_features": "pystream.client.AdminClient.update_features",
}


class KafkaAdminClient(TopicCalls, ConfigCalls, GroupCalls, UserCalls):
    """Administers a cluster; every call waits for its answer."""

    DEFAULT_CONFIG: Final[Mapping[str, Any]] = {
        "bootstrap_servers": "localhost",
        "client_id": None,
        "request_timeout_ms": 30_000,
        "reconnect_backoff_max_ms": 30_000,
        "bootstrap_timeout_ms": 30_000,
        "api_version": None,
    }

    def __init__(self, **configs: Any) -> None:
        self._closed = True
        self.config: dict[str, Any] = {**self.DEFAULT_CONFIG, **configs}
        check_timeouts(self.config)
        try:
            self._sdk = SdkAdminClient(settings_of(AdminConfig, self.config, OWN))
        except PystreamError as error:
            raise translated(error) from error
        self._runner = runner.acquire()
        self._closed = False
        if self.config["api_version"] is None:
            bootstrap(self._sdk.cluster, self._runner, self.config["bootstrap_timeout_ms"], self.close)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except PystreamError as error:
            raise translated(error) from error

    def wait_for_topics(self, topic_names: list[str], timeout_ms: float = 10_000) -> None:
        """Return once all partitions of these topics have leaders. Raises KafkaTimeoutError."""
        ends_at = time.monotonic() + timeout_ms / 1000
        while True:
            found = self.describe_topics(topic_names)
            missing = [
                topic["name"]
                for topic in found
                if topic["error_code"] or any(part["leader_id"] < 0 for part in topic["partitions"])
            ]
            if not missing:
                return
            if time.monotonic() >= ends_at:
                raise KafkaTimeoutError(f"Topics not ready after {timeout_ms}ms: {missing}")
            time.sleep(WAIT_SECONDS)

    def metrics(self, raw: bool = False) -> dict[str, Any]:
        """Counts of the connections, by group and name."""
        return metrics_of(self._sdk.cluster, "admin-client")

    def close(self) -> None:
        """Close the connections. Harmless when closed."""
        if not self._closed:
            self._closed = True
            self._runner.run(self._sdk.close())
            runner.release(self._runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name in LEFT_OUT:
            raise AttributeError(f"pystream.compat leaves {name} out; use {LEFT_OUT[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
