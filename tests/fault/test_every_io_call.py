"""Every system call of a scripted life of a log fails once: what was acknowledged is there, and nothing else."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream._native import io_table
from pystream._native.local_log import LocalLog
from pystream.common.errors import KafkaError, LogOffline
from tests.unit.storage.batches import batch, offsets

SMALL = {"segment_bytes": 1_500, "index_interval_bytes": 200}
OK = 0


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where hundreds of lives are cheap: in memory, if the machine has such a place; the faults are made anyway."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="log-lives-") as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def plain_calls() -> Iterator[None]:
    io_table.reset()
    yield
    io_table.reset()


class Life:
    """One run of the script. `safe` are offsets with the values that were acknowledged as durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log: LocalLog | None = None
        self.errors: list[Exception] = []
        self.written: dict[int, bytes] = {}
        self.safe: dict[int, bytes] = {}
        self.number = 0

    def attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (KafkaError, OSError) as error:
            self.errors.append(error)

    def open(self) -> None:
        self.log = LocalLog.open(str(self.path), "t-0", **SMALL)

    def append(self) -> None:
        self.number += 1
        value = b"%06d" % self.number
        data = batch(2, fill=value)
        for status, base, _ in self.log.append(data, leader_epoch=self.number // 8):
            assert status == OK
            self.written = {offset: kept for offset, kept in self.written.items() if offset < base}
            self.written[base] = value

    def flush(self) -> None:
        self.log.flush()
        self.safe = dict(self.written)

    def truncate(self) -> None:
        end = self.log.end_offset
        self.safe = {offset: value for offset, value in self.safe.items() if offset + 2 <= end - 2}
        try:
            self.log.truncate_to(end - 2)
        finally:
            self.written = {offset: kept for offset, kept in self.written.items() if offset < self.log.end_offset}

    def delete(self) -> None:
        start = min(8, self.log.end_offset)
        self.safe = {offset: value for offset, value in self.safe.items() if offset >= start}
        self.log.advance_start_offset(start)
        self.log.delete_segments_before(start)

    def close(self) -> None:
        self.log.close()

    def run(self) -> None:
        self.attempt(self.open)
        if self.log is None:
            return
        for number in range(24):
            self.attempt(self.append)
            if number % 6 == 5:
                self.attempt(self.flush)
        self.attempt(self.truncate)
        self.attempt(self.append)
        self.attempt(self.flush)
        self.attempt(self.delete)
        self.attempt(self.close)

    def check(self) -> None:
        """Opened again, with calls that work, the log has all that is safe, each at its offset, and takes more."""
        io_table.reset()
        if self.log is not None:
            self.log.close(clean=False)
        log = LocalLog.open(str(self.path), "t-0", **SMALL)
        assert log.recovery["damaged"] == []
        found = {}
        offset = log.start_offset
        while data := log.read(offset=offset):
            for first, last in offsets(data):
                piece = log.read(offset=first, max_bytes=1)
                found[first] = piece[-18:]
                offset = last + 1
        for at, value in self.safe.items():
            if at >= log.start_offset:
                assert value in found[at], at
        assert log.append(batch(1), leader_epoch=99)[0][:2] == (OK, offset)
        log.close()


def calls_of_a_life(path: Path) -> int:
    io_table.record_calls(False)
    life = Life(path)
    life.run()
    count = io_table.call_count()
    assert life.errors == []
    life.check()
    return count


def lives(scratch: Path) -> Iterator[tuple[int, Life]]:
    for number in range(1, calls_of_a_life(scratch / "whole") + 1):
        yield number, Life(scratch / str(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_call_that_fails_once_loses_nothing(scratch, number):
    for nth, life in lives(scratch):
        io_table.fail_call(nth, number)
        life.run()
        life.check()


def test_an_interrupted_call_is_made_again(scratch):
    for nth, life in lives(scratch):
        io_table.fail_call(nth, errno.EINTR)
        life.run()
        assert life.errors == []
        life.check()


@pytest.mark.parametrize("short_by", [1, 40])
def test_a_short_write_is_carried_on(scratch, short_by):
    for nth, life in lives(scratch):
        io_table.fail_call(nth, 0, call="pwritev", short_by=short_by)
        life.run()
        assert life.errors == []
        life.check()


def test_a_full_disk_refuses_and_the_log_goes_on_once_there_is_room(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    log.append(batch(1))
    io_table.fail_call(1, 0, call="pwritev", short_by=50)
    io_table.fail_call(2, errno.ENOSPC, call="pwritev")
    with pytest.raises(KafkaError) as caught:
        log.append(batch(3, size=200))
    assert type(caught.value).__name__ == "NoSpace"
    io_table.reset()
    assert (tmp_path / "t-0" / f"{0:020d}.log").stat().st_size == log.size_bytes
    assert log.append(batch(3))[0][:2] == (OK, 1)
    assert len(offsets(log.read(offset=0))) == 2
    log.close()


def test_a_producer_may_send_again_what_a_failed_write_refused(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    log.append(batch(1, producer_id=5, epoch=0, sequence=0))
    io_table.fail_call(1, errno.ENOSPC, call="pwritev")
    with pytest.raises(KafkaError):
        log.append(batch(1, producer_id=5, epoch=0, sequence=1) + batch(1, producer_id=6, epoch=0, sequence=0))
    io_table.reset()
    assert [producer[0] for producer in log.producers()] == [5]
    assert log.append(batch(1, producer_id=5, epoch=0, sequence=1))[0][:2] == (OK, 1)
    log.close()


def test_a_failed_fsync_is_never_tried_again(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    log.append(batch(1))
    io_table.fail_call(1, errno.EIO, call="fdatasync")
    with pytest.raises(KafkaError):
        log.flush()
    io_table.reset()
    io_table.record_calls(True)
    for step in (log.flush, lambda: log.append(batch(1))):
        with pytest.raises(LogOffline):
            step()
    assert [call for call in io_table.recorded_calls() if call[0] in ("fdatasync", "pwritev")] == []
    assert (log.durable_offset, log.is_offline) == (0, True)
    log.close(clean=False)


def test_what_cannot_be_cut_back_takes_the_log_offline(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    log.append(batch(1))
    log.flush()
    io_table.fail_call(1, errno.ENOSPC, call="pwritev")
    io_table.fail_call(1, errno.EIO, call="ftruncate")
    with pytest.raises(KafkaError):
        log.append(batch(1))
    io_table.reset()
    with pytest.raises(LogOffline):
        log.append(batch(1))
    assert len(offsets(log.read(offset=0))) == 1
    log.close(clean=False)


def test_side_files_that_cannot_be_written_hold_back_the_recovery_point_only(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    for _ in range(30):
        log.append(batch(2, size=50))
    io_table.fail_call(1, errno.ENOSPC, call="open", path="index", for_ever=True)
    log.flush()
    assert (log.durable_offset, log.recovery_point) == (60, 0)
    io_table.reset()
    log.flush()
    assert log.recovery_point == 60
    log.close()
