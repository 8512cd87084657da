"""A coordinator's log: what is appended is what is read, marker for marker, from wherever the log begins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder
from pystream.broker.coordination import coordinator_log
from pystream.broker.coordination.coordinator_log import CoordinatorLog, batch_bytes
from pystream.broker.storage_executor import StorageExecutor
from pystream.common.clock import ManualClock
from pystream.common.errors import InvalidProducerEpoch, MalformedInput, NotLeaderOrFollower, UnknownTopicOrPartition
from pystream.coordinator.ports import Batch, DataBatch, MarkerBatch

TOPIC = "__consumer_offsets"
NOW_MS = 1_700_000_000_000
WRITTEN: list[Batch] = [
    DataBatch([(b"a", b"1"), (b"b", None)]),
    DataBatch([(b"c", b"2")], 7, 3),
    MarkerBatch(7, 3, committed=True, coordinator_epoch=5),
    DataBatch([(b"d", b"3")], 8, 0),
    MarkerBatch(8, 0, committed=False, coordinator_epoch=6),
    DataBatch([(b"e", b"4"), (b"f", b"5"), (b"g", b"6")]),
]


class NoPartitions:
    """A data plane that has none."""

    def append(self, topic: str, partition: int, batches: bytes) -> tuple[int, int]:
        raise KeyError(topic)

    def high_watermark(self, topic: str, partition: int) -> int:
        raise KeyError(topic)

    def watch(self, topic: str, partition: int) -> None:
        raise KeyError(topic)


@pytest.fixture
def native(tmp_path: Path) -> Iterator[LocalLog]:
    log = LocalLog.open(str(tmp_path / "log"), flush_policy="os")
    yield log
    log.close()


def over(native: LocalLog) -> CoordinatorLog:
    logs = SimpleNamespace(get=lambda topic, partition: SimpleNamespace(native=native) if partition == 0 else None)
    return CoordinatorLog(TOPIC, plane=NoPartitions(), logs=logs, executor=StorageExecutor(1), clock=ManualClock())


def read_all(log: CoordinatorLog) -> list[Batch]:
    async def read() -> list[Batch]:
        offset, end_offset = log.bounds(0)
        found: list[Batch] = []
        while offset < end_offset:
            batches, offset = await log.read(0, offset)
            found += batches
        return found

    return asyncio.run(read())


def write_all(native: LocalLog, codec: int = 0) -> None:
    for batch in WRITTEN:
        native.append(batch_bytes(batch, NOW_MS, codec), now_ms=NOW_MS)


@pytest.mark.parametrize("codec", range(5))
@pytest.mark.parametrize("read_bytes", [1, 1 << 20])
def test_what_is_appended_is_what_is_read(
    native: LocalLog, read_bytes: int, codec: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(coordinator_log, "READ_BYTES", read_bytes)
    write_all(native, codec)
    assert read_all(over(native)) == WRITTEN


def test_records_below_the_start_of_the_log_are_left_out(native: LocalLog):
    write_all(native)
    native.advance_start_offset(native.end_offset - 2)
    assert read_all(over(native)) == [DataBatch([(b"f", b"5"), (b"g", b"6")])]


def test_the_log_sees_an_open_transaction_until_its_marker(native: LocalLog):
    native.append(batch_bytes(WRITTEN[1], NOW_MS), now_ms=NOW_MS)
    assert native.first_undecided_offset == 0
    native.append(batch_bytes(WRITTEN[2], NOW_MS), now_ms=NOW_MS)
    assert native.first_undecided_offset is None


@pytest.mark.parametrize(
    ("builder", "key", "value", "complaint"),
    [
        (RecordBatchBuilder(), None, b"v", "without a key"),
        (RecordBatchBuilder(producer_id=1, producer_epoch=0, transactional=True, control=True), b"\0", b"v", "no type"),
        (
            RecordBatchBuilder(producer_id=1, producer_epoch=0, transactional=True, control=True),
            b"\0\0\0\1",
            b"v",
            "cut short",
        ),
    ],
)
def test_records_that_no_coordinator_writes_are_damage(builder, key, value, complaint, monkeypatch):
    builder.append(value, key=key, timestamp=NOW_MS)
    data = builder.build()
    native = SimpleNamespace(start_offset=0, end_offset=1, read=lambda **_: data)
    with pytest.raises(MalformedInput, match=complaint):
        read_all(over(native))


def test_a_log_that_compaction_has_emptied_to_its_end_is_read(native: LocalLog):
    emptied = SimpleNamespace(start_offset=0, end_offset=9, read=lambda **_: b"")
    assert read_all(over(emptied)) == []


def test_a_partition_that_is_not_here_is_said_to_be_unknown(native: LocalLog):
    log = over(native)
    with pytest.raises(UnknownTopicOrPartition):
        log.append(0, WRITTEN)
    with pytest.raises(UnknownTopicOrPartition):
        log.high_watermark(0)
    with pytest.raises(UnknownTopicOrPartition):
        log.bounds(1)
    with pytest.raises(NotLeaderOrFollower):
        log.watch(0)


def test_a_producer_that_is_fenced_is_told_from_one_that_may_write(native):
    log = over(native)
    log.check_producer(0, 7, 0)
    native.append(batch_bytes(DataBatch([(b"c", b"2")], 7, 3), NOW_MS))
    log.check_producer(0, 7, 3)
    with pytest.raises(InvalidProducerEpoch):
        log.check_producer(0, 7, 2)
