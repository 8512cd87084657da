"""Classic groups and offsets on random schedules: 300 by default, 100,000 with --full. A failure names its seed."""

from __future__ import annotations

import os

import pytest

from tests.model.group_model import Schedule

STEPS = 60
PORTIONS = 20  # spread over processes where there are some


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_groups_and_offsets_keep_their_promises_on_random_schedules(full: bool, portion: int) -> None:
    schedules = (100_000 if full else 300) // PORTIONS
    first = int.from_bytes(os.urandom(4))
    for seed in range(first, first + schedules):
        try:
            Schedule(seed).run(STEPS)
        except Exception as error:
            error.add_note(f"portion {portion}: Schedule({seed}).run({STEPS})")
            raise
