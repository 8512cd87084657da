"""Heartbeats are handed over a few at a time: nobody waits for their answers."""

from __future__ import annotations

import select

from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.list_groups import ListGroupsRequest
from tests.unit.data_plane.conftest import PATIENCE_S, until

ANSWER = bytes(4) + HeartbeatResponse().encode(0)


def readable(fd: int, timeout_s: float) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])


def taken(control) -> list[tuple[int, int, bytes, str]]:
    return control.receive(64)


def test_heartbeats_alone_ring_after_a_while_and_are_taken_together(plane):
    control = plane.plane.control
    with plane.client() as first, plane.client() as second:
        for client in (first, second):
            client.send(HeartbeatRequest(), 0)
        until(lambda: plane.plane.counters()["cold_requests"] == 2)
        assert readable(control.patient_fileno(), PATIENCE_S)
        assert not readable(control.fileno(), 0)
        assert len(taken(control)) == 2
        assert not readable(control.patient_fileno(), 0)


def test_a_heartbeat_that_comes_later_rings_again(plane):
    control = plane.plane.control
    with plane.client() as client:
        for _ in range(3):
            client.send(HeartbeatRequest(), 0)
            assert readable(control.patient_fileno(), PATIENCE_S)
            ((handle, _, frame, _),) = taken(control)
            control.answer(handle, frame[4:8] + ANSWER[4:])
            assert client.receive().error_code == 0


def test_any_other_request_rings_at_once_and_takes_the_heartbeats_along(plane):
    control = plane.plane.control
    with plane.client() as patient, plane.client() as other:
        patient.send(HeartbeatRequest(), 0)
        until(lambda: plane.plane.counters()["cold_requests"] == 1)
        other.send(ListGroupsRequest(), 0)
        assert readable(control.fileno(), PATIENCE_S)
        assert len(taken(control)) == 2
        patient_again, other_again = plane.client(), plane.client()
        with patient_again, other_again:
            other_again.send(ListGroupsRequest(), 0)
            assert readable(control.fileno(), PATIENCE_S)
            patient_again.send(HeartbeatRequest(), 0)
            until(lambda: plane.plane.counters()["cold_requests"] == 4)
            assert len(taken(control)) == 2


def test_what_is_left_in_the_queue_rings_again(plane):
    control = plane.plane.control
    clients = [plane.client() for _ in range(3)]
    for client in clients:
        client.send(HeartbeatRequest(), 0)
    until(lambda: plane.plane.counters()["cold_requests"] == 3)
    assert len(control.receive(2)) == 2
    assert readable(control.fileno(), PATIENCE_S)
    assert len(control.receive(2)) == 1
    for client in clients:
        client.socket.close()
