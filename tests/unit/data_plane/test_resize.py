"""Event loops added and retired while clients are connected (num.network.threads, KIP-226)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from pystream._native.data_plane import DataPlane
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from tests.unit.data_plane.conftest import PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, produce


def loops_of(plane: PlaneUnderTest, clients: int) -> set[int]:
    """The loops that so many new connections were handed to, by their number in the handles of cold requests."""
    found = set()
    with contextlib.ExitStack() as opened:
        for _ in range(clients):
            client = opened.enter_context(plane.client())
            client.send(ApiVersionsRequest(), 0)
            taken: list = []
            until(lambda: bool(taken.extend(plane.plane.control.receive()) or taken))  # noqa: B023
            found.add(taken[0][0] >> 56)
            plane.plane.control.no_answer(taken[0][0])
    return found


def test_new_connections_go_to_loops_that_were_added_and_leave_those_that_were_retired(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    plane = make_plane(loops=1)
    assert len(loops_of(plane, 4)) == 1
    plane.plane.resize(3)
    assert len(loops_of(plane, 9)) == 3
    plane.plane.resize(2)
    assert len(loops_of(plane, 9)) == 2
    plane.plane.resize(63)
    assert len(loops_of(plane, 63)) == 63


def test_connections_outlive_the_retirement_of_their_loop(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(loops=4)
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(plane.client()) for _ in range(8)]
        parked = [opened.enter_context(plane.client()) for _ in range(4)]
        for client in clients:
            assert client.call(produce((0, batch(b"before"))), 9).responses[0].partition_responses[0].error_code == 0
        for client in parked:
            client.send(fetch((1, 0), max_wait_ms=60_000), 12)
        until(lambda: plane.plane.counters()["parked_requests"] == 4)
        plane.plane.resize(1)
        for client in clients:
            assert client.call(produce((0, batch(b"after"))), 9).responses[0].partition_responses[0].error_code == 0
        clients[0].call(produce((1, batch(b"wakes all"))), 9)
        assert [len(client.receive().responses[0].partitions[0].records) > 0 for client in parked] == [True] * 4
        assert plane.plane.counters()["connections"] == 12
    assert plane.logs[0].end_offset == 16


def test_a_fetch_on_a_loop_that_was_added_is_woken_by_an_append_on_another(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    plane = make_plane(loops=1)
    plane.plane.resize(2)
    with contextlib.ExitStack() as opened:
        parked = [opened.enter_context(plane.client()) for _ in range(2)]
        for client in parked:
            client.send(fetch((0, 0), max_wait_ms=60_000), 12)
        until(lambda: plane.plane.counters()["parked_requests"] == 2)
        opened.enter_context(plane.client()).call(produce((0, batch(b"x"))), 9)
        assert all(len(client.receive().responses[0].partitions[0].records) > 0 for client in parked)


def test_the_control_plane_still_hears_of_what_moved(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(loops=1)
    plane.plane.watch("events", 0)
    plane.plane.resize(4)
    with plane.client() as client:
        client.call(produce((0, batch(b"x"))), 9)
    moved: list = []
    until(lambda: bool(moved.extend(plane.plane.take_moved() or []) or moved))
    assert moved == [("events", 0, 1)]


def test_a_plane_is_resized_before_its_start_and_not_after_its_end(make_plane: Callable[..., PlaneUnderTest]) -> None:
    early = DataPlane(node_id=1, event_loops=1)
    early.resize(2)
    early.stop(0)
    early.resize(3)
    plane = make_plane(loops=2)
    for count in (0, 64):
        with pytest.raises(ValueError, match="expected 1 to 63"):
            plane.plane.resize(count)
