"""What is no record is refused with what to do."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Queue
from typing import Any

import numpy
import pytest

from pystream import testing
from pystream.client import Producer, aio
from pystream.common.errors import (
    BufferFull,
    ClientError,
    InvalidConfig,
    InvalidTimestamp,
    InvalidTopic,
    PystreamError,
    SerializationError,
)

TOPIC = "records"
TEST_SECONDS = 60
Send = Callable[..., Any]


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with testing.broker() as broker:
        yield broker.bootstrap


@pytest.fixture(params=["blocking", "asyncio"])
def send(request: pytest.FixtureRequest, bootstrap: str) -> Iterator[Send]:
    """`send` of either face."""
    if request.param == "blocking":
        with Producer(bootstrap_servers=bootstrap) as producer:
            yield producer.send
    else:
        with asyncio.Runner() as runner:

            async def begun() -> aio.Producer:
                return aio.Producer(bootstrap_servers=bootstrap)

            later = runner.run(begun())
            yield lambda *given, **named: runner.run(later.send(*given, **named))
            runner.run(later.close())


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "a number": ((TOPIC, 5), {}, TypeError, r"value is bytes-like or None, not int: .*\.LongSerializer\(\)"),
    "a text": ((TOPIC, "text"), {}, TypeError, r"value is bytes-like .*, not str: .*\.StringSerializer\(\)"),
    "a dict as key": ((TOPIC, b"", {}), {}, TypeError, r"key is bytes-like .*, not dict: .* a key_serializer, such as"),
    "an object": ((TOPIC, object()), {}, TypeError, "not object: make bytes of it, or give the producer a value_seria"),
    "no topic": ((None, b""), {}, TypeError, "a topic is a str, not NoneType"),
    "a topic of bytes": ((b"records", b""), {}, TypeError, "a topic is a str, not bytes"),
    "a bad name": (
        ("bad/topic", b""),
        {},
        InvalidTopic,
        r"'bad/topic' contains .* other than ASCII alphanumerics, '\.'",
    ),
    "no name": (("", b""), {}, InvalidTopic, "the empty string is not allowed"),
    "two dots": (("..", b""), {}, InvalidTopic, r"'\.\.' is not allowed"),
    "a long name": (("x" * 250, b""), {}, InvalidTopic, "longer than the max allowed length 249"),
    "a text as time": (
        (TOPIC, b""),
        {"timestamp": "now"},
        TypeError,
        "milliseconds since 1970 as an int, not str 'now'",
    ),
    "seconds": ((TOPIC, b""), {"timestamp": 1.5}, TypeError, "milliseconds since 1970 as an int, not float"),
    "a datetime": ((TOPIC, b""), {"timestamp": datetime.now(UTC)}, TypeError, r"round\(when\.timestamp\(\) \* 1000\)"),
    "before 1970": ((TOPIC, b""), {"timestamp": -2}, InvalidTimestamp, "0 and above, not -2"),
    "too late": ((TOPIC, b""), {"timestamp": 1 << 70}, InvalidTimestamp, "milliseconds since 1970"),
    "a text as partition": (
        (TOPIC, b""),
        {"partition": "0"},
        TypeError,
        "a partition is an int, not str '0'; leave it",
    ),
    "half a partition": ((TOPIC, b""), {"partition": 0.5}, TypeError, "a partition is an int, not float"),
    "a large partition": ((TOPIC, b""), {"partition": 1 << 40}, ValueError, "leave it out to have one chosen"),
    "a text as headers": ((TOPIC, b"", None, "text"), {}, TypeError, "headers are a dict, or a list with pairs"),
    "texts as headers": ((TOPIC, b"", None, ["ab"]), {}, TypeError, "not list of what is no pair"),
    "three": ((TOPIC, b"", None, [("a", b"b", b"c")]), {}, TypeError, "not list of what is no pair"),
    "a number as headers": (
        (TOPIC, b"", None, 5),
        {},
        TypeError,
        "headers are a dict, or a list with pairs .* not int",
    ),
    "a header's number": (
        (TOPIC, b"", None, {"a": 5}),
        {},
        TypeError,
        "header 'a' is bytes-like, a str or None, not int",
    ),
    "a header's name": ((TOPIC, b"", None, {5: b"a"}), {}, TypeError, "the name of a header is a str, not int 5"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_record_is_refused_with_what_to_do(send: Send, what: str):
    given, named, kind, told = WRONG[what]
    with pytest.raises(kind, match=told):
        send(*given, **named)


def test_whatever_is_a_whole_number_is_a_time_and_a_partition(send: Send):
    delivery = send(TOPIC, b"", timestamp=numpy.int64(1_700_000_000_000), partition=numpy.int8(0))
    assert (delivery.timestamp, delivery.partition) == (1_700_000_000_000, 0)


def test_a_name_that_no_topic_can_have_is_refused_before_any_broker_is_asked():
    with Producer(bootstrap_servers="127.0.0.1:1") as producer, pytest.raises(InvalidTopic):
        producer.send_batch("bad/topic", [b"value"])


WRONG_ROWS: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no topic": ((5, [b""]), {}, TypeError, "a topic is a str, not int"),
    "one value": ((TOPIC, b"value"), {}, TypeError, "takes rows of values, found a bytes; send takes a single record"),
    "one key": ((TOPIC, [b""], b"key"), {}, TypeError, "takes rows of keys, found a bytes"),
    "a number": ((TOPIC, 5), {}, TypeError, "takes rows of values, found a int"),
    "numbers": ((TOPIC, [5]), {}, TypeError, "row 0: bytes or None expected, found int"),
    "too many keys": ((TOPIC, [b""], [b"", b""]), {}, ValueError, "2 keys for 1 values"),
    "too many headers": ((TOPIC, [b""]), {"headers": [None, None]}, ValueError, "2 headers for 1 values"),
    "too few times": ((TOPIC, [b""] * 3), {"timestamps": [1, 2]}, ValueError, "2 timestamps for 3 values"),
    "too few partitions": ((TOPIC, [b""] * 3), {"partitions": [0]}, ValueError, "1 partitions for 3 values"),
    "a text as time": ((TOPIC, [b""]), {"timestamps": "now"}, TypeError, "timestamps are milliseconds .*; found str"),
    "texts as times": ((TOPIC, [b""]), {"timestamps": ["now"]}, TypeError, "row 0 has a str"),
    "a text as partition": ((TOPIC, [b""]), {"partitions": "0"}, TypeError, "partitions are ints.*; found str"),
    "texts as partitions": ((TOPIC, [b""]), {"partitions": ["0"]}, TypeError, "partitions are ints; row 0 has a str"),
    "a text as headers": ((TOPIC, [b""]), {"headers": ["ab"]}, TypeError, "headers are a dict, or a list with pairs"),
    "a header's number": ((TOPIC, [b""]), {"headers": {"a": 5}}, TypeError, "header 'a' is bytes-like, a str or None"),
}


@pytest.mark.parametrize("what", WRONG_ROWS)
def test_what_are_no_rows_is_refused_with_what_to_do(bootstrap: str, what: str):
    given, named, kind, told = WRONG_ROWS[what]
    with Producer(bootstrap_servers=bootstrap) as producer, pytest.raises(kind, match=told):
        producer.send_batch(*given, **named)


def test_a_callback_that_would_wait_for_memory_is_told_so(bootstrap: str):
    """It runs in the thread that gives the memory back."""
    told: Queue[PystreamError] = Queue()
    with Producer(bootstrap_servers=bootstrap, buffer_memory=100_000, batch_size=0) as producer:

        def fill(_: object) -> None:
            try:
                while True:
                    producer.send(TOPIC, bytes(10_000))
            except PystreamError as error:
                told.put(error)

        producer.send(TOPIC, b"first", on_delivery=fill)
        error = told.get(timeout=30)
        assert isinstance(error, ClientError)
        assert not isinstance(error, BufferFull)


def test_times_that_are_left_out_are_now(bootstrap: str):
    with Producer(bootstrap_servers=bootstrap) as producer:
        (span,) = producer.send_batch(TOPIC, [b"a", b"b"], timestamps=[None, 5], partitions=[None, None]).result(10)
    assert span.record_count == 2


@pytest.fixture
def left_open() -> Iterator[None]:
    """Nothing of what a test leaves open on purpose is left to the next one."""
    yield
    gc.collect()


leaves_producers_open = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.usefixtures("left_open")
@leaves_producers_open
def test_a_producer_whose_loop_is_closed_says_so(bootstrap: str):
    async def begun() -> aio.Producer:
        producer = aio.Producer(bootstrap_servers=bootstrap)
        await (await producer.send(TOPIC, b"first"))
        return producer

    async def used_again(producer: aio.Producer) -> None:
        with pytest.raises(ClientError, match="make one in each loop"):
            await (await producer.send(TOPIC, b"second"))
        with pytest.raises(ClientError, match="make one in each loop"):
            await producer.send(TOPIC, b"third")

    asyncio.run(used_again(asyncio.run(begun())))


@pytest.mark.usefixtures("left_open")
@leaves_producers_open
def test_a_record_that_waits_when_its_loop_ends_has_failed(bootstrap: str):
    async def begun() -> Any:
        producer = aio.Producer(bootstrap_servers=bootstrap, linger_ms=60_000, delivery_timeout_ms=120_000)
        return await producer.send(TOPIC, b"waits")

    delivery = asyncio.run(begun())
    with pytest.raises(ClientError, match="the event loop ended before this producer was closed"):
        delivery.result(0)


def test_a_record_sent_from_another_loop_goes_out_all_the_same(bootstrap: str):
    async def work() -> None:
        async with aio.Producer(bootstrap_servers=bootstrap, linger_ms=0) as producer:
            await (await producer.send(TOPIC, b"first"))
            delivery = await asyncio.to_thread(asyncio.run, producer.send(TOPIC, b"from elsewhere"))
            assert (await delivery).offset > 0

    asyncio.run(work())


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
def test_records_behind_a_refused_one_are_delivered(bootstrap: str, key: bytes | None):
    with Producer(bootstrap_servers=bootstrap, linger_ms=0) as producer:
        producer.send(TOPIC, b"first", key).result(TEST_SECONDS)
        for _ in range(20):
            with pytest.raises(InvalidTimestamp):
                producer.send(TOPIC, b"bad", key, timestamp=-7)
            assert producer.send(TOPIC, b"good", key).result(TEST_SECONDS).offset > 0
            with pytest.raises(InvalidTimestamp):
                producer.send_batch(TOPIC, [b"bad"], None if key is None else [key], timestamps=-7)
            assert producer.send_batch(TOPIC, [b"good"]).result(TEST_SECONDS)


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
def test_a_refused_record_does_not_end_the_sender_of_a_loop(bootstrap: str, key: bytes | None):
    async def work() -> None:
        async with aio.Producer(bootstrap_servers=bootstrap, linger_ms=0) as producer:
            await (await producer.send(TOPIC, b"first", key))
            with pytest.raises(InvalidTimestamp):
                await producer.send(TOPIC, b"bad", key, timestamp=-7)
            await producer.flush()
            assert (await (await producer.send(TOPIC, b"good", key))).offset > 0

    asyncio.run(work())


@pytest.mark.usefixtures("left_open")
@leaves_producers_open
def test_closing_a_producer_whose_loop_is_closed_says_so_once(bootstrap: str):
    async def begun() -> aio.Producer:
        producer = aio.Producer(bootstrap_servers=bootstrap)
        await (await producer.send(TOPIC, b"first"))
        return producer

    producer = asyncio.run(begun())
    with pytest.raises(ClientError, match="the event loop ended before this producer was closed"):
        asyncio.run(producer.close())
    asyncio.run(producer.close())


@pytest.mark.parametrize("make", [Producer, aio.Producer])
@pytest.mark.parametrize("what", ["key_serializer", "value_serializer"])
def test_a_serializer_that_cannot_be_called_is_refused_at_once(make: Callable[..., Any], what: str):
    with pytest.raises(InvalidConfig, match=rf"{what}='json': a serializer is called with \(topic, value\)"):
        make(bootstrap_servers="127.0.0.1:1", **{what: "json"})


def test_a_serializer_of_one_argument_is_told_what_it_is_called_with(bootstrap: str):
    one: Any = lambda value: value.encode()  # noqa: E731
    with (
        Producer(bootstrap_servers=bootstrap, value_serializer=one) as producer,
        pytest.raises(SerializationError, match=r"2 were given: a serializer is called with \(topic, value\)"),
    ):
        producer.send(TOPIC, "text")


UNCLOSED = """
import os, sys
from pystream.client import Producer

producer = Producer(bootstrap_servers=sys.argv[1], linger_ms=60_000)
producer.send("records", b"first")
producer.flush()
for _ in range(int(sys.argv[2])):
    producer.send("records", b"value")
if os.fork() == 0:
    sys.exit(0)
os.wait()
"""


@pytest.mark.parametrize("count", [0, 3])
def test_a_program_that_ends_without_close_is_told_what_was_not_delivered(bootstrap: str, count: int):
    command = [sys.executable, "-c", UNCLOSED, bootstrap, str(count)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TEST_SECONDS, check=True)
    told = [line for line in ended.stderr.splitlines() if "records were not delivered" in line]
    assert len(told) == (count > 0), ended.stderr
    assert all(f"records={count}" in line and "flush() or close()" in line for line in told)
