"""What confluent_kafka's clients call, without a broker: when it raises, what it is told of throttling and logs."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka as real
import pytest

from pystream.client.cluster.metadata import Node
from pystream.common.logging import LogLine
from pystream.compat.confluent_kafka import Consumer, KafkaError, Producer, ThrottleEvent, TopicPartition
from pystream.compat.confluent_kafka._telling.background import Throttling
from pystream.compat.confluent_kafka._telling.events import Events
from pystream.compat.confluent_kafka._telling.log import MOST_LINES, ClientLog
from pystream.compat.confluent_kafka.admin import AdminClient
from pystream.compat.confluent_kafka.aio import AIOProducer

PATIENCE_SECONDS = 20.0


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


class Numbered(Exception):
    """Raised by a callback."""


class Failing:
    """Delivery reports that raise their number."""

    def __init__(self) -> None:
        self.called: list[int] = []

    def report(self, number: int) -> Callable[..., None]:
        def on_delivery(*_: object) -> None:
            self.called.append(number)
            raise Numbered(number)

        return on_delivery


def purged(server: str, failing: Failing, count: int = 3) -> Producer:
    """A producer of which so many delivery reports wait."""
    producer = Producer({"bootstrap.servers": server})
    for number in range(count):
        producer.produce("topic", str(number), on_delivery=failing.report(number))
    producer.purge()
    return producer


# --- exceptions -------------------------------------------------------------------------------------------------------


def test_poll_stops_at_the_first_exception_and_the_next_goes_on(nobody: str) -> None:
    failing = Failing()
    producer = purged(nobody, failing)
    for number in range(3):
        with pytest.raises(Numbered) as raised:
            producer.poll(PATIENCE_SECONDS)
        assert (raised.value.args, failing.called) == ((number,), list(range(number + 1)))
    assert producer.poll(0) == 0
    producer.close(0)


def test_flush_calls_all_and_raises_the_last_exception_alone(nobody: str) -> None:
    failing = Failing()
    producer = purged(nobody, failing)
    with pytest.raises(Numbered) as raised:
        producer.flush(PATIENCE_SECONDS)
    assert (raised.value.args, failing.called) == ((2,), [0, 1, 2])
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None
    assert producer.flush(PATIENCE_SECONDS) == 0
    producer.close(0)


def test_a_short_flush_stops_at_the_first_exception(nobody: str) -> None:
    failing = Failing()
    producer = purged(nobody, failing)
    with pytest.raises(Numbered):
        producer.flush(0.1)
    assert failing.called == [0]
    with pytest.raises(Numbered):
        producer.close(0)
    assert failing.called == [0, 1]
    with pytest.raises(RuntimeError, match="Producer has been closed"):
        producer.poll(0)


def test_a_with_block_gives_the_exception_once_and_closes(nobody: str) -> None:
    failing = Failing()
    with pytest.raises(Numbered) as raised, purged(nobody, failing) as producer:
        producer.flush(PATIENCE_SECONDS)
    assert raised.value.__context__ is None
    assert failing.called == [0, 1, 2]
    assert producer.close() is True
    with pytest.raises(RuntimeError, match="Producer has been closed"):
        producer.flush()


def test_ctrl_c_in_a_callback_is_not_put_off(nobody: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    failing = Failing()
    producer = Producer({"bootstrap.servers": nobody})
    producer.produce("topic", "1", on_delivery=interrupted)
    producer.produce("topic", "2", on_delivery=failing.report(2))
    producer.purge()
    with pytest.raises(KeyboardInterrupt):
        producer.flush()
    assert failing.called == []
    with pytest.raises(Numbered):
        producer.close()


def test_closing_a_consumer_does_everything_whatever_callbacks_raise(nobody: str) -> None:
    told: list[Any] = []

    def on_commit(*report: Any) -> None:
        told.append(report)
        raise Numbered(len(told))

    settings = {"bootstrap.servers": nobody, "group.id": "g", "enable.auto.offset.store": False}
    consumer = Consumer(settings, on_commit=on_commit)
    consumer.assign([TopicPartition("t", 0)])
    consumer.commit(asynchronous=True)  # nothing is stored: on_commit hears of it
    consumer.store_offsets(offsets=[TopicPartition("t", 0, 5)])
    with pytest.raises(Numbered) as raised:
        consumer.close()
    assert raised.value.args == (2,)
    assert raised.value.__context__ is None
    assert [error is None for error, _ in told] == [False, False]
    consumer.close()
    with pytest.raises(RuntimeError, match="Consumer closed"):
        consumer.poll(0)


def test_what_a_callback_of_an_asyncio_producer_raises_goes_to_the_loops_handler(nobody: str) -> None:
    handled: list[BaseException] = []
    enough = asyncio.Event()

    def error_cb(_: KafkaError) -> None:
        if not enough.is_set():  # what is told later may come out of close()
            raise Numbered(len(handled))

    async def whole() -> None:

        def handler(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            handled.append(context["exception"])
            if len(handled) == 2:  # the first one did not end it
                enough.set()

        asyncio.get_running_loop().set_exception_handler(handler)
        async with AIOProducer({"bootstrap.servers": nobody, "error_cb": error_cb}):
            await asyncio.wait_for(enough.wait(), PATIENCE_SECONDS)

    asyncio.run(whole())
    assert {type(error) for error in handled} == {Numbered}


def test_an_asyncio_producer_is_closed_whatever_callbacks_raise(nobody: str) -> None:
    async def whole() -> AIOProducer:
        producer = AIOProducer({"bootstrap.servers": nobody})
        own = producer._producer

        def flush(timeout: float | None = None) -> int:
            raise Numbered(timeout)

        own.flush = flush  # type: ignore[method-assign]
        with pytest.raises(Numbered):
            await producer.close()
        return producer

    producer = asyncio.run(whole())
    assert producer._producer._closed
    assert producer._own is not None
    assert producer._own._shutdown


def test_what_a_callback_raised_is_held_by_nobody_once_it_was_caught() -> None:
    events = Events()
    events.put(Failing().report(1))
    gc.disable()  # not even by circles
    try:
        try:
            events.serve_all()
        except Numbered as error:
            raised = weakref.ref(error)
        assert raised() is None
    finally:
        gc.enable()


# --- arguments of produce() -------------------------------------------------------------------------------------------

WRONG: list[tuple[type[Exception], dict[str, Any]]] = [
    (TypeError, {"timestamp": 1.5}),
    (TypeError, {"timestamp": "1"}),
    (TypeError, {"timestamp": None}),
    (OverflowError, {"timestamp": 1 << 63}),
    (TypeError, {"partition": 1.0}),
    (TypeError, {"partition": None}),
    (TypeError, {"partition": "1"}),
    (OverflowError, {"partition": 1 << 31}),
    (TypeError, {"value": 5}),
    (TypeError, {"key": 5}),
    (TypeError, {"value": bytearray(b"x")}),
    (TypeError, {"key": memoryview(b"x")}),
    (TypeError, {"topic": b"topic"}),
    (TypeError, {"topic": None}),
    (ValueError, {"topic": "a\0b"}),
    (UnicodeEncodeError, {"topic": "\ud800"}),
    (UnicodeEncodeError, {"value": "\ud800"}),
    (TypeError, {"headers": {"a": 1}}),
    (TypeError, {"headers": "x"}),
    (TypeError, {"headers": [("a",)]}),
    (TypeError, {"headers": [(1, b"x")]}),
    (TypeError, {"headers": [["a", b"x"]]}),
    (TypeError, {"headers": (("a", b"x"),)}),
    (TypeError, {"headers": [("a", bytearray(b"x"))]}),
    (UnicodeEncodeError, {"headers": [("\ud800", b"x")]}),
    (TypeError, {"no_such": 1}),
]


@pytest.mark.parametrize(("kind", "wrong"), WRONG)
def test_what_confluent_kafka_refuses_is_refused_and_nothing_is_queued(
    kind: type[Exception], wrong: dict[str, Any]
) -> None:
    """The conformance script arguments.py asks confluent_kafka itself, but for what ends its process."""
    with Producer({"bootstrap.servers": "127.0.0.1:9"}) as producer:
        with pytest.raises(kind) as caught:
            producer.produce(**{"topic": "topic", "value": b"value", **wrong})
        assert caught.type is kind
        assert len(producer) == 0


def test_a_batch_with_something_wrong_queues_nothing() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:9"})
    for wrong in ({"timestamp": 1.5}, {"partition": 1 << 40}, {"headers": [("a", 1)]}, {"value": bytearray(b"x")}):
        with pytest.raises((TypeError, OverflowError)):
            producer.produce_batch("topic", [{"value": b"good"}, {"value": b"bad", **wrong}])
        assert len(producer) == 0
    producer.close(0)


@pytest.mark.parametrize("topic", ["", "no name", "x" * 250])
def test_a_topic_that_cannot_be_is_reported_and_others_go_on(topic: str, nobody: str) -> None:
    reports: list[tuple[str, int]] = []
    with Producer({"bootstrap.servers": nobody}, on_delivery=lambda e, m: reports.append((m.topic(), e.code()))) as own:
        own.produce(topic, "value")
        while not reports:
            own.poll(PATIENCE_SECONDS)
        assert reports == [(topic, KafkaError.TOPIC_EXCEPTION)]
        own.produce("good", "value")
        own.purge()
    assert reports[1:] == [("good", KafkaError._PURGE_QUEUE)]


# --- logs -------------------------------------------------------------------------------------------------------------


class Lines:
    """A logger, as far as confluent_kafka knows one."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    def log(self, level: int, text: str, *arguments: object) -> None:
        self.found.append((level, text % arguments))


@pytest.mark.parametrize("how", ["dict", "both", "keyword"])
@pytest.mark.parametrize("kind", [Producer, Consumer, AdminClient])
def test_a_logger_gets_what_its_client_says_when_polled_and_nobody_else(
    kind: Any, how: str, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines, others = Lines(), Lines()
    base = {"bootstrap.servers": nobody, "client.id": "me", "group.id": "g", "debug": "all"}
    arguments: dict[str, Callable[[], Any]] = {
        "dict": lambda: kind({**base, "logger": lines}),
        "both": lambda: kind(base, logger=lines),
        "keyword": lambda: kind(**{**base, "logger": lines}),
    }
    client = arguments[how]()
    other = kind({**base, "client.id": "other", "logger": others})
    while not any("FAIL [me#" in text for _, text in lines.found):
        client.poll(PATIENCE_SECONDS / 100)
    assert others.found == []  # it was not polled
    for each in (client, other):
        each.close()
    level, first = lines.found[0]
    assert (level, first.split(" [me#")[0]) == (logging.DEBUG, "INIT")
    assert (logging.ERROR, "FAIL") in {(level, text.split()[0]) for level, text in lines.found}
    assert all("[me#" in text for _, text in lines.found)
    assert not [record for record in caplog.records if nobody in record.getMessage()]


def test_settings_of_another_kind_of_client_are_told_to_the_logger() -> None:
    lines = Lines()
    with Producer({"bootstrap.servers": "127.0.0.1:9", "group.id": "g"}, logger=lines) as producer:
        while not lines.found:
            producer.poll(PATIENCE_SECONDS)
    level, text = lines.found[0]
    assert level == logging.WARNING
    assert text.startswith("CONFWARN [pystream#producer-")
    assert "Configuration property group.id is not one of a producer" in text


def test_what_a_logger_raises_comes_out_of_poll() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:9", "debug": "msg", "logger": object()})
    with pytest.raises(AttributeError, match="log"):
        producer.poll(PATIENCE_SECONDS)
    producer.close(0)


def heard(log: ClientLog, *lines: tuple[int, str]) -> list[bool]:
    return [log.hear(level, "pystream.client.cluster.cluster", LogLine(event, {})) for level, event in lines]


LINES = ((logging.DEBUG, "d"), (logging.INFO, "i"), (logging.WARNING, "w"), (logging.ERROR, "e"))


@pytest.mark.parametrize(
    ("level", "debug", "events"),
    [(-1, "", "iwe"), (7, "", "diwe"), (4, "", "we"), (3, "", "e"), (2, "", ""), (3, "broker", "diwe")],
)
def test_a_log_level_keeps_lines_back(level: int, debug: str, events: str) -> None:
    waiting, lines = Events(), Lines()
    log = ClientLog("me", waiting, lines, level, debug)
    assert heard(log, *LINES) == [True] * 4  # no other logger gets them
    waiting.serve()
    assert [text for _, text in lines.found if "INIT" not in text] == [f"CLUSTER [me] {event}" for event in events]


def test_without_a_logger_a_log_level_keeps_lines_from_pystreams_own() -> None:
    waiting = Events()
    log = ClientLog("me", waiting, None, 4, "")
    assert heard(log, *LINES) == [True, True, False, False]
    assert len(waiting) == 0


def test_lines_that_nobody_polls_for_are_counted_in_the_end() -> None:
    waiting, lines = Events(), Lines()
    log = ClientLog("me", waiting, lines, 6, "")
    for _ in range(MOST_LINES + 5):
        log.write(4, "FAIL", "down")
    assert waiting.serve() == MOST_LINES
    log.write(4, "FAIL", "up")
    waiting.serve()
    assert lines.found[-1] == (logging.WARNING, "FAIL [me] up (5 lines before this one were left out)")


def test_an_asyncio_clients_logger_is_called_in_the_loop(nobody: str) -> None:
    lines = Lines()

    async def whole() -> None:
        called = asyncio.Event()

        class InLoop:
            def log(self, *arguments: Any) -> None:
                asyncio.get_running_loop()  # raises in any other thread
                lines.log(*arguments)
                called.set()

        async with AIOProducer({"bootstrap.servers": nobody, "logger": InLoop()}):
            await asyncio.wait_for(called.wait(), PATIENCE_SECONDS)

    asyncio.run(whole())
    assert "FAIL" in lines.found[0][1]


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Producer, Consumer])
def test_statistics_keep_no_client_that_was_dropped(kind: Any) -> None:
    settings = {"bootstrap.servers": "127.0.0.1:9", "group.id": "g", "statistics.interval.ms": 60_000}
    clients = [kind({**settings, "stats_cb": print, "logger": Lines()})]
    held = weakref.ref(clients[0])

    def drop() -> None:
        clients.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed"):
        drop()
    assert held() is None


# --- throttling -------------------------------------------------------------------------------------------------------


def test_throttling_is_told_and_its_end_once() -> None:
    events, told = Events(), list[ThrottleEvent]()
    throttling = Throttling(events, told.append)
    node = Node(3, "broker.example", 9092, None)
    for throttle_ms in (0, 0, 250, 100, 0, 0, 5):
        throttling.note(node, throttle_ms)
    events.serve()
    assert [event.throttle_time for event in told] == [0.25, 0.1, 0.0, 0.005]
    assert (told[0].broker_name, told[0].broker_id) == ("broker.example:9092", 3)
    assert str(told[0]) == str(real.ThrottleEvent("broker.example:9092", 3, 0.25))
