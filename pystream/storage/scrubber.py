"""Reads closed segments again, slowly, so that damage is found before a reader meets it.

    pass     every closed segment of every log, once; the next pass begins log.scrub.interval.ms after this one began
    step     one slice of one segment, on a storage thread; then as long a pause as keeps to log.scrub.bytes.per.second

What is found is handled as recovery handles it: the damaged range cannot be read, the log takes no more writes, an
operator decides. How far a pass has come is kept in every directory (scrub-place) once a minute and by save(): the
next start goes on there, at the beginning of a segment, so that a broker that is restarted every day reads everything
too. Plain functions: time comes in as `now_ms`, in milliseconds since 1970.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from pystream.common.clock import MINUTE_MS
from pystream.common.errors import Closed, KafkaError
from pystream.common.logging import get_logger
from pystream.common.metrics import COUNTER, Family, Sample
from pystream.storage.checkpoints import SCRUB_PLACE, ScrubPlace
from pystream.storage.log_manager import LogManager
from pystream.storage.partition_log import PartitionLog

logger = get_logger(__name__)

SLICE_BYTES = 1 << 20
SAVE_INTERVAL_MS = MINUTE_MS


class Scrubber:
    """Driven by `step`, from one thread at a time."""

    def __init__(self, logs: LogManager, *, interval_ms: int, bytes_per_second: int) -> None:
        self.bytes_read = 0
        self.passes = 0
        self.damaged_segments = 0
        self._logs = logs
        self._interval_ms = interval_ms
        self._bytes_per_second = bytes_per_second
        self._next_pass_ms = 0
        self._slices: Iterator[int] | None = None
        self._place: ScrubPlace | None = None  # None: nothing has been done since the start
        self._saved: ScrubPlace | None = None
        self._saved_ms = 0

    def step(self, now_ms: int) -> int:
        """Read one slice when it is time; how many milliseconds to wait before the next call."""
        if self._place is None:
            self._resume(now_ms)
        if self._slices is None:
            if now_ms < self._next_pass_ms:
                return self._next_pass_ms - now_ms
            self._next_pass_ms = now_ms + self._interval_ms
            self._place = ScrubPlace(now_ms, over=False)
            self._slices = self._pass(self._place)
        size = next(self._slices, None)
        if size is None:
            self._slices = None
            self.passes += 1
            self._place = ScrubPlace(self._next_pass_ms - self._interval_ms, over=True)
        if size is None or now_ms - self._saved_ms >= SAVE_INTERVAL_MS:
            self._saved_ms = now_ms
            self.save()
        if size is None:
            return max(self._next_pass_ms - now_ms, 1)
        self.bytes_read += size
        return math.ceil(size * 1_000 / self._bytes_per_second)

    def save(self) -> None:
        """Keep how far the pass has come; where that cannot be written some of it is read again."""
        place = self._place
        if place is None or place == self._saved:
            return
        for path in self._logs.online_paths():
            try:
                place.write(path / SCRUB_PLACE)
            except OSError as error:
                logger.limited("place of the scrubber not written", path=path, error=error)
        self._saved = place

    def _resume(self, now_ms: int) -> None:
        """Go on where the last run stopped, unless that pass began in the future: then the clock was set."""
        found = [ScrubPlace.read(path / SCRUB_PLACE) for path in self._logs.online_paths()]
        place = max((each for each in found if each is not None and each.began_ms <= now_ms), default=None)
        if place is None:
            return
        self._place = self._saved = place
        self._saved_ms = now_ms
        self._next_pass_ms = place.began_ms + self._interval_ms
        if not place.over:
            self._slices = self._pass(place)
            logger.info("scrubbing goes on", partition=place.name, segment=place.base_offset)

    def families(self) -> Iterator[Family]:
        """For the metrics of the process."""
        for name, help, value in (
            ("bytes", "Bytes of closed segments read again in search of damage.", self.bytes_read),
            ("passes", "Times that all closed segments were read again.", self.passes),
            ("damaged_segments", "Closed segments that turned out to be damaged.", self.damaged_segments),
        ):
            yield Family(f"pystream_log_scrub_{name}_total", COUNTER, help, [Sample((), value)])

    def _pass(self, place: ScrubPlace) -> Iterator[int]:
        """Sizes of the slices from `place` on, each read when it is asked for. Logs that vanish are left out."""
        for log in sorted(self._logs.partitions(), key=lambda log: log.name):
            for base_offset in self._closed_segments(log):
                if (log.name, base_offset) < (place.name, place.base_offset):
                    continue
                if self._logs.get(log.topic, log.partition) is not log:
                    break
                self._place = replace(place, name=log.name, base_offset=base_offset)
                yield from self._segment(log, base_offset)

    def _closed_segments(self, log: PartitionLog) -> list[int]:
        """Base offsets; none of a log that was deleted meanwhile, or that cannot be read."""
        try:
            return [base_offset for base_offset, *_ in log.native.segments()[:-1]]
        except Closed:
            return []
        except KafkaError as error:
            logger.error("log could not be read again", partition=log.name, error=error)
            return []

    def _segment(self, log: PartitionLog, base_offset: int) -> Iterator[int]:
        position, next_offset, done = 0, base_offset, False
        while not done:
            began = position
            try:
                position, next_offset, done, damage = log.native.scrub(
                    base_offset, position=position, next_offset=next_offset, max_bytes=SLICE_BYTES
                )
            except Closed:
                return
            except KafkaError as error:
                logger.error("segment could not be read again", partition=log.name, segment=base_offset, error=error)
                return
            if damage is not None:
                self._report(log, base_offset, damage)
            if done and self._place is not None:
                self._place = replace(self._place, base_offset=base_offset + 1)
            if position > began:
                yield position - began

    def _report(self, log: PartitionLog, base_offset: int, damage: tuple[int, int, int]) -> None:
        position, valid_again, valid_offset = damage
        self.damaged_segments += 1
        logger.error(
            "damage found in a closed segment",
            partition=log.name,
            segment=base_offset,
            position=position,
            valid_again=valid_again if valid_again >= 0 else None,
            valid_offset=valid_offset if valid_again >= 0 else None,
        )
