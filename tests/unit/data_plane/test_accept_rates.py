"""How fast connections may come: of an address, of a listener, of all; over real sockets (KIP-402, KIP-612)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from pystream._native.data_plane import DataPlane
from tests.support.raw_client import RawClient
from tests.unit.data_plane.conftest import PlaneUnderTest, until
from tests.unit.data_plane.requests import list_offsets

HERE, ELSEWHERE, LOCAL_6 = b"\x7f\0\0\1", b"\x7f\0\0\2", bytes(15) + b"\1"
HOUR_MS = 3_600_000
MANY = 100


def bound(plane: PlaneUnderTest, *named: tuple[bytes, int], default: int = 0, longest_wait_ms: int = 300) -> None:
    plane.plane.bound_addresses(list(named), default_rate=default, window_ms=1_000, longest_wait_ms=longest_wait_ms)


def answers(client: RawClient) -> bool:
    """False when the connection is closed instead."""
    try:
        client.call(list_offsets((0, -1)), 7)
    except (ConnectionError, OSError):
        return False
    return True


def connected(plane: PlaneUnderTest, count: int) -> list[bool]:
    """Which of so many connections, opened one after another, are served."""
    with contextlib.ExitStack() as opened:
        return [answers(opened.enter_context(plane.client())) for _ in range(count)]


def served_at_first(plane: PlaneUnderTest) -> int:
    """How many are served before one is not; on a slow machine more than the window holds, since a rate goes on."""
    with contextlib.ExitStack() as opened:
        for count in range(MANY):
            if not answers(opened.enter_context(plane.client())):
                return count
    raise AssertionError(f"{MANY} connections were served")


def test_an_address_above_its_rate_is_held_and_then_closed(plane: PlaneUnderTest) -> None:
    bound(plane, (HERE, 1), longest_wait_ms=300)
    began = time.monotonic()
    first = plane.client()
    with first, plane.client() as second:
        assert answers(first)
        assert not answers(second)
        held_ms = (time.monotonic() - began) * 1_000
        assert answers(first)  # who is in stays in
    assert held_ms >= 250
    assert plane.plane.counters()["connections_throttled"] == 1


def test_after_the_wait_the_address_is_let_in_again(plane: PlaneUnderTest) -> None:
    bound(plane, (HERE, 2), longest_wait_ms=1_000)
    assert served_at_first(plane) >= 2
    assert connected(plane, 1) == [True]  # it was held for as long as the rate asks for


@pytest.mark.parametrize(
    ("named", "default"),
    [([(ELSEWHERE, 1), (LOCAL_6, 1)], 0), ([(HERE, 2**31 - 1)], 1)],
    ids=["others", "named before default"],
)
def test_a_rate_spares_whom_it_does_not_name(plane, named, default) -> None:
    bound(plane, *named, default=default)
    assert all(connected(plane, 10))


def test_the_default_bounds_all_who_are_not_named(plane: PlaneUnderTest) -> None:
    bound(plane, (ELSEWHERE, 2**31 - 1), default=1)
    assert served_at_first(plane) >= 1


def test_rates_change_while_connections_come(plane: PlaneUnderTest) -> None:
    bound(plane, default=1)
    assert served_at_first(plane) >= 1
    bound(plane)
    assert connected(plane, 3) == [True, True, True]


def bound_listeners(plane: PlaneUnderTest, broker: int, *listeners: int, longest_wait_ms: int = 400) -> None:
    plane.plane.bound_listeners(broker, list(listeners), window_ms=1_000, longest_wait_ms=longest_wait_ms)


@pytest.mark.parametrize("rates", [(2,), (0, 2)], ids=["broker", "listener"])
def test_a_listener_above_its_rate_accepts_later_and_closes_nobody(plane: PlaneUnderTest, rates) -> None:
    bound_listeners(plane, *rates)
    while plane.plane.counters()["accepts_delayed"] < 2:  # with the first four, where they come quickly
        assert connected(plane, 4) == [True, True, True, True]
    bound_listeners(plane, 0, 0)
    before = plane.plane.counters()["accepts_delayed"]
    assert connected(plane, 6) == [True] * 6
    assert plane.plane.counters()["accepts_delayed"] == before


def test_an_address_that_is_refused_costs_others_nothing(plane: PlaneUnderTest) -> None:
    bound_listeners(plane, 3)
    bound(plane, (HERE, 1), longest_wait_ms=1)
    served = connected(plane, 8)  # one a second
    assert served[0]
    assert False in served
    assert plane.plane.counters()["accepts_delayed"] == 0


def test_a_plane_stops_while_connections_are_held(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane()
    bound(plane, (HERE, 1), longest_wait_ms=HOUR_MS)
    with plane.client() as first, plane.client() as second:
        assert answers(first)
        until(lambda: plane.plane.counters()["connections_throttled"] == 1)
        plane.plane.stop(0)
        assert second.is_closed_by_peer()


def test_more_addresses_than_are_remembered_are_bounded_still() -> None:
    named = [(number.to_bytes(4, "big"), 1) for number in range(5_000)]
    DataPlane(node_id=1).bound_addresses(named, default_rate=1, window_ms=1_000, longest_wait_ms=1_000)
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        DataPlane(node_id=1).bound_addresses([(b"abc", 1)], default_rate=0, window_ms=1, longest_wait_ms=1)
