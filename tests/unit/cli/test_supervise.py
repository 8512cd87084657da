"""How often, and after how long, a child is started again."""

from __future__ import annotations

from pystream.cli.supervise import RestartPolicy


def test_each_restart_waits_twice_as_long():
    policy = RestartPolicy(most_restarts=4)

    assert [policy.delay_after_death(now) for now in (0, 1, 2, 3)] == [0.5, 1.0, 2.0, 4.0]


def test_a_child_that_dies_too_often_is_given_up():
    policy = RestartPolicy(most_restarts=2, window_seconds=60)

    assert [policy.delay_after_death(now) for now in (0, 1, 2)] == [0.5, 1.0, None]


def test_deaths_of_long_ago_are_forgiven():
    policy = RestartPolicy(most_restarts=2, window_seconds=60)
    policy.delay_after_death(0)
    policy.delay_after_death(1)

    assert policy.delay_after_death(100) == 0.5
