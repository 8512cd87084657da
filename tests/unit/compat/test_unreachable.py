"""Clients whose brokers cannot be reached: what they tell, and that nothing blocks for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pystream.compat.confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from pystream.compat.confluent_kafka.admin import AdminClient
from pystream.compat.kafka_python import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pystream.compat.kafka_python.errors import KafkaTimeoutError


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_produce_does_not_wait_and_the_message_times_out(nobody: str) -> None:
    reports: list[tuple[Any, Any]] = []
    errors: list[int] = []
    settings = {"bootstrap.servers": nobody, "message.timeout.ms": 200, "error_cb": lambda e: errors.append(e.code())}
    with Producer(settings) as producer:
        producer.produce("topic", "value", key="key", on_delivery=lambda *report: reports.append(report))
        assert len(producer) == 1
        assert producer.flush(20) == 0
        while not errors:
            producer.poll(20)
    ((error, message),) = reports
    assert error.code() == KafkaError._MSG_TIMED_OUT
    assert (message.topic(), message.value(), message.key()) == ("topic", b"value", b"key")
    assert message.error() == error
    assert set(errors) <= {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}


def test_a_full_queue_raises_buffer_error(nobody: str) -> None:
    producer = Producer({"bootstrap.servers": nobody, "queue.buffering.max.messages": 2})
    producer.produce("topic", "1")
    producer.produce("topic", "2")
    with pytest.raises(BufferError):
        producer.produce("topic", "3")
    assert len(producer) == 2
    producer.close(0)


def test_what_was_purged_is_reported(nobody: str) -> None:
    reports: list[Any] = []
    producer = Producer({"bootstrap.servers": nobody}, on_delivery=lambda error, _: reports.append(error.code()))
    producer.produce("topic", "1")
    producer.purge()
    assert producer.poll(10) == 1
    assert reports == [KafkaError._PURGE_QUEUE]
    producer.close(0)


def test_an_exception_of_a_callback_comes_out_of_poll(nobody: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    producer = Producer({"bootstrap.servers": nobody}, on_delivery=fail)
    producer.produce("topic", "1")
    producer.purge()
    with pytest.raises(ZeroDivisionError):
        producer.poll(10)
    assert len(producer) == 0
    producer.close(0)


def test_a_consumer_gives_none_when_the_time_is_over(nobody: str) -> None:
    with Consumer({"bootstrap.servers": nobody, "group.id": "g"}) as consumer:
        consumer.subscribe(["topic"])
        assert consumer.poll(0.1) is None
        assert consumer.consume(10, 0.1) == []
        with pytest.raises(KafkaException) as refused:
            consumer.list_topics(timeout=0.1)
        assert refused.value.args[0].code() == KafkaError._TRANSPORT


def test_an_admin_clients_futures_fail(nobody: str) -> None:
    with AdminClient({"bootstrap.servers": nobody}) as admin:
        future = admin.delete_topics(["topic"], request_timeout=0.2)["topic"]
        with pytest.raises(KafkaException) as refused:
            future.result(20)
    assert refused.value.args[0].code() in (KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)


@pytest.mark.parametrize("client", [KafkaProducer, KafkaConsumer, KafkaAdminClient])
def test_kafka_pythons_clients_say_so_when_they_are_made(client: Any, nobody: str) -> None:
    with pytest.raises(KafkaTimeoutError, match="Unable to bootstrap"):
        client(bootstrap_servers=nobody, bootstrap_timeout_ms=200)
