"""The native log against a list of batches: append, roll, flush, truncate, delete, crash and reopen in any order."""

from __future__ import annotations

import shutil
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder

OPTIONS = {"segment_bytes": 2_000, "index_interval_bytes": 200, "segment_ms": 10_000}


class Model(NamedTuple):
    """One batch as it must come back."""

    base_offset: int
    last_offset: int
    leader_epoch: int
    size: int
    timestamps: list[int]


def build(count: int, size: int, timestamp: int) -> bytes:
    builder = RecordBatchBuilder()
    for number in range(count):
        builder.append(bytes(size), timestamp=timestamp + number)
    return builder.build()


def parse(data: bytes) -> list[tuple[int, int, int, int]]:
    """(base offset, last offset, leader epoch, size) of every batch in `data`."""
    found = []
    position = 0
    while position < len(data):
        base, length, epoch = struct.unpack_from(">qii", data, position)
        delta = struct.unpack_from(">i", data, position + 23)[0]
        found.append((base, base + delta, epoch, length + 12))
        position += length + 12
    assert position == len(data)
    return found


class LogMachine(RuleBasedStateMachine):
    """Every answer of the log is what the list says."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="log-model-"))
        self.batches: list[Model] = []
        self.start = 0
        self.end = 0
        self.epoch = 0

    @initialize()
    def open(self) -> None:
        self.log = LocalLog.open(str(self.scratch), "t-0", **OPTIONS)

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close(clean=False)
        shutil.rmtree(self.scratch)

    @rule(
        shapes=st.lists(
            st.tuples(st.integers(1, 5), st.integers(0, 300), st.integers(0, 50_000)), min_size=1, max_size=6
        ),
        next_epoch=st.booleans(),
    )
    def append(self, shapes: list[tuple[int, int, int]], next_epoch: bool) -> None:
        self.epoch += next_epoch
        built = [build(*shape) for shape in shapes]
        answers = self.log.append(b"".join(built), leader_epoch=self.epoch, now_ms=0)
        for (count, _, timestamp), data, answer in zip(shapes, built, answers, strict=True):
            assert answer == (0, self.end, -1)
            times = list(range(timestamp, timestamp + count))
            self.batches.append(Model(self.end, self.end + count - 1, self.epoch, len(data), times))
            self.end += count

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @rule()
    def flush(self) -> None:
        self.log.flush()
        assert self.log.durable_offset == self.end

    @rule(part=st.floats(0, 1))
    def truncate(self, part: float) -> None:
        offset = self.start + int(part * (self.end - self.start))
        kept = [batch for batch in self.batches if batch.last_offset < offset]
        if offset < self.end and kept != self.batches and self._start_is_at_a_batch(offset):
            self.log.truncate_to(offset)
            self.batches = kept
            self.end = kept[-1].last_offset + 1 if kept else self.log.end_offset
            assert self.log.end_offset == self.end
            self.epoch = max(self.log.latest_leader_epoch, 0)

    def _start_is_at_a_batch(self, offset: int) -> bool:
        """A cut inside the batch that the start offset lies in would put the end below the start."""
        return not any(batch.base_offset < self.start <= batch.last_offset >= offset for batch in self.batches)

    @rule(part=st.floats(0, 1))
    def delete(self, part: float) -> None:
        offset = self.start + int(part * (self.end - self.start))
        self.log.advance_start_offset(offset)
        self.log.delete_segments_before(offset)
        self.start = max(self.start, offset, self.log.start_offset)
        assert self.log.start_offset == self.start
        self.batches = [batch for batch in self.batches if batch.last_offset >= self.start]

    @rule(clean=st.booleans(), checkpoint=st.booleans())
    def reopen(self, clean: bool, checkpoint: bool) -> None:
        """A process crash, when not clean: nothing is lost, flushed or not."""
        point = self.log.recovery_point if checkpoint else 0
        self.log.close(clean=clean)
        self.log = LocalLog.open(
            str(self.scratch), "t-0", **OPTIONS, clean=clean, recovery_point=point, log_start_offset=self.start
        )
        assert (self.log.recovery["verdicts"], self.log.recovery["clean_refuted"]) == ([], False)

    @precondition(lambda self: self.batches)
    @rule(size=st.integers(1, 400), checkpoint=st.booleans())
    def crash_in_a_write(self, size: int, checkpoint: bool) -> None:
        """A kill in the middle of a write leaves a torn tail, which goes."""
        point = self.log.recovery_point if checkpoint else 0
        base = self.log.segments()[-1][0]
        self.log.close(clean=False)
        torn = bytearray(build(3, 400, 5))
        struct.pack_into(">q", torn, 0, self.end)
        with (self.scratch / "t-0" / f"{base:020d}.log").open("ab") as file:
            file.write(torn[:size])
        self.log = LocalLog.open(str(self.scratch), "t-0", **OPTIONS, recovery_point=point, log_start_offset=self.start)
        assert self.log.recovery["cut_bytes"] == size
        assert not self.log.is_offline

    @precondition(lambda self: self.batches)
    @rule(part=st.floats(0, 1), max_bytes=st.integers(1, 3_000), ahead=st.integers(0, 20), first=st.booleans())
    def read(self, part: float, max_bytes: int, ahead: int, first: bool) -> None:
        offset = self.start + int(part * (self.end - self.start))
        limit = offset + ahead
        data = self.log.read(offset=offset, max_bytes=max_bytes, limit_offset=limit, at_least_one=first)
        _, size, _, following = self.log.read_range(
            offset=offset, max_bytes=max_bytes, limit_offset=limit, at_least_one=first
        )
        found = parse(data)
        expected = [batch[:4] for batch in self.batches if batch.last_offset >= offset and batch.last_offset < limit]
        assert found == expected[: len(found)]
        assert (size, following) == (len(data), found[-1][1] + 1 if found else offset)
        assert len(data) <= max_bytes or (first and len(found) == 1)
        if expected and not found:
            assert not first
            assert expected[0][3] > max_bytes
        if found and len(found) < len(expected):
            # It stops for max_bytes, or at the end of a segment.
            bases = {segment[0] for segment in self.log.segments()}
            assert len(data) + expected[len(found)][3] > max_bytes or following in bases

    @rule(timestamp=st.integers(0, 60_000))
    def find_by_time(self, timestamp: int) -> None:
        expected = [
            (time, batch.base_offset + delta, batch.leader_epoch)
            for batch in self.batches
            for delta, time in enumerate(batch.timestamps)
            if time >= timestamp and batch.base_offset + delta >= self.start
        ]
        assert self.log.offset_for_timestamp(timestamp) == (expected[0] if expected else None)

    @rule()
    def find_the_highest_time(self) -> None:
        records = [
            (time, -batch.base_offset - delta, batch.leader_epoch)
            for batch in self.batches
            for delta, time in enumerate(batch.timestamps)
            if batch.base_offset + delta >= self.start
        ]
        found = self.log.offset_of_max_timestamp()
        assert (found is None) == (not records)
        if found is not None:
            time, offset, epoch = max(records)
            assert found == (time, -offset, epoch)

    @invariant()
    def bounds_agree(self) -> None:
        if hasattr(self, "log"):
            assert (self.log.start_offset, self.log.end_offset) == (self.start, self.end)
            for batch in self.batches:
                assert self.log.epoch_of_offset(batch.last_offset) == batch.leader_epoch


LogMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLogAgainstAList = LogMachine.TestCase
