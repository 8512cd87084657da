"""`pystream share-groups` and `streams-groups` against a broker, with members that speak the protocol by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pystream.common.error_codes import NONE
from pystream.protocol.messages import streams_group_heartbeat as streams
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient
from tests.support.raw_share import RawShareMember, begin_with_the_first_record, create_topic, eventually

LEAVING, ACCEPT = -1, 1


@pytest.fixture
def jobs(broker: BrokerProcess, produce: Produce) -> tuple[str, str]:
    """(group, topic): a share group without members that has dealt with 4 of 10 records."""
    group, topic = fresh("jobs"), fresh("tasks")
    with closing(RawClient(broker.port)) as client:
        topic_id = create_topic(client, topic)
        begin_with_the_first_record(client, group)
    produce(topic, 10)
    with closing(RawShareMember(broker.port, group, "m" * 22, topic, topic_id)) as member:
        member.join()
        member.take_until()
        assert member.acknowledge((0, 3, ACCEPT)) == NONE
        member.member_epoch = LEAVING
        member.heartbeat()
    return group, topic


def test_a_share_group_shows_where_it_is(pystream: Command, jobs: tuple[str, str]):
    group, topic = jobs

    assert group in pystream("share-groups", "list", "-o", "name").out.splitlines()
    assert group not in pystream("share-groups", "list", "--state", "Stable", "-o", "name").out.splitlines()
    described = pystream("share-groups", "describe", group, "--json").json[0]
    (row,) = pystream("share-groups", "offsets", group, "--json").json
    assert (described["type"], described["members"]) == ("Share", [])
    assert (row["group"], row["topic"], row["partition"], row["start_offset"], row["end_offset"]) == (
        *(group, topic, 0),
        *(4, 10),
    )
    assert row["lag"] == 6


def test_a_share_group_begins_elsewhere_when_told_to_execute_it(pystream: Command, jobs: tuple[str, str]):
    group, topic = jobs

    planned = pystream("share-groups", "reset-offsets", group, "--to-earliest", "--json")
    kept = pystream("share-groups", "offsets", group, "--json").json[0]["start_offset"]
    moved = pystream("share-groups", "reset-offsets", group, "--shift-by", "-2", "--execute", "--json")
    named = pystream("share-groups", "reset-offsets", group, "--to-latest", "--topic", topic, "--execute", "--json")

    assert (planned.code, planned.json[0]["new_offset"], kept) == (0, 0, 4)
    assert "--execute does it" in planned.err
    assert (moved.json[0]["committed_offset"], moved.json[0]["new_offset"], moved.err) == (4, 2, "")
    assert named.json[0]["new_offset"] == 10


def test_a_share_group_forgets_and_is_deleted(pystream: Command, jobs: tuple[str, str]):
    group, topic = jobs

    assert "would be" in pystream("share-groups", "delete-offsets", group, "--topic", topic, "--dry-run").out
    assert pystream("share-groups", "delete-offsets", group, "--topic", topic).code == 0
    assert pystream("share-groups", "offsets", group, "--json").json == []
    assert "would be deleted" in pystream("share-groups", "delete", group, "--dry-run").out
    assert pystream("share-groups", "delete", group).code == 0
    assert pystream("share-groups", "delete", group).code == 3
    assert pystream("share-groups", "delete", group, "--if-exists").code == 0


def test_what_is_no_share_group_is_not_found(pystream: Command):
    name = fresh("nobody")

    for arguments in (
        ("describe", name),
        ("offsets", name),
        ("delete", name),
        ("delete-offsets", name, "--topic", "t"),
    ):
        outcome = pystream("share-groups", *arguments)
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.count("\n") == 1


@pytest.fixture
def application(broker: BrokerProcess, produce: Produce, pystream: Command) -> tuple[str, str]:
    """(group, topic): a streams group without members that has committed 4 of 10 records."""
    group, topic = fresh("word-count"), fresh("lines")
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 10)
    with closing(RawClient(broker.port)) as client:
        joined = eventually(lambda: client.call(_streams_heartbeat(group, topic, 0), 0), lambda a: a.error_code == NONE)
        commit = OffsetCommitRequest(
            group_id=group,
            member_id="s" * 22,
            generation_id_or_member_epoch=joined.member_epoch,
            topics=[
                OffsetCommitRequestTopic(
                    name=topic, partitions=[OffsetCommitRequestPartition(partition_index=0, committed_offset=4)]
                )
            ],
        )
        assert client.call(commit, 9).topics[0].partitions[0].error_code == NONE
        described = pystream("streams-groups", "describe", group, "--json").json[0]
        assert [member["client_id"] for member in described["members"]] == ["raw"]
        assert described["subtopologies"][0]["source_topics"] == [topic]
        left = client.call(_streams_heartbeat(group, topic, LEAVING), 0)
        assert left.error_code == NONE
    return group, topic


def _streams_heartbeat(group: str, topic: str, epoch: int) -> streams.StreamsGroupHeartbeatRequest:
    joining = epoch == 0
    subtopology = streams.Subtopology(
        subtopology_id="0",
        source_topics=[topic],
        repartition_source_topics=[],
        repartition_sink_topics=[],
        state_changelog_topics=[],
        copartition_groups=[],
    )
    return streams.StreamsGroupHeartbeatRequest(
        group_id=group,
        member_id="s" * 22,
        member_epoch=epoch,
        rebalance_timeout_ms=10_000 if joining else -1,
        process_id="process" if joining else None,
        topology=streams.Topology(epoch=0, subtopologies=[subtopology]) if joining else None,
        active_tasks=[] if joining else None,
        standby_tasks=[] if joining else None,
        warmup_tasks=[] if joining else None,
        client_tags=[] if joining else None,
        task_offsets=None,
        task_end_offsets=None,
    )


def test_a_streams_group_shows_where_it_is_moves_and_goes(pystream: Command, application: tuple[str, str]):
    group, topic = application

    assert group in pystream("streams-groups", "list", "-o", "name").out.splitlines()
    (row,) = pystream("streams-groups", "offsets", group, "--json").json
    assert (row["topic"], row["start_offset"], row["lag"]) == (topic, 4, 6)
    planned = pystream("streams-groups", "reset-offsets", group, "--to-offset", "7", "--json")
    assert (planned.code, planned.json[0]["new_offset"]) == (0, 7)
    done = pystream("streams-groups", "reset-offsets", group, "--to-offset", "7", "--execute")
    assert done.code == 0
    assert pystream("streams-groups", "offsets", group, "--json").json[0]["start_offset"] == 7
    assert pystream("streams-groups", "delete-offsets", group, "--topic", topic).code == 0
    assert pystream("streams-groups", "offsets", group, "--json").json == []
    assert pystream("streams-groups", "delete", group).code == 0
    assert pystream("streams-groups", "delete", group).code == 3


def test_what_is_no_streams_group_is_not_found(pystream: Command):
    name = fresh("nobody")

    reset = ("reset-offsets", name, "--to-earliest")
    for arguments in (("describe", name), ("offsets", name), ("delete", name), reset):
        outcome = pystream("streams-groups", *arguments)
        assert (outcome.code, outcome.out) == (3, "")


# --- groups of consumers: all the ways of saying where to ----------------------------------------------------------


def test_kafkas_own_words_for_positions(pystream: Command, produce: Produce, tmp_path: Path):
    group, topic = fresh("billing"), fresh("orders")
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 10)

    def reset(*where: str) -> int:
        outcome = pystream("groups", "reset-offsets", group, "--topic", topic, *where, "--execute", "--json")
        assert outcome.code == 0, outcome.err
        new: int = outcome.json[0]["new_offset"]
        return new

    assert reset("--to-latest") == 10
    assert reset("--shift-by", "-3") == 7
    assert reset("--to-current") == 7
    assert reset("--to-offset", "2") == 2
    assert reset("--to-datetime", "2099-01-01T00:00:00.000") == 10
    assert reset("--by-duration", "PT1H") == 0
    exported = tmp_path / "offsets.csv"
    exported.write_text(f"{topic},0,5\n")
    assert reset("--from-file", str(exported)) == 5
    own = pystream("groups", "reset-offsets", group, "--to-offset", "8", "-o", "csv").out
    exported.write_text(own)
    assert pystream("groups", "reset-offsets", group, "--from-file", str(exported), "--execute").code == 0
    assert reset("--to-current") == 8
    exported.write_text(f"other,{topic},0,1\n{group},{topic},0,9\n")
    assert reset("--from-file", str(exported)) == 9


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ((), "given: nothing"),
        (("--to-earliest", "--to-latest"), "to-earliest, to-latest"),
        (("--by-duration", "1 hour"), "PT1H"),
        (("--to-datetime", "yesterday"), "no time"),
        (("--from-file", "no-such-file"), "no-such-file"),
    ],
    ids=str,
)
def test_where_to_is_said_in_one_way_that_means_something(pystream: Command, where: tuple[str, ...], complaint: str):
    outcome = pystream("groups", "reset-offsets", "g", *where)

    assert outcome.code == 2
    assert complaint in outcome.err


@pytest.mark.parametrize("text", ["orders,0\n", "orders,x,1\n", "", "topic,partition,offset\norders,0,1,2\n"])
def test_a_file_that_has_no_offsets_is_refused_with_its_line(pystream: Command, tmp_path: Path, text: str):
    file = tmp_path / "offsets.csv"
    file.write_text(text)

    outcome = pystream("groups", "reset-offsets", "g", "--from-file", str(file))

    assert (outcome.code, outcome.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("noun", ["groups", "share-groups", "streams-groups"])
def test_of_a_group_that_is_not_there_the_list_of_its_kind_is_named(pystream: Command, noun: str):
    outcome = pystream(noun, "describe", "nobody-at-all")

    assert (outcome.code, outcome.out) == (3, "")
    assert f"`pystream {noun} list` shows what there is" in outcome.err
