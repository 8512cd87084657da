"""What the control plane writes itself: appends, and word of high watermarks that moved."""

from __future__ import annotations

import select

import pytest

from pystream._native.local_log import LocalLog
from pystream.common.error_codes import INVALID_TOPIC_EXCEPTION, NONE
from pystream.common.errors import FencedLeaderEpoch, InvalidTxnState, LogMoving, NotLeaderOrFollower, PystreamError
from tests.unit.data_plane.conftest import PATIENCE_S, batch, until
from tests.unit.data_plane.requests import produce


def moved(plane) -> list[tuple[str, int, int]]:
    """What moved, once something has."""
    ready, _, _ = select.select([plane.moved_fileno()], [], [], PATIENCE_S)
    assert ready, "nothing moved"
    return plane.take_moved()


def test_batches_get_their_offsets_and_are_seen(plane):
    assert plane.plane.append("events", 0, batch(b"a", b"b") + batch(b"c")) == (0, 3)
    assert plane.plane.append("events", 0, batch(b"d")) == (3, 4)
    assert plane.plane.high_watermark("events", 0) == 4


def test_a_watched_partition_tells_when_its_high_watermark_moves(make_plane):
    found = make_plane(flush_policy="group")
    found.plane.watch("events", 0)
    found.plane.append("events", 0, batch(b"a", b"b"))
    found.plane.append("events", 1, batch(b"not watched"))
    assert moved(found.plane)[-1] == ("events", 0, 2)
    until(lambda: found.plane.high_watermark("events", 1) == 1)
    assert found.plane.take_moved() == []
    found.plane.append("events", 0, batch(b"c"))
    assert moved(found.plane)[-1] == ("events", 0, 3)


def test_what_is_not_watched_is_not_told_of(plane):
    plane.plane.append("events", 0, batch(b"a"))
    ready, _, _ = select.select([plane.plane.moved_fileno()], [], [], 0)
    assert not ready
    assert plane.plane.take_moved() == []


def test_word_of_several_moves_comes_once_with_the_last_one(plane):
    plane.plane.watch("events", 0)
    for _ in range(5):
        plane.logs[0].append(batch(b"a"))
        plane.plane.published("events", 0)
    assert moved(plane.plane) == [("events", 0, 5)]
    assert plane.plane.take_moved() == []


def test_an_append_does_not_tell_its_own_caller_what_is_seen_at_once(plane):
    plane.plane.watch("events", 0)
    plane.plane.append("events", 0, batch(b"a"))
    assert plane.plane.partition_state("events", 0)[1] == 1
    assert plane.plane.take_moved() == []


def test_who_does_not_lead_may_not_append(plane):
    plane.plane.set_leadership("events", 0, leader=False, leader_epoch=1, leader_id=2)
    with pytest.raises(NotLeaderOrFollower):
        plane.plane.append("events", 0, batch(b"a"))


def test_lost_leadership_is_told_of(plane):
    plane.plane.watch("events", 0)
    plane.plane.set_leadership("events", 0, leader=False, leader_epoch=1, leader_id=2)
    assert moved(plane.plane) == [("events", 0, 0)]


def test_an_older_leader_epoch_than_the_log_has_is_refused(plane):
    plane.plane.set_leadership("events", 0, leader=True, leader_epoch=7, leader_id=1)
    plane.plane.append("events", 0, batch(b"a"))
    plane.plane.set_leadership("events", 0, leader=True, leader_epoch=6, leader_id=1)
    with pytest.raises(FencedLeaderEpoch):
        plane.plane.append("events", 0, batch(b"b"))


def test_a_batch_that_its_producer_may_not_write_is_refused(plane):
    transaction = {"producer_id": 9, "producer_epoch": 0}
    plane.plane.append("events", 0, batch(b"a", transactional=True, **transaction))
    with pytest.raises(InvalidTxnState):
        plane.plane.append("events", 0, batch(b"b", base_sequence=0, **transaction))


def test_bytes_that_are_no_batch_are_refused(plane):
    damaged = bytearray(batch(b"a"))
    damaged[-1] ^= 1
    for wrong in (bytes(damaged), batch(b"a")[:-1]):
        with pytest.raises(PystreamError):
            plane.plane.append("events", 0, wrong)
    with pytest.raises(ValueError, match="nothing"):
        plane.plane.append("events", 0, b"")
    assert plane.plane.partition_state("events", 0)[3] == 0


def test_an_unknown_partition_is_a_key_error(plane):
    for call in (lambda: plane.plane.append("events", 9, batch(b"a")), lambda: plane.plane.watch("none", 0)):
        with pytest.raises(KeyError):
            call()


def test_a_batch_may_be_larger_than_clients_may_send(plane):
    assert plane.plane.append("events", 0, batch(bytes(2 << 20))) == (0, 1)


def test_nothing_is_appended_after_the_stop(make_plane):
    found = make_plane()
    found.plane.stop(0)
    with pytest.raises(NotLeaderOrFollower):
        found.plane.append("events", 0, batch(b"a"))


@pytest.mark.parametrize("topic", ["__consumer_offsets", "__transaction_state", "__share_group_state"])
def test_clients_do_not_write_to_the_topics_of_coordinators(plane, tmp_path, topic):
    log = LocalLog.open(str(tmp_path / topic), topic, flush_policy="os")
    plane.logs.append(log)
    plane.plane.add_partition(topic, bytes(range(1, 17)), 0, log, plane.flusher, leader_epoch=0)
    request = produce((0, batch(b"a")), topic=topic)
    with plane.client() as client:
        refused = client.call(request, 9)
        client.socket.sendall(client.frame(request, 9, client_id="__admin_client"))
        allowed = client.receive()
        client.socket.sendall(client.frame(request, 9, client_id="__admin_clienT"))
        refused_too = client.receive()
    codes = [answer.responses[0].partition_responses[0].error_code for answer in (refused, allowed, refused_too)]
    assert codes == [INVALID_TOPIC_EXCEPTION, NONE, INVALID_TOPIC_EXCEPTION]
    assert plane.plane.append(topic, 0, batch(b"own")) == (1, 2)


def test_a_log_that_is_being_replaced_is_told_from_one_that_others_lead(plane):
    plane.logs[0].freeze()
    with pytest.raises(LogMoving):
        plane.plane.append("events", 0, batch(b"a"))
    plane.logs[0].thaw()
    assert plane.plane.append("events", 0, batch(b"a")) == (0, 1)
