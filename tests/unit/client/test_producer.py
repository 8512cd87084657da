"""The producer against a broker that answers as no real one does at will: refusals, silence, lost sequences."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream._native.batch import parse_header
from pystream.client import Producer
from pystream.client.producer.aio import Producer as AsyncProducer
from pystream.common.error_codes import (
    CLUSTER_AUTHORIZATION_FAILED,
    INVALID_RECORD,
    NOT_LEADER_OR_FOLLOWER,
    OUT_OF_ORDER_SEQUENCE_NUMBER,
)
from pystream.common.errors import (
    BufferFull,
    ClientForked,
    Closed,
    ClusterAuthorizationFailed,
    DeadlineExceeded,
    DeliveryTimeout,
    InvalidConfig,
    InvalidRecord,
)
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.init_producer_id import InitProducerIdResponse
from pystream.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from pystream.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from tests.support.scripted_broker import ScriptedBroker

TEST_SECONDS = 120
TOPIC, TOPIC_ID = "topic", b"t" * 16
QUICK: dict[str, Any] = {"retry_backoff_ms": 1, "retry_backoff_max_ms": 4, "reconnect_backoff_ms": 1, "linger_ms": 0}
Sent = tuple[int, int, int]  # producer epoch, base sequence, records
Work = Callable[[AsyncProducer, ScriptedBroker], Awaitable[None]]


def sent(request: Any) -> Sent:
    header = parse_header(bytes(request.topic_data[0].partition_data[0].records))
    return header.producer_epoch, header.base_sequence, header.record_count


def answer(error_code: int = 0, *, base_offset: int = 0, record_errors: tuple[tuple[int, str], ...] = ()) -> Any:
    part = PartitionProduceResponse(
        index=0,
        error_code=error_code,
        base_offset=base_offset,
        record_errors=[
            BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
            for index, text in record_errors
        ],
    )
    return ProduceResponse(responses=[TopicProduceResponse(name=TOPIC, topic_id=TOPIC_ID, partition_responses=[part])])


def metadata(broker: ScriptedBroker) -> MetadataResponse:
    partition = MetadataResponsePartition(partition_index=0, leader_id=1, leader_epoch=1)
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=broker.port)],
        topics=[MetadataResponseTopic(name=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
        controller_id=1,
    )


def run(work: Work, *answers: Any, **settings: Any) -> list[Sent]:
    """What was produced, batch by batch; the broker gives `answers` in turn, then none any more."""
    produced: list[Sent] = []
    left = list(answers)

    def produce(request: Any) -> Any:
        produced.append(sent(request))
        return left.pop(0) if left else None

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.on(ApiKey.METADATA, lambda _: metadata(broker))
            broker.on(ApiKey.INIT_PRODUCER_ID, lambda _: InitProducerIdResponse(producer_id=7, producer_epoch=0))
            broker.on(ApiKey.PRODUCE, produce)
            async with AsyncProducer(
                {**QUICK, "bootstrap_servers": f"127.0.0.1:{broker.port}", **settings}
            ) as producer:
                await work(producer, broker)
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

    asyncio.run(whole())
    return produced


def test_a_batch_that_is_refused_for_now_is_sent_again_with_its_sequence():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        delivery = await (await producer.send(TOPIC, b"value"))
        assert delivery.offset == 42

    assert run(work, answer(NOT_LEADER_OR_FOLLOWER), answer(base_offset=42)) == [(0, 0, 1), (0, 0, 1)]


def test_a_batch_behind_one_that_failed_waits_for_it():
    """Both were in flight: the second is out of order, only because the first is not there yet."""

    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        first = await producer.send(TOPIC, b"first")
        await producer.send(TOPIC, b"second")
        assert (await first).offset == 0
        await producer.flush()

    refused = answer(NOT_LEADER_OR_FOLLOWER), answer(OUT_OF_ORDER_SEQUENCE_NUMBER)
    produced = run(work, *refused, answer(base_offset=0), answer(base_offset=1), batch_size=0)
    assert produced == [(0, 0, 1), (0, 1, 1), (0, 0, 1), (0, 1, 1)]


def test_a_sequence_that_is_lost_begins_anew_in_the_next_epoch():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        await (await producer.send(TOPIC, b"acknowledged"))
        await (await producer.send(TOPIC, b"refused"))

    produced = run(work, answer(), answer(OUT_OF_ORDER_SEQUENCE_NUMBER), answer(base_offset=1))
    assert produced == [(0, 0, 1), (0, 1, 1), (1, 0, 1)]


def test_a_broken_connection_has_the_same_batch_sent_again():
    async def work(producer: AsyncProducer, broker: ScriptedBroker) -> None:
        produced: list[Sent] = []

        def once_lost(request: Any) -> Any:
            produced.append(sent(request))
            if len(produced) == 1:
                asyncio.get_running_loop().create_task(broker.drop())
                return None
            return answer()

        broker.on(ApiKey.PRODUCE, once_lost)
        await (await producer.send(TOPIC, b"value"))
        assert produced == [(0, 0, 1), (0, 0, 1)]

    run(work)


def test_records_that_were_refused_are_told_from_those_beside_them():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        deliveries = [await producer.send(TOPIC, b"%d" % number) for number in range(3)]
        with pytest.raises(InvalidRecord, match="no key"):
            await deliveries[1]
        for fine in (deliveries[0], deliveries[2]):
            with pytest.raises(InvalidRecord, match="1 other records of its batch were refused: send it again"):
                await fine

    run(work, answer(INVALID_RECORD, record_errors=((1, "no key"),)))


def test_silence_ends_at_delivery_timeout_ms():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        delivery = await producer.send(TOPIC, b"value")
        with pytest.raises(DeliveryTimeout, match=r"delivery\.timeout\.ms=150"):
            await delivery

    run(work, request_timeout_ms=100, delivery_timeout_ms=150)


async def fill(producer: AsyncProducer) -> None:
    for _ in range(100):
        await producer.send(TOPIC, bytes(1_000))


def test_a_buffer_that_stays_full_refuses_after_max_block_ms():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        with pytest.raises(BufferFull, match=r"buffer\.memory=60000 .* max\.block\.ms=2000"):
            await fill(producer)
        await producer.close(0)

    run(work, buffer_memory=60_000, max_block_ms=2_000)


def test_closing_with_a_time_out_fails_what_is_left():
    async def work(producer: AsyncProducer, _: ScriptedBroker) -> None:
        delivery = await producer.send(TOPIC, b"value")
        with pytest.raises(DeadlineExceeded, match="1 records are not acknowledged"):
            await producer.flush(0.01)
        await producer.close(0.01)
        with pytest.raises(Closed):
            await delivery
        with pytest.raises(Closed):
            await producer.send(TOPIC, b"late")

    run(work)


def test_who_may_not_be_idempotent_is_told_how_to_do_without():
    async def work(producer: AsyncProducer, broker: ScriptedBroker) -> None:
        refused = InitProducerIdResponse(error_code=CLUSTER_AUTHORIZATION_FAILED)
        broker.on(ApiKey.INIT_PRODUCER_ID, lambda _: refused)
        delivery = await producer.send(TOPIC, b"value")
        with pytest.raises(ClusterAuthorizationFailed, match=r"enable\.idempotence=false"):
            await delivery
        with pytest.raises(ClusterAuthorizationFailed):
            await producer.send(TOPIC, b"more")

    assert run(work) == []


def test_a_send_that_is_cancelled_leaves_nothing_behind():
    async def work(producer: AsyncProducer, broker: ScriptedBroker) -> None:
        asked = asyncio.Event()
        broker.on(ApiKey.METADATA, lambda _: asked.set())
        waiting = asyncio.create_task(producer.send(TOPIC, b"value"))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(work)


def test_transactions_need_a_transactional_id():
    with (
        Producer(bootstrap_servers="127.0.0.1:1") as producer,
        pytest.raises(InvalidConfig, match=r"transactional\.id"),
    ):
        producer.begin_transaction()


def test_a_producer_says_in_a_forked_child_that_it_is_the_parents():
    with Producer(bootstrap_servers="127.0.0.1:1") as producer:
        child = os.fork()
        if child == 0:
            try:
                producer.send(TOPIC, b"value")
            except ClientForked:
                os._exit(17)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
