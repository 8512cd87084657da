"""Positions, sessions, the buffer and what is handed out of it: without a broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream.client.consumer.durations import duration_ms
from pystream.client.consumer.fetch_buffer import FetchBuffer, Fetched
from pystream.client.consumer.fetch_session import FetchSession, PartitionWanted
from pystream.client.consumer.group.subscription import Subscription
from pystream.client.consumer.hand_out import HandOut
from pystream.client.consumer.model import BEGINNING, OffsetAndMetadata
from pystream.client.consumer.positions import PartitionState, Phase, Positions
from pystream.client.given import as_partitions
from pystream.common.errors import InvalidConfig, InvalidRegularExpression, InvalidTopic
from pystream.common.model import TopicPartition

KEY = TopicPartition("t", 0)


def build_batch(records: list[tuple[int, bytes | None, bytes | None]], base_offset: int) -> bytes:
    """Of (timestamp, key, value)."""
    builder = RecordBatchBuilder(base_offset=base_offset)
    for timestamp, key, value in records:
        builder.append(value, timestamp=timestamp, key=key)
    return builder.build()


def wanted(offset: int, topic_id: bytes = b"1" * 16) -> PartitionWanted:
    return PartitionWanted(topic_id, offset, 1000, 0, -1)


class Rig:
    """A buffer and a hand over one assigned partition."""

    def __init__(self) -> None:
        self.nudges = 0
        self.positions = Positions()
        ((self.state,), _) = self.positions.assign([KEY])
        self.state.seek(0)
        self.buffer = FetchBuffer(self._nudge)
        self.hand = HandOut(self.buffer, lambda: None)

    def _nudge(self) -> None:
        self.nudges += 1

    def fetched(self, count: int, base: int = 0) -> None:
        records = [(1_000 + n, None, b"v%d" % (base + n)) for n in range(count)]
        data = build_batch(records, base_offset=base)
        self.buffer.put(Fetched(self.state, self.state.version, MessageBatch(data, "t", 0)))


def test_partitions_that_stay_assigned_keep_their_position():
    positions = Positions()
    (first, second), _ = positions.assign([KEY, TopicPartition("t", 1)])
    first.seek(7)
    added, removed = positions.assign([KEY, TopicPartition("u", 0)])
    assert [state.key for state in added] == [TopicPartition("u", 0)]
    assert removed == [second]
    assert positions.get(KEY) is first
    assert positions.consumed() == {KEY: OffsetAndMetadata(7)}


def test_a_seek_makes_answers_to_earlier_questions_stale():
    positions = Positions()
    ((state,), _) = positions.assign([KEY])
    version = state.version
    state.seek(5)
    assert not positions.is_current(state, version)
    assert positions.is_current(state, state.version)
    assert state.phase is Phase.FETCHING
    positions.assign([])
    assert not positions.is_current(state, state.version)


def test_lag_is_to_the_last_stable_offset_for_who_reads_committed_only():
    state = PartitionState(KEY)
    assert state.lag(False) is None
    state.seek(10)
    state.high_watermark, state.last_stable_offset = 100, 40
    assert (state.lag(False), state.lag(True)) == (90, 30)


def test_a_session_sends_everything_once_and_then_what_changed():
    session = FetchSession()
    first = session.next_request({("t", 0): wanted(0), ("t", 1): wanted(0)})
    assert (first.session_id, first.epoch, len(first.wanted)) == (0, 0, 2)
    session.answered(77)
    second = session.next_request({("t", 0): wanted(9), ("t", 1): wanted(0)})
    assert (second.session_id, second.epoch, dict(second.wanted)) == (77, 1, {("t", 0): wanted(9)})
    session.answered(77)
    third = session.next_request({("t", 0): wanted(9)})
    assert (third.epoch, dict(third.wanted), list(third.forgotten)) == (2, {}, [("t", 1)])


def test_a_topic_made_anew_is_forgotten_and_asked_for_by_its_new_id():
    session = FetchSession()
    session.next_request({("t", 0): wanted(0)})
    session.answered(77)
    request = session.next_request({("t", 0): wanted(0, b"2" * 16)})
    assert dict(request.forgotten) == {("t", 0): b"1" * 16}
    assert request.wanted["t", 0].topic_id == b"2" * 16


def test_a_session_that_is_lost_or_not_kept_begins_anew():
    session = FetchSession()
    session.next_request({("t", 0): wanted(0)})
    session.answered(0)
    assert session.next_request({("t", 0): wanted(5)}).epoch == 0
    session.answered(5)
    session.reset()
    assert dict(session.next_request({("t", 0): wanted(5)}).wanted) == {("t", 0): wanted(5)}


def test_messages_come_in_portions_and_move_the_position():
    rig = Rig()
    rig.fetched(5)
    assert [m.offset for m in rig.hand.messages(3)] == [0, 1, 2]
    assert rig.state.position == 3
    assert [m.offset for m in rig.hand.messages(3)] == [3, 4]
    assert rig.state.position == 5
    assert rig.hand.messages(3) == []
    assert (rig.state.queued_bytes, rig.buffer.size_bytes) == (0, 0)


def test_a_taker_that_makes_room_nudges_a_fetcher_that_waits_for_it_and_no_other():
    rig = Rig()
    rig.fetched(2)
    rig.fetched(2, base=2)
    rig.hand.messages(9)
    assert rig.nudges == 0
    rig.buffer.wants_room = True
    rig.hand.messages(9)
    assert (rig.nudges, rig.buffer.wants_room) == (1, False)


def test_an_iteration_counts_what_was_read_and_not_what_was_only_prepared():
    rig = Rig()
    rig.fetched(5)
    chunk = rig.hand.chunk(5)
    assert chunk is not None
    assert [next(chunk).offset for _ in range(2)] == [0, 1]
    rig.hand.note_position()
    assert rig.state.position == 2
    assert [m.offset for m in rig.hand.messages(9)] == [2, 3, 4]


def test_a_seek_ends_the_iteration_and_drops_what_was_fetched():
    rig = Rig()
    rig.fetched(5)
    rig.fetched(5, base=5)
    chunk = rig.hand.chunk(5)
    assert chunk is not None
    next(chunk)
    rig.state.seek(100)
    rig.hand.drop()
    assert list(chunk) == []
    assert rig.hand.messages(9) == []
    assert rig.state.position == 100
    assert rig.state.queued_bytes == 0


class MovesMeanwhile:
    """A batch of one record, whose partition moves while its taker reads where it ends."""

    size_bytes = 1
    data = b"x"
    last_leader_epoch = 0

    def __init__(self, state: PartitionState, move: Callable[[PartitionState], None]) -> None:
        self.state = state
        self.move = move

    def __len__(self) -> int:
        return 1

    def messages(self, start: int, stop: int) -> list[str]:
        return ["message"]

    @property
    def next_offset(self) -> int:
        self.move(self.state)
        return 100


@pytest.mark.parametrize("move", [lambda state: state.seek(3, 2), lambda state: state.reset(BEGINNING)])
def test_a_partition_that_moves_while_it_is_taken_from_stands_where_it_moved_to(
    move: Callable[[PartitionState], None],
):
    rig = Rig()
    batch: Any = MovesMeanwhile(rig.state, move)
    rig.buffer.put(Fetched(rig.state, rig.state.version, batch))
    assert rig.hand.messages(10) == ["message"]
    assert (rig.state.position, rig.state.position_epoch) == (rig.state.fetch_offset, rig.state.fetch_epoch)


def test_a_paused_partition_waits_aside_and_goes_on_where_it_was():
    rig = Rig()
    rig.fetched(5)
    assert len(rig.hand.messages(2)) == 2
    rig.state.paused = True
    rig.hand.drop()
    assert rig.hand.messages(9) == []
    assert not rig.buffer.has_some()
    rig.state.paused = False
    assert [m.offset for m in rig.hand.messages(9)] == [2, 3, 4]


def test_a_batch_of_columns_looks_at_the_rows_that_are_left():
    numpy = pytest.importorskip("numpy")
    rig = Rig()
    rig.fetched(5)
    rig.hand.messages(1)
    batch = rig.hand.batch(3)
    assert batch is not None
    columns = batch.to_numpy()
    assert columns["offset"].tolist() == [1, 2, 3]
    starts, sizes = columns["value_start"], columns["value_size"]
    assert [bytes(columns["data"][s : s + n]) for s, n in zip(starts, sizes, strict=True)] == [b"v1", b"v2", b"v3"]
    assert (batch.values(), [m.value for m in batch], batch[-1].value) == ([b"v1", b"v2", b"v3"],) * 2 + (b"v3",)
    assert batch.value_matrix().tobytes() == b"v1v2v3"
    assert numpy.shares_memory(columns["offset"], numpy.asarray(batch.offsets))
    assert (batch.next_offset, rig.state.position) == (4, 4)
    with pytest.raises(IndexError):
        batch[3]


def test_columns_become_arrow_pandas_and_polars():
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    data = build_batch([(1_000, b"k", b"one"), (1_001, None, None)], base_offset=4)
    rig = Rig()
    rig.buffer.put(Fetched(rig.state, rig.state.version, MessageBatch(data, "t", 0)))
    batch = rig.hand.batch(None)
    assert batch is not None
    table = batch.to_arrow()
    assert table.column("offset").to_pylist() == [4, 5]
    assert table.column("key").to_pylist() == [b"k", None]
    assert table.column("value").to_pylist() == [b"one", None]
    assert batch.to_pandas()["value"].tolist() == [b"one", None]
    assert batch.to_polars()["value"].to_list() == [b"one", None]
    with pytest.raises(ValueError, match="differ in size"):
        batch.value_matrix()


@pytest.mark.parametrize(("text", "ms"), [("PT1H", 3_600_000), ("P1DT0.5S", 86_400_500), ("pt2m", 120_000)])
def test_durations_are_read(text, ms):
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "P", "PT", "1H", "P1M", "PT-1H"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidConfig, match="ISO 8601"):
        duration_ms(text)


def test_a_pattern_fits_whole_names_and_leaves_out_internal_topics():
    subscription = Subscription.of((), "pay.*|__consumer_offsets")
    assert subscription.matches("payments")
    assert not subscription.matches("repay")
    assert not subscription.matches("__consumer_offsets")


def test_odd_subscriptions_are_refused():
    with pytest.raises(InvalidRegularExpression):
        Subscription.of((), "(")
    with pytest.raises(InvalidTopic):
        Subscription.of(["a", " "])
    with pytest.raises(ValueError, match="not to both"):
        Subscription.of(["a"], "b")
    with pytest.raises(ValueError, match="expected TopicPartition"):
        as_partitions(["t"])  # type: ignore[list-item]
