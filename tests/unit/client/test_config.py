"""Settings as users give them."""

from __future__ import annotations

from typing import Any

import pytest

from pystream.client.config import (
    AdminConfig,
    ClientConfig,
    ConsumerConfig,
    ProducerConfig,
    ShareConsumerConfig,
    addresses,
)
from pystream.common.errors import InvalidConfig

WHERE = {"bootstrap.servers": "a:9092"}


def test_dotted_names_keywords_text_and_values_mean_the_same():
    texts = ProducerConfig.load({**WHERE, "linger.ms": "20", "enable.idempotence": "true", "acks": "-1"})
    values = ProducerConfig.load(bootstrap_servers=["a:9092"], linger_ms=20, enable_idempotence=True, acks="all")
    assert texts == values
    assert (texts.linger_ms, texts.acks, texts.bootstrap_servers) == (20, "all", ("a:9092",))


def test_none_leaves_the_default():
    assert ConsumerConfig.load(WHERE, group_id=None, max_poll_records=None) == ConsumerConfig.load(WHERE)


@pytest.mark.parametrize(
    ("kind", "settings", "complaint"),
    [
        (ProducerConfig, {"lingr.ms": 1}, "Producer has no setting lingr.ms; did you mean linger.ms?"),
        (ProducerConfig, {"linger_mss": 1}, "did you mean linger.ms?"),
        (ProducerConfig, {"zzz": 1}, "Producer has no setting zzz$"),
        (ProducerConfig, {"group.id": "g"}, "group.id is a setting of Consumer, not of Producer"),
        (AdminConfig, {"acks": "all"}, "acks is a setting of Producer, not of Admin"),
        (ConsumerConfig, {"key.deserializer": "org.apache"}, "setting of Java's client: pass key_deserializer="),
        (ProducerConfig, {"sasl.mechanism": "PLAIN"}, "speaks PLAINTEXT only"),
        (ProducerConfig, {"ssl_cafile": "ca.pem"}, "speaks PLAINTEXT only"),
        (ProducerConfig, {"security.protocol": "SASL_SSL"}, "security.protocol=SASL_SSL: .*PLAINTEXT only"),
        (ProducerConfig, {"security.protocol": "TLS"}, "String must be one of: PLAINTEXT"),
        (ProducerConfig, {"linger.ms": "soon"}, "Invalid value soon for configuration linger.ms"),
        (ProducerConfig, {"linger.ms": -1}, "Value must be at least 0"),
        (ProducerConfig, {"linger.ms": 1, "linger_ms": 2}, "linger.ms is set twice"),
        (ProducerConfig, {"compression.type": "brotli"}, "String must be one of: none, gzip"),
        (ProducerConfig, {"acks": 1, "enable.idempotence": True}, "needs acks=all, found acks=1"),
        (ProducerConfig, {"retries": 0, "enable.idempotence": True}, "needs retries above 0"),
        (
            ProducerConfig,
            {"max.in.flight.requests.per.connection": 6, "enable.idempotence": True},
            "at most 5, found 6",
        ),
        (ProducerConfig, {"transactional.id": "t", "acks": 1}, "transactional.id needs enable.idempotence=true"),
        (ProducerConfig, {"delivery.timeout.ms": 100}, "at least linger.ms \\+ request.timeout.ms = 30005"),
        (ConsumerConfig, {"auto.offset.reset": "newest"}, "Expected earliest, latest, none or by_duration"),
        (ConsumerConfig, {"heartbeat.interval.ms": 45_000}, "must be below session.timeout.ms=45000"),
        (ConsumerConfig, {"receive.message.max.bytes": 2_000_000}, "at least fetch.max.bytes"),
        (ShareConsumerConfig, {"share.acknowledgement.mode": "maybe"}, "implicit, explicit"),
    ],
)
def test_a_setting_that_cannot_be_meant_says_what_is(kind: type[ClientConfig], settings: dict[str, Any], complaint):
    with pytest.raises(InvalidConfig, match=complaint):
        kind.load({**WHERE, **settings})


@pytest.mark.parametrize("kind", [AdminConfig, ConsumerConfig, ProducerConfig, ShareConsumerConfig])
def test_settings_that_are_no_dict_are_refused_with_what_to_give(kind: type[ClientConfig]):
    address: Any = "127.0.0.1:9092"
    with pytest.raises(InvalidConfig, match=r"settings are a dict .* or keywords .* not str '127.0.0.1:9092'"):
        kind.load(address)


def test_bootstrap_servers_are_required():
    with pytest.raises(InvalidConfig, match=r"bootstrap\.servers"):
        AdminConfig.load()


@pytest.mark.parametrize("server", ["host", "host:", ":9092", "host:0", "host:65536", "host:port", ""])
def test_a_bootstrap_server_is_host_and_port(server: str):
    with pytest.raises(InvalidConfig, match=r"bootstrap.servers.*expected host:port"):
        AdminConfig.load(bootstrap_servers=[server])


def test_addresses_take_names_of_all_kinds():
    assert addresses(("a:1", "[::1]:2", "PLAINTEXT://b.example:3")) == [("a", 1), ("::1", 2), ("b.example", 3)]


def test_idempotence_steps_back_for_settings_that_exclude_it_unless_it_was_asked_for():
    assert ProducerConfig.load(WHERE).enable_idempotence
    assert not ProducerConfig.load(WHERE, acks=1).enable_idempotence
    assert not ProducerConfig.load(WHERE, max_in_flight_requests_per_connection=6).enable_idempotence


def test_dependent_defaults_follow_what_was_set():
    assert ProducerConfig.load(WHERE, request_timeout_ms=200_000).delivery_timeout_ms == 200_005
    assert ConsumerConfig.load(WHERE, fetch_max_bytes=200_000_000).receive_message_max_bytes > 200_000_000


def test_defaults_are_kafkas():
    """As of Apache Kafka 4.2."""
    producer, consumer = ProducerConfig.load(WHERE), ConsumerConfig.load(WHERE)
    assert (producer.acks, producer.linger_ms, producer.batch_size, producer.buffer_memory) == (
        "all",
        5,
        16_384,
        1 << 25,
    )
    assert (producer.delivery_timeout_ms, producer.max_block_ms, producer.max_request_size) == (
        120_000,
        60_000,
        1 << 20,
    )
    assert (consumer.fetch_max_bytes, consumer.max_partition_fetch_bytes, consumer.max_poll_records) == (
        50 << 20,
        1 << 20,
        500,
    )
    assert (consumer.session_timeout_ms, consumer.auto_offset_reset) == (45_000, "latest")
