"""When to try again, and until when."""

from __future__ import annotations

import asyncio

import pytest

from pystream.client.cluster.retry import Backoff, Deadline, is_retriable, retrying
from pystream.common.clock import ManualClock
from pystream.common.errors import (
    ConnectFailed,
    DeadlineExceeded,
    Disconnected,
    InvalidTopic,
    LeaderNotAvailable,
    NoBrokersAvailable,
    PystreamError,
)


class HurriedClock(ManualClock):
    """Sleeping takes no time but moves the clock."""

    async def sleep_ms(self, duration_ms: int) -> None:
        self.advance(max(duration_ms, 0))


def attempts(*errors: PystreamError):
    """Work that fails with each error in turn, and then gives how often it was called."""
    calls = 0

    async def work() -> int:
        nonlocal calls
        calls += 1
        if calls <= len(errors):
            raise errors[calls - 1]
        return calls

    return work


def retry(work, *, timeout_ms: int = 10_000, **options):
    clock = HurriedClock()
    deadline = Deadline(clock, timeout_ms, "the work")
    return asyncio.run(retrying(work, deadline=deadline, backoff=Backoff(100, 1_000), clock=clock, **options))


def test_waits_double_up_to_the_longest_and_vary_by_a_fifth():
    backoff = Backoff(100, 1_000)
    for failures, middle in ((1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (500, 1_000)):
        waits = {backoff.delay_ms(failures) for _ in range(200)}
        assert min(waits) >= 0.8 * middle
        assert max(waits) <= 1.2 * middle
        assert len(waits) > 10


@pytest.mark.parametrize("error", [LeaderNotAvailable(), Disconnected(), ConnectFailed(), NoBrokersAvailable()])
def test_errors_that_pass_are_retriable(error: PystreamError):
    assert is_retriable(error)
    assert retry(attempts(error, error)) == 3


def test_an_error_that_stays_is_raised_at_once():
    assert not is_retriable(InvalidTopic())
    with pytest.raises(InvalidTopic):
        retry(attempts(InvalidTopic("bad name")))


def test_the_deadline_ends_the_retries_and_keeps_the_last_error():
    with pytest.raises(
        DeadlineExceeded, match=r"the work: not done within 500 ms; the last error was: nobody leads"
    ) as raised:
        retry(attempts(*[LeaderNotAvailable("nobody leads")] * 50), timeout_ms=500)
    assert isinstance(raised.value.last_error, LeaderNotAvailable)


def test_the_number_of_retries_may_be_bounded():
    with pytest.raises(LeaderNotAvailable):
        retry(attempts(*[LeaderNotAvailable()] * 3), retries=2)
    assert retry(attempts(*[LeaderNotAvailable()] * 3), retries=3) == 4


def test_what_an_error_shows_to_be_stale_is_mended_before_the_next_attempt():
    mended: list[Exception] = []

    async def mend(error: Exception) -> None:
        mended.append(error)

    error = LeaderNotAvailable()
    retry(attempts(error, error), after_error=mend)
    assert mended == [error, error]


def test_a_deadline_gives_no_more_than_is_left():
    clock = ManualClock()
    deadline = Deadline(clock, 1_000, "it")
    clock.advance(400)
    assert (deadline.left_ms, deadline.at_most(500), deadline.at_most(5_000)) == (600, 500, 600)
    clock.advance(4_000)
    assert (deadline.left_ms, deadline.at_most(500)) == (0, 0)
