"""Random schedules of transactions: no reader under read_committed ever sees an aborted or a torn one.

PYSTREAM_TEST_FULL=1 runs 100,000 schedules; PYSTREAM_TRANSACTION_SEED=N one of them again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystream._native.local_log import LocalLog
from tests.model.transactions_world import PARTITIONS, World

FULL = os.environ.get("PYSTREAM_TEST_FULL") == "1"
PORTIONS = 4  # spread over processes where there are some
SCHEDULES = (100_000 if FULL else 400) // PORTIONS  # of each
STEPS = 120
IDS_OF_A_SCHEDULE = 100
SCHEDULES_OF_A_LOG = 2_000


def open_logs(directory: Path) -> list[LocalLog]:
    made = []
    for partition in range(PARTITIONS):
        path = directory / f"events-{partition}"
        path.mkdir(parents=True)
        made.append(LocalLog.open(str(path), path.name, flush_policy="os"))
    return made


def run_schedule(logs: list[LocalLog], seed: int) -> World:
    world = World(logs, seed, seed * IDS_OF_A_SCHEDULE)
    for step in range(STEPS):
        world.step()
        if step % 8 == 0:
            world.check_reader()
    world.settle()
    world.check_end()
    return world


@pytest.mark.timeout(3_600 if FULL else 120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_read_committed_sees_whole_committed_transactions_and_nothing_else(tmp_path: Path, portion: int) -> None:
    given = os.environ.get("PYSTREAM_TRANSACTION_SEED")
    seeds = [int(given)] if given else range(portion * SCHEDULES, (portion + 1) * SCHEDULES)
    logs: list[LocalLog] = []
    outcomes = {"committed": 0, "aborted": 0, "open": 0}
    crashes = 0
    for number, seed in enumerate(seeds):
        if number % SCHEDULES_OF_A_LOG == 0:
            for log in logs:
                log.close(clean=False)
            logs = open_logs(tmp_path / str(number))
        try:
            world = run_schedule(logs, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        crashes += world.crashes
        for truth in world.truths.values():
            outcomes[truth.outcome] += bool(truth.values)
    for log in logs:
        log.close(clean=False)
    if not given:  # the schedules are worth something only when much has happened in them
        assert outcomes["committed"] > SCHEDULES // 4
        assert outcomes["aborted"] > SCHEDULES // 2
        assert crashes > SCHEDULES // 10
