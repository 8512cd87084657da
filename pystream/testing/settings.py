"""What a broker under test is started with, and where its data lies.

Defaults differ from a server's where a test would wait for nothing: a group's first rebalance is not delayed, internal
topics have one partition, metrics are not served. What the test gives wins over all of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pystream.common.config import INT_MAX

HOST: Final = "127.0.0.1"
LISTENER: Final = "PLAINTEXT"  # what clients connect to
DIRECT_LISTENER: Final = "DIRECT"  # the broker itself, where faults stand in front of the other
MEMORY: Final = Path("/dev/shm")
LEAST_MEMORY_BYTES: Final = 128 << 20
DEFAULTS: Final[Mapping[str, str]] = {
    "broker.session.timeout.ms": str(INT_MAX),  # a test lets days pass at once
    "controlled.shutdown.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": str(8 << 20),
    "log.dir.reserve.bytes": "0",
    "log.dir.volatile.allow": "true",
    "log.scrub.interval.ms": "-1",
    "metadata.backup.interval.ms": "-1",
    "metrics.listener": "",
    "num.network.threads": "1",
    "offsets.topic.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "shutdown.drain.ms": "100",
    "transaction.state.log.num.partitions": "1",
}
Setting = str | int | float | bool


def spelled(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Kafka's names and spelling: num_partitions=3 is "num.partitions": "3", True is "true"."""
    return {
        name.replace("_", "."): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def listeners(port: int, *, advertised_port: int | None) -> dict[str, str]:
    """A broker at `port`; with an advertised one, its clients are told that, and there is a second listener."""
    if advertised_port is None:
        return {"listeners": f"{LISTENER}://{HOST}:{port}"}
    return {
        "listeners": f"{LISTENER}://{HOST}:{port},{DIRECT_LISTENER}://{HOST}:0",
        "advertised.listeners": f"{LISTENER}://{HOST}:{advertised_port},{DIRECT_LISTENER}://{HOST}:0",
        "listener.security.protocol.map": f"{LISTENER}:PLAINTEXT,{DIRECT_LISTENER}:PLAINTEXT",
    }


def new_data_dir() -> tempfile.TemporaryDirectory[str]:
    """In memory where the machine has room there, else where temporary files lie. Goes with its object."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= LEAST_MEMORY_BYTES else None
    return tempfile.TemporaryDirectory(prefix="pystream-", dir=parent, ignore_cleanup_errors=True)
