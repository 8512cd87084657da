"""Classic groups and offsets on random schedules: 300 by default, 100,000 with --full. A failure names its seed."""

from __future__ import annotations

import os

import pytest

from tests.model.group_model import Schedule
from tests.support.schedules import PORTIONS, play_portion

SCHEDULES, FULL_SCHEDULES = 300, 100_000
STEPS = 60
FIRST_SEED = int.from_bytes(os.urandom(4))


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_groups_and_offsets_keep_their_promises_on_random_schedules(full: bool, portion: int) -> None:
    schedules = FULL_SCHEDULES if full else SCHEDULES
    play_portion(lambda seed: Schedule(seed).run(STEPS), portion, schedules, first=FIRST_SEED)
