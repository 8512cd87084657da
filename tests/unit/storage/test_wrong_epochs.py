"""A leader epoch lies outside its batch's checksum: a wrong one is found by the epochs file and the batches around it.

Twelve batches of two records, four to an epoch; the batch that is changed is whole but for its epoch.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog
from pystream._native.log_recovery import DAMAGE, DAMAGE_MARK
from pystream.common.errors import LogDamaged, LogOffline
from tests.unit.storage.batches import batch, offsets
from tests.unit.storage.test_recovery import BATCHES, SMALL, Directory, verdicts

EPOCHS = [(0, 0), (1, 8), (2, 16)]
END = 2 * BATCHES


@pytest.fixture
def directory(tmp_path):
    return Directory(tmp_path)


def text(*entries: tuple[int, int]) -> str:
    return f"0\n{len(entries)}\n" + "".join(f"{epoch} {start}\n" for epoch, start in entries)


def epochs_file(directory: Directory) -> Path:
    return directory.path / "t-0" / "leader-epoch-checkpoint"


def write_epochs(directory: Directory, *entries: tuple[int, int]) -> None:
    epochs_file(directory).write_text(text(*entries))


def read_all_again(directory: Directory) -> None:
    """Below the recovery point too, as after damage."""
    (directory.path / "t-0" / DAMAGE_MARK).write_text("0\n")


def set_epoch(directory: Directory, number: int, epoch: int) -> None:
    struct.pack_into(">i", directory.data, number * directory.size + 12, epoch)
    directory.write()


def assert_only_batch_is_damaged(directory: Directory, log: LocalLog, number: int) -> None:
    end = END if number + 1 < BATCHES else END - 2
    assert (verdicts(log), log.is_offline, log.end_offset) == ([DAMAGE], True, end)
    assert directory.untouched()
    with pytest.raises(LogOffline):
        log.append(batch(1), leader_epoch=300)
    readable = [(offset, offset + 1) for offset in range(0, END, 2)]
    if number > 0:
        assert offsets(log.read(offset=0)) == readable[:number]
    if number + 1 < BATCHES:
        with pytest.raises(LogDamaged):
            log.read(offset=2 * number)
        assert offsets(log.read(offset=2 * number + 2)) == readable[number + 1 :]


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("epoch", [229, -(1 << 31), "another", "next"])
def test_what_the_epochs_file_contradicts_below_the_recovery_point_is_damage(directory, number, epoch, lossy):
    write_epochs(directory, *EPOCHS)
    set_epoch(directory, number, {"another": (number // 4 + 2) % 3, "next": number // 4 + 1}.get(epoch, epoch))
    read_all_again(directory)
    log = directory.open(lossy=lossy, recovery_point=END)
    assert_only_batch_is_damaged(directory, log, number)
    assert log.leader_epochs == EPOCHS
    assert log.end_offset_for_epoch(229) == (-1, -1)
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("number", range(BATCHES - 1))
def test_an_epoch_that_one_batch_alone_tells_of_is_damage(directory, number, known, lossy):
    """Above the recovery point, where the file may lag, and without one: the batches around it are enough."""
    if known:
        write_epochs(directory, EPOCHS[0])
    set_epoch(directory, number, 229)
    log = directory.open(lossy=lossy)
    assert_only_batch_is_damaged(directory, log, number)
    assert [epoch for epoch, _ in log.leader_epochs] == [0, 1, 2]
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("number", range(4, BATCHES))
def test_an_epoch_that_falls_is_damage_after_a_power_loss_too(directory, number, lossy):
    set_epoch(directory, number, 0) if number % 4 else set_epoch(directory, number, -2)
    log = directory.open(lossy=lossy)
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    assert directory.untouched()
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("known", range(len(EPOCHS) + 1))
@pytest.mark.parametrize("number", range(BATCHES))
def test_an_epoch_that_the_controller_has_not_given_yet_is_damage(directory, number, known, lossy):
    """In the last batch too, which nothing behind it contradicts."""
    write_epochs(directory, *EPOCHS[:known])
    set_epoch(directory, number, 229)
    log = directory.open(lossy=lossy, newest_leader_epoch=2)
    assert_only_batch_is_damaged(directory, log, number)
    assert [epoch for epoch, _ in log.leader_epochs] == [0, 1, 2]
    log.close()


@pytest.mark.parametrize("known", range(len(EPOCHS) + 1))
@pytest.mark.parametrize("newest", range(2))
def test_epochs_that_more_than_one_batch_tells_of_are_right_when_the_metadata_is_older(directory, newest, known):
    """It was put back from a copy."""
    write_epochs(directory, *EPOCHS[:known])
    log = directory.open(newest_leader_epoch=newest)
    assert (verdicts(log), log.is_offline, log.end_offset) == ([], False, END)
    assert log.leader_epochs == EPOCHS
    log.close()


@pytest.mark.parametrize("clean", [False, True])
def test_epochs_that_end_below_the_start_offset_stay_away_after_a_stop(directory, clean):
    """The file is older than the start offset when the stop was not clean."""
    write_epochs(directory, *EPOCHS)
    log = directory.open(clean=clean, recovery_point=END, log_start_offset=10)
    assert log.leader_epochs == [(1, 10), (2, 16)]
    assert log.end_offset_for_epoch(0) == (0, 10)
    log.append(batch(1), leader_epoch=2)
    log.close()
    assert epochs_file(directory).read_text() == text((1, 10), (2, 16))


def test_epochs_that_end_below_the_start_offset_are_not_built_from_the_log(directory):
    log = directory.open(log_start_offset=10)
    assert (log.leader_epochs, epochs_file(directory).read_text()) == ([(1, 10), (2, 16)], text((1, 10), (2, 16)))
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
def test_what_was_found_is_found_again_at_the_next_start(directory, lossy):
    write_epochs(directory, EPOCHS[0])
    set_epoch(directory, 6, 229)
    for _start in range(2):
        log = directory.open(lossy=lossy)
        assert_only_batch_is_damaged(directory, log, 6)
        assert log.leader_epochs == EPOCHS
        log.close(clean=False)


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("known", range(3))
def test_an_epochs_file_that_lags_behind_a_crash_is_no_damage(directory, known, lossy):
    write_epochs(directory, *EPOCHS[:known])
    log = directory.open(lossy=lossy, recovery_point=8 * known)
    assert (verdicts(log), log.is_offline, log.end_offset) == ([], False, END)
    assert log.leader_epochs == EPOCHS
    assert epochs_file(directory).read_text() == text(*EPOCHS)
    log.append(batch(1), leader_epoch=2)
    log.close()


@pytest.mark.parametrize(
    ("clean", "entries"),
    [
        (False, [(9, 0)]),
        (False, [(0, 0), (1, 8), (3, 16)]),
        (False, [(0, 0), (1, 9), (2, 16)]),
        (False, [(0, 0), (1, 12), (2, 16)]),
        (False, [(0, 0), (1, 4), (2, 16)]),
        (False, [(0, 0)]),
        (True, [(9, 0)]),
        (True, [(0, 0), (1, 8), (3, 16)]),
        (True, [(0, 0)]),
    ],
)
def test_an_epochs_file_that_the_log_refutes_is_built_anew(directory, clean, entries):
    write_epochs(directory, *entries)
    if not clean:
        read_all_again(directory)
    log = directory.open(clean=clean, recovery_point=END)
    assert (verdicts(log), log.is_offline) == ([], False)
    assert log.leader_epochs == EPOCHS
    log.close()
    assert epochs_file(directory).read_text() == text(*EPOCHS)


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("number", range(1, BATCHES - 1))
def test_a_missing_epochs_file_hides_no_wrong_epoch_below_the_recovery_point(tmp_path, number, lossy):
    """No batch is read again there, but for its header."""
    directory = Directory(tmp_path)
    directory.open().close()
    log = directory.open(clean=True)
    log.roll()
    log.append(batch(1), leader_epoch=2)
    log.close()
    epochs_file(directory).unlink()
    set_epoch(directory, number, 229)
    log = directory.open(lossy=lossy, recovery_point=END + 1)
    assert (len(log.recovery["damaged"]), log.is_offline) == (1, True)
    assert directory.untouched()
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_the_last_batch_of_a_closed_segment_is_found_by_the_first_of_the_next_one(tmp_path, known, lossy):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    for number in range(6):
        log.append(batch(2), leader_epoch=number // 3)
        if number == 3:
            log.roll()
    log.close(clean=False)
    if known:
        (tmp_path / "t-0" / "leader-epoch-checkpoint").write_text(text((0, 0)))
    file = tmp_path / "t-0" / f"{0:020d}.log"
    data = bytearray(file.read_bytes())
    size = len(data) // 4
    struct.pack_into(">i", data, 3 * size + 12, 229)
    file.write_bytes(data)
    log = LocalLog.open(str(tmp_path), "t-0", lossy=lossy, **SMALL)
    assert (verdicts(log), log.recovery["damaged"]) == ([DAMAGE], [(0, 3 * size, -1, -1)])
    assert file.read_bytes() == bytes(data)
    assert offsets(log.read(offset=0)) == [(0, 1), (2, 3), (4, 5)]
    with pytest.raises(LogDamaged):
        log.read(offset=6)
    assert offsets(log.read(offset=8)) == [(8, 9), (10, 11)]
    log.close()


def test_epochs_behind_the_log_end_leave_their_file_before_anything_is_appended(directory):
    """Else the file would contradict, after the next crash, what was written there under another epoch."""
    write_epochs(directory, *EPOCHS)
    directory.data = directory.data[: 7 * directory.size]
    directory.write()
    log = directory.open(defer_sync=True)
    assert epochs_file(directory).read_text() == text(*EPOCHS[:2])
    log.append(batch(4), leader_epoch=1)
    log.append(batch(2), leader_epoch=3)
    log.close(clean=False)
    again = directory.open()
    assert (verdicts(again), again.leader_epochs) == ([], [(0, 0), (1, 8), (3, 18)])
    again.close()


@pytest.mark.parametrize("number", range(BATCHES))
def test_scrubbing_a_closed_segment_finds_a_wrong_epoch(tmp_path, number):
    directory = Directory(tmp_path)
    log = directory.open()
    log.roll()
    log.append(batch(1), leader_epoch=2)
    set_epoch(directory, number, 3)
    *_, damage = log.scrub(0, position=0, next_offset=0, max_bytes=1 << 20)
    behind = number + 1
    if behind < BATCHES:
        assert damage == (number * directory.size, behind * directory.size, 2 * behind)
    else:
        assert damage == (number * directory.size, -1, -1)
    assert log.is_offline
    log.close()


def test_scrubbing_takes_no_log_offline_for_a_wrong_epochs_file(directory):
    directory.open().close()
    write_epochs(directory, (0, 0), (1, 4), (2, 16))
    log = directory.open(clean=True)
    log.roll()
    log.append(batch(1), leader_epoch=2)
    assert log.scrub(0, position=0, next_offset=0, max_bytes=1 << 20)[3] is None
    assert not log.is_offline
    log.close()


def test_a_wrong_epoch_and_a_broken_header_behind_it_are_one_damage(tmp_path):
    """In a closed segment that no scan looks at, without an epochs file and without an index."""
    log = LocalLog.open(str(tmp_path), "t-0", segment_bytes=1_500, index_interval_bytes=64, flush_policy="os")
    while log.segment_count < 2:
        log.append(batch(2, size=100), leader_epoch=0)
    end = log.end_offset
    log.append(batch(2, size=100), leader_epoch=0)
    log.close(clean=False)
    partition = tmp_path / "t-0"
    for side_file in (*partition.glob("*index"), partition / "leader-epoch-checkpoint"):
        side_file.unlink(missing_ok=True)
    (partition / f"{4:020d}.snapshot").write_bytes(bytes.fromhex("000148674bc700000000"))  # of no producer
    first = partition / f"{0:020d}.log"
    data = bytearray(first.read_bytes())
    size = 12 + struct.unpack_from(">i", data, 8)[0]
    struct.pack_into(">i", data, 12, 64)  # refuted by the second batch, which is to blame for it then
    struct.pack_into(">i", data, 3 * size + 8, 1 << 30)
    first.write_bytes(data)
    log = LocalLog.open(
        str(tmp_path), "t-0", segment_bytes=1_500, index_interval_bytes=64, flush_policy="os", recovery_point=end
    )
    assert log.is_offline
    assert first.read_bytes() == data
    assert offsets(log.read(offset=0)) == [(0, 1)]
    with pytest.raises(LogDamaged):
        log.read(offset=2)
    assert offsets(log.read(offset=end)) == [(end, end + 1)]
    log.close()
