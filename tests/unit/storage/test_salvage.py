"""A damaged partition written anew from what is valid in it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from pystream._native.local_log import LocalLog
from pystream.cli.logs.log_command import logs as log_command
from pystream.common.errors import DataDirectoryLocked
from pystream.common.model import TopicPartition
from pystream.storage.checkpoints import META_PROPERTIES, RECOVERY_POINTS, START_OFFSETS, write_offsets
from pystream.storage.directories import LogDirectory
from pystream.storage.repair.salvage import empty_batch, salvage
from pystream.storage.repair.verification import verify_partition
from tests.unit.storage.batches import batch, offsets

NAME = TopicPartition("orders", 0)
BATCHES = 12
SIZE = len(batch(3, size=20))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A partition of twelve batches with three records each, in several segments, all of it durable."""
    directory = tmp_path / "data"
    directory.mkdir()
    log = LocalLog.open(str(directory / str(NAME)), segment_bytes=5 * SIZE)
    for number in range(BATCHES):
        log.append(batch(3, timestamp=1_000 + number, size=20), leader_epoch=number // 4)
    log.close()
    (directory / META_PROPERTIES).write_text("version=1\n")
    write_offsets(directory / RECOVERY_POINTS, {NAME: 3 * BATCHES})
    return directory


def segments(data_dir: Path) -> list[Path]:
    return sorted((data_dir / str(NAME)).glob("*.log"))


def change(path: Path, position: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[position : position + len(data)] = data
    path.write_bytes(content)


def reopened(data_dir: Path) -> tuple[list[tuple[int, int]], int, bool]:
    """(first and last offset of every batch, log end, whether it is offline), after a full recovery."""
    log = LocalLog.open(str(data_dir / str(NAME)), segment_bytes=5 * SIZE, trust_snapshots=False)
    found, offset = [], log.start_offset
    while data := log.read(offset=offset):
        found += offsets(data)
        offset = found[-1][1] + 1
    answer = found, log.end_offset, log.is_offline
    log.close(clean=False)
    return answer


def whole(*missing: int) -> list[tuple[int, int]]:
    """Offsets of all batches but those at these places."""
    return [(3 * number, 3 * number + 2) for number in range(BATCHES) if number not in missing]


def kept(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "lost+found" / str(NAME)).iterdir())


def test_a_batch_that_is_damaged_leaves_an_empty_one_and_all_others_stay(data_dir: Path):
    first = segments(data_dir)[0]
    change(first, 2 * SIZE + 70, b"\xff\x00\xff")
    before = first.read_bytes()

    result = salvage(data_dir, NAME)

    found, end, is_offline = reopened(data_dir)
    assert sorted(found) == sorted([*whole(2), (6, 8)])
    assert (end, is_offline) == (3 * BATCHES, False)
    assert (result.segments, result.dropped_bytes, result.lost_offsets, result.stamped) == (1, SIZE, 3, 0)
    assert [path.read_bytes() for path in kept(data_dir)] == [before]
    assert verify_partition(data_dir, NAME).faults == []
    assert verify_partition(data_dir, NAME).records == 3 * (BATCHES - 1)


@pytest.mark.parametrize(("at", "value"), [(0, struct.pack(">q", 1 << 40)), (12, struct.pack(">i", -5))])
def test_a_flipped_offset_or_epoch_outside_the_checksum_is_put_right(data_dir: Path, at: int, value: bytes):
    middle = segments(data_dir)[1]
    before = middle.read_bytes()
    change(middle, 2 * SIZE + at, value)

    result = salvage(data_dir, NAME)

    assert (result.stamped, result.lost_offsets, result.dropped_bytes) == (1, 0, 0)
    assert middle.read_bytes() == before
    assert reopened(data_dir) == (whole(), 3 * BATCHES, False)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("number", [1, 2])
def test_an_epoch_above_its_neighbours_is_put_right(data_dir: Path, number: int, known: bool):
    """By the epochs file, or by the batches on both sides."""
    middle = segments(data_dir)[1]
    before = middle.read_bytes()
    change(middle, number * SIZE + 12, struct.pack(">i", 229))
    if not known:
        (data_dir / str(NAME) / "leader-epoch-checkpoint").unlink()

    result = salvage(data_dir, NAME)

    assert (result.stamped, result.lost_offsets, result.dropped_bytes) == (1, 0, 0)
    assert middle.read_bytes() == before
    assert reopened(data_dir) == (whole(), 3 * BATCHES, False)


def test_the_last_epoch_of_all_is_put_right_by_the_epochs_file(data_dir: Path):
    last = segments(data_dir)[-1]
    before = last.read_bytes()
    change(last, len(before) - SIZE + 12, struct.pack(">i", 229))

    result = salvage(data_dir, NAME)

    assert (result.stamped, last.read_bytes()) == (1, before)
    assert reopened(data_dir) == (whole(), 3 * BATCHES, False)


def test_a_closed_segment_that_lost_its_end_is_filled_up_to_the_next(data_dir: Path):
    first = segments(data_dir)[0]
    batches = first.stat().st_size // SIZE
    first.write_bytes(first.read_bytes()[: 2 * SIZE + 10])

    result = salvage(data_dir, NAME)

    assert (result.lost_offsets, result.dropped_bytes) == (3 * (batches - 2), 10)
    found, end, is_offline = reopened(data_dir)
    assert found[:3] == [(0, 2), (3, 5), (6, 3 * batches - 1)]
    assert (end, is_offline) == (3 * BATCHES, False)
    assert verify_partition(data_dir, NAME).faults == []


def test_what_is_appended_afterwards_follows(data_dir: Path):
    last = segments(data_dir)[-1]
    change(last, 70, b"\xff\x00\xff")

    salvage(data_dir, NAME)
    log = LocalLog.open(str(data_dir / str(NAME)), trust_snapshots=False)
    log.append(batch(1), leader_epoch=7)

    assert log.end_offset == 3 * BATCHES + 1
    log.close()


def test_a_sound_log_is_not_touched(data_dir: Path):
    before = [path.read_bytes() for path in segments(data_dir)]

    result = salvage(data_dir, NAME)

    assert (result.segments, [path.read_bytes() for path in segments(data_dir)]) == (0, before)
    assert not (data_dir / "lost+found").exists()


def test_damage_twice_in_one_segment_keeps_both_old_files(data_dir: Path):
    first = segments(data_dir)[0]
    for position in (SIZE, 2 * SIZE):
        change(first, position + 70, b"\xff\x00\xff")
        salvage(data_dir, NAME)

    assert len(kept(data_dir)) == 2
    assert sorted(reopened(data_dir)[0]) == sorted([*whole(1, 2), (3, 5), (6, 8)])


def test_a_directory_in_use_is_left_alone(data_dir: Path):
    holder = LogDirectory.open(data_dir)
    with pytest.raises(DataDirectoryLocked):
        salvage(data_dir, NAME)
    holder.close(clean=True)


def test_an_empty_batch_spans_its_offsets_and_is_valid():
    data = empty_batch(10, 29, 4)

    assert (len(data), offsets(data)) == (61, [(10, 29)])


def test_the_start_offset_that_records_were_deleted_up_to_is_reported(data_dir: Path):
    write_offsets(data_dir / START_OFFSETS, {NAME: 7})

    assert verify_partition(data_dir, NAME).start_offset == 7


def test_the_command_says_what_it_saved(data_dir: Path):
    change(segments(data_dir)[0], 2 * SIZE + 70, b"\xff\x00\xff")

    result = CliRunner().invoke(log_command, ["repair", str(data_dir), str(NAME), "--salvage"])

    assert result.exit_code == 0
    assert f"1 segments written anew; {SIZE} bytes and 3 offsets are lost, 0 batches" in result.output
    assert CliRunner().invoke(log_command, ["verify", str(data_dir)]).exit_code == 0


@pytest.mark.parametrize("options", [(), ("--truncate", "--salvage")])
def test_one_kind_of_repair_must_be_chosen(data_dir: Path, options: tuple[str, ...]):
    result = CliRunner().invoke(log_command, ["repair", str(data_dir), str(NAME), *options])

    assert result.exit_code == 2
    assert "one of --truncate and --salvage" in result.output
