"""A broker as a process: signals, the pipes of a supervisor, the log's form, and an exit code.

--ready-fd N       one line of JSON is written there once clients can connect:
                   {"pid": 4711, "listeners": {"PLAINTEXT": "127.0.0.1:9092"}, "metrics": "127.0.0.1:9404"}
--lifeline-fd N    end-of-file there means that the supervisor is gone: stop as on SIGTERM
"""

from __future__ import annotations

import asyncio
import gc
import json
import os

import uvloop

from pystream.broker.broker import Broker
from pystream.broker.config import BrokerConfig
from pystream.common import logging
from pystream.common.clock import SystemClock
from pystream.common.errors import PystreamError
from pystream.common.tasks import stop_signals

logger = logging.get_logger(__name__)

YOUNG_OBJECTS = 5_000  # new objects until the youngest are looked through
YOUNG_COLLECTIONS = 10  # such looks until those that outlived one are looked through
NEVER = 1 << 30
FULL_COLLECTION_INTERVAL_S = 3_600.0


class BrokerStopped(PystreamError):
    """The broker ended by itself: a part of it failed."""


def run(config: BrokerConfig, *, ready_fd: int | None = None, lifeline_fd: int | None = None) -> None:
    """Run a broker until SIGTERM, SIGINT, SIGHUP or the end of the lifeline.

    Raises what keeps it from starting (PystreamError, OSError), BrokerStopped when a part of it fails later.
    """
    logging.configure(config.log_level, config.log_format)
    uvloop.run(_run(config, ready_fd, lifeline_fd))


async def _run(config: BrokerConfig, ready_fd: int | None, lifeline_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in stop_signals():
        loop.add_signal_handler(number, stopping.set)
    if lifeline_fd is not None:
        loop.add_reader(lifeline_fd, _watch_lifeline, loop, lifeline_fd, stopping)
    broker = Broker(config, clock=SystemClock())
    try:
        await broker.start()
        _settle_memory(loop)
        if ready_fd is not None:
            _tell_ready(broker, ready_fd)
        await broker.wait(stopping)
    finally:
        await broker.stop()
    if broker.failure is not None:
        raise BrokerStopped(f"stopped after a failure: {broker.failure}")


def _tell_ready(broker: Broker, ready_fd: int) -> None:
    line = json.dumps({"pid": os.getpid(), "listeners": broker.addresses(), "metrics": broker.metrics_address})
    with os.fdopen(ready_fd, "w") as pipe:
        pipe.write(line + "\n")


def _watch_lifeline(loop: asyncio.AbstractEventLoop, lifeline_fd: int, stopping: asyncio.Event) -> None:
    if os.read(lifeline_fd, 1) == b"":
        loop.remove_reader(lifeline_fd)
        logger.warning("supervisor is gone, stopping")
        stopping.set()


def _settle_memory(loop: asyncio.AbstractEventLoop) -> None:
    """What start-up made stays for good, and so does most of what coordinators keep: members, offsets.

    The interpreter would walk all of it whenever it has grown by a quarter: 120 ms of CPU time with 200,000 committed
    offsets, and the control plane stands still. Objects here are freed by their counts; cycles that grow old are looked
    for once an hour.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, NEVER)
    loop.call_later(FULL_COLLECTION_INTERVAL_S, _collect_fully, loop)


def _collect_fully(loop: asyncio.AbstractEventLoop) -> None:
    began_s = loop.time()
    found = gc.collect()
    logger.info("cycles of objects collected", objects=found, took_ms=round((loop.time() - began_s) * 1_000))
    loop.call_later(FULL_COLLECTION_INTERVAL_S, _collect_fully, loop)
