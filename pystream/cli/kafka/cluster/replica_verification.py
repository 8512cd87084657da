"""`kafka-replica-verification`, as Kafka's ReplicaVerificationTool: reads all replicas side by side and compares them.

    broker 1  [0..9 crc a][10..14 crc b]        the same batches, with the same checksums, up to the high watermark;
    broker 2  [0..9 crc a][10..14 crc b]        how far what was compared lags behind is told now and then

Every replica is asked as by a debugging consumer, which followers answer too. It runs until it is stopped.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, value
from pystream.cli.kafka.tool import bootstrap, included, serve
from pystream.client.admin.base import Asked
from pystream.client.admin.client import AdminClient
from pystream.client.cluster.retry import Deadline
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData, ReplicaState
from pystream.storage.repair.contents import StoredBatch, batches

DEBUGGING_CONSUMER: Final = -2  # a replica id that is none, and may read followers
SECONDS_AFTER_A_FAILURE: Final = 1.0
REQUEST_MS: Final = 30_000
NO_TOPICS: Final = (
    "No topics found. [topics-include] if specified, is either filtering out all topics or there is no topic."
)
DEPRECATED: Final = "This tool is deprecated and may be removed in a future major release."
TOOL: Final = Tool(
    "kafka-replica-verification",
    "Validate that all replicas for a set of topics have the same data.",
    (
        value("broker-list", "REQUIRED: The list of hostname and port of the server to connect to.", "HOST:PORT,..."),
        value("fetch-size", "The fetch size of each request.", "bytes", int, 1 << 20),
        value("max-wait-ms", "The max amount of time each fetch request waits.", "ms", int, 1_000),
        value("topics-include", "List of topics to verify replica consistency.", "regex", default=".*"),
        value("time", "Timestamp for getting the initial offsets.", "timestamp/-1(latest)/-2(earliest)", int, -1),
        value("report-interval-ms", "The reporting interval.", "ms", int, 30_000),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, endless=True)


def work(given: Given) -> None:
    print(DEPRECATED, file=sys.stderr)
    servers = bootstrap(given, "broker-list")
    try:
        re.compile(given.value("topics-include"))
    except re.error:
        raise WrongUsage(f"{given.value('topics-include')} is an invalid regex") from None
    asyncio.run(_verify(servers, given))


async def _verify(servers: str, given: Given) -> None:
    async with AdminClient({"bootstrap.servers": servers}) as admin:
        names = included(given.value("topics-include"), list(await admin.list_topics(include_internal=True)))
        if not names:
            raise Mistake(NO_TOPICS)
        described = (await admin.describe_topics(names)).checked()
        replicas = {
            TopicPartition(name, each.partition): each.replicas
            for name, topic in described.items()
            for each in topic.partitions
        }
        started = (await admin.list_offsets(dict.fromkeys(replicas, given.value("time")))).checked()
        ids = {name: topic.topic_id for name, topic in described.items()}
        reader = Reader(admin, ids, given.value("fetch-size"), given.value("max-wait-ms"))
        comparison = Comparison(replicas, {place: max(found.offset, 0) for place, found in started.items()})
        print(f"{_now()}: verification process is started", flush=True)
        reported = time.monotonic()
        while True:
            if not comparison.compare(await reader.read(replicas, comparison.offsets)):
                await asyncio.sleep(SECONDS_AFTER_A_FAILURE)
            if (time.monotonic() - reported) * 1000 > given.value("report-interval-ms"):
                print(f"{_now()}: {comparison.report()}", flush=True)
                reported = time.monotonic()


def _now() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now * 1000) % 1000:03d}"


Answers = Mapping[TopicPartition, Mapping[int, PartitionData]]  # by broker


@dataclass(frozen=True, slots=True)
class Reader:
    """Asks every broker for all its replicas at once."""

    admin: AdminClient
    topic_ids: Mapping[str, bytes]
    fetch_size_bytes: int
    max_wait_ms: int

    async def read(
        self, replicas: Mapping[TopicPartition, Sequence[int]], offsets: Mapping[TopicPartition, int]
    ) -> Answers:
        """What each replica has from its offset on; nothing of a broker that does not answer."""
        brokers: dict[int, list[TopicPartition]] = {}
        for place, nodes in replicas.items():
            for node in nodes:
                brokers.setdefault(node, []).append(place)
        told = await asyncio.gather(*(self._ask(node, places, offsets) for node, places in brokers.items()))
        found: dict[TopicPartition, dict[int, PartitionData]] = {place: {} for place in replicas}
        for node, answers in zip(brokers, told, strict=True):
            for place, data in answers.items():
                found[place][node] = data
        return found

    async def _ask(
        self, node: int, places: Sequence[TopicPartition], offsets: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, PartitionData]:
        topics: dict[str, list[FetchPartition]] = {}
        for place in places:
            wanted = FetchPartition(
                partition=place.partition, fetch_offset=offsets[place], partition_max_bytes=self.fetch_size_bytes
            )
            topics.setdefault(place.topic, []).append(wanted)
        request = FetchRequest(
            replica_id=DEBUGGING_CONSUMER,
            replica_state=ReplicaState(replica_id=DEBUGGING_CONSUMER),
            max_wait_ms=self.max_wait_ms,
            min_bytes=1,
            topics=[
                FetchTopic(topic=name, topic_id=self.topic_ids[name], partitions=each) for name, each in topics.items()
            ],
        )
        cluster = self.admin.cluster
        try:
            connection = await cluster.connection_to(node)
            deadline = Deadline(cluster.clock, REQUEST_MS + self.max_wait_ms, f"fetch from broker {node}")
            answer: Any = await Asked(node, connection, deadline, REQUEST_MS + self.max_wait_ms).ask(request)
        except PystreamError as error:
            print(f"broker {node}: {error}", file=sys.stderr, flush=True)
            return {}
        names = {topic_id: name for name, topic_id in self.topic_ids.items()}
        return {
            TopicPartition(told.topic or names[told.topic_id], each.partition_index): each
            for told in answer.responses
            for each in told.partitions
            if each.error_code == 0
        }


@dataclass(slots=True)
class Comparison:
    """How far the replicas of each partition were found to be the same."""

    replicas: Mapping[TopicPartition, Sequence[int]]
    offsets: dict[TopicPartition, int]
    lag: int = -1
    lagging: TopicPartition | None = None
    unmatched: int = field(default=0)

    def compare(self, answers: Answers) -> bool:
        """Compare what was read; whether all replicas had answered. Raises Mistake where offsets differ."""
        self.lag, self.lagging = -1, None
        complete = True
        for place, told in answers.items():
            if len(told) < len(self.replicas[place]):
                complete = False
                continue
            self._compare(place, told)
            lag = max(data.high_watermark for data in told.values()) - self.offsets[place]
            if lag > self.lag:
                self.lag, self.lagging = lag, place
        return complete

    def _compare(self, place: TopicPartition, told: Mapping[int, PartitionData]) -> None:
        replicas = {node: _committed(data) for node, data in told.items()}
        first, *others = replicas
        for batch in replicas[first]:
            last = batch.header.next_offset - 1
            for node in others:
                other = next(replicas[node], None)
                if other is None:
                    return  # that replica is behind; the next round goes on here
                theirs = other.header.next_offset - 1
                if theirs != last:
                    raise Mistake(
                        f"{_now()}: partition {place}: replica {first}'s offset {last} doesn't match replica {node}'s "
                        f"offset {theirs}"
                    )
                if other.header.crc != batch.header.crc:
                    self.unmatched += 1
                    print(
                        f"{_now()}: partition {place} has unmatched checksum at offset {last}; replica {first}'s "
                        f"checksum {batch.header.crc}; replica {node}'s checksum {other.header.crc}",
                        flush=True,
                    )
            self.offsets[place] = last + 1

    def report(self) -> str:
        """What Kafka's tool says now and then."""
        offset = -1 if self.lagging is None else self.offsets[self.lagging]
        place = "null" if self.lagging is None else self.lagging
        return f"max lag is {self.lag} for partition {place} at offset {offset} among {len(self.offsets)} partitions"


def _committed(data: PartitionData) -> Iterator[StoredBatch]:
    """The whole batches below the high watermark."""
    if data.records is None:
        return
    for batch in batches(bytes(data.records)):
        if batch.header.next_offset - 1 >= data.high_watermark:
            return
        yield batch


if __name__ == "__main__":
    main()
