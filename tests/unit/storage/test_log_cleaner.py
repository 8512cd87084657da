"""One round of compaction of one log: what stays, what goes, and what a reader notices of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream._native.batch import validate
from pystream._native.local_log import LocalLog
from pystream._native.log_cleaner import LogCleaning
from pystream._native.record_reader import RecordReader
from pystream.common.errors import (
    Busy,
    Closed,
    CorruptRecordBatch,
    KafkaError,
    LimitExceeded,
    LogDamaged,
    MalformedInput,
)
from tests.support.compaction import (
    ABORT,
    COMMIT,
    DAY_MS,
    NOW_MS,
    append,
    batch,
    clean,
    filled,
    headers,
    kept,
    marker,
    offsets,
    stored,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LocalLog]:
    opened = LocalLog.open(str(tmp_path / "t-0"), segment_bytes=1 << 20)
    yield opened
    opened.close(clean=False)


def finish(cleaning: LogCleaning) -> None:
    while not cleaning.clean():
        pass


def pairs(*names: str) -> list[tuple[bytes, bytes]]:
    return [(name[:1].encode(), name.encode()) for name in names]


def reopened(log: LocalLog) -> LocalLog:
    log.close()
    return LocalLog.open(log.directory, segment_bytes=1 << 20, clean=True, compacted=True)


def test_the_last_value_of_each_key_stays_at_its_offset(log):
    filled(log, [[batch(pairs("a1", "b1", "a2"))], [batch(pairs("b2", "c1"))]])
    append(log, batch(pairs("a3")))

    done = clean(log)

    assert [(record.offset, record.value) for record in kept(log)] == [
        (2, b"a2"),
        (3, b"b2"),
        (4, b"c1"),
        (5, b"a3"),
    ]
    assert done.end_offset == 5
    assert done.statistics["records_read"] == 5
    assert done.statistics["records_kept"] == 3


def test_the_active_segment_is_left_alone(log):
    append(log, batch(pairs("a1", "a2")))

    assert clean(log).end_offset == 0
    assert offsets(log) == [0, 1]


def test_what_lies_at_or_above_the_bound_is_neither_cleaned_nor_looked_at(log):
    filled(log, [[batch(pairs("a1")), batch(pairs("a2")), batch(pairs("a3"))]])

    assert clean(log, bound=2).end_offset == 2
    assert offsets(log) == [1, 2]


def test_a_clean_part_loses_what_the_dirty_part_supersedes(log):
    filled(log, [[batch(pairs("a1", "b1"))]])
    first = clean(log)
    filled(log, [[batch(pairs("a2"))]])

    done = clean(log, first_dirty_offset=first.end_offset)

    assert [record.value for record in kept(log)] == [b"b1", b"a2"]
    assert done.statistics["bytes_mapped"] < done.statistics["bytes_read"]


@pytest.mark.parametrize("codec", range(5))
def test_a_batch_keeps_its_codec_its_offsets_and_its_times(log, codec):
    filled(log, [[batch(pairs("a1", "b1", "c1", "a2"), codec=codec)], [batch(pairs("c2"), codec=codec)]])
    before = headers(log)[0]

    clean(log)

    after = headers(log)[0]
    assert (after.codec, after.base_offset, after.last_offset_delta) == (codec, before.base_offset, 3)
    assert after.record_count == 2
    assert [(record.value, record.timestamp - NOW_MS) for record in kept(log)] == [(b"b1", 1), (b"a2", 3), (b"c2", 0)]
    assert after.max_timestamp == NOW_MS + 3


def test_log_append_time_stays(log):
    filled(log, [[batch(pairs("a1", "b1"), append_time_ms=NOW_MS + 9)], [batch(pairs("a2"))]])

    clean(log)

    assert headers(log)[0].is_log_append_time
    assert kept(log)[0].timestamp == NOW_MS + 9


def test_a_tombstone_stays_until_its_horizon_and_then_goes(log):
    filled(log, [[batch(pairs("a1", "b1"))], [batch([(b"a", None)])], [batch(pairs("c1"))]])

    clean(log, now_ms=NOW_MS, delete_retention_ms=DAY_MS)
    assert [record.value for record in kept(log)] == [b"b1", None, b"c1"]
    marked = next(found for found in headers(log) if found.attributes & 0x40)
    assert marked.base_timestamp == NOW_MS + DAY_MS

    clean(log, now_ms=NOW_MS + DAY_MS - 1, delete_retention_ms=DAY_MS)
    assert [record.value for record in kept(log)] == [b"b1", None, b"c1"]
    assert next(found for found in headers(log) if found.attributes & 0x40).base_timestamp == NOW_MS + DAY_MS

    clean(log, now_ms=NOW_MS + DAY_MS, delete_retention_ms=DAY_MS)
    assert [record.value for record in kept(log)] == [b"b1", b"c1"]


@pytest.mark.parametrize("codec", [0, 4])
def test_setting_a_horizon_keeps_every_timestamp(log, codec):
    filled(log, [[batch([(b"a", None), (b"b", b"1"), (b"c", None)], codec=codec, timestamp=NOW_MS - 50)]])

    clean(log)

    assert [(record.key, record.timestamp) for record in kept(log)] == [
        (b"a", NOW_MS - 50),
        (b"b", NOW_MS - 49),
        (b"c", NOW_MS - 48),
    ]


def test_records_without_a_key_go_and_are_counted(log):
    filled(log, [[batch([(None, b"lost"), (b"a", b"1")])]])

    assert clean(log).statistics["keyless"] == 1
    assert [record.value for record in kept(log)] == [b"1"]


def test_small_segments_become_one_and_large_ones_stay_apart(tmp_path):
    log = LocalLog.open(str(tmp_path / "t-0"), segment_bytes=900)
    filled(log, [[batch([(f"{number}".encode(), bytes(150))])] for number in range(12)])

    done = clean(log)

    sizes = [size for _, _, size, _ in log.segments()]
    assert done.statistics["segments_replaced"] == 12
    assert max(sizes) <= 900
    assert len(sizes) < 6
    assert offsets(log) == list(range(12))
    log.close()


def test_a_segment_that_would_not_change_is_not_written_again(log):
    filled(log, [[batch(pairs("a1", "b1"))]])
    before = os.stat(os.path.join(log.directory, f"{0:020d}.log")).st_ino

    assert clean(log).statistics["segments_made"] == 0
    assert os.stat(os.path.join(log.directory, f"{0:020d}.log")).st_ino == before


def test_offsets_and_times_are_found_after_cleaning_and_after_a_start(tmp_path):
    log = LocalLog.open(str(tmp_path / "t-0"), segment_bytes=1 << 20, index_interval_bytes=200)
    for number in range(200):
        append(log, batch([(f"{number % 50}".encode(), bytes(40))], timestamp=NOW_MS + number))
        if number % 60 == 59:
            log.roll()
    log.roll()
    clean(log)

    for again in (False, True):
        opened = reopened(log) if again else log
        assert offsets(opened) == list(range(150, 200))
        assert opened.offset_for_timestamp(NOW_MS) == (NOW_MS + 150, 150, 0)
        assert opened.offset_for_timestamp(NOW_MS + 180) == (NOW_MS + 180, 180, 0)
        assert opened.read(offset=3)[:8] == opened.read(offset=150)[:8]
    opened.close()


def test_the_end_of_every_group_can_be_told_from_its_file(log):
    filled(log, [[batch(pairs("a1"))], [batch(pairs("a2"))], [batch(pairs("a3"))]])
    append(log, batch(pairs("z1")))

    clean(log, bound=2)
    clean(log)

    assert offsets(log) == [2, 3]
    assert [found.record_count for found in headers(log)] == [1, 1]


def test_the_last_batch_of_a_live_producer_stays_without_records(log):
    filled(log, [[batch(pairs("a1"), producer_id=7, sequence=0)], [batch(pairs("a2"), producer_id=7, sequence=1)]])
    filled(log, [[batch(pairs("a3"))]])

    clean(log)

    empty = [found for found in headers(log) if found.producer_id == 7]
    assert [(found.record_count, found.base_sequence, found.base_offset) for found in empty] == [(0, 1, 1)]
    assert [record.value for record in kept(log)] == [b"a3"]


def test_producers_are_known_after_a_start_without_snapshots(log):
    filled(log, [[batch(pairs("a1"), producer_id=7, sequence=0)], [batch(pairs("a2"), producer_id=7, sequence=1)]])
    filled(log, [[batch(pairs("a3"))]])
    clean(log)
    log.close()
    for snapshot in Path(log.directory).glob("*.snapshot"):
        snapshot.unlink()

    again = LocalLog.open(log.directory, segment_bytes=1 << 20, clean=True, compacted=True)

    assert again.append(batch(pairs("a2"), producer_id=7, sequence=1))[0][:2] == (20, 1)
    assert again.append(batch(pairs("a4"), producer_id=7, sequence=2))[0][0] == 0
    again.close()


def test_aborted_records_go_and_committed_ones_stay(log):
    filled(
        log,
        [
            [batch(pairs("a1"))],
            [batch(pairs("a2"), producer_id=1, sequence=0, transactional=True), marker(1, ABORT)],
            [batch(pairs("b1"), producer_id=2, sequence=0, transactional=True), marker(2, COMMIT)],
        ],
    )

    clean(log)

    assert [record.value for record in kept(log)] == [b"a1", b"b1"]
    assert [found.base_offset for found in headers(log) if found.is_control] == [2, 4]
    assert log.aborted_transactions(offset=0, limit_offset=10) == [(1, 1)]


def test_a_marker_goes_once_its_transaction_is_gone_and_its_horizon_over(log):
    filled(
        log,
        [
            [batch(pairs("a1"), producer_id=1, sequence=0, transactional=True), marker(1, COMMIT)],
            [batch(pairs("a2"), producer_id=1, sequence=1, transactional=True), marker(1, COMMIT)],
            [batch(pairs("z1"))],
        ],
    )
    log.expire_producers(NOW_MS + DAY_MS)

    clean(log)
    assert [found.base_offset for found in headers(log) if found.is_control] == [1, 3]
    clean(log, now_ms=NOW_MS + 1)
    assert [bool(found.attributes & 0x40) for found in headers(log) if found.is_control] == [True, False]
    clean(log, now_ms=NOW_MS + 1 + DAY_MS)
    assert [found.base_offset for found in headers(log) if found.is_control] == [3]
    assert [record.value for record in kept(log)] == [b"a2", b"z1"]


def test_the_index_of_aborted_transactions_forgets_those_of_which_nothing_is_left(log):
    filled(
        log,
        [[batch(pairs("a1"), producer_id=1, sequence=0, transactional=True), marker(1, ABORT)], [batch(pairs("z1"))]],
    )
    log.expire_producers(NOW_MS + DAY_MS)

    clean(log)
    assert log.aborted_transactions(offset=0, limit_offset=9) == [(1, 0)]
    clean(log)
    assert log.aborted_transactions(offset=0, limit_offset=9) == []

    again = reopened(log)
    assert again.aborted_transactions(offset=0, limit_offset=9) == []
    again.close()


def test_a_transaction_counts_though_its_producer_aborted_one_in_the_clean_part(log):
    """Else the tombstone would not supersede the value, and at its horizon go alone: a deleted key would be back."""
    filled(log, [[batch(pairs("z1"), producer_id=1, sequence=0, transactional=True), marker(1, ABORT)]])
    first = clean(log)
    assert log.aborted_transactions(offset=0, limit_offset=9) == [(1, 0)]
    deleted = batch([(b"a", None)], producer_id=1, sequence=1, transactional=True)
    filled(log, [[batch(pairs("a1")), deleted, marker(1, COMMIT)]])

    second = clean(log, first_dirty_offset=first.end_offset)
    assert [record.value for record in kept(log)] == [None]

    filled(log, [[batch(pairs("b1"))]])
    clean(log, first_dirty_offset=second.end_offset, now_ms=NOW_MS + 2 * DAY_MS)
    assert [record.value for record in kept(log)] == [b"b1"]


def test_an_abort_whose_marker_lies_behind_the_bound_keeps_its_index_entry(log):
    filled(log, [[batch(pairs("a1"), producer_id=1, sequence=0, transactional=True), marker(1, ABORT)]])
    append(log, batch(pairs("z1")))

    clean(log, bound=1)

    assert log.aborted_transactions(offset=0, limit_offset=9) == [(1, 0)]
    assert [record.value for record in kept(log)] == [b"z1"]


def test_a_full_map_ends_the_round_early_and_the_next_one_goes_on(log):
    filled(log, [[batch([(f"{number}".encode(), b"old")]) for number in range(40)] for _ in range(2)])

    first = clean(log, map_bytes=24 * 30)
    assert first.statistics["map_full"]
    assert 0 < first.end_offset < 40
    dirty = first.end_offset
    for _ in range(20):
        dirty = clean(log, first_dirty_offset=dirty, map_bytes=24 * 30).end_offset

    assert dirty == 80
    assert offsets(log) == list(range(40, 80))


def test_a_map_too_small_for_one_batch_is_told(log):
    filled(log, [[batch([(f"{number}".encode(), b"") for number in range(40)])]])

    with pytest.raises(LimitExceeded, match=r"log\.cleaner\.dedupe\.buffer\.size"):
        clean(log, map_bytes=24 * 20)

    assert offsets(log) == list(range(40))


def test_batches_larger_than_the_buffer_are_read_whole(log):
    filled(log, [[batch([(b"a", os.urandom(5_000)), (b"b", os.urandom(5_000))]), batch(pairs("a2"))]])

    clean(log, buffer_bytes=256)

    assert offsets(log) == [1, 2]


@pytest.mark.parametrize("at", [8, 16, 17, 21, 61, 80])
def test_a_damaged_batch_ends_the_round_and_nothing_is_replaced(log, at):
    filled(log, [[batch(pairs("a1", "b1"))], [batch(pairs("a2", "b2"))]])
    log.flush()
    path = Path(log.directory) / f"{2:020d}.log"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x41
    path.write_bytes(data)

    with pytest.raises((KafkaError, CorruptRecordBatch, MalformedInput, LogDamaged)):
        clean(log)

    assert path.read_bytes() == data
    assert sorted(found.name for found in Path(log.directory).glob("*.cleaned")) == []
    assert log.segment_count == 3


def test_a_reader_goes_on_with_the_file_it_has_open(log):
    filled(log, [[batch(pairs("a1"))], [batch(pairs("a2"))]])
    log.flush()
    before = stored(log)
    path = Path(log.directory) / f"{0:020d}.log"
    with path.open("rb") as held:
        clean(log)

        assert before.startswith(held.read())
    assert validate(log.read(offset=0)).base_offset == 1


def test_a_hint_of_the_old_file_is_not_taken_for_the_new_one(log):
    filled(log, [[batch(pairs("a1")), batch(pairs("b1")), batch(pairs("a2"))]])
    append(log, batch(pairs("z1")))
    position, _, _, following = log.read_range(offset=0, max_bytes=1, limit_offset=2)
    assert (position, following) == (0, 1)

    clean(log)

    assert [record.offset for record in RecordReader(log.read(offset=1))] == [1, 2]


def test_a_truncation_in_between_stops_the_round(log):
    filled(log, [[batch(pairs("a1", "a2"))], [batch(pairs("b1"))], [batch(pairs("c1"))]])
    log.flush()
    cleaning = LogCleaning(log, first_dirty_offset=0, bound=log.end_offset, map_bytes=1 << 16, now_ms=NOW_MS)
    while not cleaning.map():
        pass

    log.truncate_to(2)

    with pytest.raises(Busy):
        finish(cleaning)
    with pytest.raises(Closed):
        cleaning.clean()
    assert offsets(log) == [0, 1]


def test_segments_deleted_in_between_stop_the_round(log):
    filled(log, [[batch(pairs("a1", "a2"))], [batch(pairs("b1"))], [batch(pairs("c1"))]])
    log.flush()
    cleaning = LogCleaning(log, first_dirty_offset=0, bound=log.end_offset, map_bytes=1 << 16, now_ms=NOW_MS)
    while not cleaning.map():
        pass

    log.advance_start_offset(2)
    log.delete_segments_before(2)

    with pytest.raises(Busy):
        finish(cleaning)
    assert offsets(log) == [2, 3]


def test_a_round_given_up_leaves_no_file_behind(log):
    filled(log, [[batch(pairs("a1", "a2"))]])
    log.flush()
    cleaning = LogCleaning(log, first_dirty_offset=0, bound=2, map_bytes=1 << 16, now_ms=NOW_MS)
    while not cleaning.map():
        pass
    cleaning.clean(1)

    cleaning.close()

    assert not list(Path(log.directory).glob("*.cleaned"))
    assert offsets(log) == [0, 1]


def test_appends_and_reads_go_on_while_a_round_is_under_way(log):
    filled(log, [[batch(pairs("a1", "a2"))], [batch(pairs("b1", "b2"))]])
    log.flush()
    cleaning = LogCleaning(log, first_dirty_offset=0, bound=4, map_bytes=1 << 16, now_ms=NOW_MS)
    while not cleaning.map(1):
        append(log, batch(pairs("x1")))
        assert validate(log.read(offset=0)).base_offset == 0
    while not cleaning.clean(1):
        append(log, batch(pairs("x1")))
    cleaning.close()

    assert offsets(log)[:3] == [1, 3, 4]


def test_old_files_are_set_aside_not_removed(log):
    filled(log, [[batch(pairs("a1"))], [batch(pairs("a2"))]])

    done = clean(log)

    assert done.replaced == [0, 1]
    assert [path.name[:20] for path in sorted(Path(log.directory).glob("*.log.deleted"))] == [f"{0:020d}", f"{1:020d}"]


def test_a_full_disk_ends_the_round_and_the_next_one_does_the_work(log):
    filled(log, [[batch(pairs("a1", "a2"))]])
    log.flush()
    io_table.fail_call(1, 28, call="pwritev", path=".cleaned")
    try:
        with pytest.raises(KafkaError):
            clean(log)
    finally:
        io_table.reset()

    assert not log.is_offline
    assert not list(Path(log.directory).glob("*.cleaned"))
    clean(log)
    assert offsets(log) == [1]
