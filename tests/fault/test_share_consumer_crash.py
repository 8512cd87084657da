"""kill -9 of the broker under a ShareConsumer: what it was told is done never comes back, and the rest comes again."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from pystream.client import AcknowledgeType
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.topics import NewTopic
from pystream.client.aio import AdminClient, Producer, ShareConsumer
from tests.support.broker_process import BrokerProcess
from tests.support.raw_share import SETTINGS

ROUNDS, FULL_ROUNDS = 3, 40
RECORDS_PER_ROUND = 3_000
PARTITIONS = 2
AT_A_TIME = 20
TEST_SECONDS, FULL_SECONDS = 300, 1_200
Place = tuple[int, int]


class Ledger:
    """What the consumer was handed, and what the broker said about what it said."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.said: dict[Place, AcknowledgeType] = {}  # the last word on each record
        self.ended: set[Place] = set()  # the broker has confirmed that it is done with
        self.unknown: set[Place] = set()  # the answer was lost: done with, unless it comes again
        self.failed = 0
        self._stop_at = 0
        self._stop = asyncio.Event()

    @property
    def places(self) -> set[Place]:
        """The records that need not come any more."""
        return self.ended | self.unknown

    async def reaches(self, count: int) -> None:
        """Return when so many records are done with."""
        self._stop_at = count
        self._stop.clear()
        await self._stop.wait()

    def handed(self, messages: list[Any]) -> None:
        for message in messages:
            place = (message.partition, message.offset)
            assert place not in self.ended, f"{place} came back, delivery {message.delivery_count}"
            self.unknown.discard(place)

    def say(self, message: Any) -> AcknowledgeType:
        kind = self.random.choice([AcknowledgeType.ACCEPT] * 3 + [AcknowledgeType.RELEASE, AcknowledgeType.REJECT])
        self.said[message.partition, message.offset] = kind
        return kind

    def told(self, result: Any) -> None:
        """The acknowledgement callback."""
        self.failed += result.error is not None
        for first, last in result.offsets:
            for offset in range(first, last + 1):
                place = (result.partition.partition, offset)
                if self.said[place] != AcknowledgeType.RELEASE:
                    (self.ended if result.error is None else self.unknown).add(place)
        if len(self.ended) >= self._stop_at:
            self._stop.set()


async def prepare(bootstrap: str, rounds: int) -> int:
    """The number of records."""
    async with AdminClient(bootstrap_servers=bootstrap) as admin:
        (await admin.create_topics([NewTopic("topic", PARTITIONS, 1)])).checked()
        resource = ConfigResource(ConfigResourceType.GROUP, "group")
        (await admin.incremental_alter_configs({resource: {"share.auto.offset.reset": "earliest"}})).checked()
    count = rounds * RECORDS_PER_ROUND
    async with Producer(bootstrap_servers=bootstrap, acks="all") as producer:
        for number in range(count):
            await producer.send("topic", b"v%d" % number, partition=number % PARTITIONS)
        await producer.flush()
    return count


async def work(consumer: ShareConsumer, ledger: Ledger, records: int, *, explicit: bool) -> None:
    """Take and acknowledge until every record has found its end, and nothing comes any more."""
    messages: list[Any] = []
    while messages or len(ledger.ended) + len(ledger.unknown) < records:
        messages = await consumer.poll(1.0)
        ledger.handed(messages)
        for message in messages:
            if explicit:
                consumer.acknowledge(message, ledger.say(message))
            else:
                ledger.said[message.partition, message.offset] = AcknowledgeType.ACCEPT
        if explicit and ledger.random.random() < 0.5:
            await consumer.commit()


def kill_and_start(broker: BrokerProcess, seconds: float) -> None:
    """In a moment, while the consumer goes on."""
    killing = threading.Timer(seconds, broker.kill)
    killing.start()
    killing.join()
    broker.start()


async def survive(broker: BrokerProcess, ledger: Ledger, records: int, rounds: int, mode: str) -> None:
    settings = {"group_id": "group", "share_acknowledgement_mode": mode, "max_poll_records": AT_A_TIME}
    async with ShareConsumer(
        bootstrap_servers=broker.bootstrap, share_acquire_mode="record_limit", **settings
    ) as consumer:
        consumer.set_acknowledgement_commit_callback(ledger.told)
        await consumer.subscribe("topic")
        async with asyncio.TaskGroup() as group:
            group.create_task(work(consumer, ledger, records, explicit=mode == "explicit"))
            for number in range(1, rounds + 1):
                await ledger.reaches(number * records // (rounds + 1))
                await asyncio.to_thread(kill_and_start, broker, ledger.random.uniform(0.01, 0.1))


@pytest.mark.timeout(FULL_SECONDS)
@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_a_share_consumer_loses_nothing_and_gets_nothing_twice_that_it_has_finished(
    tmp_path: Path, full: bool, mode: str
):
    seed = int(os.environ.get("PYSTREAM_TEST_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"PYSTREAM_TEST_SEED={seed}")
    rounds = FULL_ROUNDS if full else ROUNDS
    ledger = Ledger(seed)

    async def run() -> None:
        async with asyncio.timeout(FULL_SECONDS if full else TEST_SECONDS):
            records = await prepare(broker.bootstrap, rounds)
            await survive(broker, ledger, records, rounds, mode)
            assert ledger.places == {(n % PARTITIONS, n // PARTITIONS) for n in range(records)}
            assert len(ledger.unknown) <= rounds * PARTITIONS * AT_A_TIME * 2

    with BrokerProcess(tmp_path / "data", {**SETTINGS, "group.share.delivery.count.limit": "10"}) as broker:
        asyncio.run(run())
    assert ledger.failed, "no kill fell into an acknowledgement"
