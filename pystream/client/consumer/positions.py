"""Where a consumer stands in each of its partitions: plain state, without clock or socket.

    RESET ──▶ FETCHING ◀──▶ VALIDATING        a position is asked for; is used; its leader epoch is checked (KIP-320)
      ▲          │
      └──────────┘ seek, offset out of range, truncation

`position` is the next record that the user gets, `fetch_offset` the next one to ask the broker for: what lies between
them is in the buffer. `version` rises with each jump, so that answers to what was asked before it can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from pystream.client.consumer.model import BEGINNING, END, OffsetAndMetadata
from pystream.common.errors import PystreamError
from pystream.common.model import NO_BROKER, NO_LEADER_EPOCH, NO_OFFSET, ZERO_UUID, TopicPartition

COMMITTED: Final = -3  # as a position: what the group committed, else auto.offset.reset
NO_TIMESTAMP: Final = -1


class PlacedOffset(OffsetAndMetadata):
    """What is committed, with the id of the topic that it was read from: its name may be another topic's by then."""

    topic_id: bytes

    @classmethod
    def of(cls, entry: OffsetAndMetadata, topic_id: bytes) -> PlacedOffset:
        """ZERO_UUID where the topic's id is not known."""
        placed = cls(*entry)
        placed.topic_id = topic_id
        return placed


class Phase(Enum):
    """What a partition needs before it is fetched."""

    RESET = "reset"
    VALIDATING = "validating"
    FETCHING = "fetching"


class PartitionState:
    """One assigned partition. Written in the loop; `position` also by whoever takes its records."""

    __slots__ = (
        "failure",
        "fetch_epoch",
        "fetch_offset",
        "high_watermark",
        "key",
        "last_stable_offset",
        "leader_epoch",
        "log_start_offset",
        "partition",
        "paused",
        "phase",
        "position",
        "position_epoch",
        "preferred_replica",
        "preferred_until_ms",
        "queued_bytes",
        "reset_to",
        "retry_at_ms",
        "topic",
        "topic_id",
        "unsubscribed",
        "version",
        "withdrawn",
    )

    def __init__(self, key: TopicPartition) -> None:
        self.key = key
        self.topic, self.partition = key
        self.topic_id = ZERO_UUID  # of the topic that the position belongs to, once it is known
        self.phase = Phase.RESET
        self.reset_to = COMMITTED  # BEGINNING, END, COMMITTED, or a timestamp (0 and above)
        self.position = NO_OFFSET
        self.position_epoch = NO_LEADER_EPOCH  # of the record before the position
        self.fetch_offset = NO_OFFSET
        self.fetch_epoch = NO_LEADER_EPOCH  # of the last record fetched
        self.leader_epoch = NO_LEADER_EPOCH  # in which the position was last found valid
        self.paused = False
        self.withdrawn = False  # being revoked: nothing more is handed out
        self.unsubscribed = False  # its topic is not subscribed to any more: the group will take it away
        self.version = 0
        self.queued_bytes = 0
        self.retry_at_ms = 0
        self.failure: PystreamError | None = None  # to be told to the user before its next record
        self.high_watermark = NO_OFFSET
        self.last_stable_offset = NO_OFFSET
        self.log_start_offset = NO_OFFSET
        self.preferred_replica = NO_BROKER
        self.preferred_until_ms = 0

    def seek(self, offset: int, leader_epoch: int = NO_LEADER_EPOCH) -> None:
        """Stand at `offset`; what is in the buffer no longer counts. It is validated when its epoch is known."""
        self._jump()
        self.position = self.fetch_offset = offset
        self.position_epoch = self.fetch_epoch = leader_epoch
        self.phase = Phase.FETCHING

    def reset(self, to: int) -> None:
        """Ask for the position: BEGINNING, END, COMMITTED, or the first record at or after a timestamp."""
        self._jump()
        self.position = self.fetch_offset = NO_OFFSET
        self.position_epoch = self.fetch_epoch = NO_LEADER_EPOCH
        self.reset_to = to
        self.phase = Phase.RESET

    def _jump(self) -> None:
        self.version += 1
        self.failure = None
        self.retry_at_ms = 0
        self.leader_epoch = NO_LEADER_EPOCH
        self.preferred_replica = NO_BROKER

    @property
    def is_held(self) -> bool:
        """Whether nothing of it is handed out for now."""
        return self.paused or self.goes

    @property
    def goes(self) -> bool:
        """Whether it is given up soon: nothing more is fetched or told of it."""
        return self.withdrawn or self.unsubscribed

    @property
    def has_position(self) -> bool:
        return self.position >= 0

    def lag(self, read_committed: bool) -> int | None:
        """Records between the position and what may be read; None before the first answer."""
        end = self.last_stable_offset if read_committed and self.last_stable_offset >= 0 else self.high_watermark
        return None if end < 0 or self.position < 0 else max(end - self.position, 0)


class Positions:
    """The partitions that are assigned. `version` of the whole rises when the set of them changes."""

    def __init__(self) -> None:
        self._states: dict[TopicPartition, PartitionState] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[PartitionState]:
        return iter(list(self._states.values()))

    def __contains__(self, key: object) -> bool:
        return key in self._states

    def get(self, key: TopicPartition) -> PartitionState | None:
        return self._states.get(key)

    def find(self, topic: str, partition: int) -> PartitionState | None:
        return self._states.get(TopicPartition(topic, partition))

    def keys(self) -> list[TopicPartition]:
        return list(self._states)

    def assign(self, keys: Iterable[TopicPartition]) -> tuple[list[PartitionState], list[PartitionState]]:
        """Hold exactly these; those held already keep where they stand. Gives (added, removed)."""
        wanted = dict.fromkeys(keys)
        removed = [state for key, state in self._states.items() if key not in wanted]
        for state in removed:
            state.version += 1
        added = [PartitionState(key) for key in wanted if key not in self._states]
        fresh = {state.key: state for state in added}
        self._states = {key: fresh.get(key) or self._states[key] for key in wanted}
        return added, removed

    def follow(self, is_subscribed: Callable[[str], bool]) -> None:
        """Hand out no more of topics that are not subscribed to; go on with those that are again."""
        for state in self:
            state.unsubscribed = not is_subscribed(state.topic)

    def is_current(self, state: PartitionState, version: int) -> bool:
        """Whether what was asked for `state` at `version` still concerns anybody."""
        return state.version == version and self._states.get(state.key) is state

    def consumed(self, keys: Iterable[TopicPartition] | None = None) -> dict[TopicPartition, OffsetAndMetadata]:
        """The positions, as they would be committed."""
        wanted: Mapping[TopicPartition, object] = self._states if keys is None else dict.fromkeys(keys)
        return {
            key: PlacedOffset.of(OffsetAndMetadata(state.position, "", state.position_epoch), state.topic_id)
            for key, state in list(self._states.items())
            if key in wanted and state.position >= 0
        }

    def placed(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> dict[TopicPartition, OffsetAndMetadata]:
        """The same offsets, those of a user's with the ids of the topics that are read now."""
        return {
            key: entry if isinstance(entry, PlacedOffset) else PlacedOffset.of(entry, self._topic_id(key))
            for key, entry in offsets.items()
        }

    def _topic_id(self, key: TopicPartition) -> bytes:
        state = self._states.get(key)
        return ZERO_UUID if state is None else state.topic_id


def named(to: int) -> str:
    """How a reset is called in messages."""
    return {BEGINNING: "the beginning", END: "the end", COMMITTED: "the committed offset"}.get(to, f"timestamp {to}")
