"""Closed segments read again: damage found before a reader meets it, and remembered until an operator has acted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog
from pystream._native.log_recovery import DAMAGE_MARK
from pystream.common.clock import DAY_MS, ManualClock
from pystream.common.errors import LogDamaged, LogOffline
from pystream.common.model import TopicPartition
from pystream.storage import scrubber as scrubbing
from pystream.storage.config import LogConfig, StorageConfig
from pystream.storage.log_manager import LogManager
from pystream.storage.repair.salvage import salvage
from pystream.storage.scrubber import Scrubber
from tests.unit.storage.batches import batch, offsets

TOPIC_ID = bytes(range(16))
NOW_MS = 100 * DAY_MS
BATCHES = 9  # of two records, three a segment
SIZE = len(batch(2, size=100))
WEEK_MS = 7 * DAY_MS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def logs(tmp_path: Path, clock: ManualClock):
    opened = manager(tmp_path, clock)
    native = opened.create("orders", 0, TOPIC_ID, LogConfig()).native
    for number in range(BATCHES):
        native.append(batch(2, size=100, timestamp=NOW_MS + number))
        if number % 3 == 2:
            native.roll()
    native.flush()
    yield opened
    opened.close()


def manager(path: Path, clock: ManualClock) -> LogManager:
    opened = LogManager(StorageConfig(log_dirs=(str(path),), reserve_bytes=0), clock)
    opened.open()
    return opened


def scrubber(logs: LogManager, **rest: int) -> Scrubber:
    return Scrubber(logs, **{"interval_ms": WEEK_MS, "bytes_per_second": 1 << 20, **rest})


def segment(path: Path, number: int) -> Path:
    return sorted((path / "orders-0").glob("*.log"))[number]


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        (found,) = os.pread(file.fileno(), 1, position)
        os.pwrite(file.fileno(), bytes([found ^ 0x10]), position)


def run_pass(found: Scrubber) -> None:
    passes = found.passes
    while found.passes == passes:
        found.step(NOW_MS)


def test_a_sound_log_is_read_once_and_stays_online(logs):
    found = scrubber(logs)
    run_pass(found)
    assert (found.bytes_read, found.damaged_segments) == (BATCHES * SIZE, 0)
    assert not logs.get("orders", 0).native.is_offline


def test_the_next_pass_begins_an_interval_after_the_last_one_began(logs):
    found = scrubber(logs)
    run_pass(found)
    assert found.step(NOW_MS + 5_000) == WEEK_MS - 5_000
    assert found.bytes_read == BATCHES * SIZE
    assert found.step(NOW_MS + WEEK_MS) < 1_000
    assert found.bytes_read > BATCHES * SIZE


def test_reading_keeps_to_the_bytes_a_second(logs, monkeypatch):
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", SIZE)
    found = scrubber(logs, bytes_per_second=SIZE * 10)
    assert [found.step(NOW_MS) for _ in range(BATCHES)] == [100] * BATCHES
    assert found.bytes_read == BATCHES * SIZE


@pytest.mark.parametrize("position", [7, 16, 100], ids=["offset", "magic", "record"])
def test_damage_takes_its_range_offline_and_refuses_writes(logs, tmp_path, position):
    flip(segment(tmp_path, 1), SIZE + position)
    found = scrubber(logs)
    run_pass(found)
    native = logs.get("orders", 0).native
    assert (found.damaged_segments, native.is_offline) == (1, True)
    assert offsets(native.read(offset=6)) == [(6, 7)]
    with pytest.raises(LogDamaged):
        native.read(offset=8)
    assert offsets(native.read(offset=10)) == [(10, 11)]
    with pytest.raises(LogOffline):
        native.append(batch(1))


def reopened(logs: LogManager, path: Path, clock: ManualClock) -> LogManager:
    """A restart; the active segment is not empty, so that no other becomes it."""
    native = logs.get("orders", 0).native
    if native.end_offset == 2 * BATCHES:
        native.append(batch(1, size=100, timestamp=NOW_MS))
    logs.close()
    return manager(path, clock)


def test_a_pass_goes_on_after_a_restart_where_it_stopped(logs, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", SIZE)
    first = scrubber(logs)
    for _ in range(5):  # the first segment and two batches of three of the second
        first.step(NOW_MS)
    first.save()
    again = reopened(logs, tmp_path, clock)
    second = scrubber(again)
    read = [second.step(NOW_MS + DAY_MS) for _ in range(6)]
    assert (second.bytes_read, second.passes) == (6 * SIZE, 0)  # the segment it stopped in is read from its beginning
    assert second.step(NOW_MS + 2 * DAY_MS) == WEEK_MS - 2 * DAY_MS  # since the pass began
    assert (second.bytes_read, second.passes) == (6 * SIZE, 1)
    assert all(wait > 0 for wait in read)
    again.close()


def test_restarted_every_day_it_reads_everything_and_then_waits_for_the_week_to_end(logs, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", SIZE)
    total = 0
    for day in range(4):  # three batches a day: one segment
        found = scrubber(logs)
        waits = [found.step(NOW_MS + day * DAY_MS) for _ in range(3)]
        total += found.bytes_read
        found.save()
        logs = reopened(logs, tmp_path, clock)
    assert total == BATCHES * SIZE
    assert waits == [WEEK_MS - 3 * DAY_MS] * 3
    logs.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1\n5\n0\n",
        "0\n5\n",
        "0\nx\n0\n",
        "0\n5\n1\no x 0\n",
        "0\n5\n2\no 0 0\no 1 0\n",
        "0\n5\n1\no 0 -1\n",
    ],
)
def test_a_place_that_cannot_be_read_begins_the_pass_anew(logs, tmp_path, text):
    (tmp_path / "scrub-place").write_text(text)
    found = scrubber(logs)
    run_pass(found)
    assert found.bytes_read == BATCHES * SIZE
    assert (tmp_path / "scrub-place").read_text() == f"0\n{NOW_MS}\n0\n"


def test_a_pass_that_began_in_the_future_is_begun_anew(logs, tmp_path):
    (tmp_path / "scrub-place").write_text(f"0\n{NOW_MS + DAY_MS}\n0\n")
    found = scrubber(logs)
    run_pass(found)
    assert found.bytes_read == BATCHES * SIZE


def test_the_place_is_written_once_a_minute_and_at_the_end(logs, tmp_path, monkeypatch):
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", SIZE)
    place = tmp_path / "scrub-place"
    found = scrubber(logs)
    found.step(NOW_MS)
    assert place.read_text() == f"0\n{NOW_MS}\n1\norders 0 0\n"
    for _ in range(3):
        found.step(NOW_MS + 59_000)
    assert place.read_text() == f"0\n{NOW_MS}\n1\norders 0 0\n"
    found.step(NOW_MS + 60_000)
    assert place.read_text() == f"0\n{NOW_MS}\n1\norders 0 6\n"
    run_pass(found)
    assert place.read_text() == f"0\n{NOW_MS}\n0\n"


def test_damage_is_counted_once(logs, tmp_path):
    flip(segment(tmp_path, 0), 100)
    found = scrubber(logs, interval_ms=0)
    run_pass(found)
    run_pass(found)
    assert found.damaged_segments == 1
    values = {family.name: [sample.value for sample in family.samples] for family in found.families()}
    assert values["pystream_log_scrub_damaged_segments_total"] == [1]


def test_damage_below_the_recovery_point_is_remembered_until_it_is_repaired(logs, tmp_path, clock):
    flip(segment(tmp_path, 0), 100)
    run_pass(scrubber(logs))
    logs.close()

    again = manager(tmp_path, clock)
    offline = again.get("orders", 0).native.is_offline
    again.close()
    salvage(tmp_path, TopicPartition("orders", 0))
    repaired = manager(tmp_path, clock)
    native = repaired.get("orders", 0).native

    assert offline
    assert (native.is_offline, native.end_offset) == (False, 2 * BATCHES)
    assert not (tmp_path / "orders-0" / DAMAGE_MARK).exists()
    repaired.close()


def test_a_segment_that_retention_took_is_left_out(logs, tmp_path):
    flip(segment(tmp_path, 1), 100)
    found = scrubber(logs)
    found.step(NOW_MS)
    native = logs.get("orders", 0).native
    native.advance_start_offset(2 * BATCHES)
    native.delete_segments_before(2 * BATCHES)
    run_pass(found)
    assert (found.damaged_segments, native.is_offline) == (0, False)


def test_the_active_segment_is_not_read(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0")
    log.append(batch(2))
    assert log.scrub(0, position=0, next_offset=0, max_bytes=1 << 20) == (0, 0, True, None)
    log.close()


def test_a_log_that_is_deleted_while_others_are_read_is_left_out(logs, tmp_path, clock):
    other = logs.create("payments", 0, bytes(reversed(range(16))), LogConfig()).native
    other.append(batch(2, size=100, timestamp=NOW_MS))
    other.roll()
    other.flush()
    logs.close()
    again = manager(tmp_path, clock)
    found = scrubber(again)
    found.step(NOW_MS)
    again.delete("payments", 0)
    run_pass(found)
    assert found.passes == 1
    again.close()
