"""The clusters that the SDK's suite runs against: ours and Apache Kafka, the latter skipped where Java is absent.

A test that asks for `cluster` runs once for each. Clients are closed by the tests that make them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from pystream.client.admin.partitions import LATEST
from pystream.client.admin.topics import NewTopic
from pystream.client.aio import AdminClient
from pystream.common.model import TopicPartition
from tests.conformance.kafka_process import KafkaProcess
from tests.support.broker_process import BrokerProcess

T = TypeVar("T")
EVENTUALLY_SECONDS = 120  # an idle machine needs milliseconds; one that runs three JVMs beside needs many seconds

PYSTREAM_SETTINGS = {
    "node.id": "1",
    "num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.share.min.record.lock.duration.ms": "1000",
}
KAFKA_SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "true",
    "group.initial.rebalance.delay.ms": "0",
    "group.share.min.record.lock.duration.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


@dataclass(frozen=True)
class RunningCluster:
    """A cluster of one broker with id 1."""

    name: str  # pystream, kafka
    bootstrap: str
    numbers: Iterator[int]

    @property
    def is_kafka(self) -> bool:
        return self.name == "kafka"

    def fresh(self, stem: str) -> str:
        """A name that nobody used before."""
        return f"{stem}-{os.getpid()}-{next(self.numbers)}"

    def admin(self, **settings: object) -> AdminClient:
        """A new admin client."""
        return AdminClient(bootstrap_servers=self.bootstrap, **settings)

    def with_admin(self, work: Callable[[AdminClient], Awaitable[T]]) -> T:
        """What `work` gives, run in a loop of its own with a client that is closed afterwards."""

        async def run() -> T:
            async with self.admin() as admin:
                return await work(admin)

        return asyncio.run(run())

    async def new_topic(self, admin: AdminClient, stem: str = "sdk", partitions: int = 1, **configs: str) -> str:
        """The name of a topic that is there, with leaders that answer for it: Kafka names them a moment before."""
        name = self.fresh(stem)
        topic = NewTopic(name, partitions, 1, {key.replace("_", "."): value for key, value in configs.items()})
        (await admin.create_topics([topic])).checked()
        places = dict.fromkeys([TopicPartition(name, number) for number in range(partitions)], LATEST)
        await eventually(lambda: admin.list_offsets(places), lambda found: len(found.succeeded) == partitions)
        return name


async def eventually(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """What `ask` gives once it `holds`: Kafka's brokers hear of changes a moment after they were acknowledged."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while not holds(found := await ask()):
            continue
        return found


@pytest.fixture(scope="session", params=["pystream", "kafka"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "pystream":
        with BrokerProcess(folder / "data", PYSTREAM_SETTINGS) as broker:
            yield RunningCluster("pystream", broker.bootstrap, itertools.count())
        return
    with KafkaProcess(folder / "kafka", KAFKA_SETTINGS) as kafka:
        yield RunningCluster("kafka", kafka.bootstrap, itertools.count())
