"""Producers against pystream and Apache Kafka; what they wrote is read back with another client."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import numpy
import pyarrow
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from pystream.client import Producer, aio
from pystream.client.producer import transactions
from pystream.common.errors import (
    Closed,
    InvalidTopic,
    InvalidTxnState,
    MessageTooLarge,
    ProducerFenced,
    TransactionAbortable,
    UnknownTopicOrPartition,
)
from tests.conformance.sdk.conftest import RunningCluster, eventually

PARTITIONS = 3
SECONDS = 120


@pytest.fixture
def topic(cluster: RunningCluster) -> str:
    """It keeps records of 2023, too."""
    return cluster.with_admin(lambda admin: cluster.new_topic(admin, "produced", PARTITIONS, retention_ms="-1"))


def read(cluster: RunningCluster, topic: str) -> dict[int, list[Any]]:
    """partition -> every committed message, in order."""
    settings = {
        "bootstrap.servers": cluster.bootstrap,
        "group.id": "readers",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    found: dict[int, list[Any]] = {number: [] for number in range(PARTITIONS)}
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        ended: set[int] = set()
        while len(ended) < PARTITIONS:
            message = consumer.poll(SECONDS)
            assert message is not None, f"nothing in {SECONDS} s; read to the end: {ended}"
            error = message.error()
            if error is None:
                found[message.partition()].append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(message.partition())
        return found
    finally:
        consumer.close()


def values(cluster: RunningCluster, topic: str) -> list[bytes]:
    return sorted(message.value() for messages in read(cluster, topic).values() for message in messages)


def producer_of(cluster: RunningCluster, **settings: Any) -> Producer:
    return Producer(bootstrap_servers=cluster.bootstrap, **settings)


# ---- one by one


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_was_sent_is_there_in_the_order_of_each_key(cluster: RunningCluster, topic: str, compression: str):
    with producer_of(cluster, compression_type=compression) as producer:
        deliveries = [producer.send(topic, b"%d" % n, key=b"key-%d" % (n % 7)) for n in range(2000)]
        producer.flush()
        assert [delivery for delivery in deliveries if not delivery.done() or delivery.exception()] == []
    found = [message for messages in read(cluster, topic).values() for message in messages]
    for number in range(7):
        mine = [int(message.value()) for message in found if message.key() == b"key-%d" % number]
        assert mine == list(range(number, 2000, 7))


def test_keys_go_where_other_clients_send_them(cluster: RunningCluster, topic: str):
    from confluent_kafka import Producer as Other

    keys = [b"key-%d" % number for number in range(50)]
    other = Other({"bootstrap.servers": cluster.bootstrap, "partitioner": "murmur2_random"})
    theirs: dict[bytes, int] = {}
    for key in keys:
        other.produce(
            topic, key=key, on_delivery=lambda _, message: theirs.__setitem__(message.key(), message.partition())
        )
    assert other.flush(SECONDS) == 0
    with producer_of(cluster) as producer:
        ours = {key: producer.send(topic, key=key).result(SECONDS).partition for key in keys}
    assert ours == theirs


def test_headers_times_and_nulls_arrive_as_they_were_given(cluster: RunningCluster, topic: str):
    with producer_of(cluster) as producer:
        headers = [("a", b"1"), ("a", None), ("ü", "ß")]
        delivery = producer.send(topic, None, b"key", headers, timestamp=1_700_000_000_123, partition=2)
        assert delivery.result(SECONDS).timestamp == 1_700_000_000_123
    (message,) = read(cluster, topic)[2]
    assert (message.key(), message.value()) == (b"key", None)
    assert message.headers() == [("a", b"1"), ("a", None), ("ü", "ß".encode())]
    assert message.timestamp() == (1, 1_700_000_000_123)


def test_an_asyncio_delivery_tells_where_the_record_is(cluster: RunningCluster, topic: str):
    async def produce() -> tuple[str, int, int]:
        async with aio.Producer(bootstrap_servers=cluster.bootstrap) as producer:
            delivery = await (await producer.send(topic, b"value", headers={"a": "b"}, partition=2))
            return delivery.topic, delivery.partition, delivery.offset

    assert asyncio.run(produce()) == (topic, 2, 0)


@pytest.mark.parametrize("acks", ["0", "1"])
def test_fewer_acks_are_taken_at_their_word(cluster: RunningCluster, topic: str, acks: str):
    with producer_of(cluster, acks=acks) as producer:
        sent = [producer.send(topic, b"%03d" % number, partition=0) for number in range(100)]
        producer.flush()
        assert [delivery.exception() for delivery in sent if delivery.exception()] == []
        assert producer.send(topic, b"last", partition=0).result(SECONDS).offset == (-1 if acks == "0" else 100)
    ends_at = time.monotonic() + SECONDS
    while len(values(cluster, topic)) < 101:  # what is acknowledged so early may be seen a moment later
        assert time.monotonic() < ends_at
    assert values(cluster, topic) == [*(b"%03d" % number for number in range(100)), b"last"]


def test_closing_sends_what_is_left_and_refuses_what_comes(cluster: RunningCluster, topic: str):
    producer = producer_of(cluster, linger_ms=60_000)
    delivery = producer.send(topic, b"left")
    producer.close()
    producer.close()
    assert delivery.result(0).offset == 0
    with pytest.raises(Closed):
        producer.send(topic, b"late")
    with pytest.raises(Closed):
        producer.flush()


def test_serializers_and_a_partitioner_of_ones_own(cluster: RunningCluster, topic: str):
    with producer_of(
        cluster,
        value_serializer=lambda _topic, value: str(value).encode(),
        partitioner=lambda _topic, key, count: int(key) % count,
    ) as producer:
        deliveries = [producer.send(topic, number, key=b"%d" % number) for number in range(6)]
        assert [delivery.result(SECONDS).partition for delivery in deliveries] == [0, 1, 2, 0, 1, 2]
    assert values(cluster, topic) == [b"0", b"1", b"2", b"3", b"4", b"5"]


# ---- many at once


def structs(list_of: Any) -> Any:
    """A column of headers."""
    header = pyarrow.struct([("name", pyarrow.string()), ("value", pyarrow.large_binary())])
    return pyarrow.array([[{"name": "h", "value": b"1"}], None, []], list_of(header))


def batches() -> dict[str, tuple[Any, dict[str, Any]]]:
    """name -> rows that mean b"a" under key b"k", b"bc" and, where that can be said, null."""
    rows = [b"a", b"bc", None]
    keys = [b"k", None, None]
    table = pyarrow.table({"value": pyarrow.array(rows), "key": pyarrow.array(keys, pyarrow.binary())})
    texts = pyarrow.chunked_array([pyarrow.array(["a"]), pyarrow.array(["bc", None])])
    with_headers = table.append_column(
        "headers", pyarrow.array([[("h", b"1")], None, []], pyarrow.map_(pyarrow.string(), pyarrow.binary()))
    )
    return {
        "list": (rows, {"keys": keys}),
        "arrow": (pyarrow.array(rows), {"keys": pyarrow.array(keys, pyarrow.large_binary())}),
        "arrow chunks": (texts, {"keys": keys}),
        "arrow slice": (pyarrow.array([b"no", *rows], pyarrow.large_binary())[1:], {"keys": keys}),
        "arrow table": (table, {}),
        "arrow table with headers": (with_headers, {}),
        "list, the same headers": (rows, {"keys": keys, "headers": {"h": "1"}}),
        "list, headers of each row": (rows, {"keys": keys, "headers": [[("h", b"1")], None, {}]}),
        "arrow, headers in structs": (pyarrow.array(rows), {"keys": keys, "headers": structs(pyarrow.list_)}),
        "arrow slice, headers in large lists": (
            pyarrow.array([b"no", *rows])[1:],
            {
                "keys": keys,
                "headers": pyarrow.concat_arrays([structs(pyarrow.large_list)[2:]] * 2 + [structs(pyarrow.large_list)])[
                    2:
                ],
            },
        ),
        "numpy and list": (numpy.array([b"a", b"bc"], "S5"), {"keys": keys[:2]}),
    }


def test_headers_that_are_no_column_are_refused(cluster: RunningCluster, topic: str):
    nameless = pyarrow.array([[{"name": None, "value": b"1"}]], structs(pyarrow.list_).type)
    with producer_of(cluster) as producer:
        with pytest.raises(TypeError, match="map, or a list of structs"):
            producer.send_batch(topic, pyarrow.array([b"a"]), headers=pyarrow.array([["h"]]))
        with pytest.raises(ValueError, match="no name"):
            producer.send_batch(topic, [b"a"], headers=nameless)


@pytest.mark.parametrize("kind", batches())
def test_a_batch_arrives_row_by_row_in_order(cluster: RunningCluster, topic: str, kind: str):
    rows, beside = batches()[kind]
    when = time.time_ns() // 1_000_000 - 60_000  # not so long ago that retention takes it
    with producer_of(cluster) as producer:
        spans = producer.send_batch(topic, rows, partitions=1, timestamps=when, **beside).result(SECONDS)
        assert sum(span.record_count for span in spans) == len(rows)
    found = read(cluster, topic)[1]
    expected = [(b"k", b"a"), (None, b"bc"), (None, None)][: len(rows)]
    assert [(message.key(), message.value()) for message in found] == expected
    assert {message.timestamp()[1] for message in found} == {when}
    assert found[0].headers() == ([("h", b"1")] if "headers" in kind else None)


def test_rows_of_a_batch_go_to_their_partitions(cluster: RunningCluster, topic: str):
    table = pyarrow.table({"value": [f"{n}" for n in range(300)], "partition": [n % 3 for n in range(300)]})

    async def produce() -> None:
        async with aio.Producer(bootstrap_servers=cluster.bootstrap) as producer:
            await (await producer.send_batch(topic, table))

    asyncio.run(produce())
    for partition, messages in read(cluster, topic).items():
        assert [int(message.value()) for message in messages] == list(range(partition, 300, 3))


def test_a_batch_larger_than_the_memory_goes_through(cluster: RunningCluster, topic: str):
    rows = numpy.frombuffer(b"".join(b"%08d" % n for n in range(50_000)), "V8")
    with producer_of(cluster, buffer_memory=100_000) as producer:
        assert sum(span.record_count for span in producer.send_batch(topic, rows, partitions=0).result(SECONDS)) == len(
            rows
        )
    assert [int(message.value()) for message in read(cluster, topic)[0]] == list(range(50_000))


# ---- transactions


@pytest.fixture(params=[1, 2])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of the transaction protocol; brokers serve the first one to clients that know no other."""
    if request.param == 1:
        monkeypatch.setattr(transactions, "FEATURE", "a feature that nobody has")


@pytest.mark.usefixtures("protocol")
def test_a_transaction_is_seen_whole_or_not_at_all(cluster: RunningCluster, topic: str):
    with producer_of(cluster, transactional_id=topic) as producer:
        with producer.transaction():
            producer.send(topic, b"kept")
        with suppress(ZeroDivisionError), producer.transaction():
            producer.send(topic, b"dropped")
            producer.flush()
            raise ZeroDivisionError
        producer.begin_transaction()
        producer.send_batch(topic, [b"kept too"])
        producer.commit_transaction()
    assert values(cluster, topic) == [b"kept", b"kept too"]


@pytest.mark.usefixtures("protocol")
def test_offsets_are_committed_with_the_transaction_or_not_at_all(cluster: RunningCluster, topic: str):
    group = cluster.fresh("group")

    async def committed(admin: aio.AdminClient) -> int | None:
        offsets = (await admin.list_consumer_group_offsets([group]))[group]
        return offsets[topic, 0].offset if (topic, 0) in offsets else None

    async def work(admin: aio.AdminClient) -> list[int | None]:
        found: list[int | None] = []
        async with aio.Producer(bootstrap_servers=cluster.bootstrap, transactional_id=topic) as producer:
            for number, ending in enumerate((producer.commit_transaction, producer.abort_transaction)):
                if number == 0:
                    await producer.init_transactions()
                await producer.begin_transaction()
                await producer.send(topic, b"%d" % number)
                await producer.send_offsets_to_transaction({(topic, 0): 10 + number}, group)
                await ending()
                found.append(await eventually(lambda: committed(admin), lambda offset: offset is not None))
        return found

    assert cluster.with_admin(work) == [10, 10]
    assert values(cluster, topic) == [b"0"]


@pytest.mark.usefixtures("protocol")
def test_the_later_of_two_producers_fences_the_earlier(cluster: RunningCluster, topic: str):
    with (
        producer_of(cluster, transactional_id=topic) as earlier,
        producer_of(cluster, transactional_id=topic) as later,
    ):
        earlier.init_transactions()
        earlier.begin_transaction()
        earlier.send(topic, b"fenced")
        earlier.flush()
        with later.transaction():
            later.send(topic, b"later")
        with pytest.raises((ProducerFenced, TransactionAbortable)):
            earlier.commit_transaction()
    assert values(cluster, topic) == [b"later"]


@pytest.mark.usefixtures("protocol")
def test_a_record_that_fails_breaks_the_transaction_until_it_is_aborted(cluster: RunningCluster):
    topic = cluster.with_admin(lambda admin: cluster.new_topic(admin, "small", PARTITIONS, max_message_bytes="1000"))
    with producer_of(cluster, transactional_id=topic) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"dropped with it")
        producer.flush()
        failed = producer.send(topic, bytes(5000))
        with pytest.raises(TransactionAbortable, match="abort it and begin anew"):
            producer.commit_transaction()
        with pytest.raises(MessageTooLarge, match=r"max\.message\.bytes"):
            failed.result(SECONDS)
        with pytest.raises(TransactionAbortable):
            producer.send(topic, b"refused")
        producer.abort_transaction()
        with producer.transaction():
            producer.send(topic, b"after it")
    assert values(cluster, topic) == [b"after it"]


@pytest.mark.usefixtures("protocol")
def test_steps_out_of_turn_say_what_comes_first(cluster: RunningCluster, topic: str):
    with producer_of(cluster, transactional_id=topic) as producer:
        with pytest.raises(InvalidTxnState, match="init_transactions first"):
            producer.begin_transaction()
        producer.init_transactions()
        with pytest.raises(InvalidTxnState, match="begin_transaction first"):
            producer.send(topic, b"outside")


# ---- what is refused


def test_a_name_that_no_topic_can_have_is_refused_at_once(cluster: RunningCluster):
    with producer_of(cluster) as producer, pytest.raises(InvalidTopic, match="bad name"):
        producer.send("bad name", b"value")


def test_a_partition_that_is_not_there_is_refused_with_those_that_are(cluster: RunningCluster, topic: str):
    with producer_of(cluster) as producer, pytest.raises(UnknownTopicOrPartition, match="partitions 0 to 2, not 3"):
        producer.send(topic, b"value", partition=PARTITIONS)


def test_a_record_above_max_request_size_is_refused_at_once(cluster: RunningCluster, topic: str):
    with producer_of(cluster, max_request_size=10_000) as producer:
        with pytest.raises(MessageTooLarge, match=r"max\.request\.size"):
            producer.send(topic, bytes(20_000))
        with pytest.raises(MessageTooLarge) as refused:
            producer.send_batch(topic, [b"taken", bytes(20_000)])
    assert refused.value.__notes__ == ["1 rows before the one that was refused are in the buffer"]
    assert values(cluster, topic) == [b"taken"]


def test_batches_that_are_too_large_for_the_topic_are_split(cluster: RunningCluster):
    topic = cluster.with_admin(lambda admin: cluster.new_topic(admin, "small", PARTITIONS, max_message_bytes="1000"))
    with producer_of(cluster, batch_size=16_384, linger_ms=1000) as producer:
        deliveries = [producer.send(topic, b"%0200d" % number, partition=0) for number in range(50)]
        producer.flush()
        assert [delivery.result(SECONDS).offset for delivery in deliveries] == list(range(50))
    assert [int(message.value()) for message in read(cluster, topic)[0]] == list(range(50))
