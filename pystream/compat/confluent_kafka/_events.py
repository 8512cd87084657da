"""Callbacks wait here until the application polls: confluent_kafka calls them in the application's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from pystream.client.admin.routes import ask_metadata
from pystream.client.cluster.cluster import Cluster
from pystream.client.config import addresses
from pystream.common import error_codes
from pystream.common.errors import NetworkFailure, NoBrokersAvailable, PystreamError
from pystream.common.logging import get_logger
from pystream.compat.confluent_kafka._codes import Codes, text_of
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.compat.confluent_kafka._settings import Settings
from pystream.compat.confluent_kafka._values import Message
from pystream.protocol.messages.metadata import MetadataRequestTopic

COMPLAINT_SECONDS: Final = 1.0  # between two reports that no broker can be reached
NO_TIMESTAMP: Final = (0, -1)
TELLING: Final = frozenset(
    {
        error_codes.UNKNOWN_TOPIC_OR_PARTITION,
        error_codes.INVALID_TOPIC_EXCEPTION,
        error_codes.TOPIC_AUTHORIZATION_FAILED,
    }
)

logger = get_logger(__name__)


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
        for call in self._due():
            served += 1
            call()
        return served

    def serve_all(self) -> int:
        """As serve(), but a callback that raises keeps no other from being called; what it raised comes out then."""
        due = list(self._due())
        with contextlib.ExitStack() as every:
            for call in reversed(due):
                every.callback(call)
        return len(due)

    def _due(self) -> Iterator[Callable[[], object]]:
        """What is there now, taken one by one; what comes meanwhile has to wait."""
        for _ in range(len(self._calls)):
            try:
                yield self._calls.popleft()
            except IndexError:  # another thread has served it
                return

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
    """Tell error_cb that brokers cannot be reached, now and whenever the last connection is gone.

    _ALL_BROKERS_DOWN is told once, until one is reached again.
    """
    is_down = False
    while True:
        try:
            await cluster.any_broker()
        except (NoBrokersAvailable, NetworkFailure) as failure:
            told = [KafkaError(await _reason(cluster), str(failure))]
            if not is_down:
                count = len(cluster.metadata.nodes) or len(cluster.config.bootstrap_servers)
                told.append(KafkaError(Codes._ALL_BROKERS_DOWN, f"{count}/{count} brokers are down"))
            is_down = True
            for error in told:
                events.put(lambda error=error: error_cb(error))  # type: ignore[misc]
        else:
            is_down = False
        await asyncio.sleep(COMPLAINT_SECONDS)


async def _reason(cluster: Cluster) -> int:
    """_RESOLVE when the first address is no host's, else _TRANSPORT."""
    host, port = addresses(cluster.config.bootstrap_servers)[0]
    try:
        await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError:
        return Codes._RESOLVE
    return Codes._TRANSPORT


async def report_missing_topics(cluster: Cluster, topics: list[str], tell: Callable[[Message], object]) -> None:
    """Tell, once, which of these topics cannot be read."""
    wanted = [MetadataRequestTopic(name=topic) for topic in topics]
    try:
        response = await cluster.retrying("look for topics", lambda _: ask_metadata(cluster, wanted))
    except PystreamError as error:
        logger.debug("topics not looked for", error=error)
        return
    for told in response.topics:
        if told.error_code in TELLING:
            reason = f"Subscribed topic not available: {told.name}: {text_of(told.error_code)}"
            tell(error_event(KafkaError(told.error_code, reason), told.name, 0))


def error_event(
    error: KafkaError,
    topic: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
    leader_epoch: int | None = None,
) -> Message:
    """In the place of a message; its value is what the error says."""
    value = error.str().encode()
    return Message(topic, partition, offset, None, value, None, error, NO_TIMESTAMP, None, leader_epoch)


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
