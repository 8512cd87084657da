"""Transactions against a coordinator that answers late, wrongly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream._native.batch import parse_header
from pystream.client.aio import Producer
from pystream.common import error_codes as codes
from pystream.common.errors import (
    ClientError,
    ConcurrentTransactions,
    DeadlineExceeded,
    InvalidProducerIdMapping,
    InvalidTxnState,
    PystreamError,
    TransactionAbortable,
    UnknownProducerId,
)
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopicResult,
)
from pystream.protocol.messages.api_versions import ApiVersionsResponse, FinalizedFeatureKey
from pystream.protocol.messages.end_txn import EndTxnResponse
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from pystream.protocol.messages.init_producer_id import InitProducerIdResponse
from pystream.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from pystream.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from tests.support.scripted_broker import ScriptedBroker, all_versions

TEST_SECONDS = 120
TOPIC, TOPIC_ID = "topic", b"t" * 16
QUICK: dict[str, Any] = {"retry_backoff_ms": 1, "retry_backoff_max_ms": 4, "reconnect_backoff_ms": 1, "linger_ms": 0}
Work = Callable[[Producer, "Cluster"], Awaitable[None]]


class Cluster(ScriptedBroker):
    """Broker, leader and coordinator in one, which writes everything down and accepts it unless a test says no."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version
        self.ends: list[tuple[bool, int]] = []  # committed, producer epoch
        self.inits: list[int] = []  # producer epochs that were given
        self.produced: list[tuple[int, int]] = []  # producer epoch, base sequence
        self.epoch = -1
        self.on_end: list[int] = []  # error codes of the next ends
        self.on_produce: list[int] = []
        self.asked_to_end = asyncio.Event()
        self.on(ApiKey.API_VERSIONS, lambda _: self._versions())
        self.on(ApiKey.METADATA, lambda _: self._metadata())
        self.on(ApiKey.FIND_COORDINATOR, self._coordinator)
        self.on(ApiKey.INIT_PRODUCER_ID, lambda _: self._init())
        self.on(ApiKey.ADD_PARTITIONS_TO_TXN, self._add)
        self.on(ApiKey.PRODUCE, self._produce)
        self.on(ApiKey.END_TXN, self._end)

    def _versions(self) -> ApiVersionsResponse:
        answer = all_versions()
        level = FinalizedFeatureKey(
            name="transaction.version", max_version_level=self.version, min_version_level=self.version
        )
        answer.finalized_features = [level]
        answer.finalized_features_epoch = 1
        return answer

    def _metadata(self) -> MetadataResponse:
        partition = MetadataResponsePartition(partition_index=0, leader_id=1, leader_epoch=1)
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=self.port)],
            topics=[MetadataResponseTopic(name=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
            controller_id=1,
        )

    def _coordinator(self, request: Any) -> FindCoordinatorResponse:
        found = [Coordinator(key=key, node_id=1, host="127.0.0.1", port=self.port) for key in request.coordinator_keys]
        return FindCoordinatorResponse(node_id=1, host="127.0.0.1", port=self.port, coordinators=found)

    def _init(self) -> InitProducerIdResponse:
        self.epoch += 1
        self.inits.append(self.epoch)
        return InitProducerIdResponse(producer_id=7, producer_epoch=self.epoch)

    def _add(self, request: Any) -> AddPartitionsToTxnResponse:
        topics = [
            AddPartitionsToTxnTopicResult(
                name=topic.name,
                results_by_partition=[AddPartitionsToTxnPartitionResult(partition_index=p) for p in topic.partitions],
            )
            for topic in request.v3_and_below_topics
        ]
        return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=topics)

    def _produce(self, request: Any) -> ProduceResponse:
        header = parse_header(bytes(request.topic_data[0].partition_data[0].records))
        self.produced.append((header.producer_epoch, header.base_sequence))
        code = self.on_produce.pop(0) if self.on_produce else codes.NONE
        part = PartitionProduceResponse(index=0, error_code=code, base_offset=0)
        topic = TopicProduceResponse(name=TOPIC, topic_id=TOPIC_ID, partition_responses=[part])
        return ProduceResponse(responses=[topic])

    def _end(self, request: Any) -> EndTxnResponse:
        self.ends.append((request.committed, request.producer_epoch))
        self.asked_to_end.set()
        code = self.on_end.pop(0) if self.on_end else codes.NONE
        if code != codes.NONE:
            return EndTxnResponse(error_code=code)
        if self.version < 2:
            return EndTxnResponse()
        self.epoch += 1
        return EndTxnResponse(producer_id=7, producer_epoch=self.epoch)


def run(work: Work, version: int = 2, **settings: Any) -> Cluster:
    async def whole() -> Cluster:
        async with asyncio.timeout(TEST_SECONDS), Cluster(version) as cluster:
            given = {**QUICK, "bootstrap_servers": f"127.0.0.1:{cluster.port}", "transactional_id": "mine", **settings}
            async with Producer(given) as producer:
                await producer.init_transactions()
                await work(producer, cluster)
            return cluster

    return asyncio.run(whole())


async def a_record_in_a_transaction(producer: Producer) -> None:
    await producer.begin_transaction()
    await producer.send(TOPIC, b"value")


async def given_up(waiting: Awaitable[None], cluster: Cluster) -> None:
    """A call that is cancelled once the coordinator has been asked."""
    task = asyncio.ensure_future(waiting)
    await cluster.asked_to_end.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def ended(producer: Producer) -> None:
    """Return when what nobody waits for has ended."""
    under_way = producer._engine.transactional()._under_way
    assert under_way is not None
    await asyncio.wait([under_way.task])


def test_a_commit_that_ended_while_nobody_waited_is_told_to_who_calls_again():
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.CONCURRENT_TRANSACTIONS]
        await a_record_in_a_transaction(producer)
        await given_up(producer.commit_transaction(), cluster)
        await ended(producer)
        await producer.commit_transaction()

    assert [committed for committed, _ in run(work).ends] == [True, True]


def test_no_transaction_begins_before_the_end_of_the_last_one_was_waited_for():
    """Its own commit would otherwise be taken for the other one, and never happen."""

    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.CONCURRENT_TRANSACTIONS]
        await a_record_in_a_transaction(producer)
        await given_up(producer.commit_transaction(), cluster)
        await ended(producer)
        for call in (producer.begin_transaction, producer.abort_transaction):
            with pytest.raises(InvalidTxnState, match="call commit_transaction again"):
                await call()
        with pytest.raises(InvalidTxnState, match="call commit_transaction again"):
            await producer.send(TOPIC, b"more")
        await producer.commit_transaction()
        await a_record_in_a_transaction(producer)
        await producer.commit_transaction()

    assert [committed for committed, _ in run(work).ends] == [True, True, True]


def test_a_commit_that_takes_too_long_says_what_keeps_it():
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.CONCURRENT_TRANSACTIONS] * 100_000
        await a_record_in_a_transaction(producer)
        with pytest.raises(DeadlineExceeded) as caught:
            await producer.commit_transaction()
        assert isinstance(caught.value.last_error, ConcurrentTransactions)
        cluster.on_end.clear()
        await producer.commit_transaction()

    run(work, max_block_ms=2_000)


def test_closing_waits_for_the_commit_that_is_under_way():
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.CONCURRENT_TRANSACTIONS]
        await a_record_in_a_transaction(producer)
        await given_up(producer.commit_transaction(), cluster)

    assert [committed for committed, _ in run(work).ends] == [True, True]


@pytest.mark.parametrize("version", [1, 2])
def test_a_coordinator_that_forgot_the_producer_ends_it(version: int):
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.INVALID_PRODUCER_ID_MAPPING]
        await a_record_in_a_transaction(producer)
        with pytest.raises(InvalidProducerIdMapping, match="make a new one"):
            await producer.commit_transaction()
        with pytest.raises(InvalidProducerIdMapping):
            await producer.begin_transaction()

    run(work, version)


def test_an_abort_that_asks_to_be_aborted_ends_the_producer():
    """Trying again would go on for ever."""

    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.TRANSACTION_ABORTABLE]
        await a_record_in_a_transaction(producer)
        await producer.flush()
        with pytest.raises(ClientError, match="could not be aborted"):
            await producer.abort_transaction()
        with pytest.raises(ClientError, match="could not be aborted"):
            await producer.begin_transaction()

    run(work)


def test_a_commit_that_asks_to_be_aborted_is():
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.TRANSACTION_ABORTABLE]
        await a_record_in_a_transaction(producer)
        with pytest.raises(TransactionAbortable):
            await producer.commit_transaction()
        await producer.abort_transaction()
        await a_record_in_a_transaction(producer)
        await producer.commit_transaction()

    assert [committed for committed, _ in run(work).ends] == [True, False, True]


def test_an_abort_may_be_tried_again_with_a_new_epoch():
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_end = [codes.UNKNOWN_PRODUCER_ID]
        await a_record_in_a_transaction(producer)
        await producer.flush()
        with pytest.raises(UnknownProducerId):
            await producer.abort_transaction()
        await producer.abort_transaction()

    cluster = run(work, version=1)
    assert cluster.inits == [0, 1]


@pytest.mark.parametrize("code", [codes.NOT_ENOUGH_REPLICAS_AFTER_APPEND, codes.REQUEST_TIMED_OUT])
def test_a_record_that_is_given_up_breaks_its_transaction_only(code: int):
    async def work(producer: Producer, cluster: Cluster) -> None:
        cluster.on_produce = [code, code]
        await producer.begin_transaction()
        delivery = await producer.send(TOPIC, b"value")
        with pytest.raises(PystreamError):
            await delivery
        with pytest.raises(TransactionAbortable):
            await producer.commit_transaction()
        await producer.abort_transaction()
        await a_record_in_a_transaction(producer)
        await producer.commit_transaction()

    cluster = run(work, version=1, retries=1)
    assert cluster.produced == [(0, 0), (0, 0), (1, 0)]


def test_the_first_transaction_of_the_second_version_has_an_epoch_of_its_own():
    async def work(producer: Producer, cluster: Cluster) -> None:
        await a_record_in_a_transaction(producer)
        await producer.flush()
        cluster.version = 2
        await cluster.drop()
        await producer.commit_transaction()
        await a_record_in_a_transaction(producer)
        await producer.commit_transaction()

    cluster = run(work, version=1)
    assert cluster.produced[0] == (0, 0)
    assert cluster.produced[-1][0] > 0
    assert len(cluster.asked(ApiKey.ADD_PARTITIONS_TO_TXN)) == 1
