"""`pystream groups` against a broker, with confluent-kafka's consumer as member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer

from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess


@contextmanager
def member(broker: BrokerProcess, group: str, topic: str, records: int) -> Iterator[Consumer]:
    """A member that has read and committed so many records."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "client.id": "reader",
        }
    )
    consumer.subscribe([topic])
    try:
        last = None
        for _ in range(records):
            while (message := consumer.poll(1)) is None:
                continue
            assert message.error() is None
            last = message
        assert last is not None
        consumer.commit(last, asynchronous=False)
        yield consumer
    finally:
        consumer.close()


def committed_group(pystream: Command, produce: Produce, broker: BrokerProcess) -> tuple[str, str]:
    """(group, topic): without members, with 4 of 10 records read."""
    group, topic = fresh("billing"), fresh("orders")
    pystream("topics", "create", topic, "--partitions", "2")
    produce(topic, 10)
    with member(broker, group, topic, 4):
        pass
    return group, topic


def test_a_group_with_a_member_shows_its_lag_and_keeps_its_offsets(
    pystream: Command, produce: Produce, broker: BrokerProcess
):
    group, topic = fresh("billing"), fresh("orders")
    pystream("topics", "create", topic, "--partitions", "2")
    produce(topic, 10)
    with member(broker, group, topic, 4):
        described = pystream("groups", "describe", group, "--json").json[0]
        reset = pystream("groups", "reset-offsets", group, "--to", "start", "--execute")
        deleted = pystream("groups", "delete", group)
        dry = pystream("groups", "delete", group, "--dry-run")
        forgotten = pystream("groups", "delete-offsets", group, "--topic", topic)

    assert (described["state"], described["type"], len(described["members"])) == ("Stable", "Classic", 1)
    assert described["members"][0]["partitions"] == [f"{topic}-0", f"{topic}-1"]
    first, second = described["partitions"]
    assert (first["committed_offset"], first["end_offset"], first["lag"], first["client_id"]) == (4, 10, 6, "reader")
    assert (second["committed_offset"], second["lag"], second["client_id"]) == (None, None, "reader")
    for outcome in (reset, deleted, dry, forgotten):
        assert (outcome.code, outcome.out) == (4, "")
    assert "`pystream groups describe`" in reset.err


def test_groups_are_listed_by_pattern_state_and_type(pystream: Command, produce: Produce, broker: BrokerProcess):
    group, _ = committed_group(pystream, produce, broker)

    assert pystream("groups", "list", "--pattern", f"{group}|nobody", "-o", "name").out == f"{group}\n"
    row = next(row for row in pystream("groups", "list", "--json").json if row["group"] == group)
    assert (row["type"], row["state"], row["protocol"]) == ("Classic", "Empty", "consumer")
    assert group in pystream("groups", "list", "--state", "Empty", "--type", "classic", "-o", "name").out
    assert group not in pystream("groups", "list", "--state", "Stable", "-o", "name").out
    assert group not in pystream("groups", "list", "--type", "consumer", "-o", "name").out


def test_offsets_are_reset_to_every_kind_of_position(pystream: Command, produce: Produce, broker: BrokerProcess):
    group, topic = committed_group(pystream, produce, broker)

    def reset(to: str, *more: str) -> list[tuple[int, int | None, int]]:
        rows = pystream("groups", "reset-offsets", group, "--to", to, *more, "--execute", "--json").json
        return [(row["partition"], row["committed_offset"], row["new_offset"]) for row in rows]

    assert reset("end", "--dry-run") == [(0, 4, 10)]
    assert reset("+3") == [(0, 4, 7)]
    assert reset("-2") == [(0, 7, 5)]
    assert reset("9") == [(0, 5, 9)]
    assert reset("1000") == [(0, 9, 10)]
    assert reset("@-1h") == [(0, 10, 0)]
    assert reset("@2099-01-01T00:00:00Z") == [(0, 0, 10)]
    assert reset("start", "--topic", f"{topic}:0") == [(0, 10, 0)]
    assert reset("end", "--topic", topic) == [(0, 0, 10), (1, None, 0)]
    assert [each["lag"] for each in pystream("groups", "describe", group, "--json").json[0]["partitions"]] == [0, 0]


def test_positions_and_topics_that_are_none_are_refused(pystream: Command, produce: Produce, broker: BrokerProcess):
    group, topic = committed_group(pystream, produce, broker)

    assert pystream("groups", "reset-offsets", group, "--to", "tomorrow").code == 2
    assert pystream("groups", "reset-offsets", group, "--to", "@tomorrow").code == 2
    assert pystream("groups", "reset-offsets", group, "--to", "start", "--topic", f"{topic}:x").code == 2
    assert pystream("groups", "reset-offsets", group, "--to", "start", "--topic", f"{topic}:7").code == 3
    assert pystream("groups", "reset-offsets", fresh("nobody"), "--to", "start").code == 3


def test_offsets_and_groups_are_deleted(pystream: Command, produce: Produce, broker: BrokerProcess):
    group, topic = committed_group(pystream, produce, broker)

    assert "would be deleted" in pystream("groups", "delete-offsets", group, "--topic", topic, "--dry-run").out
    assert pystream("groups", "delete-offsets", group, "--topic", topic, "-o", "name").out == f"{topic}-0\n"
    assert pystream("groups", "delete-offsets", group, "--topic", topic).code == 3

    other, _ = committed_group(pystream, produce, broker)
    assert "would be deleted" in pystream("groups", "delete", other, "--dry-run").out
    assert pystream("groups", "delete", other).code == 0
    assert other not in pystream("groups", "list", "-o", "name").out


def test_a_group_that_is_not_there_is_exit_code_three(pystream: Command):
    name = fresh("nobody")

    for verb in ("describe", "delete"):
        outcome = pystream("groups", verb, name)
        assert (outcome.code, outcome.out) == (3, "")
        assert name in outcome.err
        assert "`pystream groups list`" in outcome.err
    assert pystream("groups", "delete", name, "--if-exists").code == 0
