"""Index files have no checksum: whichever bit of one is wrong, reads and cuts of the log are the same."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog, index_bytes
from tests.unit.storage.batches import batch, marker, offsets

BATCHES, RECORDS = 20, 2
LIMITS = ((1, 1 << 60), (700, 1 << 60), (1 << 20, 1 << 60), (1 << 20, 30), (900, 31))
INDEX = f"{0:020d}.index"


def opened(path: Path, **options) -> LocalLog:
    return LocalLog.open(str(path), **{"index_interval_bytes": 500, "clean": True, **options})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed segment with an index, and an active one."""
    log = opened(tmp_path / "log")
    for number in range(BATCHES):
        log.append(batch(RECORDS, timestamp=1_000 + 10 * number, size=100, producer_id=number, epoch=0, sequence=0))
    log.roll()
    log.append(batch(RECORDS))
    log.close()
    return tmp_path / "log"


def flipped(directory: Path, name: str, *, step: int) -> Iterator[int]:
    """One bit in `step` of a file, by number, while it is the wrong way round."""
    path = directory / name
    right = path.read_bytes()
    assert len(right) > 64
    for bit in range(0, 8 * len(right), step):
        wrong = bytearray(right)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(wrong)
        yield bit
        path.write_bytes(right)


def ranges(log: LocalLog) -> list[tuple[int, int, int, int]]:
    return [
        log.read_range(offset=offset, max_bytes=most, limit_offset=limit)
        for offset in range(BATCHES * RECORDS)
        for most, limit in (*LIMITS, (1 << 20, offset + 5))
    ]


def test_every_read_gives_the_same_range_whichever_bit_of_the_index_is_flipped(directory):
    log = opened(directory)
    right = ranges(log)
    log.close(clean=False)
    for bit in flipped(directory, INDEX, step=3):
        log = opened(directory)
        assert ranges(log) == right, bit
        log.close(clean=False)


def test_records_are_found_by_time_whichever_bit_of_the_offset_index_is_flipped(directory):
    for bit in flipped(directory, INDEX, step=5):
        log = opened(directory)
        found = [log.offset_for_timestamp(1_000 + 10 * number) for number in range(BATCHES)]
        assert found == [(1_000 + 10 * number, RECORDS * number, 0) for number in range(BATCHES)], bit
        log.close(clean=False)


def test_a_log_is_cut_at_the_same_place_whichever_bit_of_the_index_is_flipped(directory, tmp_path):
    for bit in flipped(directory, INDEX, step=3):
        cut = bit % (BATCHES * RECORDS)
        copy = Path(shutil.copytree(directory, tmp_path / "copy"))
        log = opened(copy)
        log.truncate_to(cut)
        assert log.end_offset == cut - cut % RECORDS, bit
        assert offsets((copy / f"{0:020d}.log").read_bytes()) == [
            (base, base + RECORDS - 1) for base in range(0, log.end_offset, RECORDS)
        ], bit
        assert len(log.producers()) == cut // RECORDS, bit
        log.close(clean=False)
        shutil.rmtree(copy)


def test_producers_are_known_again_whichever_bit_of_the_index_is_flipped(directory, tmp_path):
    """From a snapshot in the middle of the closed segment on, its batches are replayed."""
    log = opened(tmp_path / "other")
    for number in range(BATCHES // 2):
        log.append(batch(RECORDS, size=100, producer_id=number, epoch=0, sequence=0))
    log.close()
    snapshot = f"{BATCHES // 2 * RECORDS:020d}.snapshot"
    for path in directory.glob("*.snapshot"):
        path.unlink()
    shutil.copy(tmp_path / "other" / snapshot, directory / snapshot)
    for bit in flipped(directory, INDEX, step=7):
        log = opened(directory)
        assert [entry[0] for entry in log.producers()] == list(range(BATCHES)), bit
        log.close(clean=False)


def test_aborted_transactions_that_were_cut_off_stay_away_after_the_next_start(tmp_path):
    log = opened(tmp_path)
    log.append(batch())
    log.append(batch(producer_id=5, epoch=0, sequence=0, transactional=True))
    log.append(marker(5, 0, commit=False))
    log.close()
    log = opened(tmp_path)
    assert log.aborted_transactions(offset=0, limit_offset=9) == [(5, 1)]
    log.truncate_to(1)
    log.append(batch(8))
    log.close()
    log = opened(tmp_path)
    assert log.aborted_transactions(offset=0, limit_offset=9) == []
    log.close()


def test_an_aborted_transaction_that_takes_the_place_of_a_cut_one_is_known_after_the_next_start(tmp_path):
    log = opened(tmp_path)
    log.append(batch(producer_id=5, epoch=0, sequence=0, transactional=True))
    log.append(marker(5, 0, commit=False))
    log.close()
    log = opened(tmp_path)
    log.truncate_to(0)
    log.append(batch(producer_id=6, epoch=0, sequence=0, transactional=True))
    log.append(marker(6, 0, commit=False))
    log.close()
    log = opened(tmp_path)
    assert log.aborted_transactions(offset=0, limit_offset=9) == [(6, 0)]
    log.close()


def test_an_index_that_a_look_for_a_time_has_loaded_counts_as_loaded(directory):
    """What the indexes of closed segments may take together is bounded."""
    log = opened(directory)
    gc.collect()  # logs of other tests go now, not in between
    before = index_bytes()
    assert log.offset_for_timestamp(1_000) == (1_000, 0, 0)
    assert index_bytes() > before
    log.close(clean=False)
