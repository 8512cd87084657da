"""The broker's settings as server.properties spells them."""

from __future__ import annotations

import pytest

from pystream.broker.config import BrokerConfig, broker_keys, nearest_key
from pystream.broker.listeners import parse_listeners
from pystream.common.errors import InvalidConfig

HERE = {"log.dirs": "data"}


def test_the_defaults_are_kafkas():
    config = BrokerConfig.from_settings(HERE)

    assert config.controller.num_partitions == 1
    assert config.auto_create_topics_enable is True
    assert config.socket_request_max_bytes == 104_857_600
    assert config.connections_max_idle_ms == 600_000
    assert config.coordinator.offsets_topic_num_partitions == 50


def test_a_data_directory_is_required():
    with pytest.raises(InvalidConfig, match="--data-dir"):
        BrokerConfig.from_settings({})


def test_log_dir_is_taken_where_log_dirs_is_missing():
    assert BrokerConfig.from_settings({"log.dir": "one"}).log_dirs == ("one",)


@pytest.mark.parametrize("log_dirs", ["one,one", "one,two,./one", "one,two/../one"])
def test_a_log_directory_that_is_named_twice_is_refused(log_dirs: str):
    with pytest.raises(InvalidConfig, match="twice"):
        BrokerConfig.from_settings({"log.dirs": log_dirs})


@pytest.mark.parametrize("log_dirs", ["one,", "one,,two", " ,one"])
def test_a_log_directory_without_a_name_is_refused(log_dirs: str):
    with pytest.raises(InvalidConfig, match="without a name"):
        BrokerConfig.from_settings({"log.dirs": log_dirs})


def test_broker_id_is_taken_where_node_id_is_missing():
    assert BrokerConfig.from_settings({**HERE, "broker.id": "7"}).node_id == 7
    assert BrokerConfig.from_settings({**HERE, "broker.id": "7", "node.id": "7"}).node_id == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"num.partitions": "0"},
        {"num.partitions": "many"},
        {"auto.create.topics.enable": "perhaps"},
        {"log.retention.ms": "soon"},
        {"log.retention.minutes": "0"},
        {"log.segment.bytes": "12"},
        {"log.cleanup.policy": "shred"},
        {"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "5"},
        {"metrics.listener": "gopher://127.0.0.1:70"},
        {"listeners": "9092"},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_at_start(wrong: dict[str, str]):
    with pytest.raises(InvalidConfig):
        BrokerConfig.from_settings({**HERE, **wrong})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (
            {"group.consumer.heartbeat.interval.ms": "60000"},
            "group.consumer.heartbeat.interval.ms must be less than or equal to "
            "group.consumer.max.heartbeat.interval.ms",
        ),
        (
            {"group.share.session.timeout.ms": "44999"},
            "group.share.session.timeout.ms must be greater than or equal to group.share.min.session.timeout.ms",
        ),
        (
            {"group.streams.max.session.timeout.ms": "44999"},
            "group.streams.max.session.timeout.ms must be greater than or equal to "
            "group.streams.min.session.timeout.ms",
        ),
        (
            {"group.consumer.min.session.timeout.ms": "1", "group.consumer.session.timeout.ms": "5000"},
            "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms",
        ),
        (
            {"group.streams.num.standby.replicas": "3"},
            "group.streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
        ),
    ],
)
def test_settings_of_all_groups_lie_within_their_bounds(wrong: dict[str, str], complaint: str):
    with pytest.raises(InvalidConfig) as raised:
        BrokerConfig.from_settings({**HERE, **wrong})
    assert str(raised.value) == complaint


def test_unknown_settings_are_kept_and_named():
    config = BrokerConfig.from_settings(
        {**HERE, "log.retention.ms": "1", "process.roles": "broker", "no.such.key": "1"}
    )

    assert config.unknown_settings() == ["no.such.key"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"broker.id": "7", "node.id": "8"}, "node.id=8 and broker.id=7"),
        ({"process.roles": "controller"}, "process.roles=controller"),
        ({"controller.quorum.voters": "1@a:9093, 2@b:9093,3@c:9093"}, "controller.quorum.voters names 3 controllers"),
        ({"controller.quorum.bootstrap.servers": "a:9093,b:9093"}, "bootstrap.servers names 2 controllers"),
        ({"authorizer.class.name": "org.example.Strict"}, "authorizer.class.name is set, and ACLs are not available"),
    ],
    ids=str,
)
def test_what_asks_for_another_server_is_refused(wrong: dict[str, str], complaint: str):
    with pytest.raises(InvalidConfig, match=complaint):
        BrokerConfig.from_settings({**HERE, **wrong})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("num.partitionz", "num.partitions"),
        ("log.retentiom.ms", "log.retention.ms"),
        ("flush.policy", "log.flush.policy"),
        ("retention.ms", "log.retention.ms"),
        ("max.message.bytes", "message.max.bytes"),
        ("log_retention_ms", "log.retention.ms"),
        ("ssl.keystore.location", None),
        ("queued.max.requests", None),  # these are keys of Kafka's own, and no slips
        ("zookeeper.session.timeout.ms", None),
        ("replica.socket.receive.buffer.bytes", None),
        ("control.plane.listener.name", None),
    ],
)
def test_a_name_that_is_nearly_a_key_is_told_the_key(name: str, meant: str | None):
    assert nearest_key(name) == meant


def test_every_topic_synonym_is_a_broker_key():
    expected = {"log.retention.hours", "log.retention.minutes", "log.retention.ms", "message.max.bytes"}

    assert expected <= set(broker_keys())


def test_the_properties_that_kafka_ships_are_accepted():
    shipped = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": "localhost:9093",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "inter.broker.listener.name": "PLAINTEXT",
        "advertised.listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "num.network.threads": "3",
        "num.io.threads": "8",
        "log.dirs": "kraft-combined-logs",
        "offsets.topic.replication.factor": "1",
        "log.retention.hours": "168",
        "log.segment.bytes": "1073741824",
        "log.retention.check.interval.ms": "300000",
    }

    (listener,) = BrokerConfig.from_settings(shipped).open_listeners()

    assert (listener.name, listener.bind_host, listener.bind_port) == ("PLAINTEXT", "127.0.0.1", 9092)
    assert (listener.advertised_host, listener.advertised_port) == ("localhost", 9092)


def listen(*listeners: str, advertised: tuple[str, ...] | None = None, public: bool = False):
    protocols = ("PLAINTEXT:PLAINTEXT", "INSIDE:PLAINTEXT", "SSL:SSL")
    return parse_listeners(
        listeners=listeners, advertised=advertised, protocol_map=protocols, left_out=(), public_allowed=public
    )


def test_the_bound_port_is_advertised_when_nothing_else_is_said():
    (listener,) = listen("PLAINTEXT://127.0.0.1:0")

    assert (listener.advertised_host, listener.advertised_port) == ("127.0.0.1", None)


def test_an_address_of_ipv6_stands_in_brackets():
    (listener,) = listen("INSIDE://[::1]:19092")

    assert (listener.bind_host, listener.bind_port) == ("::1", 19092)


def test_a_public_listener_without_authentication_wants_a_word():
    with pytest.raises(InvalidConfig, match=r"listeners\.public\.allow"):
        listen("PLAINTEXT://0.0.0.0:9092")
    (listener,) = listen("PLAINTEXT://0.0.0.0:9092", public=True)
    assert listener.advertised_host not in ("", "0.0.0.0")


@pytest.mark.parametrize(
    ("listener", "advertised", "name_of_this_machine", "misleads"),
    [
        ("PLAINTEXT://0.0.0.0:9092", None, "localhost", True),
        ("PLAINTEXT://0.0.0.0:9092", None, "broker.example.org", False),
        ("PLAINTEXT://0.0.0.0:9092", ("PLAINTEXT://localhost:9092",), "localhost", False),
        ("PLAINTEXT://127.0.0.1:9092", None, "localhost", False),
    ],
)
def test_a_public_listener_that_nobody_else_could_use_is_known(
    monkeypatch: pytest.MonkeyPatch,
    listener: str,
    advertised: tuple[str, ...] | None,
    name_of_this_machine: str,
    misleads: bool,
):
    monkeypatch.setattr("socket.getfqdn", lambda: name_of_this_machine)

    (opened,) = listen(listener, advertised=advertised, public=True)

    assert opened.misleads is misleads


@pytest.mark.parametrize(
    "listeners",
    [
        ("PLAINTEXT://127.0.0.1:99999",),
        ("PLAINTEXT://127.0.0.1",),
        ("PLAINTEXT://127.0.0.1:1", "PLAINTEXT://127.0.0.1:2"),
        ("PLAINTEXT://127.0.0.1:1", "INSIDE://127.0.0.1:1"),
        ("NOBODY://127.0.0.1:1",),
        ("SSL://127.0.0.1:1",),
        (),
    ],
    ids=str,
)
def test_a_listener_that_cannot_be_is_refused(listeners: tuple[str, ...]):
    with pytest.raises(InvalidConfig):
        listen(*listeners)


def test_advertising_what_is_not_listened_on_is_refused():
    with pytest.raises(InvalidConfig, match="INSIDE"):
        listen("PLAINTEXT://127.0.0.1:1", advertised=("INSIDE://127.0.0.1:1",))


def test_advertising_every_address_is_refused():
    with pytest.raises(InvalidConfig, match="client"):
        listen("PLAINTEXT://127.0.0.1:1", advertised=("PLAINTEXT://0.0.0.0:1",))
