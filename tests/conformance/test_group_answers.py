"""What a broker answers to members and producers that do things right and wrong: the same codes as Apache Kafka 4.2.0.

The expectations were taken from Kafka; PYSTREAM_TEST_BOOTSTRAP runs the same on any broker. Every request waits for the
answer to the one before, and no time-out is part of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    FENCED_INSTANCE_ID,
    FENCED_MEMBER_EPOCH,
    GROUP_ID_NOT_FOUND,
    ILLEGAL_GENERATION,
    INCONSISTENT_GROUP_PROTOCOL,
    INVALID_GROUP_ID,
    INVALID_PRODUCER_EPOCH,
    INVALID_PRODUCER_ID_MAPPING,
    INVALID_REQUEST,
    INVALID_SESSION_TIMEOUT,
    INVALID_TRANSACTION_TIMEOUT,
    INVALID_TXN_STATE,
    MEMBER_ID_REQUIRED,
    NONE,
    NOT_COORDINATOR,
    OFFSET_METADATA_TOO_LARGE,
    OPERATION_NOT_ATTEMPTED,
    PRODUCER_FENCED,
    REBALANCE_IN_PROGRESS,
    STALE_MEMBER_EPOCH,
    TRANSACTION_ABORTABLE,
    UNKNOWN_MEMBER_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
    UNRELEASED_INSTANCE_ID,
    UNSTABLE_OFFSET_COMMIT,
    UNSUPPORTED_ASSIGNOR,
    UNSUPPORTED_VERSION,
)
from pystream.protocol.consumer_protocol import PROTOCOL_TYPE
from pystream.protocol.messages import add_partitions_to_txn, offset_commit, offset_fetch, txn_offset_commit
from pystream.protocol.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from pystream.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from pystream.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from pystream.protocol.messages.describe_groups import DescribeGroupsRequest
from pystream.protocol.messages.describe_transactions import DescribeTransactionsRequest
from pystream.protocol.messages.end_txn import EndTxnRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.heartbeat import HeartbeatRequest
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from pystream.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from tests.support.group_rig import subscription
from tests.support.raw_client import RawClient
from tests.support.raw_share import create_topic, eventually

NOT_READY = {COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR}
GROUP, TRANSACTION = 0, 1
JOINING, LEAVING, AWAY = 0, -1, -2
OTHER_PRODUCER = 9


class Rig:
    """A fresh topic of two partitions, a fresh group and a fresh transactional id. Calls give error codes."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self.client = RawClient(int(port), host)
        run = os.urandom(4).hex()
        self.topic, self.group_id, self.transactional_id = f"topic-{run}", f"group-{run}", f"transaction-{run}"
        create_topic(self.client, self.topic, partitions=2)
        for kind, key in ((GROUP, self.group_id), (TRANSACTION, self.transactional_id)):
            find = FindCoordinatorRequest(key_type=kind, coordinator_keys=[key])
            eventually(
                lambda find=find: self.client.call(find, 6).coordinators[0].error_code, lambda code: code == NONE
            )
        describe = DescribeGroupsRequest(groups=[self.group_id])
        eventually(lambda: self.client.call(describe, 6).groups[0].error_code, lambda code: code not in NOT_READY)
        states = DescribeTransactionsRequest(transactional_ids=[self.transactional_id])
        eventually(
            lambda: self.client.call(states, 0).transaction_states[0].error_code, lambda code: code not in NOT_READY
        )

    # groups

    def join(self, member_id: str = "", instance_id: str | None = None, **fields: Any) -> Any:
        protocol = JoinGroupRequestProtocol(name="range", metadata=subscription(self.topic))
        given = {
            "session_timeout_ms": 60_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": PROTOCOL_TYPE,
            "protocols": [protocol],
        }
        return self.client.call(
            JoinGroupRequest(
                group_id=self.group_id, member_id=member_id, group_instance_id=instance_id, **(given | fields)
            ),
            9,
        )

    def sync(self, generation: int, member_id: str, instance_id: str | None = None, **fields: Any) -> int:
        given = {
            "protocol_type": PROTOCOL_TYPE,
            "protocol_name": "range",
            "assignments": [SyncGroupRequestAssignment(member_id=member_id, assignment=b"all")],
        }
        request = SyncGroupRequest(
            group_id=self.group_id,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            **(given | fields),
        )
        return int(self.client.call(request, 5).error_code)

    def beat(self, generation: int, member_id: str, instance_id: str | None = None) -> int:
        request = HeartbeatRequest(
            group_id=self.group_id, generation_id=generation, member_id=member_id, group_instance_id=instance_id
        )
        return int(self.client.call(request, 4).error_code)

    def leave(self, *members: tuple[str, str | None]) -> list[int]:
        named = [MemberIdentity(member_id=m, group_instance_id=instance) for m, instance in members]
        answer = self.client.call(LeaveGroupRequest(group_id=self.group_id, members=named), 5)
        assert answer.error_code == NONE
        return [member.error_code for member in answer.members]

    def commit(
        self,
        member_id: str = "",
        generation: int = -1,
        instance_id: str | None = None,
        *,
        version: int = 9,
        metadata: str = "",
        partitions: Sequence[int] = (0,),
    ) -> int | list[int]:
        asked = [
            offset_commit.OffsetCommitRequestPartition(
                partition_index=partition, committed_offset=1, committed_metadata=metadata
            )
            for partition in partitions
        ]
        request = offset_commit.OffsetCommitRequest(
            group_id=self.group_id,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance_id,
            topics=[offset_commit.OffsetCommitRequestTopic(name=self.topic, partitions=asked)],
        )
        codes = [p.error_code for topic in self.client.call(request, version).topics for p in topic.partitions]
        return codes if len(partitions) > 1 else codes[0]

    def fetch(self, member_id: str | None = None, epoch: int = -1, *, stable: bool = False) -> tuple[int, list[int]]:
        """The group's error, and those of the topic's first partition."""
        topic = offset_fetch.OffsetFetchRequestTopics(name=self.topic, partition_indexes=[0])
        group = offset_fetch.OffsetFetchRequestGroup(
            group_id=self.group_id, member_id=member_id, member_epoch=epoch, topics=[topic]
        )
        (found,) = self.client.call(offset_fetch.OffsetFetchRequest(groups=[group], require_stable=stable), 9).groups
        return found.error_code, [p.error_code for each in found.topics for p in each.partitions]

    def state(self) -> str:
        return str(self.client.call(DescribeGroupsRequest(groups=[self.group_id]), 6).groups[0].group_state)

    def show(self, member_id: str, epoch: int, **fields: Any) -> Any:
        """A heartbeat of the consumer protocol: a full one to join, and an empty one later."""
        full = {"subscribed_topic_names": [self.topic], "rebalance_timeout_ms": 60_000, "topic_partitions": []}
        nothing = {"subscribed_topic_names": None, "topic_partitions": None}
        given = {"group_id": self.group_id, **(full if epoch == JOINING else nothing), **fields}
        return self.client.call(ConsumerGroupHeartbeatRequest(member_id=member_id, member_epoch=epoch, **given), 1)

    # transactions

    def init(self, timeout_ms: int = 60_000, producer: tuple[int, int] = (-1, -1), **fields: Any) -> Any:
        given = {"transactional_id": self.transactional_id, **fields}
        request = InitProducerIdRequest(
            transaction_timeout_ms=timeout_ms, producer_id=producer[0], producer_epoch=producer[1], **given
        )
        return eventually(lambda: self.client.call(request, 5), _is_settled)

    def add(self, producer: tuple[int, int], *places: tuple[str, list[int]]) -> list[int]:
        asked = places or ((self.topic, [0]),)
        request = add_partitions_to_txn.AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=producer[0],
            v3_and_below_producer_epoch=producer[1],
            v3_and_below_topics=[
                add_partitions_to_txn.AddPartitionsToTxnTopic(name=name, partitions=found) for name, found in asked
            ],
        )

        def codes() -> list[int]:
            topics = {t.name: t for t in self.client.call(request, 3).results_by_topic_v3_and_below}
            return [p.partition_error_code for name, _ in asked for p in topics[name].results_by_partition]

        found: list[int] = eventually(codes, lambda answered: CONCURRENT_TRANSACTIONS not in answered)
        return found

    def add_offsets(self, producer: tuple[int, int]) -> int:
        request = AddOffsetsToTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            group_id=self.group_id,
        )
        return int(eventually(lambda: self.client.call(request, 4), _is_settled).error_code)

    def commit_in(self, producer: tuple[int, int], *, version: int, group_id: str | None = None, **fields: Any) -> int:
        asked = txn_offset_commit.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=5)
        request = txn_offset_commit.TxnOffsetCommitRequest(
            transactional_id=self.transactional_id,
            group_id=self.group_id if group_id is None else group_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            topics=[txn_offset_commit.TxnOffsetCommitRequestTopic(name=self.topic, partitions=[asked])],
            **fields,
        )

        def code() -> int:
            return int(self.client.call(request, version).topics[0].partitions[0].error_code)

        return int(eventually(code, lambda found: found != CONCURRENT_TRANSACTIONS))

    def end(self, producer: tuple[int, int], *, commit: bool, version: int) -> Any:
        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            committed=commit,
        )
        return eventually(lambda: self.client.call(request, version), _is_settled)


def _is_settled(answer: Any) -> bool:
    return answer.error_code not in {CONCURRENT_TRANSACTIONS, *NOT_READY}


@pytest.fixture
def rig(bootstrap: str) -> Iterator[Rig]:
    rig = Rig(bootstrap)
    yield rig
    rig.client.close()


def test_a_member_of_the_classic_protocol_from_its_first_join_to_its_end(rig: Rig):
    assert rig.join("nobody").error_code == UNKNOWN_MEMBER_ID
    assert rig.join(session_timeout_ms=1).error_code == INVALID_SESSION_TIMEOUT
    assert rig.commit("nobody", 1) == GROUP_ID_NOT_FOUND
    assert rig.commit("nobody", 1, version=8) == ILLEGAL_GENERATION
    given = rig.join()
    ann = given.member_id
    assert given.error_code == MEMBER_ID_REQUIRED
    assert (rig.beat(0, ann), rig.sync(0, ann), rig.commit(ann, 0)) == (UNKNOWN_MEMBER_ID,) * 3
    joined = rig.join(ann)
    generation = joined.generation_id
    assert (joined.error_code, joined.leader, rig.state()) == (NONE, ann, "CompletingRebalance")
    assert rig.commit(ann, generation) == REBALANCE_IN_PROGRESS
    assert rig.commit() == UNKNOWN_MEMBER_ID
    assert rig.sync(generation + 1, ann) == ILLEGAL_GENERATION
    assert rig.sync(generation, ann, protocol_type="other") == INCONSISTENT_GROUP_PROTOCOL
    assert rig.sync(generation, ann, protocol_name=None) == INCONSISTENT_GROUP_PROTOCOL
    assert rig.sync(generation, ann, "instance") == UNKNOWN_MEMBER_ID
    assert (rig.sync(generation, ann), rig.sync(generation, ann), rig.state()) == (NONE, NONE, "Stable")
    assert (rig.beat(generation, ann), rig.beat(generation - 1, ann)) == (NONE, ILLEGAL_GENERATION)
    assert (rig.commit(ann, generation), rig.commit(ann, generation - 1)) == (NONE, ILLEGAL_GENERATION)
    assert rig.commit(ann, generation, metadata="x" * 5_000) == OFFSET_METADATA_TOO_LARGE
    assert sorted(rig.commit(ann, generation, partitions=[7, 1])) == [NONE, UNKNOWN_TOPIC_OR_PARTITION]
    assert rig.join(ann, protocol_type="other").error_code == INCONSISTENT_GROUP_PROTOCOL
    assert rig.leave((ann, "instance"), ("", "instance"), ("", None)) == [UNKNOWN_MEMBER_ID] * 3
    again = rig.join(ann)
    assert (again.error_code, again.generation_id) == (NONE, generation + 1), "a leader has all assigned anew"
    assert rig.leave((ann, None), (ann, None)) == [NONE, UNKNOWN_MEMBER_ID]
    assert (rig.state(), rig.beat(generation + 1, ann), rig.commit()) == ("Empty", UNKNOWN_MEMBER_ID, NONE)
    assert rig.commit("", generation + 2) == UNKNOWN_MEMBER_ID


def test_a_static_member_whose_place_is_taken(rig: Rig):
    joined = rig.join(instance_id="i")
    first, generation = joined.member_id, joined.generation_id
    assert rig.sync(generation, first, "i") == NONE
    joined = rig.join(instance_id="i")
    second = joined.member_id
    assert (joined.error_code, joined.generation_id, joined.skip_assignment) == (NONE, generation, True)
    assert (rig.beat(generation, first, "i"), rig.beat(generation, first)) == (FENCED_INSTANCE_ID, UNKNOWN_MEMBER_ID)
    assert rig.sync(generation, first, "i") == FENCED_INSTANCE_ID
    assert rig.join(first, "i").error_code == FENCED_INSTANCE_ID
    assert rig.commit(first, generation, "i") == FENCED_INSTANCE_ID
    assert (rig.commit(second, generation, "i"), rig.commit(second, generation)) == (NONE, NONE)
    assert rig.leave((first, "i"), ("", "i")) == [FENCED_INSTANCE_ID, NONE]


def test_members_of_the_consumer_protocol(rig: Rig):
    assert rig.show("ann", 1).error_code == GROUP_ID_NOT_FOUND
    assert rig.show(" ", JOINING).error_code == INVALID_REQUEST
    assert rig.show("ann", JOINING, topic_partitions=None).error_code == INVALID_REQUEST
    assert rig.show("ann", JOINING, server_assignor="best").error_code == UNSUPPORTED_ASSIGNOR
    epoch = rig.show("ann", JOINING).member_epoch
    assert rig.show("ann", epoch + 1).error_code == FENCED_MEMBER_EPOCH
    assert rig.show("ben", epoch).error_code == UNKNOWN_MEMBER_ID
    assert (rig.commit("ann", epoch), rig.commit("ann", epoch - 1)) == (NONE, STALE_MEMBER_EPOCH)
    assert (rig.commit("ann", epoch, version=8), rig.commit()) == (UNSUPPORTED_VERSION, UNKNOWN_MEMBER_ID)
    assert (rig.fetch("ann", epoch), rig.fetch()) == ((NONE, [NONE]), (NONE, [NONE]))
    assert (rig.fetch("ann", epoch + 3)[0], rig.fetch("ben", epoch)[0]) == (STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID)
    assert (rig.beat(epoch, "ann"), rig.sync(epoch, "ann")) == (UNKNOWN_MEMBER_ID,) * 2, "it is no classic member"
    epoch = rig.show("cat", JOINING, instance_id="i").member_epoch
    assert rig.show("dan", JOINING, instance_id="i").error_code == UNRELEASED_INSTANCE_ID
    assert rig.show("dan", AWAY, instance_id="i").error_code == FENCED_INSTANCE_ID
    assert rig.show("cat", AWAY, instance_id="i").member_epoch == AWAY
    assert rig.show("cat", epoch, instance_id="i").error_code == FENCED_MEMBER_EPOCH
    assert rig.show("dan", JOINING, instance_id="i").error_code == NONE
    assert rig.show("cat", epoch, instance_id="i").error_code == FENCED_INSTANCE_ID
    assert (rig.show("dan", LEAVING, instance_id="i").error_code, rig.show("ann", LEAVING).error_code) == (NONE, NONE)
    assert (rig.commit(), rig.commit("", 0), rig.commit("ann", -1)) == (NONE, UNKNOWN_MEMBER_ID, NONE)
    described = rig.client.call(ConsumerGroupDescribeRequest(group_ids=[rig.group_id, ""]), 1).groups
    assert {(group.group_id, group.error_code) for group in described} == {(rig.group_id, NONE), ("", INVALID_GROUP_ID)}


def test_a_producer_of_transactions_of_both_versions(rig: Rig):
    assert rig.add((1, 0)) == [INVALID_PRODUCER_ID_MAPPING]
    assert [rig.init(timeout).error_code for timeout in (0, -1, 900_001)] == [INVALID_TRANSACTION_TIMEOUT] * 3
    assert rig.init(producer=(5, -1)).error_code == INVALID_REQUEST
    assert rig.init(transactional_id="").error_code == INVALID_REQUEST
    begun = rig.init()
    one = (begun.producer_id, begun.producer_epoch)
    recovered = rig.init(producer=one)
    now = (recovered.producer_id, recovered.producer_epoch)
    assert (recovered.error_code, now) == (NONE, (one[0], one[1] + 1))
    assert rig.init(producer=one).producer_epoch == now[1], "repeated, the answer is the same"
    assert rig.init(producer=(now[0] + OTHER_PRODUCER, now[1])).error_code == PRODUCER_FENCED
    assert [rig.end(now, commit=commit, version=4).error_code for commit in (True, False)] == [INVALID_TXN_STATE] * 2
    assert (rig.add(one), rig.end(one, commit=True, version=1).error_code) == (
        [PRODUCER_FENCED],
        INVALID_PRODUCER_EPOCH,
    )
    unknown = rig.add(now, (rig.topic, [0]), ("nowhere", [0]))
    assert unknown == [OPERATION_NOT_ATTEMPTED, UNKNOWN_TOPIC_OR_PARTITION]
    assert (rig.commit_in(now, version=3), rig.commit_in(now, version=4)) == (INVALID_TXN_STATE, TRANSACTION_ABORTABLE)
    assert (rig.add(now), rig.add(now), rig.add_offsets(one), rig.add_offsets(now)) == (
        [NONE],
        [NONE],
        PRODUCER_FENCED,
        NONE,
    )
    assert rig.commit_in(now, version=3) == NONE
    assert rig.commit_in(now, version=3, generation_id=3, member_id="ann") == UNKNOWN_MEMBER_ID
    assert rig.commit_in(now, version=3, group_id="") == INVALID_GROUP_ID
    assert rig.fetch(stable=True) == (NONE, [UNSTABLE_OFFSET_COMMIT])
    later = rig.init()
    assert later.producer_epoch > now[1] + 1, "what was open is aborted, and fenced"
    assert rig.end(now, commit=True, version=5).error_code == PRODUCER_FENCED
    now = (later.producer_id, later.producer_epoch)
    bumped = rig.end(now, commit=False, version=5)
    assert (bumped.error_code, bumped.producer_epoch) == (NONE, now[1] + 1), "an abort of nothing raises the epoch"
    again = rig.end(now, commit=False, version=5)
    assert (again.error_code, again.producer_epoch) == (NONE, now[1] + 1), "repeated, the answer is the same"
    assert rig.end(now, commit=True, version=5).error_code == INVALID_TXN_STATE
    now = (now[0], now[1] + 1)
    assert rig.commit_in(now, version=5) == NONE, "the offsets join the transaction by being committed"
    assert rig.end(now, commit=True, version=5).producer_epoch == now[1] + 1
