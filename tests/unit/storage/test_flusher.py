"""Group commit: rounds over several logs, failures, stopping; and logs used from many threads at once."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pystream._native import io_table
from pystream._native.flusher import Flusher
from pystream._native.local_log import LocalLog
from pystream.common.errors import OffsetOutOfRange
from tests.unit.storage.batches import batch, offsets


@pytest.fixture
def flusher() -> Iterator[Flusher]:
    started = Flusher(max_gather_ms=1)
    started.start()
    yield started
    started.stop()
    io_table.reset()


def test_a_round_flushes_every_log_that_waits(tmp_path, flusher):
    logs = [LocalLog.open(str(tmp_path), f"t-{number}") for number in range(12)]
    for log in logs:
        log.append(batch(3))
        flusher.request(log)
    flusher.stop()
    assert [log.durable_offset for log in logs] == [3] * 12
    assert (flusher.statistics()["flushes"], flusher.statistics()["failures"]) == (12, 0)
    for log in logs:
        log.close()


def test_a_failed_fsync_takes_its_own_log_offline_only(tmp_path, flusher):
    good, bad = (LocalLog.open(str(tmp_path), name) for name in ("good-0", "bad-0"))
    for log in (good, bad):
        log.append(batch(1))
    io_table.fail_call(1, errno.EIO, call="fdatasync", path="bad-0")
    for log in (bad, good):
        flusher.request(log)
    flusher.stop()
    assert (good.durable_offset, good.is_offline, bad.durable_offset, bad.is_offline) == (1, False, 0, True)
    assert flusher.statistics()["failures"] == 1
    good.close()
    bad.close(clean=False)


def test_a_log_does_not_wait_for_the_disk_of_another(tmp_path, flusher):
    stuck, quick = (LocalLog.open(str(tmp_path), name) for name in ("stuck-0", "quick-0"))
    io_table.fail_call(1, errno.EINTR, call="fdatasync", path="stuck-0", for_ever=True)  # tried again until reset()
    for log in (stuck, quick):
        log.append(batch(1))
        flusher.request(log)
    while quick.durable_offset == 0:
        assert stuck.durable_offset == 0
    running_ms = flusher.statistics()["running_ms"]
    quick.append(batch(1))
    flusher.request(quick)
    while quick.durable_offset == 1:
        assert stuck.durable_offset == 0
    io_table.reset()
    flusher.stop()
    assert running_ms > 0
    assert (stuck.durable_offset, quick.durable_offset) == (1, 2)
    for log in (stuck, quick):
        log.close()


def test_what_is_asked_for_while_an_fsync_runs_gets_one_of_its_own(tmp_path, flusher):
    log = LocalLog.open(str(tmp_path), "t-0")
    io_table.fail_call(1, errno.EINTR, call="fdatasync", for_ever=True)
    log.append(batch(1))
    flusher.request(log)
    while flusher.statistics()["running_ms"] == 0:
        pass
    for _ in range(20):
        log.append(batch(1))
        flusher.request(log)
    io_table.reset()
    flusher.stop()
    assert log.durable_offset == 21
    assert flusher.statistics()["flushes"] == 2
    log.close()


def test_a_stopped_flusher_serves_in_the_callers_thread(tmp_path, flusher):
    log = LocalLog.open(str(tmp_path), "t-0")
    log.append(batch(1))
    flusher.stop()
    flusher.request(log)
    assert log.durable_offset == 1
    log.close()


def test_a_flusher_can_be_started_again(tmp_path, flusher):
    log = LocalLog.open(str(tmp_path), "t-0")
    for count in (1, 2):
        flusher.start()
        log.append(batch(1))
        flusher.request(log)
        flusher.stop()
        assert log.durable_offset == count
    log.close()


def together(*bodies: Callable[[], None]) -> None:
    """Runs them in threads; raises what the first failed one raised."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        for future in [pool.submit(body) for body in bodies]:
            future.result()


def test_appends_reads_flushes_and_rolls_go_on_at_once(tmp_path, flusher):
    log = LocalLog.open(str(tmp_path), "t-0", segment_bytes=5_000, index_interval_bytes=300)
    done = threading.Event()

    def append() -> None:
        for _ in range(150):
            log.append(batch(2, size=100) * 3)
            flusher.request(log)

    def append_all() -> None:
        try:
            together(append, append, append)
        finally:
            done.set()

    def read() -> None:
        offset = 0
        while not (done.is_set() and offset == log.end_offset):
            data = log.read(offset=offset, max_bytes=700)
            for first, last in offsets(data):
                assert first == offset
                offset = last + 1

    def roll_and_search() -> None:
        while not done.is_set():
            log.roll()
            log.segments()
            log.offset_for_timestamp(1_001)

    together(append_all, read, read, roll_and_search)
    flusher.stop()
    assert (log.end_offset, log.durable_offset) == (2_700, 2_700)
    log.close()
    again = LocalLog.open(str(tmp_path), "t-0", clean=True)
    assert again.end_offset == 2_700
    again.close()


def test_truncation_while_flushes_run_never_claims_what_was_cut(tmp_path, flusher):
    log = LocalLog.open(str(tmp_path), "t-0", segment_bytes=3_000)
    done = threading.Event()

    def append_and_cut() -> None:
        for number in range(120):
            log.append(batch(1, size=100))
            if number % 5 == 4:
                log.truncate_to(log.end_offset - 3)
        done.set()

    def flush() -> None:
        while not done.is_set():
            log.flush()

    together(append_and_cut, flush)
    log.flush()
    assert log.durable_offset == log.end_offset == 120 - 24 * 3
    log.close()


def test_a_read_keeps_its_file_while_retention_takes_the_segment(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", segment_bytes=2_000)
    for _ in range(60):
        log.append(batch(1, size=100))
    log.flush()

    def delete() -> None:
        for start in range(1, 60):
            log.advance_start_offset(start)
            log.delete_segments_before(start)

    def read() -> None:
        for _ in range(200):
            offset = log.start_offset
            with contextlib.suppress(OffsetOutOfRange):
                assert offsets(log.read(offset=offset, max_bytes=1))[0][0] <= offset

    together(delete, read, read)
    log.close()
