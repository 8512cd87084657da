"""Settings of other clients as settings of the SDK."""

from __future__ import annotations

import confluent_kafka as real
import pytest

from pystream.client.config import AdminConfig, ConsumerConfig, ProducerConfig
from pystream.common.config import INT_MAX
from pystream.compat import confluent_kafka as faces
from pystream.compat.confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from pystream.compat.confluent_kafka._settings import parse
from pystream.compat.kafka_python._settings import settings_of
from pystream.compat.kafka_python.errors import KafkaConfigurationError

SERVERS = {"bootstrap.servers": "127.0.0.1:9"}


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"metadata.broker.list": "a:1,b"}, "bootstrap.servers", ["a:1", "b:9092"]),
        ({"bootstrap.servers": "[::1]:9092, ::1"}, "bootstrap.servers", ["[::1]:9092", "::1:9092"]),
        ({"queue.buffering.max.ms": "50"}, "linger.ms", 50),
        ({"linger.ms": 0.5}, "linger.ms", 0),
        ({"message.timeout.ms": 0}, "delivery.timeout.ms", INT_MAX),
        ({"request.required.acks": -1}, "acks", "all"),
        ({"queue.buffering.max.kbytes": 64}, "buffer.memory", 65_536),
        ({"compression.codec": "lz4"}, "compression.type", "lz4"),
        ({"topic.metadata.refresh.interval.ms": -1}, "metadata.max.age.ms", INT_MAX),
        ({"socket.send.buffer.bytes": 0}, "send.buffer.bytes", -1),
        ({"default.topic.config": {"acks": 1}}, "acks", "1"),
    ],
)
def test_librdkafkas_names_become_kafkas(given: dict[str, object], name: str, value: object) -> None:
    assert parse(ProducerConfig, given, {}, set()).sdk[name] == value


@pytest.mark.parametrize(("given", "meant"), [("smallest", "earliest"), ("end", "latest"), ("error", "none")])
def test_librdkafkas_words_for_offset_resets(given: str, meant: str) -> None:
    assert parse(ConsumerConfig, {"auto.offset.reset": given}, {}, set()).sdk["auto.offset.reset"] == meant


def test_a_short_message_timeout_shortens_what_it_contains() -> None:
    sdk = parse(ProducerConfig, {**SERVERS, "message.timeout.ms": 10}, {}, set()).sdk
    config = ProducerConfig.load(sdk)
    assert config.delivery_timeout_ms == 10
    assert config.linger_ms + config.request_timeout_ms <= 10


def test_a_short_session_shortens_the_heartbeats() -> None:
    sdk = parse(ConsumerConfig, {**SERVERS, "group.id": "g", "session.timeout.ms": 1_500}, {}, set()).sdk
    assert ConsumerConfig.load(sdk).heartbeat_interval_ms == 500


def test_settings_of_another_kind_of_client_and_of_librdkafkas_inside_are_passed_over() -> None:
    given = {**SERVERS, "group.id": "g", "linger.ms": 5, "debug": "all", "api.version.request": True}
    assert parse(AdminConfig, given, {}, set()).sdk == {"bootstrap.servers": ["127.0.0.1:9"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"no.such.setting": 1},
        {"no_such_cb": print},
        {"oauth_cb": print},
        {"topic.blacklist": "a"},
        {"partitioner": "no_such"},
        {"linger.ms": "soon"},
        {"security.protocol": "no_such"},
        {"acks": 7},
        {"queue.buffering.max.messages": "many"},
    ],
)
def test_what_is_not_known_or_cannot_be_had_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(KafkaException) as refused:
        Producer({**SERVERS, **wrong})
    assert refused.value.args[0].code() == KafkaError._INVALID_ARG


CALLBACKS = ("error_cb", "stats_cb", "throttle_cb", "oauth_cb", "log_cb", "partitioner_cb", "on_delivery", "on_commit")


@pytest.mark.parametrize("client", ["Producer", "Consumer"])
@pytest.mark.parametrize("name", CALLBACKS)
def test_what_is_no_callback_is_refused_as_confluent_kafka_does(client: str, name: str) -> None:
    refused = []
    for library in (real, faces):
        with pytest.raises((TypeError, ValueError, library.KafkaException)) as caught:
            getattr(library, client)({**SERVERS, "group.id": "g", name: 1})
        refused.append((caught.type.__name__, getattr(caught.value.args[0], "code", lambda: caught.value.args[0])()))
    assert refused[1] == refused[0]


@pytest.mark.parametrize("level", ["warn", 8, True, -1])
def test_a_log_level_that_is_none_is_refused_as_confluent_kafka_does(level: object) -> None:
    for library in (real, faces):
        with pytest.raises(library.KafkaException) as caught:
            library.Producer({**SERVERS, "log_level": level})
        assert caught.value.args[0].code() == KafkaError._INVALID_ARG


def test_an_oauth_callback_is_refused_with_what_will_bring_it() -> None:
    with pytest.raises(KafkaException, match="OAUTHBEARER with it, comes with part 4"):
        Consumer({**SERVERS, "group.id": "g"}, oauth_cb=print)


def test_a_consumer_needs_a_group() -> None:
    with pytest.raises(ValueError, match=r"group\.id must be set"):
        Consumer(SERVERS)


def test_kafka_pythons_names_become_kafkas() -> None:
    given = {"bootstrap_servers": "a,b:1", "retries": float("inf"), "acks": -1, "client_id": None, "api_version": (1,)}
    assert settings_of(ProducerConfig, given, frozenset()) == {
        "bootstrap.servers": ["a:9092", "b:1"],
        "retries": INT_MAX,
        "acks": -1,
    }


@pytest.mark.parametrize("wrong", [{"no_such": 1}, {"proxy_url": "socks5://a"}])
def test_kafka_python_refuses_what_is_not_known(wrong: dict[str, object]) -> None:
    with pytest.raises(KafkaConfigurationError):
        settings_of(ProducerConfig, wrong, frozenset())
