"""The probe of the data plane's requests, with one topic of two partitions, for the targets of its requests."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from typing import Any

from pystream._native.flusher import Flusher
from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder

TOPIC = "events"
TOPIC_ID = bytes(range(16))
LARGEST_LOG_BYTES = 1 << 20


def is_built() -> bool:
    """The probe exists in builds with PYSTREAM_SANITIZE=1 only."""
    return importlib.util.find_spec("tests.fuzz.plane_probe") is not None


def batch(*values: bytes, **fields: Any) -> bytes:
    builder = RecordBatchBuilder(**fields)
    for number, value in enumerate(values):
        builder.append(value, timestamp=1000 + number, key=b"k")
    return bytes(builder.build())


class Plane:
    """A probe and its logs; the logs start anew when fuzzing has filled them."""

    def __init__(self) -> None:
        self.flusher = Flusher()
        self.begin()

    def begin(self) -> None:
        from tests.fuzz.plane_probe import PlaneProbe

        self.directory = tempfile.TemporaryDirectory()
        self.logs = [LocalLog.open(f"{self.directory.name}/{TOPIC}-{index}", flush_policy="os") for index in range(2)]
        for log in self.logs:
            log.append(batch(b"one", b"two") + batch(b"three", codec=1))
        self.probe = PlaneProbe(self.logs, self.flusher, TOPIC.encode(), TOPIC_ID)

    def trim(self) -> None:
        if max(log.size_bytes for log in self.logs) > LARGEST_LOG_BYTES:
            self.begin()


@functools.cache
def shared() -> Plane:
    return Plane()
