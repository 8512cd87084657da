"""Compaction of transactions against what was committed: a read_committed reader finds the last value of every key.

PYSTREAM_TEST_FULL=1 runs 5,000 schedules; PYSTREAM_COMPACTION_SEED=N one of them again.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pystream._native.batch import parse_headers
from pystream._native.local_log import LocalLog
from pystream._native.record_reader import RecordReader
from pystream.common.errors import LimitExceeded
from tests.support.compaction import ABORT, COMMIT, NOW_MS, append, batch, clean, marker, stored

FULL = os.environ.get("PYSTREAM_TEST_FULL") == "1"
SEED = os.environ.get("PYSTREAM_COMPACTION_SEED")
SCHEDULES = 5_000 if FULL else 150
PRODUCERS = (1, 2, 3)
RETENTION_MS = 1_000
OPTIONS = {"index_interval_bytes": 200, "segment_ms": 1 << 40, "compacted": True, "clean": True}


class Written(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None


class World:
    """A log, and the list of what is committed in it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.segment_bytes = self.random.choice([600, 1_500, 5_000])
        self.log = self.opened()
        self.now_ms = NOW_MS
        self.cleaned_to = 0
        self.committed: list[Written] = []
        self.sequences = dict.fromkeys(PRODUCERS, 0)
        self.undecided: dict[int, list[Written]] = {producer_id: [] for producer_id in PRODUCERS}

    def opened(self) -> LocalLog:
        return LocalLog.open(str(self.directory), segment_bytes=self.segment_bytes, **OPTIONS)

    def records(self) -> list[tuple[bytes, bytes | None]]:
        count = self.random.randrange(1, 4)
        return [
            (b"k%d" % self.random.randrange(5), self.random.choice([None, b"v%d" % self.random.randrange(99)]))
            for _ in range(count)
        ]

    def write(self) -> None:
        records = self.records()
        (base,) = append(self.log, batch(records, timestamp=self.now_ms))
        self.committed += [Written(base + number, *record) for number, record in enumerate(records)]

    def write_in_transaction(self) -> None:
        producer_id, records = self.random.choice(PRODUCERS), self.records()
        sequence = self.sequences[producer_id]
        sent = batch(records, timestamp=self.now_ms, producer_id=producer_id, sequence=sequence, transactional=True)
        (base,) = append(self.log, sent)
        self.sequences[producer_id] += len(records)
        self.undecided[producer_id] += [Written(base + number, *record) for number, record in enumerate(records)]

    def decide(self, producer_id: int) -> None:
        if not self.undecided[producer_id]:
            return
        kind = self.random.choice([ABORT, COMMIT])
        append(self.log, marker(producer_id, kind, timestamp=self.now_ms))
        if kind == COMMIT:
            self.committed += self.undecided[producer_id]
        self.undecided[producer_id] = []

    def decide_one(self) -> None:
        self.decide(self.random.choice(PRODUCERS))

    def decide_all(self) -> None:
        for producer_id in PRODUCERS:
            self.decide(producer_id)

    def roll(self) -> None:
        self.log.roll()

    def let_time_pass(self) -> None:
        self.now_ms += self.random.choice([1, 500, 1_500, 5_000])

    def restart(self) -> None:
        self.log.close()
        self.log = self.opened()

    def compact(self) -> None:
        if self.random.random() < 0.8:
            self.decide_all()
        if self.random.random() < 0.8:
            self.log.roll()
        undecided = self.log.first_undecided_offset
        bound = self.log.end_offset if undecided is None else undecided
        if bound <= self.cleaned_to:
            return
        try:
            self.cleaned_to = clean(
                self.log,
                first_dirty_offset=self.cleaned_to,
                bound=bound,
                now_ms=self.now_ms,
                delete_retention_ms=RETENTION_MS,
                map_bytes=24 * self.random.choice([4, 8, 100]),
            ).end_offset
        except LimitExceeded:
            return  # one batch has more keys than the map has room for

    def step(self) -> None:
        deeds = {
            self.write: 25,
            self.write_in_transaction: 30,
            self.decide_one: 20,
            self.roll: 10,
            self.let_time_pass: 12,
            self.restart: 3,
            self.compact: 18,
        }
        (deed,) = self.random.choices(list(deeds), list(deeds.values()))
        deed()

    def expected(self) -> dict[bytes, Written]:
        last = {written.key: written for written in sorted(self.committed)}
        return {key: written for key, written in last.items() if written.value is not None}


def committed_records(log: LocalLog) -> Iterator[Written]:
    """As a read_committed client reads: an aborted transaction ends with its producer's abort marker."""
    data = stored(log)
    listed = log.aborted_transactions(offset=log.start_offset, limit_offset=log.end_offset)
    begin_at = sorted((first_offset, producer_id) for producer_id, first_offset in listed)
    aborting: set[int] = set()
    position = 0
    for header in parse_headers(data):
        raw = data[position : position + header.size]
        position += header.size
        while begin_at and begin_at[0][0] < header.next_offset:
            aborting.add(begin_at.pop(0)[1])
        if header.is_control:
            for record in RecordReader(raw, include_control=True):
                if struct.unpack(">hh", record.key) == (0, ABORT):
                    aborting.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in aborting):
            for record in RecordReader(raw):
                yield Written(record.offset, record.key, record.value)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is some to be had: nothing here is about what an fsync makes durable."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        with tempfile.TemporaryDirectory(dir=memory, prefix="compaction-") as path:
            yield Path(path)
    else:
        yield tmp_path


@pytest.mark.timeout(3_600 if FULL else 120)
def test_whatever_is_compacted_the_last_committed_value_of_each_key_is_read(scratch: Path) -> None:
    for seed in [int(SEED)] if SEED else range(SCHEDULES):
        world = World(scratch / str(seed), seed)
        for _ in range(world.random.randrange(40, 160)):
            world.step()
        world.decide_all()
        last = {written.key: written for written in committed_records(world.log)}
        found = {key: written for key, written in last.items() if written.value is not None}
        assert found == world.expected(), f"PYSTREAM_COMPACTION_SEED={seed}"
        world.log.close(clean=False)
        shutil.rmtree(scratch / str(seed))
