"""LogManager over real directories."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream.common.clock import DAY_MS, ManualClock
from pystream.common.errors import (
    DataDirectoryError,
    DataDirectoryLocked,
    InconsistentTopicId,
    KafkaStorageError,
    OffsetOutOfRange,
)
from pystream.common.model import TopicPartition
from pystream.storage.checkpoints import HIGH_WATERMARKS, RECOVERY_POINTS, START_OFFSETS, read_offsets, read_topic_id
from pystream.storage.config import LogConfig, StorageConfig
from pystream.storage.directories import LogDirectory
from pystream.storage.log_manager import LogManager
from tests.unit.storage.batches import batch, offsets

TOPIC_ID = bytes(range(16))
ORDERS = TopicPartition("orders", 0)
NOW_MS = 100 * DAY_MS
SMALL = LogConfig(segment_bytes=1 << 20, segment_ms=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


def manager(path: Path, clock: ManualClock, *more: Path) -> LogManager:
    return LogManager(StorageConfig(log_dirs=(str(path), *map(str, more)), reserve_bytes=0), clock)


def opened(path: Path, clock: ManualClock) -> LogManager:
    logs = manager(path, clock)
    logs.open()
    return logs


def test_a_log_is_found_again_after_a_clean_stop(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig()).native.append(batch(3), leader_epoch=4)
    logs.close()
    again = manager(tmp_path, clock)
    report = again.open()
    log = again.get("orders", 0)
    assert (report.partitions, report.clean_directories, report.scanned_bytes) == (1, 1, 0)
    assert (log.topic_id, log.native.end_offset, log.native.latest_leader_epoch) == (TOPIC_ID, 3, 4)
    again.close()


def test_a_directory_is_used_by_one_process_only(tmp_path, clock):
    logs = opened(tmp_path, clock)
    with pytest.raises(DataDirectoryLocked):
        manager(tmp_path, clock).open()
    logs.close()


def test_a_kill_counts_as_a_process_crash_and_is_recovered(tmp_path, clock):
    logs = opened(tmp_path, clock)
    native = logs.create("orders", 0, TOPIC_ID, LogConfig()).native
    native.append(batch(3))
    logs.close(clean=False)
    with (tmp_path / "orders-0" / f"{0:020d}.log").open("ab") as file:
        file.write(batch(5)[:30])
    again = manager(tmp_path, clock)
    report = again.open()
    assert (report.clean_directories, report.lossy_directories, report.cut_bytes) == (0, 0, 30)
    assert again.get("orders", 0).native.end_offset == 3
    again.close()


def test_a_log_of_another_topic_of_that_name_is_refused(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig())
    with pytest.raises(InconsistentTopicId):
        logs.create("orders", 0, bytes(16)[:15] + b"\x07", LogConfig())
    logs.close()


def test_segments_past_their_time_are_deleted_and_their_files_removed_later(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, SMALL)
    log.native.append(batch(2, timestamp=NOW_MS - 8 * DAY_MS))
    log.native.append(batch(2, timestamp=NOW_MS))
    log.native.flush()
    assert logs.enforce_retention(NOW_MS) == 1
    assert (log.native.start_offset, log.native.segment_count) == (2, 1)
    assert len(list((tmp_path / "orders-0").glob("*.log.deleted"))) == 1
    logs.enforce_retention(NOW_MS + SMALL.file_delete_delay_ms)
    assert list((tmp_path / "orders-0").glob("*.deleted")) == []
    assert read_offsets(tmp_path / START_OFFSETS) == {ORDERS: 2}
    logs.close()


def test_an_active_segment_past_its_time_is_rolled_and_deleted(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig())
    log.native.append(batch(2, timestamp=NOW_MS - 8 * DAY_MS))
    log.native.flush()
    assert logs.enforce_retention(NOW_MS) == 1
    assert (log.native.start_offset, log.native.end_offset, log.native.size_bytes) == (2, 2, 0)
    log.native.append(batch(1))
    assert offsets(log.native.read(offset=2)) == [(2, 2)]
    logs.close()


def test_retention_deletes_nothing_while_start_offsets_cannot_be_written(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig())
    log.native.append(batch(2, timestamp=NOW_MS - 8 * DAY_MS))
    log.native.flush()
    (tmp_path / START_OFFSETS).mkdir()
    assert logs.enforce_retention(NOW_MS) == 0
    (tmp_path / START_OFFSETS).rmdir()
    assert logs.enforce_retention(NOW_MS) == 1
    logs.close()


def test_a_log_that_could_not_be_recovered_is_left_alone(tmp_path, clock):
    unreadable = tmp_path / "orders-0" / f"{0:020d}.log"
    unreadable.mkdir(parents=True)
    logs = manager(tmp_path, clock)
    assert list(logs.open().failed) == [ORDERS]
    unreadable.rmdir()
    with pytest.raises(KafkaStorageError):
        logs.create("orders", 0, TOPIC_ID, LogConfig())
    assert list((tmp_path / "orders-0").iterdir()) == []
    logs.close()


def test_retention_keeps_what_is_not_yet_durable(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, SMALL)
    log.native.append(batch(2, timestamp=NOW_MS - 8 * DAY_MS))
    log.native.append(batch(2, timestamp=NOW_MS))
    assert logs.enforce_retention(NOW_MS) == 0
    logs.close()


def test_retention_by_size_keeps_at_least_the_size(tmp_path, clock):
    size = len(batch(1, size=1000))
    logs = opened(tmp_path, clock)
    config = LogConfig(segment_bytes=1 << 20, retention_ms=-1, retention_bytes=2 * size)
    log = logs.create("orders", 0, TOPIC_ID, config)
    for _ in range(4):
        log.native.append(batch(1, size=1000))
        log.native.roll()
    log.native.flush()
    logs.enforce_retention(NOW_MS)
    assert (log.native.start_offset, log.native.size_bytes) == (2, 2 * size)
    logs.close()


def test_deleted_records_stay_deleted_after_a_restart(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig())
    for _ in range(5):
        log.native.append(batch(2))
    assert logs.delete_records("orders", 0, 5) == 5
    with pytest.raises(OffsetOutOfRange):
        logs.delete_records("orders", 0, 11)
    logs.close(clean=False)
    again = opened(tmp_path, clock)
    assert again.get("orders", 0).native.start_offset == 5
    with pytest.raises(OffsetOutOfRange):
        again.get("orders", 0).native.read(offset=4)
    again.close()


def test_a_deleted_log_leaves_its_name_at_once_and_its_files_later(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig()).native.append(batch(1))
    logs.delete("orders", 0)
    assert logs.get("orders", 0) is None
    assert [path.name.endswith("-delete") for path in tmp_path.glob("orders-0*")] == [True]
    assert logs.create("orders", 0, bytes(15) + b"\x02", LogConfig()).native.end_offset == 0
    logs.enforce_retention(NOW_MS + 60_000)
    assert [path.name for path in tmp_path.glob("orders-0*")] == ["orders-0"]
    logs.close()


def test_checkpoints_have_kafkas_names_and_form(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig())
    log.native.append(batch(3))
    log.native.flush()
    logs.checkpoint()
    assert (tmp_path / RECOVERY_POINTS).read_text() == "0\n1\norders 0 3\n"
    assert read_offsets(tmp_path / HIGH_WATERMARKS) == {ORDERS: 3}
    assert read_topic_id(tmp_path / "orders-0") == TOPIC_ID
    assert (tmp_path / "orders-0" / "partition.metadata").read_text().startswith("version: 0\ntopic_id: ")
    logs.close()


def test_a_directory_of_another_cluster_is_refused(tmp_path, clock):
    (tmp_path / "meta.properties").write_text("#\nversion=1\ncluster.id=abc\nnode.id=1\ndirectory.id=xyz\n")
    logs = opened(tmp_path, clock)
    assert logs.cluster_id == "abc"
    logs.set_cluster_id("abc")
    assert "directory.id=xyz" in (tmp_path / "meta.properties").read_text()
    with pytest.raises(DataDirectoryError):
        logs.set_cluster_id("other")
    logs.close()


def test_new_logs_go_where_the_fewest_are(tmp_path, clock):
    logs = manager(tmp_path / "a", clock, tmp_path / "b")
    logs.open()
    for partition in range(4):
        logs.create("orders", partition, TOPIC_ID, LogConfig())
    assert [len(description.partitions) for description in logs.describe_dirs()] == [2, 2]
    logs.close()


def test_settings_change_while_the_log_is_open(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig())
    logs.reconfigure("orders", 0, LogConfig(message_timestamp_type="LogAppendTime"))
    assert log.native.append(batch(1), now_ms=77) == [(0, 0, 77)]
    logs.close()


def test_background_flush_makes_everything_durable(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig(flush_policy="os"))
    log.native.append(batch(3))
    logs.flush_dirty(NOW_MS)
    log.flusher.stop()
    assert log.native.durable_offset == 3
    logs.close()


def test_the_interval_policy_flushes_by_count_or_age(tmp_path, clock):
    logs = opened(tmp_path, clock)
    config = LogConfig(flush_policy="interval", flush_messages=10, flush_ms=1_000)
    log = logs.create("orders", 0, TOPIC_ID, config)
    log.native.append(batch(3), now_ms=NOW_MS)
    assert not log.wants_flush(NOW_MS + 999)
    assert log.wants_flush(NOW_MS + 1_000)
    log.native.append(batch(7), now_ms=NOW_MS)
    assert log.wants_flush(NOW_MS)
    logs.close()


def test_a_log_that_is_set_aside_is_kept_and_its_name_is_free(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig()).native.append(batch(3))
    kept = logs.set_aside("orders", 0)
    assert logs.create("orders", 0, b"9" * 16, LogConfig()).native.end_offset == 0
    logs.close()
    assert kept.name.endswith("-stray")
    assert (kept / f"{0:020d}.log").stat().st_size > 0
    again = opened(tmp_path, clock)
    assert [log.topic_id for log in again.partitions()] == [b"9" * 16]
    assert again.set_aside("never", 0) is None
    again.close()


def test_many_logs_are_made_and_deleted_with_one_fsync_of_their_directory(tmp_path, clock):
    logs = opened(tmp_path, clock)
    io_table.record_calls(True)
    for partition in range(20):
        logs.create("many", partition, TOPIC_ID, LogConfig())
    logs.sync_directories()
    for partition in range(20):
        logs.delete("many", partition)
    logs.sync_directories()
    logs.sync_directories()
    synced = [
        path for call, path, *_ in io_table.recorded_calls() if call == "fsync_directory" and path == str(tmp_path)
    ]
    io_table.reset()
    assert len(synced) == 2
    logs.close()
    again = opened(tmp_path, clock)
    assert again.partitions() == []
    again.close()


def fail_reads(logs: LogManager, count: int) -> None:
    native = logs.get("orders", 0).native
    io_table.fail_call(1, errno.EIO, call="pread", path="orders-0", for_ever=True)
    for _ in range(count):
        with pytest.raises(KafkaStorageError):
            native.read(offset=0, max_bytes=1 << 20)
    io_table.reset()


def test_ten_read_errors_within_a_minute_take_a_directory_offline(tmp_path, clock):
    logs = opened(tmp_path, clock)
    native = logs.create("orders", 0, TOPIC_ID, LogConfig()).native
    native.append(batch(3))
    for _ in range(4):  # nine now, and again when a minute is over
        fail_reads(logs, 9)
        logs.flush_dirty(clock.now_ms())
        clock.advance(ms=60_001)
    assert (native.is_offline, logs.describe_dirs()[0].is_offline) == (False, False)
    fail_reads(logs, 5)
    logs.flush_dirty(clock.now_ms())
    clock.advance(ms=59_000)
    fail_reads(logs, 5)
    logs.flush_dirty(clock.now_ms())
    assert (native.is_offline, logs.describe_dirs()[0].is_offline) == (True, True)
    logs.close()


@pytest.mark.parametrize(
    ("policy", "allowed", "refused"), [("group", False, True), ("os", False, False), ("group", True, False)]
)
def test_a_promise_of_fsync_is_refused_on_a_file_system_in_memory(
    tmp_path, clock, monkeypatch, policy, allowed, refused
):
    monkeypatch.setattr("pystream.storage.directories.file_system_of", lambda path: "tmpfs")
    logs = LogManager(StorageConfig(log_dirs=(str(tmp_path),), reserve_bytes=0, allow_volatile=allowed), clock)
    config = LogConfig(flush_policy=policy)
    if refused:
        with pytest.raises(DataDirectoryError, match=r"log\.dir\.volatile\.allow"):
            logs.open(lambda topic: config)
    else:
        logs.open(lambda topic: config)
    logs.close()
    LogDirectory.open(tmp_path).close(clean=True)


def test_what_recovery_found_is_durable_before_the_logs_are_open(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig()).native.append(batch(3))
    for log in logs.partitions():
        log.native.close(clean=False)
    logs.close(clean=False)

    again = opened(tmp_path, clock)
    native = again.get("orders", 0).native

    assert native.recovery["unsynced"]
    assert (native.durable_offset, native.recovery_point, native.end_offset) == (3, 3, 3)
    again.close()


def test_an_fsync_that_fails_at_the_start_takes_the_log_offline(tmp_path, clock):
    logs = opened(tmp_path, clock)
    logs.create("orders", 0, TOPIC_ID, LogConfig()).native.append(batch(3))
    logs.close(clean=False)
    io_table.fail_call(1, errno.EIO, call="fdatasync", path="orders-0")
    again = manager(tmp_path, clock)
    try:
        report = again.open()
    finally:
        io_table.reset()

    assert list(report.failed) == [ORDERS]
    assert again.get("orders", 0).native.is_offline
    again.close(clean=False)


def test_a_start_reads_no_more_than_what_no_stored_index_leads_past(tmp_path, clock):
    logs = opened(tmp_path, clock)
    native = logs.create("orders", 0, TOPIC_ID, LogConfig()).native
    for _ in range(90):
        native.append(batch(1, size=100_000))
        native.flush()
    logs.checkpoint()
    logs.close(clean=False)

    again = manager(tmp_path, clock)

    assert again.open().scanned_bytes < 3 << 20
    assert again.get("orders", 0).native.end_offset == 90
    again.close()


def test_nothing_is_deleted_where_the_directory_is_offline(tmp_path, clock):
    """The new start offset could not be made durable: the records would be there again after a restart."""
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig(retention_ms=1))
    log.native.append(batch(3))
    log.native.flush()
    log.hosted.directory.is_offline = True
    with pytest.raises(KafkaStorageError):
        logs.delete_records("orders", 0, 2)
    assert logs.enforce_retention(NOW_MS) == 0
    assert log.native.start_offset == 0
    logs.close(clean=False)


def test_no_segment_goes_before_its_time_whichever_bit_of_its_time_index_is_flipped(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig(retention_ms=DAY_MS))
    log.native.append(batch(3, timestamp=NOW_MS - DAY_MS // 2))
    log.native.roll()
    log.native.append(batch(3, timestamp=NOW_MS))
    logs.close()
    index = tmp_path / "orders-0" / f"{0:020d}.timeindex"
    right = index.read_bytes()
    assert len(right) == 12
    for bit in range(8 * len(right)):
        index.write_bytes((int.from_bytes(right, "big") ^ 1 << bit).to_bytes(len(right), "big"))
        logs = manager(tmp_path, clock)
        logs.open(configs=lambda topic: LogConfig(retention_ms=DAY_MS))
        assert logs.enforce_retention(NOW_MS) == 0, bit
        logs.close()


def test_segments_go_in_time_though_the_index_of_one_told_another(tmp_path, clock):
    logs = opened(tmp_path, clock)
    native = logs.create("orders", 0, TOPIC_ID, LogConfig()).native
    for days in (5, 3, 0):
        native.append(batch(3, timestamp=NOW_MS - days * DAY_MS))
        native.roll()
    logs.close()
    (tmp_path / "orders-0" / f"{3:020d}.timeindex").write_bytes((NOW_MS - 4 * DAY_MS).to_bytes(8, "big") + bytes(4))
    logs = manager(tmp_path, clock)
    logs.open(configs=lambda topic: LogConfig(retention_ms=2 * DAY_MS))
    assert logs.enforce_retention(NOW_MS) == 2
    assert logs.get("orders", 0).native.start_offset == 6
    logs.close()


def test_a_segment_that_cannot_be_read_goes_in_its_time_all_the_same(tmp_path, clock):
    """Else one bad sector would keep every segment behind it for ever, and fill the disk."""
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig(retention_ms=DAY_MS))
    for days in (3, 2, 0):
        log.native.append(batch(3, timestamp=NOW_MS - days * DAY_MS))
        log.native.roll()
    log.native.flush()
    io_table.fail_call(1, errno.EIO, call="pread", path=f"{0:020d}.log", for_ever=True)
    try:
        assert logs.enforce_retention(NOW_MS) == 2
    finally:
        io_table.reset()
    assert log.native.start_offset == 6
    assert log.native.take_read_errors() == 1
    logs.close()


def test_no_segment_goes_before_its_time_though_both_its_indexes_are_wrong(tmp_path, clock):
    logs = opened(tmp_path, clock)
    log = logs.create("orders", 0, TOPIC_ID, LogConfig(retention_ms=DAY_MS, index_interval_bytes=0))
    for number in range(4):
        log.native.append(batch(3, timestamp=NOW_MS - DAY_MS // 2 + number))
    log.native.roll()
    log.native.append(batch(3, timestamp=NOW_MS))
    logs.close()
    times = tmp_path / "orders-0" / f"{0:020d}.timeindex"
    times.write_bytes(bytes(8) + times.read_bytes()[-4:])
    positions = tmp_path / "orders-0" / f"{0:020d}.index"
    wrong = bytearray(positions.read_bytes())
    wrong[-1] ^= 1
    positions.write_bytes(wrong)
    logs = manager(tmp_path, clock)
    logs.open(configs=lambda topic: LogConfig(retention_ms=DAY_MS, index_interval_bytes=0))
    assert logs.enforce_retention(NOW_MS) == 0
    logs.close()
