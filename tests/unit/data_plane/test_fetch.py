"""Fetch 4-18 over real sockets: reads, waiting, sessions."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

import pytest

from pystream._native import io_table
from pystream._native.batch import parse_header
from tests.unit.data_plane.conftest import PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, produce

OUT_OF_RANGE, STORAGE_ERROR, FENCED, UNKNOWN_EPOCH, UNKNOWN_ID, NO_SESSION, WRONG_EPOCH = 1, 56, 74, 75, 100, 70, 71


def fill(plane: PlaneUnderTest, count: int, *, partition: int = 0, size: int = 10) -> None:
    with plane.client() as client:
        for number in range(count):
            client.call(produce((partition, batch(b"%d" % number + b"." * size))), 9)


@pytest.mark.parametrize("version", range(4, 19))
def test_every_version_reads_what_was_written(plane: PlaneUnderTest, version: int) -> None:
    fill(plane, 3)
    with plane.client() as client:
        answer = client.call(fetch((0, 1)), version)
    part = answer.responses[0].partitions[0]
    assert (part.error_code, part.high_watermark, part.last_stable_offset) == (0, 3, 3)
    assert bytes(part.records) == plane.logs[0].read(offset=1, max_bytes=1 << 20)


def test_a_large_range_comes_from_the_file_byte_for_byte(plane: PlaneUnderTest) -> None:
    fill(plane, 40, size=50_000)
    with plane.client() as client:
        answer = client.call(fetch((0, 0), (1, 0), max_bytes=1 << 22, partition_max_bytes=1 << 22), 12)
    parts = answer.responses[0].partitions
    assert bytes(parts[0].records) == plane.logs[0].read(offset=0, max_bytes=1 << 22)
    assert bytes(parts[1].records) == b""


def test_a_first_batch_above_the_limit_still_comes_whole(plane: PlaneUnderTest) -> None:
    fill(plane, 2, size=100_000)
    with plane.client() as client:
        answer = client.call(fetch((0, 0), max_bytes=1, partition_max_bytes=1), 12)
    records = bytes(answer.responses[0].partitions[0].records)
    assert parse_header(records).size == len(records)


def test_limits_of_request_and_partition_are_honoured(plane: PlaneUnderTest) -> None:
    fill(plane, 10, size=1000)
    with plane.client() as client:
        one = client.call(fetch((0, 0), partition_max_bytes=3500), 12)
        both = client.call(fetch((0, 0), (0, 0), max_bytes=5000), 12)
    assert 0 < len(one.responses[0].partitions[0].records) <= 3500
    assert 0 < sum(len(part.records) for part in both.responses[0].partitions) <= 5000


def test_an_append_wakes_a_parked_fetch(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(loops=3)
    with plane.client() as reader, plane.client() as writer:
        for number in range(20):
            reader.send(fetch((0, number), max_wait_ms=60_000), 12)
            writer.call(produce((0, batch(b"%d" % number))), 9)
            assert parse_header(bytes(reader.receive().responses[0].partitions[0].records)).base_offset == number


def test_durable_data_wakes_a_parked_fetch_under_group_commit(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(loops=2, flush_policy="group")
    with plane.client() as reader, plane.client() as writer:
        reader.send(fetch((0, 0), max_wait_ms=60_000), 12)
        writer.call(produce((0, batch(b"x")), acks=1), 9)
        answer = reader.receive()
    assert answer.responses[0].partitions[0].high_watermark == 1


def test_what_does_not_fit_counts_for_min_bytes(plane: PlaneUnderTest) -> None:
    fill(plane, 3, size=20_000)
    with plane.client() as client:
        began = time.monotonic()
        answer = client.call(fetch((0, 0), max_wait_ms=30_000, min_bytes=30_000, max_bytes=30_000), 12)
    assert 20_000 < len(answer.responses[0].partitions[0].records) < 30_000
    assert time.monotonic() - began < 15


def test_a_fetch_waits_for_min_bytes_and_then_for_max_wait(plane: PlaneUnderTest) -> None:
    fill(plane, 1)
    with plane.client() as client, plane.client() as writer:
        empty = client.call(fetch((0, 1), max_wait_ms=30), 12)
        some = client.call(fetch((0, 0), max_wait_ms=30, min_bytes=100_000), 12)
        client.send(fetch((0, 0), max_wait_ms=60_000, min_bytes=400), 12)
        until(lambda: plane.plane.counters()["fetch_parked"] == 3)
        writer.call(produce((0, batch(b"y" * 400))), 9)
        enough = client.receive()
    assert len(empty.responses[0].partitions[0].records) == 0
    assert len(some.responses[0].partitions[0].records) > 0
    assert len(enough.responses[0].partitions[0].records) >= 400


def test_offsets_outside_the_log_and_wrong_leader_epochs_get_their_codes(plane: PlaneUnderTest) -> None:
    plane.plane.set_leadership("events", 0, leader=True, leader_epoch=3, leader_id=1)
    with plane.client() as client:
        beyond = client.call(fetch((0, 5), max_wait_ms=60_000), 12)
        before = client.call(fetch((0, -7), max_wait_ms=60_000), 12)
        fenced = client.call(fetch((0, 0), current_leader_epoch=2, max_wait_ms=60_000), 12)
        future = client.call(fetch((0, 0), current_leader_epoch=4, max_wait_ms=60_000), 12)
        no_topic = client.call(fetch((0, 0), topic_id=b"\x01" * 16, max_wait_ms=60_000), 13)
    codes = [answer.responses[0].partitions[0].error_code for answer in (beyond, before, fenced, future, no_topic)]
    assert codes == [OUT_OF_RANGE, OUT_OF_RANGE, FENCED, UNKNOWN_EPOCH, UNKNOWN_ID]


def test_a_request_behind_a_parked_fetch_waits_for_its_turn(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(fetch((0, 0), max_wait_ms=50), 12)
        client.send(produce((0, batch(b"x"))), 9)
        first, second = client.receive(), client.receive()
    assert len(first.responses[0].partitions[0].records) == 0
    assert second.responses[0].partition_responses[0].base_offset == 0


def test_a_fetch_behind_a_produce_of_the_same_turn_sees_its_data(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.socket.sendall(client.frame(produce((0, batch(b"x"))), 9) + client.frame(fetch((0, 0)), 12))
        client.receive()
        answer = client.receive()
    assert len(answer.responses[0].partitions[0].records) > 0


# ---- a disk that does not read


@pytest.mark.parametrize("offset", [0, 1])
def test_a_read_error_fails_its_partition_alone_and_is_counted(plane: PlaneUnderTest, offset: int) -> None:
    with plane.client() as client:
        # Where a reader stopped nothing is looked up, and the first read is that of the records: offset 1.
        for _ in range(2):
            fill(plane, 1)
            fill(plane, 1, partition=1)
            client.call(fetch((0, 0), (1, 0), partition_max_bytes=1), 12)
        io_table.fail_call(1, errno.EIO, call="pread", path="events-0", for_ever=True)
        try:
            failed = client.call(fetch((0, offset), (1, 0), max_wait_ms=60_000), 12).responses[0].partitions
        finally:
            io_table.reset()
        mended = client.call(fetch((0, offset), (1, 0)), 12).responses[0].partitions
    assert [(part.error_code, len(part.records) > 0) for part in failed] == [(STORAGE_ERROR, False), (0, True)]
    assert failed[0].high_watermark == -1 or offset == 0
    assert [(part.error_code, len(part.records) > 0) for part in mended] == [(0, True), (0, True)]
    assert [log.take_read_errors() for log in plane.logs] == [1, 0]
    assert plane.logs[0].take_read_errors() == 0


def test_a_file_that_is_shorter_than_the_range_on_its_way_closes_the_connection_and_is_counted(
    plane: PlaneUnderTest,
) -> None:
    fill(plane, 1)
    with plane.client() as client:
        first = client.call(fetch((0, 0)), 12).responses[0].partitions[0].records
        fill(plane, 1, size=50_000)
        os.truncate(os.path.join(plane.logs[0].directory, f"{0:020d}.log"), len(first))
        client.send(fetch((0, 1)), 12)
        assert client.is_closed_by_peer()
    assert plane.logs[0].take_read_errors() == 1


# ---- sessions (KIP-227)


def test_an_incremental_session_names_only_partitions_with_news(plane: PlaneUnderTest) -> None:
    fill(plane, 1)
    with plane.client() as client:
        full = client.call(fetch((0, 0), (1, 0), session=(0, 0)), 12)
        session = full.session_id
        nothing = client.call(fetch((0, 1), session=(session, 1)), 12)
        with plane.client() as writer:
            writer.call(produce((1, batch(b"new"))), 9)
        news = client.call(fetch(session=(session, 2)), 12)
    assert session != 0
    assert [part.partition_index for part in full.responses[0].partitions] == [0, 1]
    assert nothing.responses == []
    assert [part.partition_index for part in news.responses[0].partitions] == [1]
    assert len(news.responses[0].partitions[0].records) > 0


@pytest.mark.parametrize("version", [7, 12, 17])
def test_partitions_join_and_leave_a_session(plane: PlaneUnderTest, version: int) -> None:
    fill(plane, 1)
    with plane.client() as client:
        session = client.call(fetch((1, 0), session=(0, 0)), version).session_id
        joined = client.call(fetch((0, 0), session=(session, 1)), version)
        left = client.call(fetch(session=(session, 2), forgotten=(0,)), version)
        over = client.call(fetch(session=(session, 3), forgotten=(1,)), version)
        gone = client.call(fetch(session=(session, 4)), version)
    assert [part.partition_index for part in joined.responses[0].partitions] == [0]
    assert left.responses == []
    assert (over.session_id, gone.error_code) == (0, NO_SESSION)


def test_session_errors(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        unknown = client.call(fetch((0, 0), session=(4711, 1)), 12)
        session = client.call(fetch((0, 0), session=(0, 0)), 12).session_id
        wrong = client.call(fetch(session=(session, 5)), 12)
        closed = client.call(fetch((0, 0), session=(session, -1)), 12)
        gone = client.call(fetch(session=(session, 1)), 12)
    assert (unknown.error_code, wrong.error_code) == (NO_SESSION, WRONG_EPOCH)
    assert (closed.error_code, closed.session_id, gone.error_code) == (0, 0, NO_SESSION)


def test_a_full_session_cache_answers_without_a_session(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(max_incremental_fetch_session_cache_slots=2)
    with plane.client() as client:
        sessions = [client.call(fetch((0, 0), session=(0, 0)), 12).session_id for _ in range(3)]
    assert 0 not in sessions[:2]
    assert sessions[2] == 0
    assert plane.plane.counters()["fetch_sessions"] == 2


def test_of_many_small_ranges_a_mebibyte_is_copied_and_the_rest_sent_from_the_files(plane: PlaneUnderTest) -> None:
    """What waits for a client that does not read must not be copies of records."""
    fill(plane, 1, size=16_000)
    size = plane.logs[0].size_bytes
    with plane.client() as client:
        io_table.record_calls(False)
        answer = client.call(fetch(*[(0, 0)] * 200, max_bytes=1 << 23), 12)
        calls = io_table.call_count()
        io_table.reset()
    parts = answer.responses[0].partitions
    assert [bytes(part.records) for part in parts] == [plane.logs[0].read(offset=0)] * 200
    assert calls <= 200 + (1 << 20) // size + 1  # a look at the batch's header for each range, and the copies


def test_sessions_hold_so_much_memory_and_no_more(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(max_incremental_fetch_session_cache_bytes=200_000)
    many = [(index, 0) for index in range(3_000)]
    with plane.client() as client:
        kept = client.call(fetch((0, 0), session=(0, 0)), 12).session_id
        too_large = client.call(fetch(*many, session=(0, 0)), 12)
        grown = client.call(fetch(*many, session=(kept, 1)), 12)
        again = client.call(fetch((0, 0), session=(0, 0)), 12).session_id
    assert kept != 0
    assert (too_large.error_code, too_large.session_id) == (0, 0)
    assert len(too_large.responses[0].partitions) == len(many)
    assert grown.error_code == NO_SESSION
    assert again not in (0, kept)
    assert plane.plane.counters()["fetch_sessions"] == 1


@pytest.mark.parametrize("parts", [8, 16, 32, 64, 128])
def test_a_session_that_fits_ends_no_other(make_plane: Callable[..., PlaneUnderTest], parts: int) -> None:
    """Its index over the partitions, which is built last, is memory too."""
    refused = 0
    for limit in range(2_000, 40_000, 500):
        plane = make_plane(max_incremental_fetch_session_cache_bytes=limit)
        with plane.client() as client:
            kept = client.call(fetch((0, 0), session=(0, 0)), 12).session_id
            opened = client.call(fetch(*[(index, 0) for index in range(parts)], session=(0, 0)), 12).session_id
            assert client.call(fetch(session=(kept, 1)), 12).error_code == 0, limit
        plane.stop()
        refused += opened == 0
    assert refused


def test_a_full_cache_lets_idle_sessions_go_for_their_memory(make_plane: Callable[..., PlaneUnderTest]) -> None:
    """Clients that went without a word would else keep all others from a session for ever."""
    plane = make_plane(max_incremental_fetch_session_cache_bytes=200_000, min_incremental_fetch_session_eviction_ms=0)
    many = [(index, 0) for index in range(500)]
    with plane.client() as client:
        sessions = [client.call(fetch(*many, session=(0, 0)), 12).session_id for _ in range(10)]
        again = client.call(fetch(session=(sessions[-1], 1)), 12)
        grown = client.call(fetch(*[(index, 0) for index in range(500, 700)], session=(sessions[-1], 2)), 12)
    counters = plane.plane.counters()
    assert 0 not in sessions
    assert (again.error_code, grown.error_code) == (0, 0)
    assert counters["fetch_sessions"] + counters["fetch_sessions_evicted"] == 10
    assert counters["fetch_sessions_evicted"] > 0


def test_loops_that_are_added_share_the_memory_of_sessions(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(max_incremental_fetch_session_cache_bytes=200_000)
    many = [(index, 0) for index in range(500)]
    with plane.client() as client:
        assert client.call(fetch(*many, session=(0, 0)), 12).session_id != 0
    plane.plane.resize(4)
    for _ in range(4):
        with plane.client() as client:
            answer = client.call(fetch(*many, session=(0, 0)), 12)
        assert (answer.error_code, answer.session_id) == (0, 0)
