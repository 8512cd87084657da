"""Serving a partition from another log of the same records: who waits goes on, who writes meanwhile tries again."""

from __future__ import annotations

import shutil
import sys
import threading

import pytest

from pystream._native.local_log import LocalLog
from pystream.common.error_codes import NONE, NOT_LEADER_OR_FOLLOWER
from pystream.common.errors import LogMoving, NotLeaderOrFollower, PystreamError
from tests.unit.data_plane.conftest import batch, until
from tests.unit.data_plane.requests import fetch, produce
from tests.unit.data_plane.test_append import moved


def copy_of(log: LocalLog, path) -> LocalLog:
    """The log, frozen and flushed, opened once more elsewhere."""
    log.freeze()
    log.roll()
    log.flush()
    shutil.copytree(log.directory, path)
    return LocalLog.open(str(path), clean=True, flush_policy="group")


def error_of(response) -> int:
    return response.responses[0].partition_responses[0].error_code


def records_of(response) -> bytes:
    return bytes(response.responses[0].partitions[0].records or b"")


def test_a_parked_fetch_gets_what_is_written_to_the_new_log(make_plane, tmp_path):
    found = make_plane(flush_policy="group")
    with found.client() as reader, found.client() as writer:
        writer.call(produce((0, batch(b"old")), acks=-1), 9)
        reader.send(fetch((0, 1), max_wait_ms=60_000), 12)
        until(lambda: found.plane.counters()["fetch_parked"] == 1)
        log = copy_of(found.logs[0], tmp_path / "copy")
        found.plane.replace_log("events", 0, log, found.flusher)
        found.logs.append(log)
        assert error_of(writer.call(produce((0, batch(b"new")), acks=-1), 9)) == NONE
        assert b"new" in records_of(reader.receive())
        assert b"old" in records_of(reader.call(fetch((0, 0)), 12))
    assert (found.logs[0].end_offset, log.end_offset) == (1, 2)


def test_a_frozen_log_is_read_and_refuses_writes_so_that_they_are_tried_again(make_plane):
    found = make_plane(flush_policy="group")
    with found.client() as client:
        client.call(produce((0, batch(b"kept")), acks=-1), 9)
        found.logs[0].freeze()
        refused = client.call(produce((0, batch(b"later")), (1, batch(b"neighbour")), acks=-1), 10)
        parts = {part.index: part for part in refused.responses[0].partition_responses}
        assert (parts[0].error_code, parts[1].error_code) == (NOT_LEADER_OR_FOLLOWER, NONE)
        assert (parts[0].current_leader.leader_id, parts[0].current_leader.leader_epoch) == (1, 0)
        assert b"kept" in records_of(client.call(fetch((0, 0)), 12))
        found.logs[0].thaw()
        assert error_of(client.call(produce((0, batch(b"later")), acks=-1), 9)) == NONE
    assert found.logs[0].end_offset == 2


def test_a_frozen_log_keeps_its_files(make_plane):
    log = make_plane().logs[0]
    for value in (b"a", b"b"):
        log.append(batch(value))
        log.roll()
    log.freeze()
    for change in (log.advance_start_offset, log.truncate_to, log.delete_segments_before):
        with pytest.raises(NotLeaderOrFollower):
            change(1)
    assert (log.start_offset, log.end_offset, log.segment_count) == (0, 2, 3)


def test_leadership_and_watching_go_on(make_plane, tmp_path):
    found = make_plane(flush_policy="group")
    found.plane.set_leadership("events", 0, leader=True, leader_epoch=7, leader_id=1)
    found.plane.watch("events", 0)
    log = copy_of(found.logs[0], tmp_path / "copy")
    found.plane.replace_log("events", 0, log, found.flusher)
    found.logs.append(log)
    while found.plane.take_moved():
        continue  # that the former one is gone
    found.plane.append("events", 0, batch(b"a"))
    assert moved(found.plane)[-1] == ("events", 0, 1)
    assert found.plane.partition_state("events", 0) == (0, 1, 1, 1, 7)


def test_a_partition_that_is_not_installed_has_no_log_to_replace(make_plane, tmp_path):
    found = make_plane()
    log = LocalLog.open(str(tmp_path / "other"))
    with pytest.raises(KeyError, match="nothing-0 is not installed"):
        found.plane.replace_log("nothing", 0, log, found.flusher)
    log.close()


def test_what_the_broker_writes_itself_while_logs_are_exchanged_is_written_or_to_be_tried_again(make_plane):
    found = make_plane()
    plane, pair = found.plane, found.logs[:2]
    interval = sys.getswitchinterval()
    refused: set[type[Exception]] = set()
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            try:
                plane.append("events", 0, batch(b"x"))
            except (PystreamError, KeyError) as error:
                refused.add(type(error))

    writers = [threading.Thread(target=write) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for writer in writers:
            writer.start()
        for number in range(20_000):
            plane.replace_log("events", 0, pair[number % 2], found.flusher)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for writer in writers:
            writer.join()
    assert refused <= {LogMoving}
