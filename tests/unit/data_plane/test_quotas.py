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
        began = time.monotonic()
        first = client.call(produce((0, batch(LARGE))), 9)
        client.call(produce((0, batch(b"next"))), 9)
        waited_ms = (time.monotonic() - began) * 1_000
    assert 900 <= first.throttle_time_ms <= 1_200
    assert waited_ms >= first.throttle_time_ms - 50
    assert plane.plane.counters()["throttled_ms"] >= first.throttle_time_ms


def test_what_was_within_the_window_costs_nothing(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (10_000, 0, 0), EACH)], 10_000)
    assert throttle_of_produce(plane) == 0


@pytest.fixture
def filled(plane: PlaneUnderTest) -> PlaneUnderTest:
    """Two batches of 20 kB, and who fetches may have 4 kB a second over a window of six."""
    with plane.client() as client:
        for _ in range(2):
            client.call(produce((0, batch(LARGE))), 9)
    plane.plane.set_client_quotas([(None, (0, 4_000, 0), EACH)], 6_000)
    return plane


def test_a_consumer_above_its_rate_gets_nothing_waits_and_then_gets_its_records(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        began = time.monotonic()
        first = client.call(fetch((0, 0), session=(0, -1)), 12)
        throttled = client.call(fetch((0, 1), session=(0, -1)), 12)
        passed_ms = (time.monotonic() - began) * 1_000
        after = client.call(fetch((0, 1), session=(0, -1)), 12)
        waited_ms = (time.monotonic() - began) * 1_000
    assert (first.throttle_time_ms, len(first.responses[0].partitions[0].records)) == (0, len(batch(LARGE)))
    assert (throttled.error_code, throttled.responses) == (0, [])
    # 40 kB at 4 kB a second are 10 s, 4 s more than the window, less what had passed since the first
    assert 4_000 - passed_ms <= throttled.throttle_time_ms <= 4_100
    assert waited_ms >= throttled.throttle_time_ms - 50
    assert (after.throttle_time_ms, len(after.responses[0].partitions[0].records)) == (0, len(batch(LARGE)))


def test_a_throttled_fetch_keeps_its_session(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        opened = client.call(fetch((0, 0), session=(0, 0)), 12)
        throttled = client.call(fetch((0, 1), session=(opened.session_id, 1)), 12)
        after = client.call(fetch(session=(opened.session_id, 2)), 12)
    assert opened.session_id != 0
    assert (throttled.throttle_time_ms > 0, throttled.responses) == (True, [])
    assert throttled.session_id == opened.session_id
    assert (after.error_code, len(after.responses[0].partitions[0].records)) == (0, len(batch(LARGE)))


def test_a_throttled_fetch_opens_no_session(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        client.call(fetch((0, 0)), 12)
        throttled = client.call(fetch((0, 1), session=(0, 0)), 12)
    assert (throttled.throttle_time_ms > 0, throttled.responses, throttled.session_id) == (True, [], 0)
    assert filled.plane.counters()["fetch_sessions"] == 0


def test_one_fetch_never_asks_for_more_than_the_window_lets_through(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        answer = client.call(fetch((0, 0), min_bytes=1 << 20, max_wait_ms=60_000), 12)
    assert (answer.throttle_time_ms, len(answer.responses[0].partitions[0].records)) == (0, len(batch(LARGE)))


def test_a_batch_larger_than_the_window_comes_when_nothing_is_owed(filled: PlaneUnderTest) -> None:
    filled.plane.set_client_quotas([(None, (0, 1_000, 0), EACH)], 1_000)
    with filled.client() as client:
        answers = [client.call(fetch((0, 0)), 12) for _ in range(2)]
    assert len(answers[0].responses[0].partitions[0].records) == len(batch(LARGE))
    assert (answers[1].throttle_time_ms > 0, answers[1].responses) == (True, [])


def test_clients_are_bounded_each_by_himself_or_all_together(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (2_500, 0, 0), EACH)], 10_000)
    assert [throttle_of_produce(plane, name) for name in ("a", "b", "c")] == [0, 0, 0]
    plane.plane.set_client_quotas([(None, (2_500, 0, 0), SHARED)], 10_000)
    apart = [throttle_of_produce(plane, name) for name in ("a", "b", "c")]
    assert apart[0] == 0
    assert 0 < apart[1] < apart[2]


def test_request_time_is_bounded_too(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (0, 0, 1), EACH)], 0)
    with plane.client() as client:
        answers = [client.call(fetch((0, 0)), 12) for _ in range(2)]
    assert (answers[0].throttle_time_ms, len(answers[0].responses)) == (0, 1)  # what it took counts against the next
    assert answers[1].throttle_time_ms > 0
    assert answers[1].responses == []


def test_nobody_waits_longer_for_request_time_than_the_longest_wait(plane: PlaneUnderTest) -> None:
    plane.plane.set_client_quotas([(None, (0, 0, 1), EACH)], 0, longest_time_wait_ms=2)
    plane.plane.charge_request("raw", 1_000_000_000_000, 0)
    with plane.client() as client:
        assert client.call(fetch((0, 0)), 12).throttle_time_ms == 2
        assert client.call(produce((0, batch(b"x"))), 9).throttle_time_ms == 2
    assert plane.plane.charge_request("raw", 1, 0) == 2


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
