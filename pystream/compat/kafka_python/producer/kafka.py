"""KafkaProducer: kafka-python's, over the SDK's producer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Self

from pystream.client.config import ProducerConfig
from pystream.client.sync.producer import Producer as SdkProducer
from pystream.common.errors import DeadlineExceeded, InvalidTxnState, PystreamError, UnknownTopicOrPartition
from pystream.common.logging import get_logger
from pystream.compat.kafka_python._client import bootstrap, is_connected, metrics_of
from pystream.compat.kafka_python._settings import check_timeouts, settings_of
from pystream.compat.kafka_python.errors import (
    IllegalStateError,
    KafkaConfigurationError,
    KafkaTimeoutError,
    translated,
)
from pystream.compat.kafka_python.partitioner import ClusterView, Partitioner
from pystream.compat.kafka_python.producer.future import FutureRecordMetadata
from pystream.compat.kafka_python.serializer import serialize_with
from pystream.compat.kafka_python.structs import ConsumerGroupMetadata, OffsetAndMetadata

logger = get_logger(__name__)

LONGEST_TOPIC: Final = 249
LEGAL_TOPIC: Final = re.compile("[A-Za-z0-9._-]+")
BYTES: Final = (bytes, bytearray, memoryview, type(None))
CODECS: Final = (None, "gzip", "snappy", "lz4", "zstd")
OWN: Final = frozenset(
    {"key_serializer", "value_serializer", "partitioner", "bootstrap_timeout_ms", "allow_auto_create_topics"}
)


class KafkaProducer:
    """Asynchronous producer: send() gives a future. Callbacks are called in the SDK's thread."""

    DEFAULT_CONFIG: Final[Mapping[str, Any]] = {
        "bootstrap_servers": "localhost",
        "client_id": None,
        "key_serializer": None,
        "value_serializer": None,
        "enable_idempotence": True,
        "transactional_id": None,
        "acks": -1,
        "compression_type": None,
        "linger_ms": 0,
        "partitioner": None,
        "max_block_ms": 60_000,
        "request_timeout_ms": 30_000,
        "default_api_timeout_ms": 60_000,
        "bootstrap_timeout_ms": 30_000,
        "reconnect_backoff_max_ms": 30_000,
        "allow_auto_create_topics": True,
        "api_version": None,
    }

    def __init__(self, **configs: Any) -> None:
        self._closed = True
        self.config: dict[str, Any] = {**self.DEFAULT_CONFIG, **configs}
        if self.config["compression_type"] not in CODECS:
            raise ValueError(f"Not supported codec: {self.config['compression_type']}")
        check_timeouts(self.config)
        self.config["enable_idempotence"] = self._is_idempotent(configs)
        self._key_serializer = serialize_with(self.config["key_serializer"])
        self._value_serializer = serialize_with(self.config["value_serializer"])
        self._partitioner = self.config["partitioner"]
        try:
            self._sdk = SdkProducer(settings_of(ProducerConfig, self.config, OWN, unknown=ValueError))
        except PystreamError as error:
            raise translated(error) from error
        self._engine = self._sdk._engine
        self._closed = False
        if not self.config["allow_auto_create_topics"]:
            self._engine.cluster._auto_create_topics = False
        if self.config["api_version"] is None:
            bootstrap(self._engine.cluster, self._sdk._runner, self.config["bootstrap_timeout_ms"], self.close)

    def _is_idempotent(self, given: Mapping[str, Any]) -> bool:
        """Whether it is: what was not asked for gives way to settings that contradict it.

        Raises KafkaConfigurationError when it was asked for, or transactions were.
        """
        config = self.config
        if config["acks"] == "all":
            config["acks"] = -1
        transactional = config["transactional_id"] is not None
        if not config["enable_idempotence"]:
            if transactional:
                raise KafkaConfigurationError("Cannot set transactional_id without enable_idempotence.")
            return False
        conflicts = [
            f"{name}={given[name]}"
            for name, fits in (
                ("acks", config["acks"] == -1),
                ("retries", given.get("retries", 1) > 0),
                ("max_in_flight_requests_per_connection", given.get("max_in_flight_requests_per_connection", 5) <= 5),
            )
            if not fits
        ]
        if conflicts and (transactional or "enable_idempotence" in given):
            text = f"enable_idempotence=True is incompatible with user-provided {', '.join(conflicts)}"
            raise KafkaConfigurationError(text)
        if conflicts:
            logger.warning("idempotence disabled", because=conflicts)
        return not conflicts

    def bootstrap_connected(self) -> bool:
        """Whether some broker is connected."""
        return is_connected(self._engine.cluster)

    def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> FutureRecordMetadata:
        """Queue a record. Waits up to max_block_ms for the topic to be known and for memory."""
        if self._closed:
            raise IllegalStateError("KafkaProducer already closed!")
        if value is None and key is None:
            raise ValueError("Need at least one: key or value")
        _check_topic(topic)
        if partition is not None and partition < 0:
            raise ValueError("partition must be >= 0")
        pairs = _checked_headers(headers)
        key_bytes = key if self._key_serializer is None else self._key_serializer(topic, pairs, key)
        value_bytes = value if self._value_serializer is None else self._value_serializer(topic, pairs, value)
        for what, data in (("key", key_bytes), ("value", value_bytes)):
            if not isinstance(data, BYTES):
                raise TypeError(f"Unsupported type for serialized {what}: {type(data)}")
        future = FutureRecordMetadata(
            -1 if key_bytes is None else len(key_bytes),
            -1 if value_bytes is None else len(value_bytes),
            sum(len(name.encode()) + len(data) for name, data in pairs) if pairs else -1,
        )
        try:
            if partition is not None or self._partitioner is not None:
                partition = self._place(topic, partition, key, key_bytes, value, value_bytes)
            delivery = self._sdk.send(topic, value_bytes, key_bytes, pairs or None, timestamp_ms, partition)
        except (DeadlineExceeded, UnknownTopicOrPartition) as error:
            raise KafkaTimeoutError(f"Failed to update metadata: {error}") from error
        except InvalidTxnState as error:
            raise IllegalStateError(str(error)) from error
        except PystreamError as error:
            raise translated(error) from error
        delivery.add_callback(future.delivered)
        return future

    def _place(
        self, topic: str, partition: int | None, key: Any, key_bytes: Any, value: Any, value_bytes: Any
    ) -> int | None:
        count = self._sdk.partitions(topic)
        if partition is not None:
            if not 0 <= partition < count:
                raise ValueError(f"Unrecognized partition {partition} for topic {topic}")
            return partition
        cluster = ClusterView(self._engine.cluster.metadata)
        if isinstance(self._partitioner, Partitioner):
            return self._partitioner.partition(topic, key, key_bytes, value, value_bytes, cluster)
        if hasattr(self._partitioner, "partition"):
            found: int = self._partitioner.partition(topic, key_bytes, cluster)
            return found
        everywhere = sorted(cluster.partitions_for_topic(topic) or ())
        available = sorted(cluster.available_partitions_for_topic(topic) or ())
        chosen: int = self._partitioner(key_bytes, everywhere, available)  # as before kafka-python 2.3
        return chosen

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is delivered or has failed. Raises KafkaTimeoutError after `timeout` seconds."""
        if not self._closed:
            self._guarded(lambda: self._sdk.flush(timeout))

    def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic."""
        try:
            return set(range(self._sdk.partitions(topic)))
        except PystreamError as error:
            raise KafkaTimeoutError(f"Failed to update metadata: {error}") from error

    @classmethod
    def max_usable_produce_magic(cls, api_version: tuple[int, ...] | None) -> int:
        """The version of record batches: the SDK writes only the newest."""
        return 2

    def metrics(self, raw: bool = False) -> dict[str, Any]:
        """Counts of the connections, by group and name."""
        return metrics_of(self._engine.cluster, "producer")

    # --- transactions -------------------------------------------------------------------------------------------------

    def init_transactions(self) -> None:
        self._check_transactional()
        self._guarded(self._sdk.init_transactions)

    def begin_transaction(self) -> None:
        self._check_transactional()
        self._guarded(self._sdk.begin_transaction)

    def send_offsets_to_transaction(
        self,
        offsets: Mapping[Any, OffsetAndMetadata],
        group_metadata: ConsumerGroupMetadata | str,
    ) -> None:
        """Commit what a consumer read together with the records."""
        self._check_transactional()
        self._guarded(lambda: self._sdk.send_offsets_to_transaction(offsets, group_metadata))

    def commit_transaction(self) -> None:
        self._check_transactional()
        self._guarded(self._sdk.commit_transaction)

    def abort_transaction(self) -> None:
        self._check_transactional()
        self._guarded(self._sdk.abort_transaction)

    def _check_transactional(self) -> None:
        if self.config["transactional_id"] is None:
            raise IllegalStateError("Transactional method invoked on a non-transactional producer.")

    def _guarded(self, call: Any) -> None:
        try:
            call()
        except PystreamError as error:
            raise translated(error) from error

    # --- life ---------------------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> None:
        """Send what is queued, for at most `timeout` seconds. Harmless when closed."""
        if self._closed:
            return
        self._closed = True
        self._sdk.close(timeout)
        for serializer in (self.config["key_serializer"], self.config["value_serializer"]):
            if hasattr(serializer, "close"):
                serializer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return (
            f"<KafkaProducer client_id={self.config['client_id']} transactional_id={self.config['transactional_id']}>"
        )


def _check_topic(topic: Any) -> None:
    """Raises TypeError and ValueError for what cannot be a topic's name."""
    if topic is None:
        raise TypeError("All topics must not be None")
    if not isinstance(topic, str):
        raise TypeError("All topics must be strings")
    if not topic:
        raise ValueError("All topics must be non-empty strings")
    if len(topic) > LONGEST_TOPIC or not LEGAL_TOPIC.fullmatch(topic):
        raise ValueError(
            f"Topic name {topic!r} is illegal: up to {LONGEST_TOPIC} of ASCII letters, digits, '.', '_', '-'"
        )
    if topic in (".", ".."):
        raise ValueError('Topic name cannot be "." or ".."')


def _checked_headers(headers: Any) -> list[tuple[str, bytes]]:
    if headers is None:
        return []
    if not isinstance(headers, list):
        raise TypeError("headers must be list-type")
    for header in headers:
        if not (isinstance(header, tuple) and len(header) == 2):
            raise TypeError("All headers items must be (str, bytes) tuples")
        if not isinstance(header[0], str) or not isinstance(header[1], bytes):
            raise TypeError("All headers items must be (str, bytes) tuples")
    return headers
