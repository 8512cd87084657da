"""What clients measure of themselves, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client import Producer as BlockingProducer
from pystream.client.aio import Consumer, Producer
from pystream.common.errors import ClientError, MessageTooLarge
from tests.conformance.sdk.conftest import RunningCluster

PATIENCE = 120.0
RECORDS = 20


def topic_of(cluster: RunningCluster, **configs: str) -> str:
    return cluster.with_admin(lambda admin: cluster.new_topic(admin, "metrics", **configs))


def test_a_producer_counts_what_it_sends(cluster: RunningCluster):
    topic = topic_of(cluster, max_message_bytes="2000")
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, client_id="counting", linger_ms=1_000) as producer:
        for _ in range(RECORDS):
            producer.send(topic, b"v" * 50, partition=0)
        producer.flush()
        with pytest.raises(MessageTooLarge):
            producer.send(topic, b"v" * 3_000, partition=0).result(PATIENCE)
        producer.flush()
        metrics = producer.metrics()
    again = metrics.value("record-retry-total")  # a record that is sent again counts again, as in Kafka
    assert metrics.value("record-send-total", topic=topic) == metrics.value("record-send-total") == RECORDS + 1 + again
    assert metrics.value("record-error-total", topic=topic) == metrics.value("record-error-total") == 1
    assert metrics.value("byte-total", topic=topic) > RECORDS * 50 + 3_000
    assert metrics.value("records-per-request-avg") <= RECORDS
    assert metrics.value("batch-size-max") > 3_000
    assert metrics.value("record-queue-time-max") >= 0
    assert metrics.value("request-latency-avg") == metrics.value("request-latency-avg", node_id="node-1")
    assert metrics.value("requests-in-flight") == 0
    assert metrics.value("buffer-available-bytes") <= metrics.value("buffer-total-bytes") == 32 << 20
    assert 1 <= metrics.value("connection-count") <= metrics.value("connection-creation-total")
    assert 0 <= metrics.value("metadata-age") < PATIENCE
    assert {tags[0] for _, _, tags in metrics} == {("client-id", "counting")}


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_consumer_counts_what_it_reads(cluster: RunningCluster, protocol: str):
    topic = topic_of(cluster)

    async def work() -> Any:
        async with Producer(bootstrap_servers=cluster.bootstrap) as producer:
            for _ in range(RECORDS):
                await producer.send(topic, b"value")
        settings: dict[str, Any] = {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": cluster.fresh("counting"),
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "heartbeat.interval.ms": 100,
            "enable.auto.commit": False,
        }
        async with Consumer(settings) as consumer, asyncio.timeout(PATIENCE):
            await consumer.subscribe([topic])
            first = await consumer.poll(max_records=RECORDS // 2)
            assert len(first) == RECORDS // 2
            half = consumer.metrics()
            await consumer.commit()
            while consumer.metrics().value("records-consumed-total") < RECORDS:
                await consumer.poll()
            while consumer.metrics().value("heartbeat-total") < 1:
                await consumer.poll(0.01)
            return half, consumer.metrics()

    half, metrics = asyncio.run(work())
    assert half.value("records-consumed-total") == half.value("records-lag-max") == RECORDS / 2
    assert metrics.value("records-consumed-total", topic=topic) == RECORDS
    assert metrics.value("bytes-consumed-total") > RECORDS * len(b"value")
    assert metrics.value("records-lag", topic=topic, partition="0") == metrics.value("records-lag-max") == 0
    assert metrics.value("records-lead", topic=topic, partition="0") == RECORDS
    assert metrics.value("assigned-partitions") == 1
    assert metrics.value("commit-total") == 1
    assert metrics.value("commit-latency-max") >= 0
    assert metrics.value("rebalance-total") >= 1
    assert metrics.value("rebalance-latency-max") >= 0
    assert metrics.value("fetch-total") >= 1
    assert metrics.value("fetch-latency-max") >= 0
    assert 0 <= metrics.value("poll-idle-ratio-avg") <= 1
    assert metrics.value("last-heartbeat-seconds-ago") >= 0
    assert metrics.value("last-poll-seconds-ago") >= 0


def test_a_client_that_pushes_nothing_has_no_id(cluster: RunningCluster):
    with BlockingConsumer(bootstrap_servers=cluster.bootstrap, enable_metrics_push=False) as consumer:
        with pytest.raises(ClientError, match=r"enable\.metrics\.push"):
            consumer.client_instance_id()
