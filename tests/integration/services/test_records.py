"""RecordService: peek, tail, produce."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from confluent_kafka import Producer

from pystream.client.grpc import connect, connect_aio
from pystream.client.grpc.faces import Admin
from pystream.client.grpc.messages import records_pb2
from pystream.client.grpc.status import InvalidFields, error_of
from pystream.common.errors import (
    Busy,
    DeadlineExceeded,
    InvalidRequest,
    InvalidTopic,
    LimitExceeded,
    MessageTooLarge,
    PystreamError,
    UnknownTopicOrPartition,
)
from tests.integration.services.conftest import fresh
from tests.support.admin_process import AdminProcess
from tests.support.broker_process import BrokerProcess


def texts(answer: Any) -> list[str]:
    return [record.value.text for record in answer.records]


def numbered(count: int, partition: int | None = 0, first: int = 0) -> list[dict[str, Any]]:
    """Records whose times grow with their numbers."""
    return [
        {
            "value": {"text": str(number)},
            "timestamp_ms": 1_700_000_000_000 + number,
            **({} if partition is None else {"partition": partition}),
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def topic(admin: Admin) -> str:
    name = fresh("records")
    admin.topics.create_topics(topics=[name], partitions=2, config={"retention.ms": "-1"})
    return name


# --- produce ----------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(admin: Admin, topic: str):
    record = {
        "key": {"data": b"\xff\x00"},
        "value": {"text": "grüße"},
        "headers": [{"name": "trace", "value": {"data": b"\x01"}}, {"name": "none"}],
        "partition": 1,
        "timestamp_ms": 1_700_000_000_000,
    }

    (result,) = admin.records.produce_records(topic=topic, records=[record]).results
    (seen,) = admin.records.peek_records(topic=topic, text=True).records

    assert (result.written.partition, result.written.offset) == (1, 0)
    assert (seen.partition, seen.offset, seen.timestamp_ms) == (1, 0, 1_700_000_000_000)
    assert (seen.key.data, seen.value.text, seen.value_size) == (b"\xff\x00", "grüße", 7)
    assert [each.name for each in seen.headers] == ["trace", "none"]
    assert seen.headers[0].value.text == "\x01"
    assert seen.headers[1].value.WhichOneof("form") is None


def test_a_null_is_not_an_empty_value(admin: Admin, topic: str):
    admin.records.produce_records(topic=topic, records=[{"key": {"text": "k"}}, {"value": {"text": ""}}])

    records = admin.records.peek_records(topic=topic).records

    assert sorted((each.value.WhichOneof("form"), each.value_size) for each in records if each.key.data) == [(None, -1)]
    assert [(each.value.WhichOneof("form"), each.value_size) for each in records if not each.key.data] == [("data", 0)]


def test_records_fail_one_by_one(admin: Admin, topic: str):
    records = [
        {"value": {"text": "a"}, "partition": 0},
        {"value": {"text": "b"}, "partition": 7},
        {"value": {"data": bytes(2 << 20)}, "partition": 0},
        {"value": {"text": "d"}, "partition": 0},
    ]

    results = admin.records.produce_records(topic=topic, records=records).results

    assert [result.WhichOneof("outcome") for result in results] == ["written", "error", "error", "written"]
    assert isinstance(error_of(results[1].error), UnknownTopicOrPartition)
    assert isinstance(error_of(results[2].error), MessageTooLarge)
    assert texts(admin.records.peek_records(topic=topic, start="start", text=True)) == ["a", "d"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({}, ["topic", "records"]),
        ({"topic": "t"}, ["records"]),
        ({"topic": "t", "records": [{}] * 10_001}, ["records"]),
        (
            {"topic": "t", "records": [{"partition": -1, "timestamp_ms": -1}]},
            ["records[0].partition", "records[0].timestamp_ms"],
        ),
    ],
)
def test_records_that_cannot_be_are_refused(admin: Admin, request_: dict[str, Any], fields: list[str]):
    with pytest.raises(InvalidFields) as refused:
        admin.records.produce_records(**request_)

    assert [field for field, _ in refused.value.violations] == fields


def test_nothing_is_written_to_a_topic_that_is_not_there(admin: Admin):
    name = fresh("nowhere")

    with pytest.raises(UnknownTopicOrPartition):
        admin.records.produce_records(topic=name, records=[{"value": {"text": "a"}}])

    assert list(admin.topics.list_topics(pattern=name).results) == []


# --- peek -------------------------------------------------------------------------------------------------------------


def test_the_newest_records_of_all_partitions_are_shown_in_the_order_of_time(admin: Admin, topic: str):
    admin.records.produce_records(topic=topic, records=[*numbered(4, 0), *numbered(4, 1, 4)])

    assert texts(admin.records.peek_records(topic=topic, limit=6, text=True)) == ["2", "3", "4", "5", "6", "7"]
    assert texts(admin.records.peek_records(topic=topic, limit=2, partitions=[0], text=True)) == ["2", "3"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("start", ["0", "1", "2"]),
        ("7", ["7", "8", "9"]),
        ("-2", ["8", "9"]),
        ("-100", ["0", "1", "2"]),
        ("@1700000000004", ["4", "5", "6"]),
        ("end", []),
        ("999", []),
    ],
)
def test_records_are_shown_from_a_position_on(admin: Admin, topic: str, start: str, expected: list[str]):
    admin.records.produce_records(topic=topic, records=numbered(10))

    assert texts(admin.records.peek_records(topic=topic, start=start, limit=3, partitions=[0], text=True)) == expected


def test_values_are_cut_and_their_size_is_told(admin: Admin, topic: str):
    admin.records.produce_records(topic=topic, records=[{"value": {"text": "abcdef"}}])

    (record,) = admin.records.peek_records(topic=topic, max_value_bytes=2, text=True).records

    assert (record.value.text, record.value_size) == ("ab", 6)


def test_records_of_aborted_transactions_are_shown_unless_only_committed_are_wanted(
    admin: Admin, broker: BrokerProcess, topic: str
):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": fresh("aborted")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"aborted", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)

    everything = admin.records.peek_records(topic=topic, text=True)
    committed = admin.records.peek_records(topic=topic, text=True, isolation=records_pb2.ISOLATION_READ_COMMITTED)

    assert texts(everything) == ["aborted"]
    assert texts(committed) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"topic": ""}, "topic"),
        ({"topic": "t", "limit": 0}, "limit"),
        ({"topic": "t", "limit": -5}, "limit"),
        ({"topic": "t", "limit": 2**31 - 1}, "limit"),
        ({"topic": "t", "max_value_bytes": -1}, "max_value_bytes"),
        ({"topic": "t", "partitions": [-1]}, "partitions[0]"),
        ({"topic": "t", "partitions": [1] * 10_001}, "partitions"),
        ({"topic": "t", "start": "yesterday"}, "start"),
        ({"topic": "t", "start": "+5"}, "start"),
        ({"topic": "t", "isolation": 9}, "isolation"),
    ],
)
def test_what_cannot_be_peeked_at_is_refused(admin: Admin, request_: dict[str, Any], field: str):
    with pytest.raises(InvalidFields) as refused:
        admin.records.peek_records(**request_)

    assert [name for name, _ in refused.value.violations] == [field]


def test_of_ten_thousand_wrong_fields_the_first_are_told(admin: Admin, topic: str):
    with pytest.raises(InvalidFields) as refused:
        admin.records.peek_records(topic=topic, partitions=[-1] * 10_000)

    assert [name for name, _ in refused.value.violations] == [*(f"partitions[{place}]" for place in range(10)), "..."]


def test_a_long_name_is_refused_as_short_ones_are(admin: Admin):
    with pytest.raises(InvalidFields, match="topic: 20000 characters, more than the 249"):
        admin.records.peek_records(topic="y" * 20_000)
    with pytest.raises(InvalidTopic, match=r"\.\.\. \(\d+ characters\)"):
        admin.records.produce_records(topic="y" * 20_000, records=numbered(1))


@pytest.mark.parametrize("partitions", [[], [9]])
def test_what_is_not_there_cannot_be_peeked_at(admin: Admin, topic: str, partitions: list[int]):
    name = topic if partitions else fresh("nowhere")

    with pytest.raises(UnknownTopicOrPartition):
        admin.records.peek_records(topic=name, partitions=partitions)


# --- tail -------------------------------------------------------------------------------------------------------------


def test_a_tail_gives_what_is_written_after_it_has_begun(admin: Admin, topic: str):
    admin.records.produce_records(topic=topic, records=numbered(3))

    with admin.records.tail_records(topic=topic, text=True, timeout=60) as tail:
        tail.wait_until_begun()
        admin.records.produce_records(topic=topic, records=numbered(2, first=3))
        seen: list[str] = []
        while len(seen) < 2:
            seen += texts(next(tail))

    assert seen == ["3", "4"]


def test_a_tail_with_a_limit_ends_by_itself(admin: Admin, topic: str):
    admin.records.produce_records(topic=topic, records=numbered(10))

    answers = list(admin.records.tail_records(topic=topic, start="start", limit=7, text=True, timeout=60))

    assert [text for answer in answers for text in texts(answer)] == [str(number) for number in range(7)]


def open_streams(admin: Admin) -> float:
    (metric,) = admin.metrics.list_metrics(pattern="pystream_admin_streams").results
    return sum(sample.value for sample in metric.samples)


def await_no_stream(admin: Admin) -> None:
    """The server hears of a cancellation a moment later: ask until it has."""
    heard = threading.Event()
    while open_streams(admin) > 0 and not heard.wait(0.01):
        continue


def test_a_tail_that_is_cancelled_is_closed_on_the_server(admin: Admin, topic: str):
    await_no_stream(admin)  # of another test's
    tail = admin.records.tail_records(topic=topic, timeout=60)
    tail.wait_until_begun()
    assert open_streams(admin) == 1

    tail.cancel()

    await_no_stream(admin)
    with pytest.raises(PystreamError, match="CANCELLED"):
        next(tail)


def test_tails_that_are_left_in_the_middle_are_no_fault_of_the_server(
    broker: BrokerProcess, admin: Admin, tmp_path: Path, topic: str
):
    record = {"value": {"data": bytes(100_000)}, "partition": 0}
    for _ in range(10):
        admin.records.produce_records(topic=topic, records=[record] * 20)
    log = tmp_path / "log"

    with AdminProcess(broker.bootstrap, log) as server, connect(server.address) as other:
        for number in range(40):
            with other.records.tail_records(topic=topic, start="start", timeout=60) as tail:
                for _ in range(1 + number % 4):
                    next(tail)
        await_no_stream(other)

    assert "ERROR" not in log.read_text()


FOLLOWER = """
import sys
from pystream.client.grpc import connect

tail = connect(sys.argv[1]).records.tail_records(topic=sys.argv[2])
tail.wait_until_begun()
print("begun", flush=True)
next(tail)
"""


def test_a_tail_ends_with_the_process_that_asked_for_it(server: AdminProcess, admin: Admin, topic: str):
    await_no_stream(admin)  # of another test's
    process = subprocess.Popen([sys.executable, "-c", FOLLOWER, server.address, topic], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    assert open_streams(admin) == 1

    process.kill()
    process.wait()
    process.stdout.close()

    await_no_stream(admin)


def test_a_tail_ends_with_its_deadline(admin: Admin, topic: str):
    tail = admin.records.tail_records(topic=topic, timeout=0.5)

    with pytest.raises(DeadlineExceeded):
        next(tail)

    await_no_stream(admin)


def test_a_tail_of_what_is_not_there_is_refused(admin: Admin, topic: str):
    with pytest.raises(UnknownTopicOrPartition):
        admin.records.tail_records(topic=fresh("nowhere"), timeout=60).wait_until_begun()
    with pytest.raises(InvalidFields, match="limit"):
        next(admin.records.tail_records(topic=topic, limit=-1, timeout=60))


async def read_all(server: AdminProcess, topic: str) -> None:
    async with connect_aio(server.address) as admin:
        await admin.records.produce_records(topic=topic, records=numbered(2))
        with pytest.raises(UnknownTopicOrPartition):
            await admin.records.peek_records(topic=fresh("nowhere"))
        seen: list[str] = []
        async with admin.records.tail_records(topic=topic, start="start", limit=2, text=True, timeout=60) as tail:
            await tail.wait_until_begun()
            async for answer in tail:
                seen += texts(answer)
        assert seen == ["0", "1"]


def test_more_streams_than_the_server_allows_are_refused(broker: BrokerProcess, tmp_path: Any, topic: str):
    with AdminProcess(broker.bootstrap, tmp_path / "log", {"max.streams": "1"}) as server:
        with connect(server.address) as admin:
            first = admin.records.tail_records(topic=topic, timeout=60)
            first.wait_until_begun()
            with pytest.raises(Busy, match=r"max\.streams"):
                next(admin.records.tail_records(topic=topic, timeout=60))
            first.cancel()
            await_no_stream(admin)
            second = admin.records.tail_records(topic=topic, timeout=60)
            second.wait_until_begun()
            second.cancel()


def test_more_calls_at_once_than_the_server_allows_are_refused(broker: BrokerProcess, tmp_path: Any, topic: str):
    with AdminProcess(broker.bootstrap, tmp_path / "log", {"max.concurrent.calls": "1"}) as server:
        with connect(server.address) as admin, admin.records.tail_records(topic=topic, timeout=60) as tail:
            tail.wait_until_begun()
            with pytest.raises(LimitExceeded):
                admin.topics.list_topics(timeout=30)


@pytest.mark.parametrize("pattern", ["(", "(a+)+$" * 2_000, "(?<=a)b"])
def test_a_pattern_that_is_none_is_refused(admin: Admin, pattern: str):
    for ask in (admin.topics.list_topics, admin.groups.list_groups, admin.metrics.list_metrics):
        with pytest.raises(InvalidRequest):
            ask(pattern=pattern)


def test_a_pattern_costs_linear_time(admin: Admin):
    name = "a" * 200
    admin.topics.create_topics(topics=[name])

    assert list(admin.topics.list_topics(pattern="(a+)+b", timeout=30).results) == []


def test_a_message_that_is_too_long_is_refused_before_it_is_read(server: AdminProcess, topic: str):
    request = records_pb2.ProduceRecordsRequest(topic=topic, records=[{"value": {"data": bytes(5 << 20)}}])
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/pystream.admin.v1.RecordService/ProduceRecords")
        with pytest.raises(grpc.RpcError) as refused:
            call(request.SerializeToString(), timeout=60)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_asyncio_has_the_same_names(server: AdminProcess, topic: str):
    asyncio.run(read_all(server, topic))
