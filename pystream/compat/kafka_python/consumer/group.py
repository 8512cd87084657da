"""KafkaConsumer: kafka-python's, over the SDK's consumer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeVar

from pystream.client.admin.routes import ask_metadata
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.model import OffsetAndMetadata as SdkOffset
from pystream.client.sync.consumer import Consumer as SdkConsumer
from pystream.common.errors import DeadlineExceeded, PystreamError, UnknownTopicOrPartition
from pystream.common.model import TopicPartition
from pystream.compat.kafka_python._client import bootstrap, is_connected, metrics_of
from pystream.compat.kafka_python._settings import check_timeouts, settings_of
from pystream.compat.kafka_python.consumer.alone import Alone
from pystream.compat.kafka_python.consumer.fetcher import ConsumerRecord
from pystream.compat.kafka_python.consumer.subscription_state import ConsumerRebalanceListener
from pystream.compat.kafka_python.errors import (
    IllegalStateError,
    KafkaTimeoutError,
    translated,
)
from pystream.compat.kafka_python.future import Future
from pystream.compat.kafka_python.serializer import deserialize_with
from pystream.compat.kafka_python.structs import (
    ConsumerGroupMetadata,
    MemberState,
    OffsetAndMetadata,
    OffsetAndTimestamp,
)

T = TypeVar("T")
OWN: Final = frozenset(
    {
        "key_deserializer",
        "value_deserializer",
        "consumer_timeout_ms",
        "default_offset_commit_callback",
        "bootstrap_timeout_ms",
        "partition_assignment_strategy",
        "max_in_flight_requests_per_connection",
    }
)
RESETS: Final = {"smallest": "earliest", "largest": "latest"}


class KafkaConsumer:
    """Reads topics; iterate over it, or poll(). Used by one thread at a time."""

    DEFAULT_CONFIG: Final[Mapping[str, Any]] = {
        "bootstrap_servers": "localhost",
        "client_id": None,
        "group_id": None,
        "key_deserializer": None,
        "value_deserializer": None,
        "request_timeout_ms": 30_000,
        "default_api_timeout_ms": 60_000,
        "reconnect_backoff_max_ms": 30_000,
        "auto_offset_reset": "latest",
        "enable_auto_commit": True,
        "default_offset_commit_callback": None,
        "partition_assignment_strategy": ("range", "roundrobin"),
        "max_poll_records": 500,
        "metadata_max_age_ms": 300_000,
        "consumer_timeout_ms": float("inf"),
        "group_protocol": "classic",
        "bootstrap_timeout_ms": 30_000,
        "api_version": None,
    }

    def __init__(self, *topics: str, **configs: Any) -> None:
        self._closed = True
        self.config: dict[str, Any] = {**self.DEFAULT_CONFIG, **configs}
        reset = RESETS.get(self.config["auto_offset_reset"], self.config["auto_offset_reset"])
        self.config["auto_offset_reset"] = reset if reset in ("earliest", "latest") else "none"
        check_timeouts(self.config)
        self._key_deserializer = deserialize_with(self.config["key_deserializer"])
        self._value_deserializer = deserialize_with(self.config["value_deserializer"])
        settings = settings_of(ConsumerConfig, self.config, OWN)
        settings["partition.assignment.strategy"] = [
            each if isinstance(each, str) else each.name for each in self.config["partition_assignment_strategy"]
        ]
        if "session.timeout.ms" in settings and "heartbeat.interval.ms" not in settings:
            settings["heartbeat.interval.ms"] = min(3_000, max(settings["session.timeout.ms"] // 3, 1))
        if self.config["group_id"] is None:
            settings["enable.auto.commit"] = False
        try:
            self._sdk = SdkConsumer(settings)
        except PystreamError as error:
            raise translated(error) from error
        self._engine = self._sdk._engine
        self._closed = False
        self._alone: Alone | None = None
        self._records: list[ConsumerRecord] = []  # handed out by poll(), not by __next__ yet; the last first
        self._rows: Any = None
        if self.config["api_version"] is None:
            bootstrap(self._engine.cluster, self._sdk._runner, self.config["bootstrap_timeout_ms"], self._sdk.close)
        if topics:
            self.subscribe(topics=topics)

    def bootstrap_connected(self) -> bool:
        """Whether some broker is connected."""
        return is_connected(self._engine.cluster)

    def bootstrap(self, timeout_ms: int | None = None, refresh: bool = False) -> None:
        """Learn who the brokers are. Raises KafkaTimeoutError."""
        allowed = self.config["bootstrap_timeout_ms"] if timeout_ms is None else timeout_ms
        bootstrap(self._engine.cluster, self._sdk._runner, allowed)

    # --- what to read -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: Iterable[str] = (),
        pattern: str | None = None,
        listener: ConsumerRebalanceListener | None = None,
    ) -> None:
        """Read these topics, or those whose names begin with what fits `pattern`; with the group if there is one."""
        names = [topics] if isinstance(topics, str) else list(topics)
        if not names and pattern is None:
            raise ValueError("Must provide topics or pattern")
        if names and pattern is not None:
            raise IllegalStateError("You must choose only one way to configure your consumer: topics or pattern")
        if listener is not None and not isinstance(listener, ConsumerRebalanceListener):
            raise TypeError("listener must be a ConsumerRebalanceListener")
        if self._alone is None and self._engine.subscription is None and self._sdk.assignment():
            raise IllegalStateError("You must choose only one way to configure your consumer: subscribe or assign")
        if self.config["group_id"] is None:
            seconds = self.config["metadata_max_age_ms"] / 1000
            self._alone = Alone(self._sdk, names, pattern, listener, seconds)
            return
        on_assigned = on_revoked = on_lost = None
        if listener is not None:
            told = listener
            on_assigned = lambda places: told.on_partitions_assigned(set(places))  # noqa: E731
            on_revoked = lambda places: told.on_partitions_revoked(set(places))  # noqa: E731
            on_lost = lambda places: told.on_partitions_lost(set(places))  # noqa: E731
        self._guarded(
            lambda: self._sdk.subscribe(
                names,
                pattern=None if pattern is None else f"(?:{pattern}).*",
                on_assigned=on_assigned,
                on_revoked=on_revoked,
                on_lost=on_lost,
            )
        )

    def subscription(self) -> set[str] | None:
        """The topics that are subscribed to; None when there is no subscription."""
        if self._alone is not None:
            return set(self._alone.topics)
        return self._sdk.subscription() if self._engine.subscription is not None else None

    def unsubscribe(self) -> None:
        """Leave the group, read nothing."""
        self._forget()
        if self._alone is not None or self._engine.subscription is None:
            self._alone = None
            self._guarded(lambda: self._sdk.assign([]))
        else:
            self._guarded(self._sdk.unsubscribe)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these."""
        if self._alone is not None or self._engine.subscription is not None:
            raise IllegalStateError("You must choose only one way to configure your consumer: subscribe or assign")
        self._forget()
        places = [_place(each) for each in partitions]
        self._guarded(lambda: self._sdk.assign(places))

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are read now."""
        return self._sdk.assignment()

    # --- reading ------------------------------------------------------------------------------------------------------

    def poll(
        self, timeout_ms: float = 0, max_records: int | None = None, update_offsets: bool = True
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Records by partition, at most `max_records`; {} when none came within `timeout_ms`."""
        if timeout_ms < 0:
            raise ValueError("Timeout must not be negative")
        most = self.config["max_poll_records"] if max_records is None else max_records
        if not isinstance(most, int):
            raise TypeError("max_records must be an integer")
        if most <= 0:
            raise ValueError("max_records must be positive")
        self._check_open()
        if not update_offsets:
            raise ValueError("update_offsets=False is not supported by pystream.compat: seek() back instead")
        self._forget()
        if self._alone is None and self._engine.subscription is None and not self._sdk.assignment():
            return {}  # nothing will come
        ends_at = time.monotonic() + timeout_ms / 1000
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        count = 0
        while count < most:
            left = 0.0 if found else max(ends_at - time.monotonic(), 0.0)
            messages = self._poll_once(left, most - count)
            if messages:
                place = TopicPartition(messages[0].topic, messages[0].partition)
                found.setdefault(place, []).extend(map(self._record, messages))
                count += len(messages)
            elif found or time.monotonic() >= ends_at:
                break
        return found

    def _poll_once(self, seconds: float, most: int) -> list[Any]:
        try:
            if self._alone is not None:
                self._alone.look()
                seconds = min(seconds, self._alone.wait_seconds)
            return self._sdk.poll(seconds, most)
        except PystreamError as error:
            raise translated(error) from error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ConsumerRecord:
        """The next record; StopIteration when none comes within consumer_timeout_ms, or the consumer is closed."""
        waits = self.config["consumer_timeout_ms"] / 1000
        ends_at = time.monotonic() + waits
        while not self._closed:
            message = self._next_message()
            if message is not None:
                return self._record(message)
            left = ends_at - time.monotonic()
            if left <= 0:
                break
            self._wait(left)
        raise StopIteration

    def _next_message(self) -> Any:
        """What is here. It counts as read once it is handed out."""
        try:
            if self._alone is not None:
                self._alone.look()
            self._sdk._begin()
            if self._rows is not None:
                message = next(self._rows, None)
                if message is not None:
                    return message
            self._rows = self._engine.hand.chunk(self.config["max_poll_records"])
            return None if self._rows is None else next(self._rows, None)
        except PystreamError as error:
            raise translated(error) from error

    def _wait(self, seconds: float) -> None:
        if self._alone is not None:
            seconds = min(seconds, self._alone.wait_seconds)
        try:
            self._sdk._run(self._engine.wait(None if seconds == float("inf") else seconds))
        except PystreamError as error:
            if not self._closed:
                raise translated(error) from error

    def _forget(self) -> None:
        """Another way of reading begins: what the iterator has left comes again."""
        self._rows = None

    def _record(self, message: Any) -> ConsumerRecord:
        key, value, headers = message.key, message.value, list(message.headers)
        key_size = -1 if key is None else len(key)
        value_size = -1 if value is None else len(value)
        header_size = sum(len(name.encode()) + len(data or b"") for name, data in headers) if headers else -1
        if self._key_deserializer is not None:
            key = self._key_deserializer(message.topic, headers, key)
        if self._value_deserializer is not None:
            value = self._value_deserializer(message.topic, headers, value)
        return ConsumerRecord(
            message.topic,
            message.partition,
            message.leader_epoch,
            message.offset,
            message.timestamp,
            message.timestamp_type,
            key,
            value,
            headers,
            None,
            key_size,
            value_size,
            header_size,
        )

    # --- where to read ------------------------------------------------------------------------------------------------

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at `offset`."""
        if not isinstance(partition, tuple) or len(partition) != 2:
            raise TypeError("partition must be a TopicPartition namedtuple")
        if not isinstance(offset, int) or offset < 0:
            raise ValueError("Offset must be int >= 0")
        if _place(partition) not in self.assignment():
            raise ValueError("Unassigned partition")
        self._guarded(lambda: self._sdk.seek(_place(partition), offset))

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self._guarded(lambda: self._sdk.seek_to_beginning(self._which(partitions)))

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        self._guarded(lambda: self._sdk.seek_to_end(self._which(partitions)))

    def _which(self, partitions: tuple[TopicPartition, ...]) -> list[TopicPartition]:
        if not partitions and not self.assignment():
            raise ValueError("No partitions are currently assigned")
        for partition in partitions:
            if _place(partition) not in self.assignment():
                raise ValueError(f"Unassigned partition: {partition}")
        return [_place(each) for each in partitions or self.assignment()]

    def _assigned(self, partition: Any) -> TopicPartition:
        if not isinstance(partition, tuple) or len(partition) != 2:
            raise TypeError("partition must be a TopicPartition namedtuple")
        place = _place(partition)
        if place not in self.assignment():
            raise IllegalStateError("Partition is not assigned")
        return place

    def position(self, partition: TopicPartition, timeout_ms: float | None = None) -> int | None:
        """The offset of the next record; None when it is not found within `timeout_ms`."""
        place = self._assigned(partition)
        try:
            return self._sdk.position(place, None if timeout_ms is None else timeout_ms / 1000)
        except DeadlineExceeded:
            return None
        except PystreamError as error:
            raise translated(error) from error

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end of the partition as of the last fetch."""
        state = self._engine.positions.get(self._assigned(partition))
        return None if state is None or state.high_watermark < 0 else state.high_watermark

    def pause(self, *partitions: TopicPartition) -> None:
        places = [self._assigned(each) for each in partitions]
        self._guarded(lambda: self._sdk.pause(places))

    def resume(self, *partitions: TopicPartition) -> None:
        places = [self._assigned(each) for each in partitions]
        self._guarded(lambda: self._sdk.resume(places))

    def paused(self) -> set[TopicPartition]:
        return self._sdk.paused()

    def beginning_offsets(
        self, partitions: Iterable[TopicPartition], timeout_ms: float | None = None
    ) -> dict[TopicPartition, int]:
        """The first offset of each."""
        places = [_place(each) for each in partitions]
        return self._looked_up(lambda: self._sdk.beginning_offsets(places, self._seconds(timeout_ms)))

    def end_offsets(
        self, partitions: Iterable[TopicPartition], timeout_ms: float | None = None
    ) -> dict[TopicPartition, int]:
        """The offset behind the last record of each."""
        places = [_place(each) for each in partitions]
        return self._looked_up(lambda: self._sdk.end_offsets(places, self._seconds(timeout_ms)))

    def offsets_for_times(
        self, timestamps: Mapping[TopicPartition, int], timeout_ms: float | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time; None where there is none."""
        for partition, timestamp in timestamps.items():
            if timestamp < 0:
                raise ValueError(f"The target time for partition {partition} is {timestamp}: it cannot be negative")
        wanted: dict[Any, int] = {_place(partition): int(timestamp) for partition, timestamp in timestamps.items()}
        if not wanted:
            return {}
        found = self._looked_up(lambda: self._sdk.offsets_for_times(wanted, self._seconds(timeout_ms)))
        return {place: None if each is None else OffsetAndTimestamp(*each) for place, each in found.items()}

    def _seconds(self, timeout_ms: float | None) -> float:
        return float(self.config["default_api_timeout_ms"] if timeout_ms is None else timeout_ms) / 1000

    def _looked_up(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (DeadlineExceeded, UnknownTopicOrPartition) as error:
            raise KafkaTimeoutError(f"Failed to get offsets: {error}") from error
        except PystreamError as error:
            raise translated(error) from error

    # --- commits ------------------------------------------------------------------------------------------------------

    def commit(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata] | None = None, timeout_ms: float | None = None
    ) -> None:
        """Commit these, or what was read."""
        self._in_group()
        wanted = _to_commit(offsets)
        self._guarded(lambda: self._sdk.commit(wanted, self._seconds(timeout_ms)))

    def commit_async(
        self,
        offsets: Mapping[TopicPartition, OffsetAndMetadata] | None = None,
        callback: Callable[[Any, Any], object] | None = None,
    ) -> Future:
        """Commit without waiting; callback(offsets, error or None) is called in the SDK's thread."""
        self._in_group()
        self._engine.hand.note_position()
        wanted: Any = _to_commit(offsets) or self._engine.positions.consumed()
        told = wanted if offsets is None else offsets
        call = callback or self.config["default_offset_commit_callback"]
        future = Future()
        if call is not None:
            future.add_both(lambda response: call(told, response))

        async def commit() -> None:
            try:
                await self._engine.commit(wanted)
            except PystreamError as error:
                future.failure(translated(error))
            else:
                future.success(None)

        asyncio.run_coroutine_threadsafe(commit(), self._sdk._runner.loop)
        return future

    def committed(self, partition: TopicPartition, metadata: bool = False, timeout_ms: float | None = None) -> Any:
        """The offset that the group committed, or with `metadata` an OffsetAndMetadata; None where it has none."""
        self._in_group()
        if not isinstance(partition, tuple) or len(partition) != 2:
            raise TypeError("partition must be a TopicPartition namedtuple")
        place = _place(partition)
        found = self._guarded(lambda: self._sdk.committed([place], self._seconds(timeout_ms)))[place]
        if found is None:
            return None
        return OffsetAndMetadata(*found) if metadata else found.offset

    def _in_group(self) -> None:
        self._check_open()
        if self.config["group_id"] is None:
            raise IllegalStateError("Requires group_id")

    def group_metadata(self) -> ConsumerGroupMetadata:
        """Who this consumer is in its group."""
        commits = self._engine.commits
        if commits is None:
            return ConsumerGroupMetadata()
        identity = commits.identity
        state = MemberState.STABLE if identity.member_id else MemberState.UNJOINED
        if self._engine.steps:
            state = MemberState.REBALANCING
        return ConsumerGroupMetadata(
            self.config["group_id"], identity.generation, identity.member_id, identity.instance_id, state
        )

    # --- the rest -----------------------------------------------------------------------------------------------------

    def topics(self, timeout_ms: float | None = None) -> set[str]:
        """All topics there are."""
        return {told.name for told in self._metadata(timeout_ms) if told.name and not told.is_internal}

    def partitions_for_topic(self, topic: str, timeout_ms: float | None = None) -> set[int]:
        """The partitions of a topic; none when it does not exist."""
        for told in self._metadata(timeout_ms):
            if told.name == topic:
                return {each.partition_index for each in told.partitions}
        return set()

    def _metadata(self, timeout_ms: float | None) -> list[Any]:
        cluster = self._engine.cluster
        allowed = round(self._seconds(timeout_ms) * 1000)
        work = cluster.retrying("metadata", lambda _: ask_metadata(cluster, None), timeout_ms=allowed)
        return list(self._looked_up(lambda: self._sdk._run(work)).topics)

    def metrics(self, raw: bool = False) -> dict[str, Any]:
        """Counts of the connections, by group and name."""
        return metrics_of(self._engine.cluster, "consumer")

    def close(self, autocommit: bool = True, timeout_ms: float | None = None) -> None:
        """Commit (with enable_auto_commit), leave the group. Harmless when closed."""
        if self._closed:
            return
        if not autocommit:
            self._engine.positions.assign(())
        try:
            self._guarded(lambda: self._sdk.close(timeout=None if timeout_ms is None else timeout_ms / 1000))
        finally:
            self._closed = True
        for deserializer in (self.config["key_deserializer"], self.config["value_deserializer"]):
            if hasattr(deserializer, "close"):
                deserializer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise IllegalStateError("KafkaConsumer is closed")

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except PystreamError as error:
            raise translated(error) from error


def _place(partition: Any) -> TopicPartition:
    if not isinstance(partition, tuple) or len(partition) != 2:
        raise TypeError("partition must be a TopicPartition namedtuple")
    return TopicPartition(*partition)


def _to_commit(offsets: Mapping[TopicPartition, Any] | None) -> dict[Any, Any] | None:
    if offsets is None:
        return None
    if not all(hasattr(where, "offset") for where in offsets.values()):
        raise TypeError("offsets must be dict[TopicPartition, OffsetAndMetadata]")
    return {
        _place(partition): SdkOffset(where.offset, where.metadata or "", where.leader_epoch)
        for partition, where in offsets.items()
    }
