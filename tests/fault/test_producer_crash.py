"""kill -9 of the broker while it is produced to: an idempotent producer loses nothing, doubles nothing, keeps order.

Each round the producer sends numbered records to every partition, by key, while the broker dies and comes back on the
same port and data; where in the stream it dies is random. All deliveries must succeed in the end, and what is read back
from each partition must be exactly what was sent to it, in order. The producer lives through all rounds.
"""

from __future__ import annotations

import random
import threading
import uuid
from pathlib import Path

import pytest

from pystream._native.delivery import Delivery
from pystream.client import Producer
from tests.fault.test_broker_crash import read_partition
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

PARTITIONS = 3
ROUNDS = 3
FULL_ROUNDS = 100
RECORDS = 6_000
DELIVERY_SECONDS = 120


def read_values(port: int, topic: str, partition: int) -> list[bytes]:
    with RawClient(port) as client:
        records, _ = read_partition(client, partition, 0, topic)
    return [records[offset] for offset in sorted(records)]


def produce(
    producer: Producer, topic: str, first: int, reached: dict[int, threading.Event], deliveries: list[Delivery]
) -> None:
    """RECORDS numbered records, round the partitions; sets an event when its number is reached."""
    for number in range(first, first + RECORDS):
        if number in reached:
            reached[number].set()
        deliveries.append(producer.send(topic, b"%d" % number, partition=number % PARTITIONS))


@pytest.mark.parametrize("size", ["small batches", "large batches"])
def test_nothing_is_lost_doubled_or_moved_when_the_broker_dies(tmp_path: Path, full: bool, size: str):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    topic = f"t-{uuid.uuid4().hex[:8]}"
    small = {"batch_size": 400, "buffer_memory": 40_000, "linger_ms": 0}
    broker = BrokerProcess(tmp_path / "data", {"num.partitions": str(PARTITIONS)}).start()
    rounds = FULL_ROUNDS if full else ROUNDS
    settings = small if size == "small batches" else {}
    try:
        with Producer(bootstrap_servers=broker.bootstrap, **settings) as producer:
            for number in range(rounds):
                first = number * RECORDS
                dies_at = generator.randrange(first, first + RECORDS)
                reached = {dies_at: threading.Event()}
                deliveries: list[Delivery] = []
                sending = threading.Thread(target=produce, args=(producer, topic, first, reached, deliveries))
                sending.start()
                assert reached[dies_at].wait(DELIVERY_SECONDS)
                broker.kill()
                broker.start()
                sending.join()
                for delivery in deliveries:
                    delivery.result(DELIVERY_SECONDS)
        for partition in range(PARTITIONS):
            expected = [b"%d" % number for number in range(partition, rounds * RECORDS, PARTITIONS)]
            assert read_values(broker.port, topic, partition) == expected, f"partition {partition}, seed {seed}"
    finally:
        broker.kill()
