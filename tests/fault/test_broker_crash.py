"""kill -9 under load: what was acknowledged with acks=all is read back at its offset, byte for byte, and nothing else.

One broker process after the other on the same data directory; raw producers on several connections, pipelined, so that
the kill falls into appends and group commits in flight. In half of the cycles the last segment is given a torn tail
besides, as a crash in the middle of a write leaves it. What a cycle could not acknowledge may be there, but whole.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from pystream._native.batch import parse_header, parse_headers, stamp
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

TOPIC = "acknowledged"
PARTITIONS = 3
WRITERS = 3
DEPTH = 16
CYCLES = 20
FULL_CYCLES = 500
LARGEST_VALUE = 3000
BATCH_HEADER_SIZE = 61


class Writer(threading.Thread):
    """Produces to one partition, DEPTH requests in flight, until the broker dies; notes what was acknowledged."""

    def __init__(self, port: int, partition: int, seed: int, wanted: threading.Semaphore) -> None:
        super().__init__()
        self.acknowledged: dict[int, bytes] = {}
        self._port, self._partition, self._random, self._wanted = port, partition, random.Random(seed), wanted

    def run(self) -> None:
        sent: list[bytes] = []
        try:
            with RawClient(self._port) as client:
                while True:
                    while len(sent) < DEPTH:
                        sent.append(self._random.randbytes(self._random.randint(1, LARGEST_VALUE)))
                        client.send(self._request(sent[-1]), 9)
                    part = client.receive().responses[0].partition_responses[0]
                    if part.error_code == 0:
                        self.acknowledged[part.base_offset] = sent.pop(0)
                        self._wanted.release()
                    else:
                        sent.pop(0)
        except (TimeoutError, ConnectionError):
            return

    def _request(self, value: bytes) -> ProduceRequest:
        builder = RecordBatchBuilder()
        builder.append(value, timestamp=int(time.time() * 1000))
        part = PartitionProduceData(index=self._partition, records=bytes(builder.build()))
        return ProduceRequest(
            acks=-1, timeout_ms=30_000, topic_data=[TopicProduceData(name=TOPIC, partition_data=[part])]
        )


def create_topic(port: int) -> None:
    with RawClient(port) as client:
        topic = CreatableTopic(name=TOPIC, num_partitions=PARTITIONS, replication_factor=1, configs=[])
        answer = client.call(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), 5)
    assert answer.topics[0].error_code == 0


def read_partition(client: RawClient, partition: int, offset: int, topic: str = TOPIC) -> tuple[dict[int, bytes], int]:
    """Every record from `offset` on, and the high watermark."""
    records: dict[int, bytes] = {}
    while True:
        part = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 22)
        request = FetchRequest(
            max_wait_ms=0, min_bytes=1, max_bytes=1 << 23, topics=[FetchTopic(topic=topic, partitions=[part])]
        )
        found = client.call(request, 11).responses[0].partitions[0]
        assert found.error_code == 0
        data = bytes(found.records or b"")
        if not data:
            return records, found.high_watermark
        position = 0
        for header in parse_headers(data):
            for record in RecordReader(data[position : position + header.size]):
                records[record.offset] = bytes(record.value)
            position += header.size
            offset = header.next_offset


def whole_batches(segment: Path) -> tuple[int, int]:
    """(offset, position) behind the last whole batch of a segment."""
    data = segment.read_bytes()
    offset, position = int(segment.stem), 0
    while len(data) - position >= BATCH_HEADER_SIZE:
        header = parse_header(data[position:])
        if position + header.size > len(data):
            break
        offset, position = header.next_offset, position + header.size
    return offset, position


def tear(data_dir: Path, generator: random.Random) -> None:
    """Leaves the newest segment of every partition as a crash in the middle of the next write would."""
    builder = RecordBatchBuilder()
    builder.append(generator.randbytes(500), timestamp=int(time.time() * 1000))
    whole = bytearray(builder.build())
    for directory in data_dir.glob(f"{TOPIC}-*"):
        newest = max(directory.glob("*.log"), default=None)
        if newest is not None:
            offset, position = whole_batches(newest)
            stamp(whole, offset, 0)
            with open(newest, "r+b") as segment:
                segment.seek(position)
                segment.write(whole[: generator.randint(1, len(whole) - 1)])
                segment.truncate()  # the kill may have left a longer one: two halves of writes are no crash's work


def run_cycle(broker: BrokerProcess, seed: int, acknowledgements: int) -> list[dict[int, bytes]]:
    wanted = threading.Semaphore(0)
    writers = [Writer(broker.port, number % PARTITIONS, seed + number, wanted) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(acknowledgements):
        assert wanted.acquire(timeout=60)
    broker.kill()
    acknowledged: list[dict[int, bytes]] = [{} for _ in range(PARTITIONS)]
    for number, writer in enumerate(writers):
        writer.join()
        acknowledged[number % PARTITIONS].update(writer.acknowledged)
    return acknowledged


def crash_again_and_again(broker: BrokerProcess, cycles: int, seed: int, generator: random.Random) -> int:
    """Returns how many records were acknowledged, and found again, in all."""
    ends = [0] * PARTITIONS
    total = 0
    broker.start()
    create_topic(broker.port)
    for cycle in range(cycles):
        acknowledged = run_cycle(broker, seed + 1000 * cycle, generator.randint(1, 400))
        if generator.random() < 0.5:
            tear(broker.data_dir, generator)
        broker.start()
        with RawClient(broker.port) as client:
            for partition in range(PARTITIONS):
                records, high_watermark = read_partition(client, partition, ends[partition])
                assert sorted(records) == list(range(ends[partition], high_watermark)), f"seed {seed}, cycle {cycle}"
                lost = {offset for offset, value in acknowledged[partition].items() if records.get(offset) != value}
                assert not lost, (
                    f"seed {seed}, cycle {cycle}: partition {partition} lost or changed {sorted(lost)[:10]}"
                )
                total += len(acknowledged[partition])
                ends[partition] = high_watermark
    return total


@pytest.mark.timeout(7200)
def test_no_acknowledged_record_is_lost_by_kill_9_under_load(tmp_path: Path, full: bool) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    generator = random.Random(seed)
    cycles = FULL_CYCLES if full else CYCLES
    broker = BrokerProcess(tmp_path / "data", {"log.flush.policy": "group", "log.segment.bytes": "1048576"})
    try:
        total = crash_again_and_again(broker, cycles, seed, generator)
    finally:
        broker.kill()
    print(f"seed {seed}: {cycles} cycles, {total} records acknowledged, none lost")
