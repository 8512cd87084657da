"""kill -9 of the broker under a consumer in its group: it keeps its place, and gets every record once and in order.

The broker, which is the group's coordinator too, dies while records are written and read, and comes back on the same
port and data. The member's session outlives that, so it must neither join again nor be given anything anew.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from pathlib import Path

import pytest

from pystream.client import AdminClient, Consumer, Producer
from pystream.client.admin.topics import NewTopic
from tests.support.broker_process import BrokerProcess

PARTITIONS = 3
ROUNDS, FULL_ROUNDS = 3, 40
RECORDS = 3_000
PATIENCE = 120.0


def produce(producer: Producer, topic: str, first: int) -> None:
    for number in range(first, first + RECORDS):
        producer.send(topic, b"%d" % number, partition=number % PARTITIONS)
    producer.flush(PATIENCE)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_keeps_its_place_and_its_records_when_the_broker_dies(tmp_path: Path, full: bool, protocol: str):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    topic = f"t-{uuid.uuid4().hex[:8]}"
    events: list[str] = []
    found: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}
    rounds = FULL_ROUNDS if full else ROUNDS
    with BrokerProcess(tmp_path / "data", {"group.initial.rebalance.delay.ms": "0"}) as broker:
        with AdminClient(bootstrap_servers=broker.bootstrap) as admin:
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).checked()
        settings = {"group_id": "g", "group_protocol": protocol, "auto_offset_reset": "earliest"}
        with (
            Producer(bootstrap_servers=broker.bootstrap) as producer,
            Consumer(bootstrap_servers=broker.bootstrap, auto_commit_interval_ms=50, **settings) as consumer,
        ):
            consumer.subscribe(
                topic,
                on_assigned=lambda places: events.append(f"assigned {len(places)}"),
                on_revoked=lambda places: events.append(f"revoked {len(places)}"),
                on_lost=lambda places: events.append(f"lost {len(places)}"),
            )
            for number in range(rounds):
                sending = threading.Thread(target=produce, args=(producer, topic, number * RECORDS))
                sending.start()
                dies_at = number * RECORDS + chance.randrange(RECORDS)
                ends_at = time.monotonic() + PATIENCE
                has_died = False
                while (count := sum(map(len, found.values()))) < (number + 1) * RECORDS:
                    assert time.monotonic() < ends_at, f"{count} records, seed {seed}"
                    if count >= dies_at and not has_died:
                        has_died = True
                        broker.kill()
                        broker.start()
                    for message in consumer.poll(0.5):
                        found[message.partition].append(int(message.value or b""))
                sending.join()
            assert events == [f"assigned {PARTITIONS}"]
            assert {place.partition for place in consumer.assignment()} == set(range(PARTITIONS))
        for partition, numbers in found.items():
            assert numbers == list(range(partition, rounds * RECORDS, PARTITIONS)), f"{partition}, seed {seed}"
        assert events[1:] == [f"revoked {PARTITIONS}"]
        with Consumer(bootstrap_servers=broker.bootstrap, **settings) as consumer:
            told = consumer.committed([(topic, partition) for partition in range(PARTITIONS)])
            assert [found and found.offset for found in told.values()] == [rounds * RECORDS // PARTITIONS] * PARTITIONS
