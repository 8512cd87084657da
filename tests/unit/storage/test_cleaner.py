"""Compaction's scheduler: which log is due, how much of it, and what becomes of the ones that cannot be cleaned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream.common.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from pystream.common.model import TopicPartition
from pystream.storage.checkpoints import CLEANER_OFFSETS, read_offsets
from pystream.storage.cleaner import LogCleaner, cleanable_bound, examine, first_dirty
from pystream.storage.config import CleanerConfig, LogConfig, StorageConfig
from pystream.storage.log_manager import LogManager
from pystream.storage.partition_log import PartitionLog
from pystream.storage.retention import SegmentFacts
from tests.support.compaction import append, batch, kept, offsets

NOW_MS = 1_700_000_000_000
COMPACTED = LogConfig(cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.0)
TOPIC_ID = bytes(range(16))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def logs(tmp_path: Path, clock: ManualClock) -> Iterator[LogManager]:
    opened = LogManager(StorageConfig(log_dirs=(str(tmp_path),), reserve_bytes=0), clock)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def cleaner(logs: LogManager, clock: ManualClock) -> LogCleaner:
    return LogCleaner(CleanerConfig(), logs.partitions, clock)


def made(logs: LogManager, name: str, config: LogConfig = COMPACTED) -> PartitionLog:
    return logs.create(name, 0, TOPIC_ID, config)


def put(log: PartitionLog, *values: str, timestamp: int = NOW_MS) -> None:
    """One closed, durable segment: the first letter of each value is its key."""
    pairs = [(value[:1].encode(), value.encode()) for value in values]
    append(log.native, batch(pairs, timestamp=timestamp))
    log.native.roll()
    log.native.flush()


def values(log: PartitionLog) -> list[bytes | None]:
    return [record.value for record in kept(log.native)]


def test_a_dirty_log_is_compacted_and_then_is_not_due_any_more(logs, cleaner):
    log = made(logs, "t")
    put(log, "a1", "b1", "a2")
    put(log, "b2")

    assert cleaner.clean_dirtiest()
    assert values(log) == [b"a2", b"b2"]
    assert not cleaner.clean_dirtiest()


def test_topics_that_are_not_compacted_are_left_alone(logs, cleaner):
    log = made(logs, "t", LogConfig())
    put(log, "a1", "a2")

    assert not cleaner.clean_dirtiest()
    assert values(log) == [b"a1", b"a2"]


def test_the_dirtiest_log_comes_first(logs, cleaner):
    first, second = made(logs, "half"), made(logs, "all")
    put(first, "a1" * 30)
    cleaner.clean_dirtiest()
    put(first, "a2" * 30)
    put(second, "a1", "a2")

    cleaner.clean_dirtiest()

    assert values(second) == [b"a2"]
    assert len(values(first)) == 2


def test_a_log_below_its_dirty_ratio_waits(logs, cleaner):
    log = made(logs, "t", LogConfig(cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.5))
    put(log, *[f"{chr(97 + number)}1" for number in range(20)])
    assert cleaner.clean_dirtiest()
    put(log, "a2")

    assert not cleaner.clean_dirtiest()


def test_a_record_that_has_waited_for_the_maximum_lag_makes_its_log_due(logs, cleaner, clock):
    log = made(
        logs,
        "t",
        LogConfig(cleanup_policy=("compact",), min_cleanable_dirty_ratio=1.0, max_compaction_lag_ms=HOUR_MS),
    )
    put(log, "a1", "a2")
    assert not cleaner.clean_dirtiest()

    clock.advance(HOUR_MS + 1)

    assert cleaner.clean_dirtiest()
    assert values(log) == [b"a2"]


def test_a_maximum_lag_rolls_the_active_segment_in_time(logs):
    log = made(logs, "t", LogConfig(cleanup_policy=("compact",), max_compaction_lag_ms=HOUR_MS))
    append(log.native, batch([(b"a", b"1")]))

    log.native.append(batch([(b"a", b"2")], timestamp=NOW_MS + HOUR_MS + 1), now_ms=NOW_MS + HOUR_MS + 1)

    assert log.native.segment_count == 2


def test_young_records_are_not_compacted(logs, cleaner, clock):
    log = made(
        logs,
        "t",
        LogConfig(cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.0, min_compaction_lag_ms=HOUR_MS),
    )
    put(log, "a1", "a2")
    put(log, "b1", "b2", timestamp=NOW_MS + HOUR_MS)
    assert not cleaner.clean_dirtiest()

    clock.advance(HOUR_MS + MINUTE_MS)

    assert cleaner.clean_dirtiest()
    assert values(log) == [b"a2", b"b1", b"b2"]


def test_nothing_of_an_open_transaction_is_compacted(logs, cleaner):
    log = made(logs, "t")
    put(log, "a1", "a2")
    append(log.native, batch([(b"a", b"open")], producer_id=3, sequence=0, transactional=True))
    log.native.roll()
    put(log, "a4")

    assert cleaner.clean_dirtiest()

    assert offsets(log.native) == [1, 2, 3]
    assert log.cleaned_to == 2


SEGMENTS = [SegmentFacts(0, 10, 100, 1_000), SegmentFacts(10, 20, 100, 5_000), SegmentFacts(20, 30, 100, 9_000)]


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ({}, 20),
        ({"high_watermark": 7}, 7),
        ({"undecided": 12}, 12),
        ({"min_lag_ms": 5_001}, 10),
        ({"min_lag_ms": 9_500}, 0),
        ({"min_lag_ms": 9_500, "first_dirty_offset": 10}, 10),
    ],
)
def test_the_bound_is_the_least_of_all_limits(limits, bound):
    chosen = {"first_dirty_offset": 0, "high_watermark": 30, "undecided": None, "min_lag_ms": 0, "now_ms": 10_000}

    assert cleanable_bound(SEGMENTS, **{**chosen, **limits}) == bound


@pytest.mark.parametrize(("checkpointed", "found"), [(0, 5), (4, 5), (5, 5), (8, 8), (20, 20), (21, 5)])
def test_a_checkpoint_outside_the_log_says_nothing(checkpointed, found):
    assert first_dirty(checkpointed, start_offset=5, end_offset=20) == found


def test_the_checkpoint_outlasts_a_restart_and_a_change_to_deletion(tmp_path, logs, cleaner, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    cleaner.clean_dirtiest()
    logs.checkpoint()
    assert read_offsets(tmp_path / CLEANER_OFFSETS) == {TopicPartition("t", 0): 2}

    logs.reconfigure("t", 0, LogConfig())
    logs.close(clean=False)
    again = LogManager(StorageConfig(log_dirs=(str(tmp_path),), reserve_bytes=0), clock)
    report = again.open(lambda topic: LogConfig())

    assert report.damaged == []
    assert again.get("t", 0).cleaned_to == 2
    again.close()


def test_a_topic_of_the_same_name_begins_dirty(tmp_path, logs, cleaner):
    put(made(logs, "t"), "a1", "a2")
    cleaner.clean_dirtiest()
    logs.delete("t", 0)
    log = made(logs, "t")
    put(log, "a1", "a2", "a3")
    logs.checkpoint()

    assert examine(log, NOW_MS).first_dirty_offset == 0
    assert read_offsets(tmp_path / CLEANER_OFFSETS) == {}


def test_a_damaged_log_is_marked_and_left_alone_and_the_others_go_on(logs, cleaner):
    bad, good = made(logs, "bad"), made(logs, "good")
    put(bad, "a1", "a2")
    put(good, "a1", "b1", "b2")
    path = Path(bad.directory) / f"{0:020d}.log"
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)

    while cleaner.clean_dirtiest():
        pass

    assert list(cleaner.uncleanable) == [bad.name]
    assert values(good) == [b"a1", b"b2"]
    assert path.read_bytes() == data
    shown = {family.name: [sample.value for sample in family.samples] for family in cleaner.families()}
    assert shown["kafka_log_logcleanermanager_uncleanable_partitions_count"] == [1]
    assert shown["kafka_log_logcleanermanager_uncleanable_bytes"] == [bad.native.size_bytes]


def damaged(log: PartitionLog, *, segment: int = 0) -> bytes:
    """Flips a bit of a closed segment; what it was before."""
    path = sorted(Path(log.directory).glob("*.log"))[segment]
    before = path.read_bytes()
    path.write_bytes(before[:70] + bytes([before[70] ^ 1]) + before[71:])
    return before


def uncleanable_count(cleaner: LogCleaner) -> float:
    shown = {family.name: [sample.value for sample in family.samples] for family in cleaner.families()}
    return sum(shown["kafka_log_logcleanermanager_uncleanable_partitions_count"])


def test_a_log_is_compacted_again_once_its_damage_has_been_deleted(logs, cleaner):
    log = made(logs, "t")
    put(log, "a1", "a2")
    put(log, "b1", "b2")
    damaged(log)
    assert cleaner.clean_dirtiest()
    assert uncleanable_count(cleaner) == 1
    put(log, "c1", "c2")
    assert not cleaner.clean_dirtiest()  # more segments make it no better

    log.native.advance_start_offset(2)
    log.native.delete_segments_before(2)

    assert cleaner.clean_dirtiest()
    assert uncleanable_count(cleaner) == 0
    assert values(log) == [b"b2", b"c2"]


def test_a_log_that_is_whole_again_is_compacted_within_an_hour(logs, cleaner, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    whole = damaged(log)
    assert cleaner.clean_dirtiest()
    clock.advance(ms=HOUR_MS)
    assert cleaner.clean_dirtiest()  # tried, and still damaged
    assert uncleanable_count(cleaner) == 1
    (Path(log.directory) / f"{0:020d}.log").write_bytes(whole)
    assert not cleaner.clean_dirtiest()
    clock.advance(ms=HOUR_MS)

    assert cleaner.clean_dirtiest()
    assert uncleanable_count(cleaner) == 0
    assert values(log) == [b"a2"]


def test_a_new_log_of_the_name_of_a_damaged_one_is_compacted(logs, cleaner):
    log = made(logs, "t")
    put(log, "a1", "a2")
    damaged(log)
    assert cleaner.clean_dirtiest()
    logs.delete("t", 0)
    assert not cleaner.clean_dirtiest()
    assert list(cleaner.uncleanable) == []
    log = made(logs, "t")
    put(log, "a1", "a2")

    assert cleaner.clean_dirtiest()
    assert values(log) == [b"a2"]


def test_a_full_disk_is_waited_out(logs, cleaner, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    io_table.fail_call(1, 28, call="pwritev", path=".cleaned")
    try:
        assert cleaner.clean_dirtiest()
    finally:
        io_table.reset()
    assert not cleaner.clean_dirtiest()

    clock.advance(cleaner.config.backoff_ms + 1)

    assert cleaner.clean_dirtiest()
    assert values(log) == [b"a2"]


def test_old_files_go_after_their_delay(logs, cleaner, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    cleaner.clean_dirtiest()
    assert list(Path(log.directory).glob("*.deleted"))

    cleaner.remove_old_files()
    assert list(Path(log.directory).glob("*.deleted"))
    clock.advance(log.config.file_delete_delay_ms)
    cleaner.remove_old_files()

    assert not list(Path(log.directory).glob("*.deleted"))


def test_compact_and_delete_does_both(logs, cleaner, clock):
    log = made(
        logs,
        "t",
        LogConfig(cleanup_policy=("compact", "delete"), min_cleanable_dirty_ratio=0.0, retention_ms=DAY_MS),
    )
    put(log, "a1", "a2", timestamp=NOW_MS - 2 * DAY_MS)
    put(log, "b1", "b2")
    put(log, "b3")

    cleaner.clean_dirtiest()
    logs.enforce_retention(clock.now_ms())

    assert values(log) == [b"a2", b"b3"]
    clock.advance(DAY_MS + MINUTE_MS)
    logs.enforce_retention(clock.now_ms())
    assert values(log) == []


def test_threads_clean_what_is_due_and_stop_when_told(logs, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    cleaner = LogCleaner(CleanerConfig(threads=2), logs.partitions, clock)

    cleaner.start()
    cleaner.reconfigure(CleanerConfig(threads=1, io_max_bytes_per_second=1e9))
    cleaner.stop()
    while cleaner.clean_dirtiest():
        pass

    assert values(log) == [b"a2"]
    assert cleaner.config.threads == 1


def test_a_cleaner_that_is_switched_off_does_nothing(logs, clock):
    log = made(logs, "t")
    put(log, "a1", "a2")
    cleaner = LogCleaner(CleanerConfig(enable=False), logs.partitions, clock)

    cleaner.start()
    cleaner.stop()

    assert values(log) == [b"a1", b"a2"]


def test_the_metrics_tell_of_the_last_round(logs, cleaner):
    put(made(logs, "t"), "a1", "a2", "a3", "a4")
    cleaner.clean_dirtiest()

    shown = {family.name: [sample.value for sample in family.samples] for family in cleaner.families()}

    assert 0 < shown["kafka_log_logcleaner_cleaner_recopy_percent"][0] < 100
    assert shown["pystream_log_cleaner_records_kept_total"] == [1]
    assert shown["pystream_log_cleaner_rounds_total"] == [1]
    assert shown["kafka_log_logcleaner_deadthreadcount"] == [0]
