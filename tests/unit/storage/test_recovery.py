"""What recovery makes of a log that was not left cleanly: the table of verdicts row by row, and what follows."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pystream._native.crc32c import crc32c
from pystream._native.local_log import LocalLog
from pystream._native.log_recovery import CUT, CUT_ALARM, CUT_KEEPING, DAMAGE, verdict
from pystream.common.errors import LogDamaged, LogOffline
from tests.unit.storage.batches import batch, offsets

SMALL = {"segment_bytes": 4_096, "index_interval_bytes": 500}
BATCHES = 12  # of two records each: all in one segment


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("ends_inside", [False, True])
@pytest.mark.parametrize("valid_follows", [False, True])
@pytest.mark.parametrize(
    ("below", "closed", "wrong_epoch"),
    [(True, False, False), (False, True, False), (True, True, False), (False, False, True)],
)
def test_what_was_fsynced_or_is_whole_cannot_be_torn(below, closed, wrong_epoch, valid_follows, ends_inside, lossy):
    asked = {"wrong_epoch": wrong_epoch, "valid_follows": valid_follows, "ends_inside": ends_inside, "lossy": lossy}
    assert verdict(below_recovery_point=below, closed=closed, **asked) == DAMAGE


@pytest.mark.parametrize(
    ("valid_follows", "ends_inside", "lossy", "found"),
    [
        (False, True, False, CUT),
        (False, True, True, CUT),
        (False, False, False, DAMAGE),
        (False, False, True, CUT_ALARM),
        (True, False, False, DAMAGE),
        (True, True, False, DAMAGE),
        (True, False, True, CUT_KEEPING),
        (True, True, True, CUT_KEEPING),
    ],
)
def test_above_the_recovery_point_the_kind_of_stop_decides(valid_follows, ends_inside, lossy, found):
    asked = {"wrong_epoch": False, "valid_follows": valid_follows, "ends_inside": ends_inside, "lossy": lossy}
    assert verdict(below_recovery_point=False, closed=False, **asked) == found


class Directory:
    """A log of one segment, left without a clean stop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        log = LocalLog.open(str(path), "t-0", **SMALL)
        for number in range(BATCHES):
            log.append(batch(2, size=100, timestamp=1_000 + number), leader_epoch=number // 4)
        log.close(clean=False)
        self.file = path / "t-0" / f"{0:020d}.log"
        self.data = bytearray(self.file.read_bytes())
        self.size = len(self.data) // BATCHES

    def write(self) -> None:
        self.file.write_bytes(self.data)

    def flip(self, position: int, mask: int = 0x10) -> None:
        self.data[position] ^= mask
        self.write()

    def open(self, **options) -> LocalLog:
        return LocalLog.open(str(self.path), "t-0", **SMALL, **options)

    def untouched(self) -> bool:
        return self.file.read_bytes() == bytes(self.data)


@pytest.fixture
def directory(tmp_path):
    return Directory(tmp_path)


def verdicts(log: LocalLog) -> list[str]:
    return [found[-1] for found in log.recovery["verdicts"]]


def test_a_whole_log_is_opened_as_it_is(directory):
    log = directory.open()
    assert (verdicts(log), log.end_offset, log.is_offline) == ([], 2 * BATCHES, False)
    assert log.leader_epochs == [(0, 0), (1, 8), (2, 16)]
    assert directory.untouched()
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("left", [1, 12, 60, 61, 200])
def test_a_torn_tail_is_cut(directory, left, lossy):
    directory.data += bytearray(directory.data[:left])
    struct.pack_into(">q", directory.data, BATCHES * directory.size, 2 * BATCHES) if left >= 8 else None
    directory.write()
    log = directory.open(lossy=lossy)
    assert (verdicts(log), log.end_offset, log.is_offline) == ([CUT], 2 * BATCHES, False)
    assert directory.file.stat().st_size == BATCHES * directory.size
    log.append(batch(1), leader_epoch=2)
    assert len(offsets(log.read(offset=0))) == BATCHES + 1
    log.close()


@pytest.mark.parametrize("zeros", [1, 61, 500, 5_000])
def test_a_tail_of_zeros_is_a_torn_tail(directory, zeros):
    directory.data += bytes(zeros)
    directory.write()
    log = directory.open()
    assert (verdicts(log), log.end_offset) == ([CUT], 2 * BATCHES)
    log.close()


def test_a_batch_that_turns_to_zeros_up_to_a_longer_file_is_a_torn_tail(directory):
    last = (BATCHES - 1) * directory.size
    directory.data[last + 100 :] = bytes(directory.size - 100 + 4_096)
    directory.write()
    log = directory.open()
    assert (verdicts(log), log.end_offset) == ([CUT], 2 * BATCHES - 2)
    log.close()


def test_a_whole_last_batch_with_a_bad_crc_is_damage_after_a_process_crash(directory):
    directory.flip((BATCHES - 1) * directory.size + 150)
    log = directory.open()
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    assert directory.untouched()
    with pytest.raises(LogOffline):
        log.append(batch(1), leader_epoch=9)
    log.close()


def test_a_whole_last_batch_with_a_bad_crc_is_cut_after_a_power_loss(directory):
    directory.flip((BATCHES - 1) * directory.size + 150)
    log = directory.open(lossy=True)
    assert (verdicts(log), log.end_offset, log.recovery["alarms"]) == ([CUT_ALARM], 2 * BATCHES - 2, 1)
    log.close()


def test_a_bad_batch_before_valid_ones_is_damage_after_a_process_crash(directory):
    directory.flip(4 * directory.size + 150)
    log = directory.open()
    assert (verdicts(log), log.is_offline, log.end_offset) == ([DAMAGE], True, 2 * BATCHES)
    assert directory.untouched()
    log.close()


def test_reads_go_on_around_damage(directory):
    directory.flip(4 * directory.size + 150)
    log = directory.open()
    assert offsets(log.read(offset=0)) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    with pytest.raises(LogDamaged):
        log.read(offset=8)
    assert offsets(log.read(offset=10)) == [(number, number + 1) for number in range(10, 24, 2)]
    log.close()


def test_a_hole_after_a_power_loss_is_cut_and_its_bytes_are_kept(directory):
    directory.flip(4 * directory.size + 150)
    log = directory.open(lossy=True)
    assert (verdicts(log), log.end_offset, log.recovery["alarms"]) == ([CUT_KEEPING], 8, 1)
    kept = list((directory.path / "lost+found").iterdir())
    assert [path.read_bytes() for path in kept] == [bytes(directory.data[4 * directory.size :])]
    log.close()


@pytest.mark.parametrize("lossy", [False, True])
def test_below_the_recovery_point_everything_is_damage(directory, lossy):
    directory.data = directory.data[:-10]
    directory.write()
    log = directory.open(lossy=lossy, recovery_point=2 * BATCHES)
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    assert directory.untouched()
    log.close()


def several_segments(path: Path, **rest) -> Path:
    log = LocalLog.open(str(path), "t-0", **SMALL)
    for _ in range(40):
        log.append(batch(2, size=100), **rest)
    log.close(clean=False)
    return path / "t-0"


def test_a_bad_batch_in_a_closed_segment_is_damage_after_a_process_crash(tmp_path):
    folder = several_segments(tmp_path)
    first = folder / f"{0:020d}.log"
    data = bytearray(first.read_bytes())
    first.write_bytes(data[:-20])
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    assert (verdicts(log), log.is_offline, log.end_offset) == ([DAMAGE], True, 80)
    assert first.read_bytes() == bytes(data[:-20])
    following = log.segments()[1][0]
    assert offsets(log.read(offset=following))[0][0] == following
    log.close()


def test_a_segment_lost_behind_a_hole_goes_to_lost_and_found_after_a_power_loss(tmp_path):
    folder = several_segments(tmp_path)
    names = sorted(path.name for path in folder.glob("*.log"))
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-20])
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL, lossy=True)
    assert (verdicts(log), log.is_offline) == ([CUT_KEEPING], False)
    assert sorted(path.name for path in folder.glob("*.log")) == names[:2]
    assert len(list((tmp_path / "lost+found").iterdir())) == len(names) - 1
    log.append(batch(1))
    log.close()


def test_segments_without_those_before_them_go_to_lost_and_found_after_a_power_loss(tmp_path):
    folder = several_segments(tmp_path)
    names = sorted(path.name for path in folder.glob("*.log"))
    (folder / names[0]).unlink()
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL, lossy=True)
    assert (verdicts(log), log.start_offset, log.end_offset) == ([CUT_KEEPING], 0, 0)
    assert len(list((tmp_path / "lost+found").iterdir())) == len(names) - 1
    assert log.append(batch(1))[0][:2] == (0, 0)
    log.close()


def test_a_log_that_begins_at_its_start_offset_has_no_hole(tmp_path):
    folder = several_segments(tmp_path)
    names = sorted(path.name for path in folder.glob("*.log"))
    (folder / names[0]).unlink()
    start = int(names[1].split(".")[0])
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL, lossy=True, log_start_offset=start)
    assert (verdicts(log), log.start_offset, log.end_offset) == ([], start, 80)
    log.close()


def test_a_missing_segment_is_damage(tmp_path):
    folder = several_segments(tmp_path)
    names = sorted(path.name for path in folder.glob("*.log"))
    (folder / names[1]).unlink()
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    log.close()


def test_segments_below_the_recovery_point_are_not_read_again(tmp_path):
    folder = several_segments(tmp_path)
    first = folder / f"{0:020d}.log"
    data = bytearray(first.read_bytes())
    data[200] ^= 1
    first.write_bytes(data)
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL, recovery_point=40)
    assert (verdicts(log), log.is_offline) == ([], False)
    assert log.recovery["scanned_bytes"] < sum(segment[2] for segment in log.segments()) - len(data)
    log.close()


def test_a_flush_certifies_rolled_segments_by_a_snapshot(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    for _ in range(40):
        log.append(batch(2, size=100))
    log.flush()
    log.close(clean=False)
    again = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    assert again.recovery["recovery_point"] == again.segments()[-1][0]
    assert LocalLog.open(str(tmp_path), "t-0", **SMALL, trust_snapshots=False).recovery["recovery_point"] == 0
    again.close()


def test_a_flipped_bit_anywhere_is_noticed_and_nothing_is_cut(directory):
    """A bit of every header byte of an inner and of the last batch, and of some others; tests/fault does them all."""
    pristine = bytes(directory.data)
    inner, last = 4 * directory.size, (BATCHES - 1) * directory.size
    for position in (*range(inner, inner + 64), *range(last, last + 64), *range(0, len(pristine), 31)):
        directory.data = bytearray(pristine)
        directory.flip(position, 1 << (position % 8))
        log = directory.open()
        in_epoch = position % directory.size in range(12, 16)
        assert directory.untouched(), position
        # The leader epoch is outside the CRC: a flip that keeps epochs rising cannot be told from a real one.
        assert verdicts(log) == [DAMAGE] or in_epoch, position
        log.close(clean=False)
        for path in directory.file.parent.glob("[!0]*"):
            path.unlink()


def test_a_clean_stop_whose_last_batch_is_bad_is_recovered_in_full(tmp_path):
    directory = Directory(tmp_path)
    directory.open().close()
    directory.flip((BATCHES - 1) * directory.size + 150)
    log = directory.open(clean=True, recovery_point=2 * BATCHES)
    assert (log.recovery["clean_refuted"], verdicts(log)) == (True, [DAMAGE])
    log.close()


def test_a_snapshot_newer_than_the_log_is_deleted(directory):
    stray = directory.path / "t-0" / f"{99:020d}.snapshot"
    log = directory.open()
    log.append(batch(1, producer_id=4, epoch=0, sequence=0), leader_epoch=2)
    log.close()
    newest = directory.path / "t-0" / f"{25:020d}.snapshot"
    stray.write_bytes(newest.read_bytes())
    again = directory.open(clean=True)
    assert not stray.exists()
    assert [producer[0] for producer in again.producers()] == [4]
    again.close()


def test_a_damaged_snapshot_is_replaced_by_the_log(directory):
    log = directory.open()
    log.append(batch(1, producer_id=4, epoch=0, sequence=0), leader_epoch=2)
    log.close()
    snapshot = directory.path / "t-0" / f"{25:020d}.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"\x01")
    again = directory.open(clean=True)
    assert [producer[0] for producer in again.producers()] == [4]
    again.close()


@pytest.mark.parametrize("text", ["", "0\n9\n", "0\n1\n5 0\n3 9\n", "1\n0\n", "0\n2\n3 9\n1 2\n"])
def test_a_damaged_epoch_file_is_built_anew_from_the_log(directory, text):
    directory.open().close()
    (directory.path / "t-0" / "leader-epoch-checkpoint").write_text(text)
    log = directory.open(clean=True)
    assert log.leader_epochs == [(0, 0), (1, 8), (2, 16)]
    log.close()


def test_interrupted_deletions_and_compactions_are_finished(directory):
    folder = directory.path / "t-0"
    for name in (f"{0:020d}.log.deleted", f"{5:020d}.log.cleaned", "leader-epoch-checkpoint.tmp", f"{7:020d}.index"):
        (folder / name).write_bytes(b"left over")
    log = directory.open()
    assert sorted(path.suffix for path in folder.iterdir()) == ["", ".log"]
    assert log.end_offset == 2 * BATCHES
    log.close()


def test_a_flipped_base_offset_below_the_recovery_point_does_not_move_the_log_end_back(tmp_path):
    """Offsets lie outside the checksum. The index on the way to the recovery point knows them, or sees them fall."""
    directory = Directory(tmp_path)
    struct.pack_into(">q", directory.data, (BATCHES - 2) * directory.size, 0)
    directory.write()
    log = directory.open(recovery_point=2 * BATCHES, compacted=True)
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    assert directory.untouched()
    log.close()


def test_a_batch_that_claims_offsets_of_the_next_segment_is_damage(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    log.append(batch(2))
    log.roll()
    log.append(batch(2))
    log.close(clean=False)
    (tmp_path / "t-0" / f"{0:020d}.log").write_bytes(batch(300))
    log = LocalLog.open(str(tmp_path), "t-0", compacted=True, **SMALL)
    assert (verdicts(log), log.is_offline) == ([DAMAGE], True)
    with pytest.raises(LogDamaged):
        log.read(offset=0)
    assert offsets(log.read(offset=2)) == [(2, 3)]
    log.close()


@pytest.mark.parametrize("base_offset", [(1 << 63) - 1, -1])
def test_an_offset_that_would_overflow_is_damage(tmp_path, base_offset):
    directory = Directory(tmp_path)
    struct.pack_into(">q", directory.data, 4 * directory.size, base_offset)
    directory.write()
    log = directory.open(recovery_point=2 * BATCHES)
    assert log.is_offline
    with pytest.raises(LogDamaged):
        log.read(offset=8)
    log.close()


def test_lost_records_of_a_closed_segment_are_damage_to_a_reader_not_a_gap(tmp_path):
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    for _ in range(3):
        log.append(batch(2))
    log.roll()
    log.append(batch(2))
    log.close(clean=False)
    file = tmp_path / "t-0" / f"{0:020d}.log"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    log = LocalLog.open(str(tmp_path), "t-0", **SMALL)
    assert offsets(log.read(offset=0)) == [(0, 1)]
    with pytest.raises(LogDamaged):
        log.read(offset=2)
    assert offsets(log.read(offset=6)) == [(6, 7)]
    log.close()


@pytest.mark.parametrize("clean", [True, False])
def test_offsets_that_no_index_can_hold_are_damage(tmp_path, clean):
    directory = Directory(tmp_path)
    for name in (".index", ".timeindex"):
        directory.file.with_suffix(name).unlink(missing_ok=True)
    position = 6 * directory.size
    struct.pack_into(">i", directory.data, position + 23, (1 << 31) - 1)
    directory.data[position + 17 : position + 21] = crc32c(
        bytes(directory.data[position + 21 : position + directory.size])
    ).to_bytes(4, "big")
    directory.write()
    log = directory.open(clean=clean)
    assert log.is_offline
    assert offsets(log.read(offset=0, max_bytes=directory.size)) == [(0, 1)]
    with pytest.raises(LogDamaged):
        log.read(offset=12)
    log.close()


def test_a_file_named_after_an_offset_that_no_log_reaches_is_left_alone(directory):
    strange = directory.file.with_name(f"{10**20 - 1}.log")
    strange.write_bytes(b"not ours")
    log = directory.open()
    assert (verdicts(log), log.segment_count, log.end_offset) == ([], 1, 2 * BATCHES)
    assert strange.read_bytes() == b"not ours"
    log.close()
