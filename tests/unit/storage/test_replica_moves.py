"""Replicas that move between log directories: what arrives, what is left, and what a crash at any step leaves."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream._native.data_plane import DataPlane
from pystream.common.clock import ManualClock
from pystream.common.config import LONG_MAX
from pystream.common.errors import (
    InvalidTopic,
    KafkaStorageError,
    LogDirNotFound,
    ReplicaNotAvailable,
    UnknownTopicOrPartition,
)
from pystream.common.logging import event_of
from pystream.common.model import TopicPartition
from pystream.storage import interrupted_moves, replica_copy, replica_moves
from pystream.storage.config import LogConfig, StorageConfig
from pystream.storage.log_manager import LogManager
from pystream.storage.replica_copy import ReplicaCopy
from pystream.storage.replica_moves import ReplicaMoves
from tests.unit.storage.batches import batch, marker, offsets

TOPIC_ID = bytes(range(16))
ORDERS = TopicPartition("orders", 0)
SMALL = LogConfig(segment_bytes=1 << 20, flush_policy="group")


class Rig:
    """A log manager over two directories, a data plane that serves from it, and one topic of one partition."""

    def __init__(self, one: Path, two: Path) -> None:
        self.one, self.two = one, two
        self.clock = ManualClock(1_000_000)
        config = StorageConfig(log_dirs=(str(one), str(two)), reserve_bytes=0, allow_volatile=True)
        self.logs = LogManager(config, self.clock)
        self.report = self.logs.open(lambda topic: SMALL)
        self.plane = DataPlane(node_id=1)
        self.moves = ReplicaMoves(self.logs, self.plane, self.clock, threads=2)

    def create(self, topic: str = "orders", config: LogConfig = SMALL):
        log = self.logs.create(topic, 0, TOPIC_ID, config)
        self.plane.add_partition(topic, TOPIC_ID, 0, log.native, log.flusher, leader_epoch=0)
        return log

    def filled(self):
        """A log with segments, producers, epochs, an aborted and an open transaction, and a start inside a segment."""
        log = self.create()
        native = log.native
        for epoch in range(3):
            native.append(batch(10, size=100), leader_epoch=epoch)
            native.roll()
        native.append(batch(5, producer_id=7, epoch=0, sequence=0), leader_epoch=3)
        for producer in (8, 9):
            native.permit_transaction(producer, 0)
            native.append(batch(2, producer_id=producer, epoch=0, sequence=0, transactional=True), leader_epoch=3)
        native.append(marker(8, 0, commit=False), leader_epoch=3)
        self.logs.delete_records("orders", 0, 14)
        return log

    def move(self, to: Path, topic: str = "orders") -> None:
        """Ask for it, and wait until it is over."""
        moved = self.moves.request(topic, 0, str(to), is_known=True)
        if moved is not None:
            moved.result(60)

    def close(self, *, clean: bool = True) -> None:
        self.moves.stop()
        self.plane.stop(0)
        self.logs.close(clean=clean)


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(one: Path = tmp_path / "one", two: Path = tmp_path / "two") -> Rig:
        made.append(Rig(one, two))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def facts(log) -> tuple:
    native = log.native
    return (
        log.topic_id,
        native.start_offset,
        native.end_offset,
        native.first_undecided_offset,
        native.leader_epochs,
        [producer[:5] for producer in native.producers()],
        native.aborted_transactions(offset=0, limit_offset=native.end_offset),
        offsets(native.read(offset=native.start_offset, max_bytes=1 << 20)),
    )


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


def test_a_replica_moves_with_all_that_belongs_to_it(make_rig):
    rig = make_rig()
    log = rig.filled()
    before = facts(log)
    source, target = Path(log.directory), rig.two if log.hosted.path == rig.one else rig.one
    rig.move(target)
    assert facts(log) == before
    assert Path(log.directory) == target / "orders-0"
    assert rig.plane.partition_state("orders", 0)[:2] == (14, log.native.end_offset)
    assert [name.endswith("-delete") for name in names_in(source.parent)] == [True]
    assert not (target / "orders-0" / interrupted_moves.MARK).exists()
    log.native.append(batch(3), leader_epoch=3)
    rig.clock.advance(ms=SMALL.file_delete_delay_ms + 1)
    rig.logs.enforce_retention(rig.clock.now_ms())
    assert names_in(source.parent) == []


@pytest.mark.parametrize("clean", [True, False])
def test_a_moved_replica_is_found_where_it_is(make_rig, clean):
    rig = make_rig()
    log = rig.filled()
    target = rig.two if log.hosted.path == rig.one else rig.one
    rig.move(target)
    log.native.append(batch(3), leader_epoch=3)
    log.native.flush()
    before = facts(log)
    rig.close(clean=clean)
    again = make_rig()
    assert again.report.failed == {}
    found = again.logs.get("orders", 0)
    assert facts(found) == before
    assert found.hosted.path == target


def test_a_move_to_where_the_replica_is_does_nothing(make_rig):
    rig = make_rig()
    log = rig.filled()
    native = log.native
    rig.move(log.hosted.path)
    assert log.native is native


def test_the_last_directory_that_was_asked_for_counts(make_rig, monkeypatch):
    rig = make_rig()
    log = rig.filled()
    source, target = (rig.one, rig.two) if log.hosted.path == rig.one else (rig.two, rig.one)
    begun, go_on = threading.Event(), threading.Event()
    round_of = ReplicaCopy.round

    def held(copy: ReplicaCopy) -> int:
        begun.set()
        assert go_on.wait(60)
        return round_of(copy)

    monkeypatch.setattr(ReplicaCopy, "round", held)
    rig.moves.request("orders", 0, str(target), is_known=True)
    assert begun.wait(60)
    (future,) = rig.moves.futures()
    assert (future.path, future.name, future.offset_lag) == (str(target), ORDERS, log.native.end_offset)
    moved = rig.moves.request("orders", 0, str(source), is_known=True)
    go_on.set()
    moved.result(60)
    assert log.hosted.path == source
    assert (rig.moves.futures(), names_in(target)) == ([], [])
    log.native.append(batch(1), leader_epoch=3)


def test_a_move_keeps_to_its_pace_until_that_is_changed(make_rig):
    rig = make_rig()
    log = rig.filled()
    target = rig.two if log.hosted.path == rig.one else rig.one
    rig.moves.pace.limit(1)
    moved = rig.moves.request("orders", 0, str(target), is_known=True)
    while not any(target.glob("*-future/*.log")):
        assert not moved.done()
    assert [future.path for future in rig.moves.futures()] == [str(target)]
    rig.moves.pace.limit(LONG_MAX)
    moved.result(60)
    assert log.hosted.path == target


def test_a_move_that_waits_is_given_up_at_the_end(make_rig):
    rig = make_rig()
    log = rig.filled()
    source, target = (rig.one, rig.two) if log.hosted.path == rig.one else (rig.two, rig.one)
    rig.moves.pace.limit(0)
    moved = rig.moves.request("orders", 0, str(target), is_known=True)
    while not any(target.glob("*-future/*.log")):
        assert not moved.done()
    rig.moves.stop()
    assert moved.done()
    assert (log.hosted.path, names_in(target)) == (source, [])


def test_a_replica_that_is_deleted_while_it_moves_is_nowhere(make_rig, monkeypatch):
    rig = make_rig()
    log = rig.filled()
    target = rig.two if log.hosted.path == rig.one else rig.one
    finish = ReplicaMoves._switch

    def delete_first(moves, *arguments) -> None:
        rig.plane.remove_partition("orders", 0)
        rig.logs.delete("orders", 0)
        finish(moves, *arguments)

    monkeypatch.setattr(ReplicaMoves, "_switch", delete_first)
    rig.move(target)
    assert rig.logs.get("orders", 0) is None
    assert names_in(target) == []


def test_a_failed_copy_leaves_the_log_as_it_was(make_rig, monkeypatch, caplog):
    rig = make_rig()
    log = rig.filled()
    before = facts(log)
    target = rig.two if log.hosted.path == rig.one else rig.one

    def refuse(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replica_copy.os, "fsync", refuse)
    rig.move(target)
    assert facts(log) == before
    assert names_in(target) == []
    assert "replica not moved" in [event_of(record) for record in caplog.records]
    log.native.append(batch(1), leader_epoch=3)


@pytest.mark.parametrize("error", [MemoryError("no memory for a copy"), ValueError("bug")])
def test_a_move_that_fails_in_an_odd_way_can_be_asked_for_again(make_rig, monkeypatch, error):
    rig = make_rig()
    log = rig.filled()
    before = facts(log)
    target = rig.two if log.hosted.path == rig.one else rig.one

    def fail(copy: ReplicaCopy) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(ReplicaCopy, "finish", fail)
        rig.move(target)
    assert facts(log) == before
    rig.move(target)
    assert facts(log) == before
    assert log.hosted.path == target


def test_a_copy_that_is_not_the_log_is_thrown_away(make_rig, monkeypatch):
    rig = make_rig()
    log = rig.filled()
    target = rig.two if log.hosted.path == rig.one else rig.one
    finish = ReplicaCopy.finish

    def lose_the_last_segment(copy: ReplicaCopy) -> None:
        finish(copy)
        max(copy.directory.glob("*.log")).unlink()

    monkeypatch.setattr(ReplicaCopy, "finish", lose_the_last_segment)
    before = facts(log)
    rig.move(target)
    assert facts(log) == before
    assert [name for name in names_in(target) if not name.endswith("-delete")] == []
    log.native.append(batch(1), leader_epoch=3)


def test_what_changes_between_two_rounds_is_copied_anew(make_rig, tmp_path):
    rig = make_rig()
    log = rig.filled()
    native = log.native
    (tmp_path / "copies").mkdir()
    copy = ReplicaCopy(log, tmp_path / "copies" / "orders-0", lambda sent: None)
    assert copy.round() > 0
    native.append(batch(20, size=1_000), leader_epoch=3)
    native.delete_segments_before(native.start_offset)
    native.roll()
    native.append(batch(1), leader_epoch=4)
    native.flush()
    assert copy.round() > 20_000
    native.freeze()
    copy.finish()
    assert copy.round() == 0
    there = {path.name: path.read_bytes() for path in copy.directory.iterdir()}
    kept = {path.name: path.read_bytes() for path in Path(log.directory).iterdir() if path.suffix != ".deleted"}
    assert there == kept
    native.thaw()


def test_requests_that_cannot_be_met_are_refused_in_kafkas_words(make_rig):
    rig = make_rig()
    log = rig.create()
    target = rig.two if log.hosted.path == rig.one else rig.one

    def refused(topic: str, path: Path, *, is_known: bool = True) -> type[Exception]:
        with pytest.raises(Exception) as found:
            rig.moves.request(topic, 0, str(path), is_known=is_known)
        return found.type

    assert refused("orders", rig.one / "elsewhere") is LogDirNotFound
    assert refused("x" * 249, rig.two) is InvalidTopic
    assert refused("payments", target) is ReplicaNotAvailable
    assert refused("nothing", target, is_known=False) is UnknownTopicOrPartition
    assert rig.logs.create("payments", 0, TOPIC_ID, SMALL).hosted.path == target
    log.native.take_offline()
    assert refused("orders", target) is KafkaStorageError
    rig.logs.directory_at(str(target)).directory.is_offline = True
    assert refused("orders", target) is KafkaStorageError


# -- crashes


class Snapshots:
    """What lies in both directories before each step that changes names there: what a crash would leave."""

    def __init__(self, rig: Rig, path: Path) -> None:
        self._rig = rig
        self._path = path
        self._numbers = itertools.count()
        self.taken: list[Path] = []

    def take(self) -> None:
        path = self._path / str(next(self._numbers))
        for directory in (self._rig.one, self._rig.two):
            shutil.copytree(directory, path / directory.name)
        self.taken.append(path)

    def around(self, function: Callable) -> Callable:
        def wrapped(*arguments, **named):
            self.take()
            result = function(*arguments, **named)
            self.take()
            return result

        return wrapped


def test_a_crash_at_any_step_leaves_the_replica_in_one_place(make_rig, tmp_path, monkeypatch):
    rig = make_rig()
    log = rig.filled()
    log.native.flush()
    before = facts(log)
    snapshots = Snapshots(rig, tmp_path / "crashes")
    for where, name in (
        (replica_moves, "sync_directory"),
        (replica_moves, "write_mark"),
        (replica_moves, "remove_mark"),
        (replica_copy, "sync_directory"),
        (interrupted_moves, "sync_directory"),
        (Path, "rename"),
        (rig.logs, "note_arrival"),
        (rig.logs, "checkpoint"),
    ):
        monkeypatch.setattr(where, name, snapshots.around(getattr(where, name)))
    rig.move(rig.two if log.hosted.path == rig.one else rig.one)
    monkeypatch.undo()

    assert len(snapshots.taken) >= 16
    places = []
    for path in snapshots.taken:
        again = make_rig(path / "one", path / "two")
        assert again.report.failed == {}
        found = again.logs.get("orders", 0)
        assert facts(found) == before
        left = names_in(path / "one") + names_in(path / "two")
        assert left == ["orders-0"]
        assert not (Path(found.directory) / interrupted_moves.MARK).exists()
        places.append(found.hosted.path.name)
    assert len(set(places)) == 2
    assert places == sorted(places, reverse=places[0] == "two")


def test_a_replica_in_two_places_for_no_known_reason_is_left_alone(make_rig):
    rig = make_rig()
    log = rig.filled()
    source = Path(log.directory)
    target = (rig.two if log.hosted.path == rig.one else rig.one) / "orders-0"
    rig.close()
    shutil.copytree(source, target)
    again = make_rig()
    assert list(again.report.failed) == [ORDERS]
    assert str(source) in again.report.failed[ORDERS]
    assert again.logs.get("orders", 0) is None
    with pytest.raises(KafkaStorageError, match="remove the one that is not wanted"):
        again.logs.create("orders", 0, TOPIC_ID, SMALL)
    assert source.exists()
    assert target.exists()


def test_a_copy_of_a_replica_that_is_nowhere_is_kept(make_rig, caplog):
    rig = make_rig()
    rig.close()
    lonely = rig.one / interrupted_moves.future_name(ORDERS)
    lonely.mkdir()
    again = make_rig()
    assert lonely.exists()
    assert "copy of a replica that is nowhere is left alone" in [event_of(record) for record in caplog.records]
    assert again.report.failed == {}
