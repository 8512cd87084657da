"""Consumer: confluent_kafka's, over the SDK's.

poll() gives one message, an event in the place of one (errors, the end of a partition), or None; it serves callbacks.
Offsets are stored as messages are handed out, or by store_offsets(); what is stored is committed now and then, before
partitions go, and at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, TypeVar

from pystream.client.config import ConsumerConfig
from pystream.client.consumer.model import OffsetAndMetadata
from pystream.common.errors import DeadlineExceeded, NetworkFailure, NoBrokersAvailable, OffsetOutOfRange, PystreamError
from pystream.common.model import TopicPartition as Place
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError, KafkaException, as_exception, as_kafka_error, local
from pystream.compat.confluent_kafka._metadata import ClusterMetadata, list_topics
from pystream.compat.confluent_kafka._reader import Reader
from pystream.compat.confluent_kafka._settings import loaded, parse
from pystream.compat.confluent_kafka._telling.background import Subject, start, weakly
from pystream.compat.confluent_kafka._telling.events import Events, LastRaised, error_event, report_missing_topics
from pystream.compat.confluent_kafka._values import (
    OFFSET_END,
    OFFSET_INVALID,
    Message,
    TopicPartition,
    at,
    partitions_of,
    refuse_credentials,
    seconds,
)

T = TypeVar("T")
SLICE_SECONDS: Final = 0.05  # a poll looks up so often for callbacks, and for partitions read to their end
MOST_MESSAGES: Final = 1_000_000
CLOSED: Final = "Consumer closed"

OnRebalance = Callable[["Consumer", list[TopicPartition]], Any]


@dataclass(frozen=True, slots=True)
class ConsumerGroupMetadata:
    """Who a consumer is in its group: for send_offsets_to_transaction()."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None


class Consumer:
    """Reads topics, as a member of `group.id`, or partitions by hand."""

    _closed = True  # before __init__, which a subclass may forget

    def __init__(self, config: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        self._closed = True
        if not isinstance(config, Mapping | None) or (config is None and not keywords):
            raise TypeError("expected configuration dict")
        named = {**(config or {}), **keywords}
        if "group.id" not in named and "group_id" not in named:
            raise ValueError("Failed to create consumer: group.id must be set")
        settings = parse(ConsumerConfig, config, keywords, {"on_commit"})
        self._events = Events()
        self._on_commit = settings.callback("on_commit")
        self._tells_ends: bool = settings.own["enable.partition.eof"]
        self._stores: bool = settings.own["enable.auto.offset.store"]
        self._commits: bool = settings.own["enable.auto.commit"]
        self._commit_seconds: float = settings.own["auto.commit.interval.ms"] / 1000
        self._next_commit = time.monotonic() + self._commit_seconds
        self._is_told = False  # on_assign was called, if only to say that there is nothing
        self._rebalancing: list[Place] | None = None  # what a rebalance callback is being called for
        self._news: deque[Message] = deque()  # events that poll() gives in the place of a message
        self._begun_at: dict[Place, int] = {}  # the offsets that assign() was given
        self._callbacks: tuple[OnRebalance | None, OnRebalance | None, OnRebalance | None] = (None, None, None)
        self._reader: Reader = loaded(lambda: Reader({**settings.sdk, "enable.auto.commit": False}))
        self._runner = self._reader._runner
        self._closed = False
        cluster = self._reader.engine.cluster
        self._subject = Subject(
            "consumer", cluster, self._runner, self._events, topics=weakly(self._reader.statistics, {})
        )
        start(self._subject, settings)

    # --- what to read -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance | None = None,
        on_revoke: OnRebalance | None = None,
        on_lost: OnRebalance | None = None,
    ) -> None:
        """Read these topics with the group; names that begin with ^ are patterns."""
        self._check_open()
        if not isinstance(topics, list):
            raise TypeError("expected list of topic unicode strings")
        for topic in topics:
            if not isinstance(topic, str):
                raise TypeError("expected list of topic unicode strings")
        for callback in (on_assign, on_revoke, on_lost):
            if callback is not None and not callable(callback):
                raise TypeError("rebalance callbacks must be callable")
        self._callbacks = (on_assign, on_revoke, on_lost)
        patterns = [topic for topic in topics if topic.startswith("^")]
        names = [topic for topic in topics if not topic.startswith("^")]
        pattern = None
        if patterns:
            pattern = "|".join([*(f"(?:{text}).*" for text in patterns), *map(_literally, names)])
        if self._reader.engine.subscription is None and self._reader.assignment():
            self.unassign()
        try:
            self._reader.subscribe(
                () if patterns else names,
                pattern=pattern,
                on_assigned=self._assigned,
                on_revoked=self._revoked,
                on_lost=self._lost,
            )
        except (PystreamError, ValueError) as error:
            raise as_exception(error, "Failed to set subscription: ", Codes._INVALID_ARG) from error
        config = self._reader.config
        if names and not patterns and config.group_protocol == "classic" and not config.allow_auto_create_topics:
            cluster, tell = self._reader.engine.cluster, self._news.append
            self._subject.spawn("look for topics", lambda: report_missing_topics(cluster, names, tell))

    def unsubscribe(self) -> None:
        """Leave the group."""
        self._check_open()
        self._give_up()
        self._guard(self._reader.unsubscribe)
        self._callbacks = (None, None, None)

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read exactly these, from their offsets, or from what is committed. In on_assign: set where to begin."""
        self._check_open()
        wanted = partitions_of(partitions)
        if self._rebalancing is not None:
            self._reader.place_at(wanted, anew=False)
            return
        places = [partition.place for partition in wanted]
        self._reader.forget(places)
        self._guard(lambda: self._reader.assign_at(wanted), "Failed to set assignment: ")
        self._begun_at = {partition.place: partition.offset for partition in wanted}

    def unassign(self) -> None:
        """Read nothing. In on_revoke it says what happens anyway."""
        self._check_open()
        if self._rebalancing is None:
            self._guard(lambda: self._reader.assign([]), "Failed to remove assignment: ")

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Read these too."""
        self._check_open()
        wanted = partitions_of(partitions)
        if self._rebalancing is None:
            places = [partition.place for partition in wanted]
            already = [place for place in places if place in self._reader.assignment()]
            if already:
                raise local(
                    Codes._CONFLICT, f"Failed incremental assign: {already[0]} is already part of the assignment"
                )
            self._guard(lambda: self._reader.add_partitions(wanted), "Failed incremental assign: ")
            self._begun_at |= {partition.place: partition.offset for partition in wanted}
        else:
            self._reader.place_at(wanted, anew=False)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Read these no more."""
        self._check_open()
        places = [partition.place for partition in partitions_of(partitions)]
        if self._rebalancing is None:
            missing = [place for place in places if place not in self._reader.assignment()]
            if missing:
                raise local(Codes._INVALID_ARG, f"Failed incremental unassign: {missing[0]} is not being read")
            self._guard(lambda: self._reader.drop_partitions(places), "Failed incremental unassign: ")
            self._reader.forget(places)

    def assignment(self) -> list[TopicPartition]:
        self._check_open()
        places = sorted(self._reader.assignment())
        return [TopicPartition.at(place, self._begun_at.get(place, OFFSET_INVALID)) for place in places]

    def _assigned(self, places: list[Place]) -> None:
        self._is_told = True
        self._reader.forget(places)
        self._tell(self._callbacks[0], places)

    def _revoked(self, places: list[Place]) -> None:
        try:
            self._tell(self._callbacks[1], places)
        finally:
            if self._commits:
                self._commit_stored(places)
            self._reader.forget(places)

    def _lost(self, places: list[Place]) -> None:
        try:
            self._tell(self._callbacks[2] or self._callbacks[1], places)
        finally:
            self._reader.forget(places)

    def _tell(self, callback: OnRebalance | None, places: list[Place]) -> None:
        if callback is None:
            return
        self._rebalancing = places
        try:
            callback(self, [TopicPartition.at(place) for place in sorted(places)])
        finally:
            self._rebalancing = None

    def _give_up(self) -> None:
        """Before leaving: what is stored is committed, and the application told."""
        places = list(self._reader.assignment())
        if self._reader.engine.subscription is not None and (places or self._is_told):
            self._is_told = False
            try:
                self._revoked(places)
            finally:
                self._reader.forget_callbacks()  # they are told, while the consumer is open
        elif self._commits:
            self._commit_stored(None)

    # --- reading ------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None) -> Message | None:
        """One message, or an event in its place, or None after `timeout` seconds."""
        self._check_open()
        given = seconds(timeout)
        return self._poll(None if given is None else time.monotonic() + given, self._events.serve)

    def _poll(self, ends_at: float | None, serve: Callable[[], int]) -> Message | None:
        if self._reader.is_late():
            self._reader.await_loss(ends_at)
            return error_event(KafkaError(Codes._MAX_POLL_EXCEEDED, "Application maximum poll interval exceeded"))
        while True:
            if self._events:
                serve()
                self._check_open()
            message = self._take()
            if message is not None:
                return message
            left = SLICE_SECONDS if ends_at is None else ends_at - time.monotonic()
            if left <= 0 or (
                not self._await(min(left, SLICE_SECONDS)) and left <= SLICE_SECONDS and ends_at is not None
            ):
                return self._take_last(serve)

    def _take(self) -> Message | None:
        reader = self._reader
        if self._news:
            return self._news.popleft()
        try:
            found = reader.next_message(self._stores)
        except PystreamError as error:
            self._check_open()
            reset = Codes._AUTO_OFFSET_RESET if isinstance(error, OffsetOutOfRange) else None
            return error_event(as_kafka_error(error, code=reset))
        self._commit_when_due()
        if found is not None:
            reader.note_read(found, self._stores)
            kind = found.timestamp_type + 1 if found.timestamp >= 0 else 0
            return Message(
                found.topic,
                found.partition,
                found.offset,
                found.key,
                found.value,
                list(found.headers) or None,
                None,
                (kind, found.timestamp),
                None,
                found.leader_epoch if found.leader_epoch >= 0 else None,
            )
        if self._tells_ends:
            state = reader.end_reached()
            if state is not None:
                return reader.end_event(state)
        return None

    def _take_last(self, serve: Callable[[], int]) -> Message | None:
        if self._events:
            serve()
            self._check_open()
        return self._take()

    def _await(self, left: float) -> bool:
        try:
            return self._reader.await_news(left)
        except PystreamError:
            self._check_open()
            raise

    def consume(self, num_messages: int = 1, timeout: float | None = None) -> list[Message]:
        """Up to `num_messages`, as many as come within `timeout` seconds."""
        self._check_open()
        if not 0 <= num_messages <= MOST_MESSAGES:
            raise ValueError(f"num_messages must be between 0 and {MOST_MESSAGES} (1M)")
        given = seconds(timeout)
        ends_at = None if given is None else time.monotonic() + given
        found: list[Message] = []
        while len(found) < num_messages:
            message = self._take() if found else None
            if message is None:
                message = self._poll(ends_at, self._events.serve_all)
            if message is None:
                break
            found.append(message)
        return found

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._check_open()
        self._guard(lambda: self._reader.pause(self._held(partitions)), "Failed to pause partitions: ")

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._check_open()
        self._guard(lambda: self._reader.resume(self._held(partitions)), "Failed to resume partitions: ")

    def _held(self, partitions: list[TopicPartition]) -> list[Place]:
        """Those of them that are read; the others are passed over."""
        held = self._reader.assignment()
        return [partition.place for partition in partitions_of(partitions) if partition.place in held]

    def seek(self, partition: TopicPartition) -> None:
        """Go on at the partition's offset."""
        self._check_open()
        if not isinstance(partition, TopicPartition):
            raise TypeError("expected TopicPartition")
        what = f"Failed to seek to offset {partition.offset}: "
        if partition.place not in self._reader.assignment():
            raise local(Codes._STATE, f"{what}Local: Erroneous state")
        self._reader.forget([partition.place])
        self._guard(lambda: self._reader.place_at([partition], anew=True), what)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Behind the last message that was handed out of each; OFFSET_INVALID before the first."""
        self._check_open()
        found = []
        for partition in partitions_of(partitions):
            where = self._reader.read_up_to.get(partition.place)
            found.append(at(partition.place, where))
        return found

    # --- offsets ------------------------------------------------------------------------------------------------------

    def store_offsets(self, message: Message | None = None, offsets: list[TopicPartition] | None = None) -> None:
        """Have these committed by the next commit; needs enable.auto.offset.store=false."""
        self._check_open()
        if message is None and offsets is None:
            raise ValueError("expected either message or offsets")
        if message is not None and offsets is not None:
            raise ValueError("message and offsets are mutually exclusive")
        if self._stores:
            raise local(
                Codes._INVALID_ARG, "StoreOffsets failed: enable.auto.offset.store must be false to use this API"
            )
        for place, where in self._given(message, offsets).items():
            if place not in self._reader.assignment():
                raise local(Codes._UNKNOWN_PARTITION, f"StoreOffsets failed: {place} is not being read")
            self._reader.stored[place] = where

    def commit(
        self,
        message: Message | None = None,
        offsets: list[TopicPartition] | None = None,
        asynchronous: bool = True,
    ) -> list[TopicPartition] | None:
        """Commit the offset behind a message, offsets, or what is stored; gives what was committed, if synchronous."""
        self._check_open()
        if message is not None and offsets is not None:
            raise ValueError("message and offsets are mutually exclusive")
        if message is None and offsets is None:
            wanted = self._reader.to_commit()
        else:
            wanted = self._given(message, offsets)
        if not wanted:
            nothing = KafkaError(Codes._NO_OFFSET, "Commit failed: Local: No offset stored")
            if not asynchronous:
                raise KafkaException(nothing)
            self._tell_commit(nothing, {})
            return None
        if asynchronous:
            self._commit_async(wanted)
            return None
        try:
            self._reader._run(self._reader.engine.commit(wanted))
        except PystreamError as error:
            raise as_exception(error, "Commit failed: ") from error
        self._note_committed(wanted)
        if message is None and offsets is None:
            return self._reader.all_held(wanted)
        return [at(place, where) for place, where in wanted.items()]

    def _given(self, message: Message | None, offsets: list[TopicPartition] | None) -> dict[Place, OffsetAndMetadata]:
        if message is not None:
            if not isinstance(message, Message):
                raise TypeError("expected Message")
            if (error := message.error()) is not None:
                raise local(Codes._INVALID_ARG, f"Cannot commit a message with an error: {error}")
            epoch = message.leader_epoch()
            place = Place(message.topic() or "", message.partition() or 0)
            return {place: OffsetAndMetadata((message.offset() or 0) + 1, "", -1 if epoch is None else epoch)}
        return {
            each.place: OffsetAndMetadata(
                each.offset, each.metadata or "", -1 if each.leader_epoch is None else each.leader_epoch
            )
            for each in partitions_of(offsets or [])
            if each.offset >= 0
        }

    def _commit_async(self, wanted: dict[Place, OffsetAndMetadata]) -> None:
        async def commit() -> None:
            try:
                await self._reader.engine.commit(wanted)
            except PystreamError as error:
                self._tell_commit(as_kafka_error(error, "Commit failed: "), wanted)
            else:
                self._note_committed(wanted)
                self._tell_commit(None, wanted)

        asyncio.run_coroutine_threadsafe(commit(), self._runner.loop)

    def _note_committed(self, wanted: dict[Place, OffsetAndMetadata]) -> None:
        for place, where in wanted.items():
            self._reader.committed_up_to[place] = where.offset

    def _tell_commit(
        self, error: KafkaError | None, wanted: dict[Place, OffsetAndMetadata], *, all_held: bool = False
    ) -> None:
        on_commit = self._on_commit
        if on_commit is not None:
            held = self._reader.all_held(wanted) if all_held else []
            told = held or [at(place, where) for place, where in wanted.items()]
            self._events.put(lambda: on_commit(error, told))

    def _commit_when_due(self) -> None:
        if self._commits and time.monotonic() >= self._next_commit:
            self._next_commit = time.monotonic() + self._commit_seconds
            wanted = self._reader.to_commit()
            if wanted:
                self._commit_async(wanted)

    def _commit_stored(self, places: list[Place] | None) -> None:
        """The last automatic commit of partitions that go; on_commit is told how it went."""
        wanted = self._reader.to_commit(places)
        if not wanted:
            return
        try:
            self._reader.commit_at_last(wanted)
        except PystreamError as error:
            self._tell_commit(as_kafka_error(error, "Commit failed: "), wanted)
        else:
            self._note_committed(wanted)
            self._tell_commit(None, wanted, all_held=True)

    def committed(self, partitions: list[TopicPartition], timeout: float | None = None) -> list[TopicPartition]:
        """What the group has committed of each; OFFSET_INVALID where it has nothing."""
        self._check_open()
        wanted = partitions_of(partitions)
        found = self._guard(
            lambda: self._reader.committed([part.place for part in wanted], seconds(timeout)),
            "Failed to get committed offsets: ",
        )
        return [at(part.place, found.get(part.place)) for part in wanted]

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float | None = None, cached: bool = False
    ) -> tuple[int, int]:
        """The first offset and the one behind the last; `cached`: as of the last fetch."""
        self._check_open()
        place = partition.place
        if cached:
            state = self._reader.engine.positions.get(place)
            if state is None or state.high_watermark < 0:
                return OFFSET_INVALID, OFFSET_INVALID
            return max(state.log_start_offset, 0), state.high_watermark
        what = "Failed to get watermark offsets: "
        self._check_exist([place], timeout, what)
        low = self._guard(lambda: self._reader.beginning_offsets([place], seconds(timeout)), what)
        high = self._guard(lambda: self._reader.end_offsets([place], seconds(timeout)), what)
        return low[place], high[place]

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float | None = None) -> list[TopicPartition]:
        """The first offset at or after the time that stands in each one's `offset`; OFFSET_END where there is none."""
        self._check_open()
        wanted = partitions_of(partitions)
        self._check_exist([part.place for part in wanted], timeout, "Failed to get offsets: ")
        found = self._guard(
            lambda: self._reader.offsets_for_times({part.place: part.offset for part in wanted}, seconds(timeout)),
            "Failed to get offsets: ",
        )
        told = []
        for part in wanted:
            entry = found.get(part.place)
            told.append(TopicPartition.at(part.place, OFFSET_END if entry is None else entry.offset))
        return told

    def _check_exist(self, places: list[Place], timeout: float | None, what: str) -> None:
        """Raises KafkaException(_UNKNOWN_PARTITION) for what the brokers do not know: waiting would bring nothing."""
        known = self._reader.engine.cluster.metadata.topics
        cluster = self._reader.engine.cluster
        for topic in {place.topic for place in places if place.topic not in known}:
            look = partial(self._runner.run, list_topics(cluster, topic, seconds(timeout)))
            known = {**known, topic: self._guard(look, what).topics[topic].partitions}
        for topic, partition in places:
            partitions = getattr(known[topic], "partitions", known[topic])
            count = len(partitions)
            if not 0 <= partition < count:
                raise local(Codes._UNKNOWN_PARTITION, f"{what}Local: Unknown partition")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """What there is in the cluster, or of one topic."""
        if self._closed:
            raise RuntimeError(f"Handle has been closed: {CLOSED}")
        cluster = self._reader.engine.cluster
        found: ClusterMetadata = self._guard(
            lambda: self._runner.run(list_topics(cluster, topic, seconds(timeout))), transport=True
        )
        return found

    def cluster_id(self, timeout: float = -1) -> str | None:
        return self.list_topics("", timeout).cluster_id

    def memberid(self) -> str | None:
        """The member's id in its group; None before it has one."""
        self._check_open()
        member_id: str = self._reader.engine.commits.identity.member_id
        return member_id or None

    def consumer_group_metadata(self) -> ConsumerGroupMetadata:
        """Who this consumer is in its group."""
        self._check_open()
        identity = self._reader.engine.commits.identity
        group_id = self._reader.config.group_id or ""
        return ConsumerGroupMetadata(group_id, identity.generation, identity.member_id, identity.instance_id)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Raises KafkaException: credentials are fixed when the client is made."""
        self._check_open()
        refuse_credentials(username, password)

    def close(self) -> None:
        """Tell on_revoke, commit what is stored (with enable.auto.commit), leave the group.

        What callbacks raise keeps nothing of this from being done; the last of it comes out.
        """
        if self._closed:
            return
        every = LastRaised()
        try:
            for step in (self._give_up, self._events.serve_all):
                with every:
                    step()
        finally:
            self._closed = True
            self._reader.close()
        every.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(CLOSED)

    def _guard(self, call: Callable[[], T], what: str = "", code: int | None = None, *, transport: bool = False) -> T:
        """What `call` gives; errors of the SDK become KafkaException. `transport`: no broker answered in time."""
        try:
            return call()
        except PystreamError as error:
            unreachable = isinstance(error, DeadlineExceeded | NetworkFailure | NoBrokersAvailable)
            raise as_exception(error, what, Codes._TRANSPORT if transport and unreachable else code) from error


def _literally(name: str) -> str:
    return "".join(f"\\{letter}" if letter == "." else letter for letter in name)
