"""Quotas of clients in the data plane: who is told to wait, and whose connection waits."""

from __future__ import annotations

import time

import pytest

from pystream._native.data_plane import DataPlane
from tests.unit.data_plane.conftest import PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, produce

NOBODY = (None, (0, 0, 0), (False, False, False))
EACH, SHARED = (False, False, False), (True, True, True)
LARGE = bytes(20_000)


def throttle_of_produce(plane: PlaneUnderTest, client_id: str = "raw") -> int:
    with plane.client() as client:
        client.socket.sendall(client.frame(produce((0, batch(LARGE))), 9, client_id))
        return int(client.receive().throttle_time_ms)


def test_without_rules_nobody_is_throttled(plane: PlaneUnderTest) -> None:
    assert throttle_of_produce(plane) == 0


def test_a_producer_above_its_rate_is_told_and_then_waits(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([NOBODY, ("raw", (10_000, 0, 0), EACH)], 1_000)
    with plane.client() as client:
        first = client.call(produce((0, batch(LARGE))), 9)
        began = time.monotonic()
        client.call(produce((0, batch(b"next"))), 9)
        waited_ms = (time.monotonic() - began) * 1_000
    assert 900 <= first.throttle_time_ms <= 1_200
    assert waited_ms >= first.throttle_time_ms - 50
    assert plane.plane.counters()["throttled_ms"] >= first.throttle_time_ms


def test_what_was_within_the_window_costs_nothing(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (10_000, 0, 0), EACH)], 10_000)
    assert throttle_of_produce(plane) == 0


def test_a_consumer_above_its_rate_is_told_and_its_records_come(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.call(produce((0, batch(LARGE))), 9)
    plane.plane.set_client_quotas([(None, (0, 10_000, 0), EACH)], 1_000)
    with plane.client() as client:
        answer = client.call(fetch((0, 0)), 12)
    assert len(answer.responses[0].partitions[0].records) > 20_000
    assert 900 <= answer.throttle_time_ms <= 1_200


def test_clients_are_bounded_each_by_himself_or_all_together(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (25_000, 0, 0), EACH)], 1_000)
    assert [throttle_of_produce(plane, name) for name in ("a", "b", "c")] == [0, 0, 0]
    plane.plane.set_client_quotas([(None, (25_000, 0, 0), SHARED)], 1_000)
    apart = [throttle_of_produce(plane, name) for name in ("a", "b", "c")]
    assert apart[0] == 0
    assert 0 < apart[1] < apart[2]


def test_request_time_is_bounded_too(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (0, 0, 1), EACH)], 0)
    with plane.client() as client:
        answers = [client.call(fetch((0, 0)), 12) for _ in range(2)]
    assert answers[0].throttle_time_ms > 0


def test_a_change_of_rules_reaches_connections_that_are_open(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (1, 0, 0), EACH)], 3_600_000_000)
    with plane.client() as client:
        assert client.call(produce((0, batch(LARGE))), 9).throttle_time_ms == 0
        plane.plane.set_client_quotas([], 1_000)
        assert client.call(produce((0, batch(LARGE))), 9).throttle_time_ms == 0
        plane.plane.set_client_quotas([(None, (20_000, 0, 0), EACH)], 0)
        assert client.call(produce((0, batch(LARGE))), 9).throttle_time_ms > 0


def test_an_answer_of_the_control_plane_makes_its_connection_wait() -> None:
    plane = DataPlane(node_id=1)
    plane.set_client_quotas([(None, (0, 0, 1_000), EACH)], 0)

    assert plane.charge_request("admin", 2_000, 0) == 2_000
    assert plane.charge_request("admin", 1_000, 2_000) == 1_000
    assert plane.charge_request("other", 1, 10_000) in (0, 1)
    plane.set_client_quotas([], 0)
    assert plane.charge_request("admin", 1_000_000, 3_000) == 0


def test_many_clients_come_and_go(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (1 << 30, 0, 0), EACH), ("named", (1 << 20, 0, 0), EACH)], 1_000)
    for number in range(70_000):
        plane.plane.charge_request(f"client-{number}", 1, number)
    assert throttle_of_produce(plane, "named") == 0
    until(lambda: plane.plane.counters()["connections"] == 0)


@pytest.mark.parametrize("rules", [[("a", (1, 1, 1), EACH)], [NOBODY, NOBODY]])
def test_rules_without_one_for_all_others_are_refused(rules: list) -> None:
    with pytest.raises(ValueError, match="comes first"):
        DataPlane(node_id=1).set_client_quotas(rules, 1_000)


def test_a_debt_does_not_outlive_the_rate_that_it_was_made_at(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([NOBODY, ("raw", (1, 0, 0), EACH)], 1_000)
    assert throttle_of_produce(plane) > 0
    plane.plane.set_client_quotas([NOBODY, ("raw", (1 << 30, 0, 0), EACH)], 1_000)
    assert throttle_of_produce(plane) == 0
