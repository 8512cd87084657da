"""What confluent_kafka's users see without a broker: texts of errors, arguments refused, callbacks and states."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka as real
import pytest

from pystream.client.config import AdminConfig
from pystream.compat.confluent_kafka import (
    ConcurrentModificationException,
    Consumer,
    DeserializingConsumer,
    DeserializingShareConsumer,
    IllegalStateException,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    ShareConsumer,
    TopicPartition,
    cimpl,
)
from pystream.compat.confluent_kafka._settings import parse
from pystream.compat.confluent_kafka._telling.events import Events
from pystream.compat.confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

CODES = sorted(name for name in dir(real.KafkaError) if name.lstrip("_").isupper())
PATIENCE_SECONDS = 20.0


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def code_of(refused: pytest.ExceptionInfo[KafkaException]) -> int:
    error: KafkaError = refused.value.args[0]
    return error.code()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODES)
def test_an_error_has_the_number_name_and_text_that_librdkafka_gives_it(name: str) -> None:
    number = getattr(real.KafkaError, name)
    assert getattr(KafkaError, name) == number
    assert str(KafkaError(number)) == str(real.KafkaError(number))


def test_a_number_that_librdkafka_does_not_know_is_told_as_it_tells_it() -> None:
    for number in (98, 109, 1_000, -9_999):
        assert str(KafkaError(number)) == str(real.KafkaError(number))


def test_the_classes_can_be_imported_from_where_confluent_kafka_has_them() -> None:
    assert cimpl.KafkaException is KafkaException
    assert cimpl.TopicPartition is TopicPartition
    assert {name for name in cimpl.__all__ if not name.startswith("PARTITION")} <= {*dir(real.cimpl), "AdminClient"}


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_serving_all_calls_those_behind_one_that_raises() -> None:
    events = Events()
    called: list[str] = []
    events.put(lambda: called.append("first"))
    events.put(lambda: 1 // 0)
    events.put(lambda: called.append("last"))
    with pytest.raises(ZeroDivisionError):
        events.serve_all()
    assert called == ["first", "last"]
    assert len(events) == 0


def test_all_brokers_down_is_told_once_while_they_stay_down(nobody: str) -> None:
    codes: list[int] = []
    consumer = Consumer({"bootstrap.servers": nobody, "group.id": "g", "error_cb": lambda e: codes.append(e.code())})
    while codes.count(KafkaError._TRANSPORT) < 2:
        consumer.poll(PATIENCE_SECONDS / 100)
    consumer.close()
    assert codes[:2] == [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN]
    assert codes.count(KafkaError._ALL_BROKERS_DOWN) == 1


def test_a_host_that_is_none_is_told_as_such() -> None:
    told: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": "none.invalid:9092", "error_cb": told.append})
    while len(told) < 2:
        producer.poll(PATIENCE_SECONDS / 100)
    producer.close(0)
    assert told[0].code() == KafkaError._RESOLVE
    assert told[1].str() == "1/1 brokers are down"


def test_an_admin_client_gives_statistics(nobody: str) -> None:
    told: list[str] = []
    with AdminClient({"bootstrap.servers": nobody, "statistics.interval.ms": 1, "stats_cb": told.append}) as admin:
        while not told:
            admin.poll(PATIENCE_SECONDS)
    assert '"type": "producer"' in told[0]


# --- share consumers --------------------------------------------------------------------------------------------------


def test_a_share_consumer_refuses_what_makes_no_sense() -> None:
    with pytest.raises(TypeError, match="expected configuration dict"):
        ShareConsumer()
    with pytest.raises(ValueError, match=r"group\.id must be set"):
        ShareConsumer({"client.id": "c"})
    with pytest.raises(ValueError, match="on_commit is not supported"):
        ShareConsumer({"group.id": "g"}, on_commit=print)
    with pytest.raises(ValueError, match="Failed to create share consumer"):
        ShareConsumer({"group.id": "g", "no.such.name": 1})
    consumer = ShareConsumer({"group.id": "g"})
    with pytest.raises(RuntimeError, match="already initialized"):
        consumer.__init__({"group.id": "other"})  # type: ignore[misc]
    for topics in ([""], ["t", "t"]):
        with pytest.raises(ValueError, match="Failed to set subscription"):
            consumer.subscribe(topics)
    with pytest.raises(ValueError, match="is no place of a message"):
        consumer.acknowledge_offset("t", -1, 0)
    with pytest.raises(TypeError):
        consumer.acknowledge_offset(None, 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no topic"):
        consumer.acknowledge(Message(partition=0, offset=0))
    with pytest.raises(IllegalStateException, match=r"share\.acknowledgement\.mode"):
        consumer.acknowledge_offset("t", 0, 0)
    with pytest.raises(TypeError, match="must be real number"):
        consumer.poll("soon")  # type: ignore[arg-type]
    with pytest.raises(IllegalStateException, match="not subscribed"):
        consumer.poll(0)
    consumer.close()
    with pytest.raises(IllegalStateException, match="Share consumer closed"):
        consumer.acknowledge(None)  # type: ignore[arg-type]


def test_a_share_consumer_is_not_called_from_its_callbacks_nor_by_two_threads(nobody: str) -> None:
    outcomes: dict[str, str] = {}

    def attempt(name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except RuntimeError as error:
            outcomes[name] = type(error).__name__

    def on_error(_: KafkaError) -> None:
        attempt("itself", consumer.commit_async)
        attempt("close", consumer.close)
        other = threading.Thread(target=attempt, args=("other thread", consumer.subscription))
        other.start()
        other.join()

    consumer = ShareConsumer({"bootstrap.servers": nobody, "group.id": "g", "error_cb": on_error})
    consumer.subscribe(["topic"])
    while not outcomes:
        consumer.poll(PATIENCE_SECONDS / 100)
    consumer.close()
    assert outcomes == {
        "itself": IllegalStateException.__name__,
        "close": IllegalStateException.__name__,
        "other thread": ConcurrentModificationException.__name__,
    }


def test_closing_a_share_consumer_tells_what_was_not_polled(nobody: str) -> None:
    told: list[KafkaError] = []
    consumer = ShareConsumer({"bootstrap.servers": nobody, "group.id": "g", "error_cb": told.append})
    while not len(consumer._events):
        threading.Event().wait(PATIENCE_SECONDS / 1000)
    assert not told
    consumer.close()
    assert told


def broken(data: Any, context: Any) -> Any:
    raise ZeroDivisionError(data)


def test_a_share_consumer_keeps_a_message_that_does_not_deserialize() -> None:
    settings = {"group.id": "g", "key.deserializer": lambda data, _: data.decode(), "value.deserializer": broken}
    consumer = DeserializingShareConsumer(settings)
    message = Message("t", 0, 1, b"key", b"value")
    consumer._deserialize(message)
    consumer.close()
    error = message.error()
    assert error is not None
    assert error.code() == KafkaError._VALUE_DESERIALIZATION
    assert (message.key(), message.value()) == (b"key", b"value")


def test_a_deserializing_consumer_has_no_consume() -> None:
    with DeserializingConsumer({"group.id": "g"}) as consumer, pytest.raises(KafkaException) as refused:
        consumer.consume(10)
    assert code_of(refused) == KafkaError._NOT_IMPLEMENTED


# --- settings and arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"queue.buffering.max.messages": -1}, "value -1 is outside allowed range 0..2147483647"),
        ({"compression.level": 99}, "value 99 is outside allowed range -1..12"),
        ({"message.timeout.ms": 100, "linger.ms": 200}, "must be greater than `linger.ms`"),
        ({"partitioner": "murmur"}, 'Invalid value for configuration property "partitioner": murmur'),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(KafkaException) as refused:
        Producer(settings)
    assert code_of(refused) == KafkaError._INVALID_ARG
    assert text in str(refused.value)


def test_socket_timeouts_bound_the_operations_of_an_admin_client() -> None:
    assert parse(AdminConfig, {"socket.timeout.ms": 70}, {}, set()).sdk["default.api.timeout.ms"] == 70


def test_a_batch_names_the_message_that_is_wrong() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:9"})
    for messages, text in (
        ([{"value": b"good"}, "no dict"], "Message at index 1 must be a dict"),
        ([{"value": 5}], "Message value at index 0 must be bytes or str"),
        ([{"key": [1]}], "Message key at index 0 must be bytes or str"),
        ([{"value": b"", "partition": "1"}], "Message partition at index 0 must be int"),
    ):
        with pytest.raises(TypeError, match=text):
            producer.produce_batch("topic", messages)  # type: ignore[arg-type]
    assert len(producer) == 0
    producer.close(0)


def test_only_the_call_about_transactions_that_ran_out_of_time_may_be_made_again(nobody: str) -> None:
    producer = Producer({"bootstrap.servers": nobody, "transactional.id": "t"})
    with pytest.raises(KafkaException) as late:
        producer.init_transactions(0.1)
    assert code_of(late) == KafkaError._TIMED_OUT
    assert late.value.args[0].retriable()
    for call in (producer.begin_transaction, producer.commit_transaction, producer.abort_transaction):
        with pytest.raises(KafkaException) as conflict:
            call()
        assert code_of(conflict) == KafkaError._CONFLICT
        assert conflict.value.args[0].retriable()
    with pytest.raises(KafkaException) as again:
        producer.init_transactions(0.1)
    assert code_of(again) == KafkaError._TIMED_OUT
    producer.close(0)


def test_closing_a_consumer_does_not_wait_for_brokers_that_never_were(nobody: str) -> None:
    told: list[Any] = []
    settings = {"bootstrap.servers": nobody, "group.id": "g", "enable.auto.offset.store": False}
    consumer = Consumer(settings, on_commit=lambda *report: told.append(report))
    consumer.assign([TopicPartition("t", 0)])
    consumer.store_offsets(offsets=[TopicPartition("t", 0, 5)])
    consumer.close()
    ((error, partitions),) = told
    assert error is not None
    assert [(each.topic, each.partition, each.offset) for each in partitions] == [("t", 0, 5)]


def test_an_admin_client_refuses_at_once_what_makes_no_sense() -> None:
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:9"})
    topic = NewTopic("topic", 1, 1)
    for call in (
        lambda: admin.create_topics([topic], validate_only="maybe"),  # type: ignore[arg-type]
        lambda: admin.create_topics([NewTopic("topic", 1, 1, config=["no dict"])]),  # type: ignore[arg-type]
        lambda: admin.describe_acls(None),  # type: ignore[arg-type]
        lambda: admin.describe_cluster(include_authorized_operations="yes"),  # type: ignore[arg-type]
        lambda: admin.delete_records(["topic-1"]),  # type: ignore[list-item]
    ):
        with pytest.raises(TypeError):
            call()
    for bad in (
        lambda: admin.create_topics([topic], request_timeout=-1),
        lambda: admin.create_topics([topic], operation_timeout=-4.5),
        lambda: admin.delete_records([TopicPartition("", 0, 1)]),
    ):
        with pytest.raises(ValueError, match=r"expected seconds|empty topic"):
            bad()
    with pytest.raises(KafkaException):
        admin.describe_user_scram_credentials(["sam", "sam"])
    admin.close()
    anything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    with pytest.raises(RuntimeError, match="AdminClient has been closed"):
        admin.describe_acls(anything)
