"""What a client tells without being asked: errors, statistics, throttling and logs, all of them by way of poll()."""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import Node
from pystream.client.config import addresses
from pystream.client.sync.runner import Runner
from pystream.common.errors import NetworkFailure, NoBrokersAvailable
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.compat.confluent_kafka._settings import Settings
from pystream.compat.confluent_kafka._telling.events import Events
from pystream.compat.confluent_kafka._telling.log import ClientLog, client_name
from pystream.compat.confluent_kafka._values import ThrottleEvent

COMPLAINT_SECONDS: Final = 1.0  # between two reports that no broker can be reached
WARNING: Final = 4

T = TypeVar("T")
Topics = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Subject:
    """The client that is told of; its kind is librdkafka's: "producer" or "consumer"."""

    kind: str
    cluster: Cluster
    runner: Runner
    events: Events
    waiting: Callable[[], int] = lambda: 0  # messages and callbacks that wait
    topics: Callable[[], Topics] = dict  # what is known of each topic's partitions, for the statistics

    def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have it done in the loop until the client is closed."""
        self.runner.call_soon(lambda: self.cluster.spawn(name, work()))


def weakly(call: Callable[[], T], otherwise: T) -> Callable[[], T]:
    """A method of a client, for what goes on behind it and must not keep it; `otherwise` once the client is gone."""
    held = weakref.WeakMethod(call)

    def through() -> T:
        found = held()
        return otherwise if found is None else found()

    return through


def start(subject: Subject, settings: Settings) -> None:
    """From now on what happens to a client is told to the callbacks in its settings."""
    cluster, events = subject.cluster, subject.events
    name = client_name(cluster.config.client_id, subject.kind)
    error_cb, throttle_cb = settings.callback("error_cb"), settings.callback("throttle_cb")
    if settings.logger is not None or settings.own["log_level"] >= 0:
        log = ClientLog(name, events, settings.logger, settings.own["log_level"], settings.own["debug"])
        cluster.connections.listener = log.hear
        for ignored in settings.ignored if settings.logger is not None else ():
            text = f"Configuration property {ignored} is not one of a {subject.kind} and will be ignored by this one"
            log.write(WARNING, "CONFWARN", text)
    if throttle_cb is not None:
        cluster.connections.on_throttle = Throttling(events, throttle_cb).note
    if error_cb is not None or settings.logger is not None:
        subject.spawn("report errors", lambda: report_unreachable(cluster, events, error_cb))
    if settings.callback("stats_cb") is not None and settings.own["statistics.interval.ms"] > 0:
        subject.spawn("statistics", lambda: report_statistics(name, subject, settings))


class Throttling:
    """Tells throttle_cb of answers that were held back, and of the first one that was not."""

    def __init__(self, events: Events, throttle_cb: Callable[[ThrottleEvent], Any]) -> None:
        self._events = events
        self._throttle_cb = throttle_cb
        self._last_ms = 0

    def note(self, node: Node, throttle_ms: int) -> None:
        """An answer of this broker has come; in the loop."""
        if throttle_ms <= 0 and self._last_ms == 0:
            return
        self._last_ms = max(throttle_ms, 0)
        event = ThrottleEvent(f"{node.host}:{node.port}", node.node_id, self._last_ms / 1000)
        self._events.put(lambda: self._throttle_cb(event))


async def report_unreachable(cluster: Cluster, events: Events, error_cb: Callable[[KafkaError], Any] | None) -> None:
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
            for error in told if error_cb is not None else ():
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


async def report_statistics(name: str, subject: Subject, settings: Settings) -> None:
    """Give stats_cb a JSON text every statistics.interval.ms: the few of librdkafka's fields that the README names."""
    stats_cb = settings.callbacks["stats_cb"]
    interval = settings.own["statistics.interval.ms"] / 1000
    started = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        text = json.dumps(_figures(name, subject, time.monotonic() - started))
        subject.events.put(lambda text=text: stats_cb(text))  # type: ignore[misc]


def _figures(name: str, subject: Subject, age: float) -> dict[str, Any]:
    cluster = subject.cluster
    counts = cluster.connections.metrics()
    partitions = subject.topics()
    return {
        "name": name,
        "client_id": cluster.config.client_id or "pystream",
        "type": subject.kind,
        "ts": int(time.monotonic() * 1e6),
        "time": int(time.time()),
        "age": int(age * 1e6),
        "replyq": len(subject.events),
        "msg_cnt": subject.waiting(),
        "tx": counts["request-total"],
        "tx_bytes": counts["outgoing-byte-total"],
        "rx": counts["response-total"],
        "rx_bytes": counts["incoming-byte-total"],
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
        "topics": {
            topic: {"topic": topic, "partitions": partitions.get(topic, {})}
            for topic in {**cluster.metadata.topics, **partitions}
        },
    }
