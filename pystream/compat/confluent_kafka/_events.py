"""Callbacks wait here until the application polls: confluent_kafka calls them in the application's own thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pystream.client.cluster.cluster import Cluster
from pystream.common.errors import NetworkFailure, NoBrokersAvailable
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.compat.confluent_kafka._settings import Settings

FIRST_COMPLAINT_SECONDS: Final = 0.1
COMPLAINT_SECONDS: Final = 1.0  # between two reports that no broker can be reached


class Events:
    """A queue of calls. Any thread puts, the application's serve."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, call: Callable[[], object]) -> None:
        """Have `call` called by the next serve()."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def serve(self) -> int:
        """Call what is there; how many. Raises what a callback raises, which is done with then."""
        served = 0
        for _ in range(len(self._calls)):
            try:
                call = self._calls.popleft()
            except IndexError:
                break
            served += 1
            call()
        return served

    def wait(self, until: Callable[[], bool], ends_at: float | None) -> bool:
        """Return True when something can be served or `until()` holds, False at `ends_at`."""
        with self._changed:
            self._waiting += 1
            try:
                while not self._calls and not until():
                    left = None if ends_at is None else ends_at - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._changed.wait(left)
                return True
            finally:
                self._waiting -= 1


def never() -> bool:
    """Nothing to wait for but events."""
    return False


async def report_unreachable(cluster: Cluster, events: Events, error_cb: Callable[[KafkaError], Any]) -> None:
    """Tell error_cb that brokers cannot be reached, until one was."""
    pause = FIRST_COMPLAINT_SECONDS
    while True:
        try:
            await cluster.refresh()
            return
        except (NoBrokersAvailable, NetworkFailure) as failure:
            told = [
                KafkaError(Codes._TRANSPORT, str(failure)),
                KafkaError(Codes._ALL_BROKERS_DOWN, f"{len(cluster.config.bootstrap_servers)} brokers are down"),
            ]
        for error in told:
            events.put(lambda error=error: error_cb(error))  # type: ignore[misc]
        await asyncio.sleep(pause)
        pause = COMPLAINT_SECONDS


async def report_statistics(
    cluster: Cluster, events: Events, settings: Settings, kind: str, waiting: Callable[[], int]
) -> None:
    """Give stats_cb a JSON text every statistics.interval.ms: the few of librdkafka's fields that the README names."""
    stats_cb = settings.callbacks["stats_cb"]
    interval = settings.own["statistics.interval.ms"] / 1000
    started = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        name = cluster.config.client_id or "pystream"
        figures = {
            "name": f"{name}#{kind}",
            "client_id": name,
            "type": kind,
            "ts": int(time.monotonic() * 1e6),
            "time": int(time.time()),
            "age": int((time.monotonic() - started) * 1e6),
            "replyq": len(events),
            "msg_cnt": waiting(),
            "metadata_cache_cnt": len(cluster.metadata.topics),
            "brokers": {
                f"{node.host}:{node.port}/{node.node_id}": {
                    "name": f"{node.host}:{node.port}/{node.node_id}",
                    "nodeid": node.node_id,
                    "nodename": f"{node.host}:{node.port}",
                    "state": "UP" if cluster.connections.existing(node.node_id) else "INIT",
                }
                for node in cluster.metadata.nodes.values()
            },
            "topics": {topic: {"topic": topic} for topic in cluster.metadata.topics},
        }
        text = json.dumps(figures)
        events.put(lambda text=text: stats_cb(text))  # type: ignore[misc]
