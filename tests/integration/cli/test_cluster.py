"""`pystream cluster`, `configs`, `quotas`, `transactions` and `acls` against a broker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException, Producer

from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess


def test_the_cluster_and_its_broker_are_shown(pystream: Command, broker: BrokerProcess):
    pystream("topics", "create", fresh("counted"))

    cluster = pystream("cluster", "describe", "--json").json
    assert (cluster["controller"], cluster["brokers"], cluster["offline_partitions"]) == (1, 1, 0)
    assert cluster["partitions"] >= cluster["topics"] >= 1
    assert pystream("cluster", "brokers", "--json").json == [
        {"broker": 1, "host": "127.0.0.1", "port": broker.port, "rack": None, "controller": True}
    ]


def test_features_and_quorum_are_shown(pystream: Command):
    features = {row["feature"]: row for row in pystream("cluster", "features", "--json").json}
    assert features["transaction.version"]["level"] == 2
    assert features["metadata.version"]["supported_minimum"] < features["metadata.version"]["level"]

    quorum = pystream("cluster", "quorum", "--json").json
    assert [(row["node"], row["role"], row["lag"]) for row in quorum] == [(1, "leader", 0)]


def test_log_directories_tell_what_lies_in_them(pystream: Command, broker: BrokerProcess, produce: Produce):
    name = fresh("lying")
    pystream("topics", "create", name, "--partitions", "2")
    produce(name, 5)

    (directory,) = pystream("cluster", "log-dirs", "--topic", name, "--json").json
    assert (directory["path"], directory["broker"], directory["replicas"]) == (str(broker.data_dir), 1, 2)
    assert directory["size_bytes"] == directory["partitions"][0]["size_bytes"] > 0
    assert pystream("cluster", "log-dirs", "--broker", "1", "-o", "name").out == f"{broker.data_dir}\n"
    assert pystream("cluster", "log-dirs", "--broker", "77").code == 3


def test_settings_of_topics_and_brokers_are_described_and_altered(pystream: Command):
    name = fresh("settings")
    pystream("topics", "create", name)

    assert pystream("configs", "alter", "topics", name, "--set", "cleanup.policy=delete", "--dry-run").code == 0
    assert pystream("configs", "alter", "topics", name, "--set", "cleanup.policy=delete").code == 0
    assert pystream("configs", "alter", "topics", name, "--append", "cleanup.policy=compact").code == 0
    own = pystream("configs", "describe", "topics", name, "--key", "cleanup.policy", "--json").json
    assert [(row["value"], row["source"], row["resource"]) for row in own] == [
        ("delete,compact", "DYNAMIC_TOPIC_CONFIG", f"topics {name}")
    ]
    assert pystream("configs", "alter", "topics", name, "--unset", "cleanup.policy").code == 0
    assert "cleanup.policy" not in pystream("configs", "describe", "topics", name, "-o", "name").out
    assert "cleanup.policy" in pystream("configs", "describe", "topics", name, "--all", "-o", "name").out

    assert pystream("configs", "alter", "brokers", "--set", "log.cleaner.threads=2").code == 0
    assert "log.cleaner.threads" in pystream("configs", "describe", "brokers", "-o", "name").out
    assert pystream("configs", "alter", "brokers", "--unset", "log.cleaner.threads").code == 0
    assert "node.id" in pystream("configs", "describe", "brokers", "1", "--all", "-o", "name").out


def test_settings_that_cannot_be_are_wrong_usage(pystream: Command):
    name = fresh("settings")
    pystream("topics", "create", name)

    for arguments in (
        ("configs", "alter", "topics", name),
        ("configs", "alter", "topics", name, "--set", "segment.ms=1", "--unset", "segment.ms"),
        ("configs", "alter", "topics", name, "--set", "segment.ms=soon"),
        ("configs", "describe", "topics"),
        ("configs", "describe", "tables", name),
        ("configs", "describe", "brokers", "one"),
    ):
        outcome = pystream(*arguments)
        assert (outcome.code, outcome.out) == (2, ""), arguments
        assert "Traceback" not in outcome.err
    assert pystream("configs", "describe", "topics", fresh("nowhere")).code == 3


def test_quotas_are_set_shown_and_removed(pystream: Command):
    user = fresh("alice")

    def quotas() -> list[dict[str, object]]:
        return pystream("quotas", "describe", "--entity", f"user={user}", "--any", "client-id", "--json").json

    set_ = ("quotas", "alter", "--entity", f"user={user}", "--entity", "client-id=", "--set", "producer_byte_rate=1000")
    assert pystream(*set_, "--dry-run").code == 0
    assert quotas() == []
    assert pystream(*set_).code == 0
    assert quotas() == [
        {
            "entity": f"client-id=<default>,user={user}",
            "quotas": {"producer_byte_rate": 1000.0},
            "parts": {"client-id": None, "user": user},
        }
    ]
    unset = ("--entity", f"user={user}", "--entity", "client-id=", "--unset", "producer_byte_rate")
    assert pystream("quotas", "alter", *unset).code == 0
    assert quotas() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "producer_byte_rate=1"),
        ("--entity", "user=a"),
        ("--entity", "user=a", "--set", "producer_byte_rate=much"),
        ("--entity", "user=a", "--set", "no_such_rate=1"),
        ("--entity", "shoe=a", "--set", "producer_byte_rate=1"),
    ],
)
def test_quotas_that_cannot_be_are_wrong_usage(pystream: Command, arguments: tuple[str, ...]):
    assert pystream("quotas", "alter", *arguments).code == 2


def test_a_transaction_is_listed_described_and_aborted(pystream: Command, broker: BrokerProcess):
    topic, name = fresh("paid"), fresh("payments")
    pystream("topics", "create", topic, "--partitions", "1")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"1")
    assert producer.flush(30) == 0

    listed = pystream("transactions", "list", "--state", "Ongoing", "--pattern", f"{name}.*", "--json").json
    assert [(row["transactional_id"], row["state"]) for row in listed] == [(name, "Ongoing")]
    described = pystream("transactions", "describe", name, "--json").json[0]
    assert (described["state"], described["partitions"], described["coordinator"]) == ("Ongoing", [f"{topic}-0"], 1)
    assert "would be aborted" in pystream("transactions", "abort", name, "--dry-run").out
    assert pystream("transactions", "describe", name, "--json").json[0]["state"] == "Ongoing"

    assert pystream("transactions", "abort", name).code == 0
    assert pystream("transactions", "list", "--state", "Ongoing", "--pattern", name, "-o", "name").out == ""
    with pytest.raises(KafkaException):
        producer.commit_transaction(30)


def test_a_transaction_that_is_not_there_is_exit_code_three(pystream: Command):
    name = fresh("nobody")

    for verb in ("describe", "abort"):
        outcome = pystream("transactions", verb, name)
        assert (outcome.code, outcome.out) == (3, "")
        assert name in outcome.err
    assert name not in pystream("transactions", "list", "-o", "name").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("create", "--resource", "topic", "--principal", "User:alice", "--operation", "read"),
        ("create", "--resource", "topic", "--principal", "User:alice", "--operation", "read", "--dry-run"),
        ("delete", "--principal", "User:alice"),
        ("delete", "--principal", "User:alice", "--dry-run"),
    ],
)
def test_acls_are_refused_by_a_broker_without_an_authorizer(pystream: Command, arguments: tuple[str, ...]):
    outcome = pystream("acls", *arguments)

    assert (outcome.code, outcome.out) == (4, "")
    assert "No Authorizer is configured" in outcome.err
    assert "authorizer.class.name" in outcome.err


def test_producers_of_a_partition_are_shown_and_only_what_hangs_is_aborted(pystream: Command, broker: BrokerProcess):
    topic, name = fresh("paid"), fresh("payments")
    pystream("topics", "create", topic, "--partitions", "1")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"1")
    assert producer.flush(30) == 0

    (row,) = pystream("partitions", "producers", topic, "--json").json
    assert (row["topic"], row["partition"], row["last_sequence"], row["transaction_start_offset"]) == (topic, 0, 0, 0)
    number = str(row["producer_id"])
    known = pystream("transactions", "abort-hanging", topic, "--partition", "0", "--producer-id", number)
    assert (known.code, known.out) == (4, "")
    assert f"pystream transactions abort {name}" in known.err
    nobody = pystream("transactions", "abort-hanging", topic, "--partition", "0", "--producer-id", "999999")
    assert (nobody.code, nobody.out) == (3, "")
    producer.abort_transaction(30)
    (row,) = pystream("partitions", "producers", topic, "--json").json
    assert row["transaction_start_offset"] is None
    missing = ("--partition", "7", "--producer-id", number)
    assert pystream("transactions", "abort-hanging", topic, *missing).code == 3
