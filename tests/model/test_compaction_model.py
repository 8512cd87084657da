"""Compaction against a list of records: append, roll, compact, delete, crash and reopen in any order.

What must hold whatever came before: a reader to the end has the same last value of every key; every record found is one
that was appended, at its offset and with its time; nothing is missing from the part that is not clean; a clean part
holds every key once.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pystream._native.local_log import LocalLog
from pystream.common.errors import LimitExceeded
from tests.support.compaction import NOW_MS, Kept, append, batch, clean, kept

OPTIONS = {"segment_bytes": 1_500, "index_interval_bytes": 200, "segment_ms": 1 << 40}
RETENTION_MS = 1_000
KEYS = [b"k%d" % number for number in range(6)]
PAIRS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=40))), min_size=1, max_size=12
)


class CompactionMachine(RuleBasedStateMachine):
    """The log is what compaction promises of the list."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="compaction-model-"))
        self.records: list[Kept] = []
        self.start = 0
        self.cleaned_to = 0
        self.now_ms = NOW_MS

    @initialize()
    def open(self) -> None:
        self.log = LocalLog.open(str(self.scratch), "t-0", **OPTIONS)

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close(clean=False)
        shutil.rmtree(self.scratch)

    @rule(batches=st.lists(st.tuples(PAIRS, st.sampled_from([0, 0, 0, 1, 4])), min_size=1, max_size=4))
    def append(self, batches: list[tuple[list[tuple[bytes, bytes | None]], int]]) -> None:
        for pairs, codec in batches:
            (base,) = append(self.log, batch(pairs, codec=codec, timestamp=self.now_ms))
            for number, (key, value) in enumerate(pairs):
                self.records.append(Kept(base + number, key, value, self.now_ms + number))

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @rule(
        whole=st.booleans(),
        part=st.floats(0, 1),
        map_keys=st.sampled_from([4, 8, 100]),
        step_bytes=st.sampled_from([1, 500, 1 << 20]),
    )
    def compact(self, whole: bool, part: float, map_keys: int, step_bytes: int) -> None:
        """One round, up to the end or to any batch; the map may be too small for more than a few."""
        bound = self.log.end_offset if whole else int(part * self.log.end_offset)
        dirty = max(self.cleaned_to, self.start)
        if bound <= dirty:
            return
        try:
            done = clean(
                self.log,
                first_dirty_offset=dirty,
                bound=bound,
                now_ms=self.now_ms,
                delete_retention_ms=RETENTION_MS,
                map_bytes=24 * map_keys,
                step_bytes=step_bytes,
            )
        except LimitExceeded:
            return
        assert dirty <= done.end_offset <= self.log.end_offset
        self.cleaned_to = done.end_offset

    @rule(span_ms=st.integers(1, 2 * RETENTION_MS))
    def wait(self, span_ms: int) -> None:
        self.now_ms += span_ms

    @rule(part=st.floats(0, 1))
    def delete(self, part: float) -> None:
        offset = self.start + int(part * (self.log.end_offset - self.start))
        self.log.advance_start_offset(offset)
        self.log.delete_segments_before(offset)
        self.start = self.log.start_offset

    @rule(is_clean=st.booleans(), checkpoint=st.booleans())
    def reopen(self, is_clean: bool, checkpoint: bool) -> None:
        point = self.log.recovery_point if checkpoint else 0
        self.log.close(clean=is_clean)
        self.log = LocalLog.open(
            str(self.scratch),
            "t-0",
            **OPTIONS,
            clean=is_clean,
            recovery_point=point,
            log_start_offset=self.start,
            compacted=True,
        )
        assert (self.log.recovery["verdicts"], self.log.recovery["clean_refuted"]) == ([], False)

    @invariant()
    def a_reader_finds_what_it_must(self) -> None:
        if not hasattr(self, "log"):
            return
        found = [record for record in kept(self.log) if record.offset >= self.start]
        appended = [record for record in self.records if record.offset >= self.start]
        assert _last_values(found) == _last_values(appended)
        assert set(found) <= set(appended)
        assert [record.offset for record in found] == sorted({record.offset for record in found})
        from_dirty = max(self.cleaned_to, self.start)
        assert [r for r in found if r.offset >= from_dirty] == [r for r in appended if r.offset >= from_dirty]
        clean_keys = [record.key for record in found if record.offset < self.cleaned_to]
        assert len(set(clean_keys)) == len(clean_keys)


def _last_values(records: list[Kept]) -> dict[bytes | None, bytes]:
    values = {record.key: record.value for record in records}
    return {key: value for key, value in values.items() if value is not None}


TestCompactionModel = CompactionMachine.TestCase
TestCompactionModel.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
