"""The broker under test: PYSTREAM_TEST_BOOTSTRAP where set, else a `pystream broker` of our own.

PYSTREAM_TEST_BOOTSTRAP=HOST:PORT points the same tests at any Kafka broker: run on Apache Kafka, they show that the
tests themselves are right. Tests that look at files or restart the broker need ours and are skipped there.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import wire
from tests.conformance.clients import CLIENTS, Client
from tests.support.broker_process import BrokerProcess

# kafka-python's tests ask for replicas on broker 0 and for an address advertised by the file, both suites want three or
# four partitions in a new topic; both set the times of groups so in their own brokers
BROKER_SETTINGS = {
    "node.id": "0",
    "num.partitions": "4",
    "group.initial.rebalance.delay.ms": "100",
    "group.min.session.timeout.ms": "1000",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:0",
}
ADMIN_SECONDS = 120


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the broker under test, one for the whole session."""
    given = os.environ.get("PYSTREAM_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    with BrokerProcess(tmp_path_factory.mktemp("conformance") / "data", BROKER_SETTINGS) as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def await_leader(connection: wire.Connection, topic: str, partition: int) -> None:
    """Ask the leader until there is one: Apache Kafka elects it a moment after it has created the topic."""
    deadline = time.monotonic() + ADMIN_SECONDS
    while int(wire.list_offset(connection, topic, partition, wire.LATEST).error_code) != 0:
        assert time.monotonic() < deadline, f"{topic}-{partition} has no leader"


NewTopicName = Callable[..., str]


@pytest.fixture(scope="session")
def new_topic(admin: AdminClient, bootstrap: str) -> NewTopicName:
    """Creates a topic of a fresh name: new_topic("stem", partitions=2, **{"cleanup.policy": "compact"})."""
    numbers = itertools.count()
    run = os.urandom(4).hex()

    def create(stem: str, *, partitions: int = 1, **config: str) -> str:
        name = f"{stem}-{run}-{next(numbers)}"
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config={"retention.ms": "-1", **config})
        admin.create_topics([topic])[name].result(ADMIN_SECONDS)
        with wire.Connection(bootstrap) as connection:  # a lasting one is closed when no topic is made for long
            for partition in range(partitions):
                await_leader(connection, name, partition)
        return name

    return create


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def client_of(scratch: Path) -> Callable[[str], Client]:
    return lambda name: CLIENTS[name](scratch)
