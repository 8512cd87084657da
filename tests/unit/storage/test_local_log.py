"""The native log through its Python face: append, read, roll, truncate, find by time and epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog, limit_open_files, open_files
from pystream._native.offset_index import decode_offset_index, decode_time_index
from pystream.common.errors import CorruptMessage, FencedLeaderEpoch, OffsetOutOfRange
from tests.unit.storage.batches import batch, marker, offsets

DUPLICATE, OUT_OF_ORDER, FENCED, BAD_TRANSACTION = 20, 21, 22, 24


@pytest.fixture
def log(tmp_path):
    opened = LocalLog.open(str(tmp_path), "t-0")
    yield opened
    opened.close(clean=False)


def small(tmp_path: Path, **options) -> LocalLog:
    return LocalLog.open(str(tmp_path), "t-0", **{"segment_bytes": 4096, "index_interval_bytes": 500, **options})


def fill(log: LocalLog, batches: int, count: int = 2, **rest) -> None:
    for number in range(batches):
        log.append(batch(count, timestamp=1_000 + 10 * number, size=100), **rest)


def read_all(log: LocalLog, offset: int = 0, **rest) -> list[tuple[int, int]]:
    found = []
    while data := log.read(offset=offset, **rest):
        found += offsets(data)
        offset = found[-1][1] + 1
    return found


def test_batches_get_offsets_in_order(log):
    assert log.append(batch(3) + batch(2)) == [(0, 0, -1), (0, 3, -1)]
    assert log.append(batch(1)) == [(0, 5, -1)]
    assert (log.start_offset, log.end_offset) == (0, 6)


def test_the_leader_epoch_is_stamped(log):
    log.append(batch(1), leader_epoch=7)
    assert log.read(offset=0)[12:16] == (7).to_bytes(4, "big")


def test_an_append_under_an_older_epoch_is_refused(log):
    log.append(batch(1), leader_epoch=7)
    with pytest.raises(FencedLeaderEpoch):
        log.append(batch(1), leader_epoch=6)


def test_bytes_that_are_no_batch_are_refused_and_nothing_is_written(log):
    with pytest.raises(CorruptMessage):
        log.append(batch(1)[:-1] + b"\xff")
    assert log.end_offset == 0


def test_log_append_time_is_stamped_when_the_topic_asks(tmp_path):
    log = small(tmp_path, log_append_time=True)
    assert log.append(batch(2, timestamp=5), now_ms=999) == [(0, 0, 999)]
    assert log.offset_of_max_timestamp() == (999, 0, 0)
    log.close()


def test_a_read_starts_with_the_batch_that_holds_the_offset(log):
    log.append(batch(3) + batch(3) + batch(3))
    assert offsets(log.read(offset=4)) == [(3, 5), (6, 8)]


@pytest.mark.parametrize("asked", [-1, 4])
def test_a_read_outside_the_log_is_out_of_range(log, asked):
    log.append(batch(3))
    with pytest.raises(OffsetOutOfRange):
        log.read(offset=asked)


def test_a_read_at_the_end_is_empty(log):
    log.append(batch(3))
    assert log.read(offset=3) == b""


def test_the_first_batch_comes_whole_above_max_bytes_when_asked(log):
    log.append(batch(3, size=100))
    assert offsets(log.read(offset=0, max_bytes=1)) == [(0, 2)]
    assert log.read(offset=0, max_bytes=1, at_least_one=False) == b""


def test_a_read_ends_with_a_whole_batch_within_max_bytes(log):
    one = batch(1, size=100)
    log.append(one * 10)
    assert offsets(log.read(offset=0, max_bytes=3 * len(one) + 5)) == [(0, 0), (1, 1), (2, 2)]


def test_a_read_tells_where_to_go_on_when_the_first_indexed_batch_does_not_fit(tmp_path):
    log = small(tmp_path, segment_bytes=1 << 20)
    one = batch(1, size=900)
    log.append(one * 20)
    for count in range(1, 20):
        _, size, first, following = log.read_range(offset=0, max_bytes=count * len(one) + 7)
        assert (size, first, following) == (count * len(one), 0, count)
    log.close()


def test_a_read_ends_before_the_limit_offset(log):
    log.append(batch(2) * 5)
    assert offsets(log.read(offset=0, limit_offset=5)) == [(0, 1), (2, 3)]
    assert log.read(offset=4, limit_offset=4) == b""


def test_every_offset_is_found_across_segments(tmp_path):
    log = small(tmp_path)
    fill(log, 100)
    assert log.segment_count > 5
    for offset in range(log.end_offset):
        first, last = offsets(log.read(offset=offset, max_bytes=1))[0]
        assert first <= offset <= last
    assert read_all(log) == [(number, number + 1) for number in range(0, 200, 2)]
    log.close()


def test_a_segment_rolls_before_it_would_pass_its_size(tmp_path):
    log = small(tmp_path)
    fill(log, 60)
    sizes = [segment[2] for segment in log.segments()]
    assert all(3500 < size <= 4096 for size in sizes[:-1])
    log.close()


def test_a_segment_rolls_by_the_time_between_first_and_new_batch(tmp_path):
    log = small(tmp_path, segment_ms=100)
    for timestamp in (1000, 1100, 1101, 1150):
        log.append(batch(1, timestamp=timestamp))
    assert [segment[0] for segment in log.segments()] == [0, 2]
    log.close()


def test_one_call_may_span_segments(tmp_path):
    log = small(tmp_path)
    assert [answer[0] for answer in log.append(batch(1, size=1000) * 20)] == [0] * 20
    assert log.segment_count == 7
    assert len(read_all(log)) == 20
    log.close()


def test_indexes_on_disk_follow_kafkas_rules(tmp_path):
    log = small(tmp_path, segment_bytes=1 << 20)
    fill(log, 50)
    size = log.size_bytes
    log.close()
    index = (tmp_path / "t-0" / f"{0:020d}.index").read_bytes()
    times = (tmp_path / "t-0" / f"{0:020d}.timeindex").read_bytes()
    entries = decode_offset_index(index, log_size=size, last_relative_offset=99)
    data = (tmp_path / "t-0" / f"{0:020d}.log").read_bytes()
    assert len(entries) > 10
    assert all(offsets(data[position:])[0][1] == offset for offset, position in entries)
    # The closing entry is the highest timestamp of the segment, at the last offset of its batch.
    assert decode_time_index(times, last_relative_offset=99)[-1] == (1_000 + 10 * 49 + 1, 99)


def test_a_lost_index_is_built_anew(tmp_path):
    log = small(tmp_path)
    fill(log, 50)
    log.close()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "t-0").glob("*index")}
    for path in (tmp_path / "t-0").glob("*index"):
        path.unlink()
    again = small(tmp_path, clean=True)
    assert len(read_all(again)) == 50
    again.close()
    assert kept.keys() >= {path.name for path in (tmp_path / "t-0").glob("*index")}


@pytest.mark.parametrize("damage", [b"", b"\x00" * 24, b"\xff" * 13, b"\x00\x00\x00\x01\x00\x00\x0f\xff"])
def test_a_damaged_index_never_leads_astray(tmp_path, damage):
    log = small(tmp_path)
    fill(log, 50)
    log.close()
    for path in (tmp_path / "t-0").glob("*.index"):
        path.write_bytes(damage)
    again = small(tmp_path, clean=True)
    for offset in range(100):
        assert offsets(again.read(offset=offset, max_bytes=1))[0][0] == offset // 2 * 2
    again.close()


def test_a_record_is_found_by_its_time(tmp_path):
    log = small(tmp_path)
    fill(log, 100)
    assert log.offset_for_timestamp(0) == (1_000, 0, 0)
    assert log.offset_for_timestamp(1_505) == (1_510, 102, 0)
    assert log.offset_for_timestamp(1_511) == (1_511, 103, 0)
    assert log.offset_for_timestamp(1_992) is None
    assert log.offset_for_timestamp(1_505, limit_offset=102) is None
    log.close()


def test_a_record_is_found_by_time_when_times_run_back(tmp_path):
    log = small(tmp_path)
    for timestamp in (5_000, 1_000, 9_000, 2_000):
        log.append(batch(1, timestamp=timestamp))
        log.roll()
    assert log.offset_for_timestamp(1_500) == (5_000, 0, 0)
    assert log.offset_for_timestamp(6_000) == (9_000, 2, 0)
    assert log.offset_of_max_timestamp() == (9_000, 2, 0)
    assert log.offset_of_max_timestamp(limit_offset=2) == (5_000, 0, 0)
    log.close()


def test_a_record_is_found_by_time_in_a_compressed_batch(log):
    log.append(batch(100, timestamp=1_000, codec=4))
    assert log.offset_for_timestamp(1_050) == (1_050, 50, 0)


def test_deleted_records_are_not_found_by_time(log):
    log.append(batch(10, timestamp=1_000))
    log.advance_start_offset(5)
    assert log.offset_for_timestamp(0) == (1_005, 5, 0)


def test_epochs_tell_where_they_end(log):
    for epoch, count in ((1, 2), (3, 4), (3, 1), (6, 5)):
        log.append(batch(count), leader_epoch=epoch)
    assert log.leader_epochs == [(1, 0), (3, 2), (6, 7)]
    assert [log.end_offset_for_epoch(epoch) for epoch in (1, 2, 3, 5, 6, 7)] == [
        (1, 2), (1, 2), (3, 7), (3, 7), (6, 12), (-1, -1)]  # fmt: skip
    assert [log.epoch_of_offset(offset) for offset in (0, 1, 2, 6, 7, 11)] == [1, 1, 3, 3, 6, 6]


def test_truncation_of_the_batch_that_holds_the_start_offset_brings_the_start_down(tmp_path):
    log = small(tmp_path)
    fill(log, 3)
    log.advance_start_offset(3)
    log.truncate_to(3)
    assert (log.start_offset, log.end_offset) == (2, 2)
    log.append(batch(1))
    assert offsets(log.read(offset=2)) == [(2, 2)]
    log.close()


def test_the_highest_timestamp_there_can_be_is_found(tmp_path):
    log = small(tmp_path)
    log.append(batch(1, timestamp=(1 << 63) - 1))
    log.roll()
    log.append(batch(1, timestamp=5))
    assert log.offset_of_max_timestamp() == ((1 << 63) - 1, 0, 0)
    log.close()


@pytest.mark.parametrize(("to", "end"), [(100, 100), (99, 98), (98, 98), (50, 50), (51, 50), (1, 0), (0, 0)])
def test_truncation_drops_whole_batches(tmp_path, to, end):
    log = small(tmp_path)
    fill(log, 50, leader_epoch=2)
    log.truncate_to(to)
    assert (log.end_offset, len(read_all(log))) == (end, end // 2)
    assert log.leader_epochs == ([(2, 0)] if end else [])
    log.append(batch(1), leader_epoch=3)
    assert log.end_offset == end + 1
    log.close(clean=False)
    again = small(tmp_path)
    assert (again.end_offset, again.recovery["verdicts"]) == (end + 1, [])
    again.close()


def test_a_duplicate_is_answered_with_its_old_offset(log):
    for sequence in range(5):
        log.append(batch(1, producer_id=9, epoch=0, sequence=sequence))
    for sequence in range(5):
        assert log.append(batch(1, producer_id=9, epoch=0, sequence=sequence)) == [(DUPLICATE, sequence, -1)]
    assert log.end_offset == 5


def test_a_duplicate_within_one_call_is_seen(log):
    one = batch(2, producer_id=9, epoch=0, sequence=0)
    assert log.append(one + one) == [(0, 0, -1), (DUPLICATE, 0, -1)]


def test_only_the_last_five_batches_are_known_as_duplicates(log):
    for sequence in range(6):
        log.append(batch(1, producer_id=9, epoch=0, sequence=sequence))
    assert log.append(batch(1, producer_id=9, epoch=0, sequence=0))[0][0] == OUT_OF_ORDER


def test_a_gap_in_the_sequence_is_refused_and_neighbours_go_on(log):
    log.append(batch(1, producer_id=9, epoch=0, sequence=0))
    gap = batch(1, producer_id=9, epoch=0, sequence=5)
    assert [answer[:2] for answer in log.append(gap + batch(1))] == [(OUT_OF_ORDER, -1), (0, 1)]


def test_an_unknown_producer_may_begin_anywhere(log):
    assert log.append(batch(1, producer_id=9, epoch=3, sequence=77))[0][0] == 0


def test_a_new_epoch_begins_at_zero_and_fences_the_old_one(log):
    log.append(batch(1, producer_id=9, epoch=1, sequence=0))
    assert log.append(batch(1, producer_id=9, epoch=2, sequence=5))[0][0] == OUT_OF_ORDER
    assert log.append(batch(1, producer_id=9, epoch=2, sequence=0))[0][0] == 0
    assert log.append(batch(1, producer_id=9, epoch=1, sequence=1))[0][0] == FENCED


def test_sequences_wrap_to_zero(log):
    last = 2**31 - 1
    log.append(batch(2, producer_id=9, epoch=0, sequence=last - 1))
    assert log.append(batch(1, producer_id=9, epoch=0, sequence=0))[0][0] == 0
    log.append(batch(1, producer_id=8, epoch=0, sequence=last))
    assert log.append(batch(4, producer_id=8, epoch=0, sequence=0))[0][0] == 0


def test_producers_are_remembered_over_clean_stops_and_crashes(tmp_path):
    log = small(tmp_path)
    for sequence in range(40):
        log.append(batch(1, size=300, producer_id=9, epoch=1, sequence=sequence))
    known = log.producers()
    log.flush()
    log.append(batch(1, producer_id=7, epoch=0, sequence=0))
    log.close(clean=False)
    crashed = small(tmp_path)
    assert [producer[:5] for producer in crashed.producers()] == [(7, 0, 0, 40, 0), known[0][:5]]
    crashed.close()
    again = small(tmp_path, clean=True)
    assert again.append(batch(1, size=300, producer_id=9, epoch=1, sequence=39))[0][:2] == (DUPLICATE, 39)
    again.close()


def test_truncation_brings_the_old_producer_state_back(tmp_path):
    log = small(tmp_path)
    for sequence in range(40):
        log.append(batch(1, size=300, producer_id=9, epoch=1, sequence=sequence))
    log.flush()
    log.truncate_to(20)
    assert log.append(batch(1, size=300, producer_id=9, epoch=1, sequence=20))[0] == (0, 20, -1)
    log.close()


def test_an_open_transaction_holds_the_undecided_offset(log):
    log.append(batch(2))
    log.append(batch(2, producer_id=9, epoch=0, sequence=0, transactional=True))
    log.append(batch(2, producer_id=8, epoch=0, sequence=0, transactional=True))
    assert log.first_undecided_offset == 2
    assert log.append(batch(1, producer_id=9, epoch=0, sequence=2))[0][0] == BAD_TRANSACTION
    log.append(marker(9, 0, commit=True))
    assert log.first_undecided_offset == 4
    log.append(marker(8, 0, commit=False))
    assert log.first_undecided_offset is None
    assert log.aborted_transactions(offset=0, limit_offset=10) == [(8, 4)]


def test_aborted_transactions_are_remembered_over_a_crash(tmp_path):
    log = small(tmp_path)
    for number in range(30):
        sequence = 2 * number
        log.append(batch(2, size=100, producer_id=9, epoch=0, sequence=sequence, transactional=True))
        log.append(marker(9, 0, commit=number % 2 == 0))
    wanted = log.aborted_transactions(offset=0, limit_offset=1000)
    assert len(wanted) == 15
    log.flush()
    log.close(clean=False)
    again = small(tmp_path)
    assert again.aborted_transactions(offset=0, limit_offset=1000) == wanted
    again.close()
    clean = small(tmp_path, clean=True)
    assert clean.aborted_transactions(offset=0, limit_offset=1000) == wanted
    clean.close()


def test_producers_that_are_silent_are_forgotten(log):
    log.append(batch(1, timestamp=1_000, producer_id=1, epoch=0, sequence=0))
    log.append(batch(1, timestamp=2_000, producer_id=2, epoch=0, sequence=0))
    log.append(batch(1, timestamp=500, producer_id=3, epoch=0, sequence=0, transactional=True))
    log.expire_producers(1_500)
    assert [producer[0] for producer in log.producers()] == [2, 3]


def test_a_producer_that_writes_old_records_now_is_not_forgotten(log):
    written = batch(1, timestamp=1_000, producer_id=1, epoch=0, sequence=0)
    log.append(written, now_ms=9_000)
    log.expire_producers(8_000)
    log.append(written, now_ms=9_100)
    assert log.end_offset == 1, "a duplicate"


def test_many_producers_come_and_go(log):
    for producer in range(500):
        log.append(batch(1, timestamp=producer, producer_id=producer * 7919, epoch=0, sequence=0))
    log.expire_producers(400)
    assert [producer[0] for producer in log.producers()] == [producer * 7919 for producer in range(400, 500)]
    for producer in range(400, 500):
        assert log.append(batch(1, producer_id=producer * 7919, epoch=0, sequence=1))[0][0] == 0


def test_open_files_are_bounded(tmp_path):
    limit_open_files(8)
    before = open_files()
    try:
        log = small(tmp_path, flush_policy="os")
        fill(log, 300)
        log.flush()
        for offset in range(0, 600, 20):
            log.read(offset=offset)
        assert log.segment_count > 20
        assert open_files() - before <= 8
        log.close()
    finally:
        limit_open_files(4096)


def test_a_flush_moves_the_durable_offset_and_a_write_policy_needs_none(tmp_path):
    log = small(tmp_path)
    fill(log, 50)
    assert log.durable_offset == 0
    log.flush()
    assert (log.durable_offset, log.recovery_point, log.unflushed) == (100, 100, (0, -1))
    log.close()
    written = LocalLog.open(str(tmp_path), "w-0", flush_policy="write")
    written.append(batch(3))
    assert written.durable_offset == 3
    written.close()


def test_a_closed_log_refuses_and_a_new_one_takes_its_place(tmp_path):
    log = small(tmp_path)
    fill(log, 3)
    log.close()
    with pytest.raises(Exception, match="t-0"):
        log.append(batch(1))


def test_an_empty_log_makes_no_file(tmp_path):
    log = small(tmp_path)
    log.flush()
    log.close()
    assert list((tmp_path / "t-0").iterdir()) == []


def test_an_unknown_setting_is_refused(tmp_path):
    with pytest.raises(TypeError, match="segment_byte"):
        LocalLog.open(str(tmp_path), "t-0", segment_byte=1)


@pytest.mark.parametrize("with_closing_entry", [True, False])
def test_time_ranges_of_a_reopened_log_are_those_from_before(tmp_path, with_closing_entry):
    log = small(tmp_path)
    fill(log, 50)
    expected = log.segments()
    assert len(expected) > 2
    log.close()
    if not with_closing_entry:
        for file in (tmp_path / "t-0").glob("*.timeindex"):
            file.write_bytes(b"")
    log = small(tmp_path, clean=True)
    assert log.segments() == expected
    log.close()
