"""The handlers of classic groups and of committed offsets, in every version that is offered."""

from __future__ import annotations

from typing import Any

import pytest

from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    FENCED_INSTANCE_ID,
    GROUP_ID_NOT_FOUND,
    GROUP_SUBSCRIBED_TO_TOPIC,
    INCONSISTENT_GROUP_PROTOCOL,
    INVALID_GROUP_ID,
    MEMBER_ID_REQUIRED,
    NON_EMPTY_GROUP,
    NONE,
    NOT_COORDINATOR,
    UNKNOWN_MEMBER_ID,
    UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.model import CONSUMER_OFFSETS_TOPIC
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.delete_groups import DeleteGroupsRequest
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from pystream.protocol.messages.describe_groups import DescribeGroupsRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.heartbeat import HeartbeatRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from pystream.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from pystream.protocol.messages.list_groups import ListGroupsRequest
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from pystream.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from pystream.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from tests.support.cold_rig import CLIENT_ID, ColdRig, run_cold
from tests.support.group_rig import subscription

GROUP = "group"
SETTINGS = {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "3"}
UNKNOWN_ID = b"?" * 16


def run(scenario: Any, verification: str = "true") -> Any:
    """Run it with a topic of two partitions and a coordinator that is there."""

    async def prepared(rig: ColdRig) -> Any:
        topic = CreatableTopic(name="topic", num_partitions=2, replication_factor=1)
        await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
        await rig.call(FindCoordinatorRequest(coordinator_keys=[GROUP]), 6)
        return await scenario(rig)

    return run_cold(prepared, {**SETTINGS, "transaction.partition.verification.enable": verification})


def unload(rig: ColdRig) -> None:
    """The group is another broker's from now on."""
    runtime = rig.coordinators.groups.runtime
    runtime.unload(runtime.partition_for(GROUP))


def topic_id(rig: ColdRig) -> bytes:
    return bytes(rig.applier.image.topics["topic"].topic_id)


def commit_of(rig: ColdRig, version: int, *places: tuple[str, int, int], **fields: Any) -> OffsetCommitRequest:
    """An OffsetCommit of (topic, partition, offset), one topic entry for each; by id where the version wants it."""
    topics = [
        OffsetCommitRequestTopic(
            name=name,
            topic_id=topic_id(rig) if name == "topic" else UNKNOWN_ID,
            partitions=[
                OffsetCommitRequestPartition(
                    partition_index=partition,
                    committed_offset=offset,
                    committed_metadata="note",
                    committed_leader_epoch=3,
                )
            ],
        )
        for name, partition, offset in places
    ]
    return OffsetCommitRequest(
        **{"group_id": GROUP, "generation_id_or_member_epoch": -1, "topics": topics, **fields},
    )


def commit_in_transaction_of(group_id: str, *places: tuple[str, int]) -> TxnOffsetCommitRequest:
    """A TxnOffsetCommit, one topic entry for each place, of a producer that nobody knows."""
    topics = [
        TxnOffsetCommitRequestTopic(
            name=name, partitions=[TxnOffsetCommitRequestPartition(partition_index=partition, committed_offset=1)]
        )
        for name, partition in places
    ]
    return TxnOffsetCommitRequest(transactional_id="t", group_id=group_id, producer_id=7, topics=topics)


def commit_codes(response: Any) -> list[tuple[int, int]]:
    return [(p.partition_index, p.error_code) for topic in response.topics for p in topic.partitions]


@pytest.mark.parametrize("version", range(2, 11))
def test_every_partition_of_a_commit_is_answered_in_order(version: int):
    unknown = UNKNOWN_TOPIC_ID if version >= 10 else UNKNOWN_TOPIC_OR_PARTITION

    async def scenario(rig: ColdRig):
        places = (("nowhere", 0, 1), ("topic", 1, 5), ("topic", 2, 1), ("topic", 0, 4))
        return await rig.call(commit_of(rig, version, *places), version)

    assert commit_codes(run(scenario)) == [(0, unknown), (1, NONE), (2, UNKNOWN_TOPIC_OR_PARTITION), (0, NONE)]


@pytest.mark.parametrize("version", range(2, 11))
def test_a_commit_that_the_coordinator_refuses_is_answered_for_unknown_topics_too(version: int):
    """The shard is there, and being read."""
    unknown = UNKNOWN_TOPIC_ID if version >= 10 else UNKNOWN_TOPIC_OR_PARTITION

    async def scenario(rig: ColdRig):
        unload(rig)
        places = (("nowhere", 0, 1), ("topic", 1, 5), ("topic", 2, 1))
        return await rig.call(commit_of(rig, version, *places), version)

    assert commit_codes(run(scenario)) == [(0, unknown), (1, NOT_COORDINATOR), (2, UNKNOWN_TOPIC_OR_PARTITION)]


@pytest.mark.parametrize("version", range(6))
def test_a_commit_in_a_transaction_that_is_refused_is_answered_for_unknown_topics_too(version: int):
    async def scenario(rig: ColdRig):
        unload(rig)
        return await rig.call(commit_in_transaction_of(GROUP, ("nowhere", 0), ("topic", 1), ("topic", 2)), version)

    known = COORDINATOR_NOT_AVAILABLE if version >= 5 else NOT_COORDINATOR  # that of transactions is asked first
    expected = [(0, UNKNOWN_TOPIC_OR_PARTITION), (1, known), (2, UNKNOWN_TOPIC_OR_PARTITION)]
    assert commit_codes(run(scenario, "false")) == expected


@pytest.mark.parametrize(("version", "code"), [(1, COORDINATOR_NOT_AVAILABLE), (2, COORDINATOR_LOAD_IN_PROGRESS)])
def test_old_producers_are_not_told_that_a_coordinator_is_being_loaded(version: int, code: int):
    async def scenario(rig: ColdRig):
        runtime = rig.coordinators.groups.runtime
        partition = runtime.partition_for(GROUP)
        runtime.unload(partition)
        rig.logs.logs.pop((CONSUMER_OFFSETS_TOPIC, partition))  # it cannot be read
        runtime.load(partition)
        return await rig.call(commit_in_transaction_of(GROUP, ("topic", 0)), version)

    assert commit_codes(run(scenario, "false")) == [(0, code)]


@pytest.mark.parametrize("version", range(6))
def test_a_commit_in_a_transaction_names_a_group(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(commit_in_transaction_of("", ("topic", 0), ("nowhere", 0)), version)

    assert commit_codes(run(scenario)) == [(0, INVALID_GROUP_ID), (0, UNKNOWN_TOPIC_OR_PARTITION)]


@pytest.mark.parametrize("version", range(1, 8))
def test_offsets_of_one_group_are_fetched(version: int):
    async def scenario(rig: ColdRig):
        await rig.call(commit_of(rig, 9, ("topic", 1, 5)), 9)
        topics = [OffsetFetchRequestTopic(name="topic", partition_indexes=[0, 1])]
        asked = await rig.call(OffsetFetchRequest(group_id=GROUP, topics=topics), version)
        every = await rig.call(OffsetFetchRequest(group_id=GROUP, topics=None), version) if version >= 2 else None
        return asked, every

    asked, every = run(scenario)
    epoch = 3 if version >= 5 else -1
    found = [(p.partition_index, p.committed_offset, p.metadata, p.error_code) for p in asked.topics[0].partitions]
    assert found == [(0, -1, "", NONE), (1, 5, "note", NONE)]
    assert asked.topics[0].partitions[1].committed_leader_epoch == epoch
    if every is not None:
        assert [(t.name, [p.committed_offset for p in t.partitions]) for t in every.topics] == [("topic", [5])]


@pytest.mark.parametrize("version", range(8, 11))
def test_offsets_of_many_groups_are_fetched_each_with_a_result(version: int):
    async def scenario(rig: ColdRig):
        for group_id, offset in (("one", 1), ("two", 2)):
            await rig.call(commit_of(rig, 9, ("topic", 0, offset), group_id=group_id), 9)
        asked = [
            OffsetFetchRequestTopics(name="nowhere", topic_id=UNKNOWN_ID, partition_indexes=[0]),
            OffsetFetchRequestTopics(name="topic", topic_id=topic_id(rig), partition_indexes=[0]),
        ]
        groups = [
            OffsetFetchRequestGroup(group_id="two", topics=asked),
            OffsetFetchRequestGroup(group_id="ghost", topics=asked),
            OffsetFetchRequestGroup(group_id="one", topics=None),
        ]
        response = await rig.call(OffsetFetchRequest(groups=groups), version)
        return topic_id(rig), response

    known_id, response = run(scenario)
    unknown = UNKNOWN_TOPIC_ID if version >= 10 else NONE
    found = [
        (group.group_id, [(p.committed_offset, p.error_code) for t in group.topics for p in t.partitions])
        for group in response.groups
    ]
    assert found == [
        ("two", [(-1, unknown), (2, NONE)]),
        ("ghost", [(-1, unknown), (-1, NONE)]),
        ("one", [(1, NONE)]),
    ]
    if version >= 10:
        assert [topic.topic_id for topic in response.groups[0].topics] == [UNKNOWN_ID, known_id]
        assert response.groups[2].topics[0].topic_id == known_id


def join_of(version: int, member_id: str = "", instance_id: str | None = None) -> JoinGroupRequest:
    return JoinGroupRequest(
        group_id=GROUP,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        member_id=member_id,
        group_instance_id=instance_id if version >= 5 else None,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=subscription("topic"))],
    )


async def joined(rig: ColdRig, version: int, instance_id: str | None = None) -> Any:
    response = await rig.call(join_of(version, instance_id=instance_id), version)
    if response.error_code == MEMBER_ID_REQUIRED:
        response = await rig.call(join_of(version, response.member_id), version)
    return response


async def stable(rig: ColdRig, version: int = 5, instance_id: str | None = None) -> Any:
    """A group of one member, with its assignment; what JoinGroup answered."""
    response = await joined(rig, version, instance_id)
    request = SyncGroupRequest(
        group_id=GROUP,
        generation_id=response.generation_id,
        member_id=response.member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[SyncGroupRequestAssignment(member_id=response.member_id, assignment=b"all")],
    )
    await rig.call(request, 5)
    return response


@pytest.mark.parametrize("version", range(10))
def test_a_member_joins_in_every_version(version: int):
    async def scenario(rig: ColdRig):
        return await joined(rig, version)

    response = run(scenario)
    assert (response.error_code, response.generation_id, response.protocol_name) == (NONE, 1, "range")
    assert response.leader == response.member_id
    assert response.member_id.startswith(f"{CLIENT_ID}-")
    assert response.protocol_type == ("consumer" if version >= 7 else None)


@pytest.mark.parametrize("version", range(10))
def test_a_refused_join_names_no_protocol(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(join_of(version, "ghost"), version)

    response = run(scenario)
    assert (response.error_code, response.member_id) == (UNKNOWN_MEMBER_ID, "ghost")
    assert response.protocol_name == (None if version >= 7 else "")


@pytest.mark.parametrize("version", range(6))
def test_a_member_gets_its_assignment_in_every_version(version: int):
    async def scenario(rig: ColdRig):
        member = await joined(rig, 5)
        request = SyncGroupRequest(
            group_id=GROUP,
            generation_id=member.generation_id,
            member_id=member.member_id,
            protocol_type="consumer" if version >= 5 else None,
            protocol_name="range" if version >= 5 else None,
            assignments=[SyncGroupRequestAssignment(member_id=member.member_id, assignment=b"all")],
        )
        return await rig.call(request, version)

    response = run(scenario)
    assert (response.error_code, response.assignment) == (NONE, b"all")


def test_a_sync_that_must_name_its_protocol_and_does_not_is_refused():
    async def scenario(rig: ColdRig):
        member = await joined(rig, 5)
        request = SyncGroupRequest(group_id=GROUP, generation_id=1, member_id=member.member_id)
        return await rig.call(request, 5)

    assert run(scenario).error_code == INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("version", range(5))
def test_heartbeats_are_answered_in_every_version(version: int):
    async def scenario(rig: ColdRig):
        member = await stable(rig)
        alive = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id=member.member_id)
        ghost = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id="ghost")
        return [(await rig.call(request, version)).error_code for request in (alive, ghost)]

    assert run(scenario) == [NONE, UNKNOWN_MEMBER_ID]


@pytest.mark.parametrize("version", range(6))
def test_members_leave_in_every_version(version: int):
    async def scenario(rig: ColdRig):
        member = await stable(rig)
        answers = []
        for member_id in (member.member_id, "ghost"):
            fields: Any = {"members": [MemberIdentity(member_id=member_id)]} if version >= 3 else {}
            request = LeaveGroupRequest(group_id=GROUP, member_id=member_id if version < 3 else "", **fields)
            answers.append(await rig.call(request, version))
        return answers

    answers = run(scenario)
    if version >= 3:
        assert [answer.error_code for answer in answers] == [NONE, NONE]
        assert [m.error_code for answer in answers for m in answer.members] == [NONE, UNKNOWN_MEMBER_ID]
    else:
        assert [answer.error_code for answer in answers] == [NONE, UNKNOWN_MEMBER_ID]


def test_a_fenced_static_member_is_told_so_when_it_leaves():
    async def scenario(rig: ColdRig):
        old = await stable(rig, instance_id="one")
        await joined(rig, 5, "one")
        members = [MemberIdentity(member_id=old.member_id, group_instance_id="one")]
        return await rig.call(LeaveGroupRequest(group_id=GROUP, members=members), 5)

    assert [member.error_code for member in run(scenario).members] == [FENCED_INSTANCE_ID]


@pytest.mark.parametrize("version", range(7))
def test_groups_are_described_each_with_a_result(version: int):
    async def scenario(rig: ColdRig):
        await stable(rig)
        request = DescribeGroupsRequest(groups=[GROUP, "ghost"], include_authorized_operations=version >= 3)
        return await rig.call(request, version)

    group, ghost = run(scenario).groups
    assert (group.error_code, group.group_state, group.protocol_data) == (NONE, "Stable", "range")
    assert [(m.client_id, m.client_host, m.member_assignment) for m in group.members] == [(CLIENT_ID, "/", b"all")]
    assert (ghost.group_id, ghost.group_state) == ("ghost", "Dead")
    assert ghost.error_code == (GROUP_ID_NOT_FOUND if version >= 6 else NONE)
    if version >= 3:
        assert group.authorized_operations == sum(1 << operation for operation in (3, 6, 8, 10, 11))


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed_in_every_version(version: int):
    async def scenario(rig: ColdRig):
        await stable(rig)
        await rig.call(commit_of(rig, 9, ("topic", 0, 1), group_id="simple"), 9)
        fields: Any = {"states_filter": ["STABLE"]} if version >= 4 else {}
        return await rig.call(ListGroupsRequest(**fields), version)

    response = run(scenario)
    listed = {group.group_id: (group.protocol_type, group.group_state, group.group_type) for group in response.groups}
    state, kind = ("Stable" if version >= 4 else ""), ("classic" if version >= 5 else "")
    assert listed[GROUP] == ("consumer", state, kind)
    assert ("simple" in listed) == (version < 4)


@pytest.mark.parametrize("version", range(3))
def test_groups_are_deleted_each_with_a_result(version: int):
    async def scenario(rig: ColdRig):
        await stable(rig)
        await rig.call(commit_of(rig, 9, ("topic", 0, 1), group_id="simple"), 9)
        return await rig.call(DeleteGroupsRequest(groups_names=[GROUP, "simple", "ghost"]), version)

    results = [(result.group_id, result.error_code) for result in run(scenario).results]
    assert results == [(GROUP, NON_EMPTY_GROUP), ("simple", NONE), ("ghost", GROUP_ID_NOT_FOUND)]


def test_every_partition_of_an_offset_deletion_is_answered_in_order():
    async def scenario(rig: ColdRig):
        await stable(rig)
        other = CreatableTopic(name="other", num_partitions=1, replication_factor=1)
        await rig.call(CreateTopicsRequest(topics=[other], timeout_ms=10_000), 7)
        topics = [
            OffsetDeleteRequestTopic(
                name=name, partitions=[OffsetDeleteRequestPartition(partition_index=p) for p in (5, 0)]
            )
            for name in ("topic", "other", "nowhere")
        ]
        return await rig.call(OffsetDeleteRequest(group_id=GROUP, topics=topics), 0)

    codes = [[p.error_code for p in topic.partitions] for topic in run(scenario).topics]
    missing = UNKNOWN_TOPIC_OR_PARTITION
    assert codes == [[missing, GROUP_SUBSCRIBED_TO_TOPIC], [missing, NONE], [missing, missing]]


def test_offsets_go_with_their_topic():
    async def scenario(rig: ColdRig):
        await rig.call(commit_of(rig, 9, ("topic", 0, 1)), 9)
        await rig.call(DeleteTopicsRequest(topics=[DeleteTopicState(name="topic")], timeout_ms=10_000), 6)
        return await rig.call(OffsetFetchRequest(group_id=GROUP, topics=None), 7)

    assert list(run(scenario).topics) == []


def test_without_a_coordinator_every_item_is_answered_with_the_error():
    """Nobody has asked for the coordinator yet: its topic does not exist."""

    async def scenario(rig: ColdRig):
        topic = CreatableTopic(name="topic", num_partitions=2, replication_factor=1)
        await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
        asked = [OffsetFetchRequestTopic(name="topic", partition_indexes=[0, 1])]
        many = [OffsetFetchRequestGroup(group_id=group_id, topics=None) for group_id in ("a", "b")]
        return [
            commit_codes(await rig.call(commit_of(rig, 9, ("topic", 0, 1), ("topic", 1, 1)), 9)),
            [p.error_code for p in (await rig.call(OffsetFetchRequest(topics=asked), 1)).topics[0].partitions],
            (await rig.call(OffsetFetchRequest(topics=asked), 7)).error_code,
            [group.error_code for group in (await rig.call(OffsetFetchRequest(groups=many), 8)).groups],
            [group.error_code for group in (await rig.call(DescribeGroupsRequest(groups=["a", "b"]), 5)).groups],
            [result.error_code for result in (await rig.call(DeleteGroupsRequest(groups_names=["a"]), 2)).results],
            (await rig.call(join_of(9), 9)).error_code,
            (await rig.call(HeartbeatRequest(group_id=GROUP), 4)).error_code,
            (await rig.call(OffsetDeleteRequest(group_id=GROUP), 0)).error_code,
        ]

    code = COORDINATOR_NOT_AVAILABLE
    assert run_cold(scenario, SETTINGS) == [
        [(0, code), (1, code)],
        [code, code],
        code,
        [code, code],
        [code, code],
        [code],
        code,
        code,
        code,
    ]


def test_a_group_without_an_id_cannot_be_joined():
    async def scenario(rig: ColdRig):
        return [
            (await rig.call(JoinGroupRequest(group_id="", session_timeout_ms=10_000), 9)).error_code,
            (await rig.call(SyncGroupRequest(group_id=""), 4)).error_code,
            (await rig.call(HeartbeatRequest(group_id=""), 4)).error_code,
            (await rig.call(LeaveGroupRequest(group_id=""), 5)).error_code,
        ]

    assert run(scenario) == [INVALID_GROUP_ID] * 4


def test_a_retention_time_without_end_is_kept_as_the_last_of_all_times():
    async def scenario(rig: ColdRig) -> None:
        runtime = rig.coordinators.groups.runtime
        before = runtime.shard(runtime.partition_for(GROUP))
        response = await rig.call(commit_of(rig, 4, ("topic", 0, 5), retention_time_ms=2**63 - 1), 4)
        assert response.topics[0].partitions[0].error_code == NONE
        assert runtime.shard(runtime.partition_for(GROUP)) is before

    run(scenario)
