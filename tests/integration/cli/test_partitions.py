"""`pystream partitions` against a broker of which there is one: what can be moved where is refused."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def topic(pystream: Command) -> str:
    name = fresh("parts")
    assert pystream("topics", "create", name, "--partitions", "2").code == 0
    return name


def test_partitions_are_listed_with_their_offsets(pystream: Command, produce: Produce, topic: str):
    produce(topic, 3)

    rows = pystream("partitions", "list", topic, "--offsets", "--json").json
    one = pystream("partitions", "list", f"{topic}:1", "--json").json

    assert [(row["partition"], row["leader"], row["in_sync"], row["end_offset"]) for row in rows] == [
        (0, 1, [1], 3),
        (1, 1, [1], 0),
    ]
    assert [(row["partition"], row["end_offset"]) for row in one] == [(1, None)]
    assert {(topic, 0), (topic, 1)} <= {
        (row["topic"], row["partition"]) for row in pystream("partitions", "list", "--json").json
    }


def test_healthy_partitions_are_not_listed_among_the_others(pystream: Command, topic: str):
    assert pystream("partitions", "list", topic, "--unhealthy", "--json").json == []


def test_what_is_not_there_is_told_beside_what_is(pystream: Command, topic: str):
    outcome = pystream("partitions", "list", f"{topic}:0,9", fresh("nowhere"), "--json")

    assert outcome.code == 3
    assert [row["partition"] for row in outcome.json] == [0]
    assert outcome.err.count("\n") == 2


def test_producers_that_a_partition_remembers_are_listed(pystream: Command, broker: BrokerProcess, topic: str):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": fresh("open")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"1", partition=0)
    producer.flush(30)

    (row,) = pystream("partitions", "producers", f"{topic}:0", "--json").json
    producer.abort_transaction(30)
    (after,) = pystream("partitions", "producers", f"{topic}:0", "--json").json

    assert (row["topic"], row["partition"], row["transaction_start_offset"]) == (topic, 0, 0)
    assert after["transaction_start_offset"] is None


def test_leaders_that_lead_already_stay(pystream: Command, topic: str):
    assert pystream("partitions", "elect-leaders", topic, "--dry-run", "--json").json == []

    rows = pystream("partitions", "elect-leaders", topic, "--json").json
    assert {row["change"] for row in rows} == {"led by the right one already"}


def test_a_move_to_where_the_partition_is_changes_nothing(pystream: Command, topic: str):
    planned = pystream("partitions", "reassign", f"{topic}:0", "--replicas", "1", "--dry-run", "--json")
    moved = pystream("partitions", "reassign", f"{topic}:0", "--replicas", "1", "--json")

    assert [row["change"] for row in planned.json] == ["would go from [1] to [1]"]
    assert [row["change"] for row in moved.json] == ["goes from [1] to [1]"]
    assert pystream("partitions", "reassignments", topic, "--json").json == []


def test_a_move_to_a_broker_that_is_not_there_is_refused(pystream: Command, topic: str):
    planned = pystream("partitions", "reassign", topic, "--replicas", "1", "--replicas", "7", "--dry-run")
    moved = pystream("partitions", "reassign", topic, "--replicas", "7")

    assert (planned.code, planned.out) == (3, "")
    assert "7" in planned.err
    assert moved.code == 2
    assert pystream("partitions", "list", topic, "--json").json[0]["replicas"] == [1]


def test_where_nothing_moves_there_is_nothing_to_cancel(pystream: Command, topic: str):
    for dry_run in ((), ("--dry-run",)):
        assert pystream("partitions", "cancel-reassignments", *dry_run, "--json").json == []
        outcome = pystream("partitions", "cancel-reassignments", f"{topic}:0", *dry_run)
        assert outcome.code == 1
        assert "reassignment" in outcome.err.lower() or "no way" in outcome.err
