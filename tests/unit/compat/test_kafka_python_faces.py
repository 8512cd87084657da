"""What kafka-python's users see without a broker: settings that contradict one another, names, states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pystream.compat.kafka_python import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pystream.compat.kafka_python.errors import IllegalStateError, KafkaConfigurationError

SPOKEN = {"api_version": (4, 0)}  # said, not asked: nothing connects when the client is made


@pytest.fixture
def producer() -> Iterator[KafkaProducer]:
    made = KafkaProducer(**SPOKEN)
    yield made
    made.close(0)


@pytest.mark.parametrize("settings", [{"acks": 1}, {"acks": 0}, {"retries": 0}])
def test_settings_that_idempotence_does_not_allow_turn_it_off(settings: dict[str, Any]) -> None:
    with KafkaProducer(**SPOKEN, **settings) as producer:
        assert producer.config["enable_idempotence"] is False
        assert producer._sdk.config.enable_idempotence is False


def test_a_producer_is_idempotent_unless_told_otherwise() -> None:
    with KafkaProducer(**SPOKEN, acks="all") as producer, KafkaProducer(**SPOKEN, enable_idempotence=False) as plain:
        assert producer.config["enable_idempotence"] is True
        assert producer.config["acks"] == -1
        assert producer._sdk.config.enable_idempotence is True
        assert plain._sdk.config.enable_idempotence is False


@pytest.mark.parametrize("asked", [{"enable_idempotence": True}, {"transactional_id": "t"}])
def test_what_was_asked_for_contradicts_aloud_and_every_conflict_is_named(asked: dict[str, Any]) -> None:
    with pytest.raises(KafkaConfigurationError, match="acks=1, retries=0, max_in_flight_requests_per_connection=10"):
        KafkaProducer(**SPOKEN, **asked, acks=1, retries=0, max_in_flight_requests_per_connection=10)


def test_transactions_need_idempotence() -> None:
    with pytest.raises(KafkaConfigurationError, match="transactional_id without enable_idempotence"):
        KafkaProducer(**SPOKEN, transactional_id="t", enable_idempotence=False)


@pytest.mark.parametrize("client", [KafkaConsumer, KafkaProducer, KafkaAdminClient])
def test_a_timeout_is_not_longer_than_what_it_is_a_part_of(client: Any) -> None:
    with pytest.raises(KafkaConfigurationError, match="default_api_timeout_ms must be >= request_timeout_ms"):
        client(**SPOKEN, request_timeout_ms=70_000, default_api_timeout_ms=60_000)
    with pytest.raises(KafkaConfigurationError, match="connections_max_idle_ms must be larger"):
        client(**SPOKEN, request_timeout_ms=50_000, connections_max_idle_ms=40_000)


def test_a_fetch_waits_for_less_than_its_request() -> None:
    with pytest.raises(KafkaConfigurationError, match="must be larger than fetch_max_wait_ms"):
        KafkaConsumer(**SPOKEN, request_timeout_ms=40_000, fetch_max_wait_ms=50_000)


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match="Unrecognized configs"):
        KafkaProducer(no_such_name=1)
    with pytest.raises(KafkaConfigurationError, match="Unrecognized configs"):
        KafkaConsumer(no_such_name=1)


@pytest.mark.parametrize(
    ("topic", "kind"),
    [(None, TypeError), (5, TypeError), ("", ValueError), ("bad topic!", ValueError), (".", ValueError)],
)
def test_what_is_no_topics_name_is_refused(topic: Any, kind: type[Exception], producer: KafkaProducer) -> None:
    with pytest.raises(kind):
        producer.send(topic, b"value")


def test_transactions_without_an_id_are_a_wrong_state(producer: KafkaProducer) -> None:
    for call in (
        producer.init_transactions,
        producer.begin_transaction,
        producer.commit_transaction,
        producer.abort_transaction,
        lambda: producer.send_offsets_to_transaction({}, "group"),
    ):
        with pytest.raises(IllegalStateError, match="non-transactional producer"):
            call()


def test_a_closed_producer_flushes_nothing_and_sends_nothing() -> None:
    producer = KafkaProducer(**SPOKEN)
    producer.close()
    producer.flush()
    with pytest.raises(IllegalStateError, match="already closed"):
        producer.send("topic", b"value")


def test_a_consumer_that_was_told_to_read_nothing_gives_nothing() -> None:
    with KafkaConsumer(**SPOKEN, group_id="g") as consumer:
        assert consumer.poll(60_000) == {}


@pytest.mark.parametrize(
    "operation", ["delete_topics", "describe_topics", "create_topics", "delete_groups", "describe_groups"]
)
def test_a_str_is_not_a_list_of_one_letter_names(operation: str) -> None:
    """kafka-python goes through its letters: nobody has asked to delete the topics that those may be."""
    admin = KafkaAdminClient(**SPOKEN, bootstrap_servers="127.0.0.1:1")
    try:
        with pytest.raises(TypeError, match=r"not the str 'ab': write \['ab'\]"):
            getattr(admin, operation)("ab")
    finally:
        admin.close()
