"""The SDK's consumer, read message by message, with offsets stored by hand as librdkafka does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pystream.client.consumer.group.steps import RebalanceStep
from pystream.client.consumer.model import OffsetAndMetadata, RebalanceCallbacks, RebalanceKind
from pystream.client.consumer.positions import COMMITTED, PartitionState
from pystream.client.sync.consumer import Consumer as SdkConsumer
from pystream.common.model import TopicPartition as Place
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.compat.confluent_kafka._telling.events import error_event
from pystream.compat.confluent_kafka._values import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Message,
    TopicPartition,
    at,
)

LOOK_SECONDS: Final = 0.05
UNREACHED_MS: Final = 500  # what a last commit may take where no broker was reached so far


class Reader(SdkConsumer):
    """One message at a time; where the application stands, which is behind the last message it got."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.read_up_to: dict[Place, OffsetAndMetadata] = {}  # behind the last message that was handed out
        self.stored: dict[Place, OffsetAndMetadata] = {}  # what a commit without arguments commits
        self.committed_up_to: dict[Place, int] = {}
        self._ends_told: dict[Place, int] = {}
        self._begun_at: dict[Place, int] = {}  # where reading began, as far as it is known
        self._late_since = -1  # the last poll, when the next one was told that it came too late
        self._rows: Iterator[Any] | None = None

    @property
    def engine(self) -> Any:
        """The SDK's engine."""
        return self._engine

    def forget_callbacks(self) -> None:
        """Tell nobody of rebalances any more."""
        self._callbacks = RebalanceCallbacks()

    def _take(self, step: RebalanceStep) -> None:
        """As the SDK's, which does not tell of a rebalance that brought nothing; here a member without partitions is
        told that it has none.
        """
        callback = self._callbacks.on_assigned
        try:
            step.is_told = True
            if callback is not None and step.kind == RebalanceKind.ASSIGNED and not step.partitions:
                callback([])
        finally:
            super()._take(step)

    def next_message(self, store: bool = True) -> Any | None:
        """The next message that is here. Raises what keeps partitions from being read, and what callbacks raise.

        When there is none, the application stands behind what it does not get to see as well: markers of transactions,
        and records that were aborted or compacted away.
        """
        self._begin()
        if self._rows is not None:
            message = next(self._rows, None)
            if message is not None:
                return message
        self._rows = self._engine.hand.chunk(self.config.max_poll_records)
        if self._rows is not None:
            return next(self._rows, None)
        self._pass_unseen(store)
        return None

    def _pass_unseen(self, store: bool) -> None:
        for state in self._engine.positions:
            if state.position < 0 or state.is_held:
                continue
            read = self.read_up_to.get(state.key)
            before = self._begun_at.setdefault(state.key, state.position) if read is None else read.offset
            if state.position > before:
                self._stand_at(state.key, OffsetAndMetadata(state.position, "", state.position_epoch), store)

    def _stand_at(self, place: Place, where: OffsetAndMetadata, store: bool) -> None:
        self.read_up_to[place] = where
        if store:
            self.stored[place] = where

    def statistics(self) -> dict[str, dict[str, dict[str, int]]]:
        """Of each topic, of each partition held: where it ends, where the application stands, how much is between.

        What is not known is OFFSET_INVALID, or -1 of a lag; committed is what this consumer has committed.
        """
        told: dict[str, dict[str, dict[str, int]]] = {}
        committed_only = self.config.isolation_level == "read_committed"
        for state in list(self._engine.positions):
            read, kept = self.read_up_to.get(state.key), self.stored.get(state.key)
            stored = OFFSET_INVALID if kept is None else kept.offset
            committed = self.committed_up_to.get(state.key, OFFSET_INVALID)
            stable = state.last_stable_offset if committed_only else -1
            end = stable if stable >= 0 else state.high_watermark
            told.setdefault(state.topic, {})[str(state.partition)] = {
                "partition": state.partition,
                "next_offset": max(state.position, 0),
                "app_offset": OFFSET_INVALID if read is None else read.offset,
                "stored_offset": stored,
                "committed_offset": committed,
                "lo_offset": _known(state.log_start_offset),
                "hi_offset": _known(state.high_watermark),
                "ls_offset": _known(state.last_stable_offset),
                "consumer_lag": _between(committed, end),
                "consumer_lag_stored": _between(stored, end),
            }
        return told

    def await_news(self, seconds: float) -> bool:
        """Whether there is something to read or to do within `seconds`."""
        return self._run(self._engine.wait(seconds))

    def is_late(self) -> bool:
        """Whether the last poll is longer ago than the group allows; told once, by the poll that comes then."""
        engine = self._engine
        if engine.membership is None or not len(engine.positions) or self._late_since == engine.last_poll_ms:
            return False
        now_ms = engine.cluster.clock.monotonic_ms()
        if now_ms - engine.last_poll_ms <= self.config.max_poll_interval_ms:
            return False
        self._late_since = engine.last_poll_ms
        return True

    def await_loss(self, ends_at: float | None) -> None:
        """The group gives up a late member with its next heartbeat: wait for that, as the next poll shall tell it."""
        latest = time.monotonic() + self.config.heartbeat_interval_ms / 1000 + LOOK_SECONDS
        until = latest if ends_at is None else min(latest, ends_at)
        nothing = threading.Event()
        while not self._engine.steps and time.monotonic() < until:
            nothing.wait(LOOK_SECONDS)

    def end_reached(self) -> PartitionState | None:
        """A partition that was read to its end since this was last asked."""
        committed_only = self.config.isolation_level == "read_committed"
        for state in self._engine.positions:
            if state.position < 0 or state.is_held or state.lag(committed_only) != 0:
                continue
            if state.position > state.high_watermark:  # the broker will say that there is no such offset
                continue
            if self._ends_told.get(state.key) != state.position:
                self._ends_told[state.key] = state.position
                return state
        return None

    def end_event(self, state: PartitionState) -> Message:
        """What poll() gives at the end of a partition."""
        leader = self._engine.cluster.metadata.leader_of(state.topic, state.partition)
        broker = "" if leader is None else f" {leader.node_id}"
        where = f"at offset {state.position} (HighwaterMark {state.high_watermark})"
        end = KafkaError(Codes._PARTITION_EOF, f"Fetch from broker{broker} reached end of partition {where}")
        epoch = None if leader is None or leader.leader_epoch < 0 else leader.leader_epoch
        return error_event(end, state.topic, state.partition, state.position, epoch)

    def commit_at_last(self, wanted: dict[Place, OffsetAndMetadata]) -> None:
        """Before partitions go: not waited for where no broker was ever reached. Raises as the SDK."""
        cluster = self._engine.cluster
        self._run(self._engine.commit(wanted, None if cluster.metadata.nodes else UNREACHED_MS))

    def note_read(self, message: Any, store: bool) -> None:
        """The application has a message."""
        place = Place(message.topic, message.partition)
        self._stand_at(place, OffsetAndMetadata(message.offset + 1, "", message.leader_epoch), store)

    def all_held(self, wanted: dict[Place, OffsetAndMetadata]) -> list[TopicPartition]:
        """The partitions held with what is committed of them, OFFSET_INVALID for those left out."""
        places = sorted({*self._engine.positions.keys(), *wanted})
        return [at(place, wanted.get(place)) for place in places]

    def to_commit(self, places: list[Place] | None = None) -> dict[Place, OffsetAndMetadata]:
        """What was stored of the partitions held and is not committed yet."""
        held = self._engine.positions
        return {
            place: where
            for place, where in self.stored.items()
            if place in held
            and (places is None or place in places)
            and self.committed_up_to.get(place, -1) != where.offset
        }

    def forget(self, places: list[Place]) -> None:
        """Partitions came or went: what is known of them counts no more."""
        for place in places:
            for known in (self.read_up_to, self.stored, self.committed_up_to, self._ends_told, self._begun_at):
                known.pop(place, None)

    def assign_at(self, partitions: list[TopicPartition]) -> None:
        """Hold exactly these, from their offsets, or from what is committed; in one step, before a fetch goes out."""

        async def assign() -> None:
            self._engine.assign([partition.place for partition in partitions])
            self._place(partitions, anew=True)

        self._engine.hand.settle()
        self._run(assign())
        self._engine.hand.drop()

    def _place(self, partitions: list[TopicPartition], *, anew: bool) -> None:
        for partition in partitions:
            if partition.place not in self._engine.positions:
                continue
            if partition.offset >= 0 or partition.offset in (OFFSET_BEGINNING, OFFSET_END):
                self._engine.seek(partition.place, partition.offset)
                if partition.offset >= 0:
                    self._begun_at[partition.place] = partition.offset
            elif anew:
                self._engine.seek_to([partition.place], COMMITTED)

    def place_at(self, partitions: list[TopicPartition], *, anew: bool) -> None:
        """Begin at the offsets given; with `anew`, without one, at what is committed."""

        async def place() -> None:
            self._place(partitions, anew=anew)

        self._engine.hand.note_position()
        self._run(place())
        self._engine.hand.drop()

    def add_partitions(self, partitions: list[TopicPartition]) -> None:
        """Hold these too, from their offsets."""
        self.forget([partition.place for partition in partitions])
        self._reassign([*self._engine.positions.keys(), *(part.place for part in partitions)], partitions)

    def drop_partitions(self, places: list[Place]) -> None:
        """Hold these no more."""
        gone = set(places)
        self._reassign([state.key for state in self._engine.positions if state.key not in gone])

    def _reassign(self, places: list[Place], placed: list[TopicPartition] | None = None) -> None:
        async def assign() -> None:
            self._engine.set_assignment(places)
            self._place(placed or [], anew=False)

        self._engine.hand.settle()
        self._run(assign())
        self._engine.hand.drop()


def _known(offset: int) -> int:
    return offset if offset >= 0 else OFFSET_INVALID


def _between(offset: int, end: int) -> int:
    """How many records are left; -1 where that is not known."""
    return end - offset if 0 <= offset <= end else -1
