"""From classic to consumer groups and back, while their members go on (KIP-848)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pystream.common.error_codes import (
    GROUP_ID_NOT_FOUND,
    GROUP_MAX_SIZE_REACHED,
    ILLEGAL_GENERATION,
    INCONSISTENT_GROUP_PROTOCOL,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
)
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicState
from pystream.coordinator.group.consumer.group import ConsumerGroup
from tests.support.classic_client import ClassicClient
from tests.support.consumer_rig import AWAY, JOINING, NOTHING, ConsumerRig, RigMember
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS


@pytest.fixture
def rig() -> ConsumerRig:
    rig = ConsumerRig()
    rig.topics.put("topic", 6)
    return rig


def classic_group(rig: ConsumerRig, *clients: ClassicClient) -> ClassicGroup:
    """The clients in a stable classic group."""
    for client in clients:
        client.join()
    rig.advance(rig.configs.classic.initial_rebalance_delay_ms * 3)
    for _ in range(4):
        for client in clients:
            client.look()
    group = rig.shard.groups[GROUP]
    assert isinstance(group, ClassicGroup)
    assert group.state is ClassicState.STABLE
    return group


def work_on(rig: ConsumerRig, *members: ClassicClient | RigMember) -> None:
    """Heartbeats of all until nobody moves."""
    for _ in range(30):
        before = [member.assigned for member in members]
        for member in members:
            member.beat()
        rig.advance(500)
        if before == [member.assigned for member in members]:
            return
    raise AssertionError("still moving")


def by_name(rig: ConsumerRig, member: ClassicClient | RigMember) -> set[tuple[str, int]]:
    if isinstance(member, ClassicClient):
        return set(member.assigned)
    names = {topic.topic_id: name for name in rig.topics.names() if (topic := rig.topics.by_name(name))}
    return {(names[topic_id], index) for topic_id, index in member.assigned}


def check_shared_evenly(rig: ConsumerRig, *members: ClassicClient | RigMember) -> None:
    shares = [by_name(rig, member) for member in members]
    assert sum(map(len, shares)) == 6
    assert set().union(*shares) == {("topic", index) for index in range(6)}
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("cooperative", [False, True])
def test_a_classic_group_becomes_a_consumer_group_and_shares_with_the_new_member(rig, cooperative):
    clients = [ClassicClient(rig, "topic", cooperative=cooperative) for _ in range(2)]
    group = classic_group(rig, *clients)
    had = [by_name(rig, client) for client in clients]
    new = rig.member("new", "topic").join()
    upgraded = rig.consumer_group()
    assert upgraded.group_epoch == group.generation + 1
    assert new.assigned == NOTHING
    assert [by_name(rig, client) for client in clients] == had
    work_on(rig, new, *clients)
    check_shared_evenly(rig, new, *clients)
    assert [client.errors for client in clients] == [[], []]
    assert upgraded.state_name(rig.now_ms) == "Stable"
    described = upgraded.members[clients[0].member_id]
    assert described.uses_classic_protocol


@pytest.mark.parametrize("cooperative", [False, True])
def test_it_becomes_classic_again_when_the_last_member_of_the_new_protocol_leaves(rig, cooperative):
    clients = [ClassicClient(rig, "topic", cooperative=cooperative) for _ in range(2)]
    classic_group(rig, *clients)
    new = rig.member("new", "topic").join()
    work_on(rig, new, *clients)
    epoch = rig.consumer_group().group_epoch
    new.leave()
    group = rig.shard.groups[GROUP]
    assert isinstance(group, ClassicGroup)
    assert group.generation >= epoch
    assert group.state is ClassicState.PREPARING_REBALANCE
    for _ in range(6):
        for client in clients:
            client.beat()
        rig.advance(500)
    assert group.state is ClassicState.STABLE
    check_shared_evenly(rig, *clients)
    assert [client.errors for client in clients] == [[], []]


def test_members_replace_one_another_without_two_owners_all_the_way(rig):
    clients = [ClassicClient(rig, "topic", cooperative=True) for _ in range(2)]
    classic_group(rig, *clients)
    first = rig.member("first", "topic").join()
    work_on(rig, first, *clients)
    clients[0].leave()
    second = rig.member("second", "topic").join()
    work_on(rig, first, second, clients[1])
    clients[1].leave()
    work_on(rig, first, second)
    check_shared_evenly(rig, first, second)
    assert isinstance(rig.shard.groups[GROUP], ConsumerGroup)
    assert rig.consumer_group().count_of_classic_members() == 0


def test_a_classic_consumer_joins_a_consumer_group(rig):
    new = rig.member("new", "topic").join()
    client = ClassicClient(rig, "topic").join()
    assert client.generation == 2
    work_on(rig, new, client)
    check_shared_evenly(rig, new, client)
    assert client.errors == []


def test_requests_that_wait_in_the_classic_group_are_told_to_join_again(rig):
    clients = [ClassicClient(rig, "topic") for _ in range(2)]
    classic_group(rig, *clients)
    late = ClassicClient(rig, "topic").join()
    assert late.is_waiting
    new = rig.member("new", "topic").join()
    late.look()
    assert late.errors == [REBALANCE_IN_PROGRESS]
    late.errors.clear()
    late.join()
    work_on(rig, new, late, *clients)
    check_shared_evenly(rig, new, late, *clients)


def test_the_migrated_group_survives_a_restart_at_each_end(rig):
    clients = [ClassicClient(rig, "topic", cooperative=True) for _ in range(2)]
    classic_group(rig, *clients)
    new = rig.member("new", "topic").join()
    rig.reload()
    work_on(rig, new, *clients)
    check_shared_evenly(rig, new, *clients)
    new.leave()
    rig.reload()  # the rebalance is not through: everybody has to join anew
    for _ in range(8):
        for client in clients:
            client.beat()
            if client.errors:
                assert client.errors == [UNKNOWN_MEMBER_ID]
                client.errors.clear()
                client.member_id, client.assigned = "", frozenset()
                client.join()
        rig.advance(1_000)
    assert isinstance(rig.shard.groups[GROUP], ClassicGroup)
    check_shared_evenly(rig, *clients)


def test_the_policy_may_forbid_the_upgrade(rig):
    rig.configure_consumer(migration_policy="downgrade")
    classic_group(rig, ClassicClient(rig, "topic"))
    response = rig.heartbeat("new", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert response.error_code == GROUP_ID_NOT_FOUND
    assert "online upgrade is disabled" in response.error_message
    assert isinstance(rig.shard.groups[GROUP], ClassicGroup)


def test_the_policy_may_forbid_the_downgrade(rig):
    rig.configure_consumer(migration_policy="upgrade")
    client = ClassicClient(rig, "topic")
    classic_group(rig, client)
    new = rig.member("new", "topic").join()
    work_on(rig, new, client)
    new.leave()
    work_on(rig, client)
    assert isinstance(rig.shard.groups[GROUP], ConsumerGroup)
    check_shared_evenly(rig, client)


def test_groups_that_are_not_of_consumers_are_not_upgraded(rig):
    rig.join(protocol_type="connect", protocols={"compatible": b"\x00\x01"})
    rig.advance(10_000)
    response = rig.heartbeat("new", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert response.error_code == GROUP_ID_NOT_FOUND
    assert "does not use the consumer embedded protocol" in response.error_message


def test_a_group_that_would_be_too_large_is_not_upgraded(rig):
    rig.configure_consumer(max_size=2)
    clients = [ClassicClient(rig, "topic") for _ in range(2)]
    classic_group(rig, *clients)
    response = rig.heartbeat("new", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert response.error_code == GROUP_MAX_SIZE_REACHED
    assert isinstance(rig.shard.groups[GROUP], ClassicGroup)


def test_assignments_of_a_custom_assignor_are_not_thrown_away(rig):
    client = ClassicClient(rig, "topic")
    group = classic_group(rig, client)
    member = group.members[client.member_id]
    member.assignment = member.assignment[:-4] + b"\x00\x00\x00\x01u"
    response = rig.heartbeat("new", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert response.error_code == GROUP_ID_NOT_FOUND
    assert "custom assignor" in response.error_message


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff\xff\x00\x00", b"\x00\x01\x7f\xff\xff\xff"])
def test_assignments_that_do_not_parse_forbid_the_upgrade_and_change_nothing(rig, garbage):
    client = ClassicClient(rig, "topic")
    group = classic_group(rig, client)
    member = group.members[client.member_id]
    group.set_protocols(member, (("range", garbage),))
    written = len(rig.log)
    response = rig.heartbeat("new", JOINING, owned=NOTHING, topics=["topic"], rebalance_timeout_ms=1000)
    assert response.error_code == GROUP_ID_NOT_FOUND
    assert len(rig.log) == written
    assert rig.shard.groups[GROUP] is group


def test_an_empty_classic_group_gives_way_and_its_offsets_stay(rig):
    client = ClassicClient(rig, "topic")
    classic_group(rig, client)
    client.leave()
    new = rig.member("new", "topic").join()
    assert isinstance(rig.shard.groups[GROUP], ConsumerGroup)
    check_shared_evenly(rig, new)
    assert isinstance(rig.loaded_from_log().groups[GROUP], ConsumerGroup)


def test_an_empty_consumer_group_gives_way_to_a_classic_one(rig):
    rig.member("new", "topic").join().leave()
    client = ClassicClient(rig, "topic")
    classic_group(rig, client)
    check_shared_evenly(rig, client)
    assert isinstance(rig.loaded_from_log().groups[GROUP], ClassicGroup)


class TestClassicRequests:
    @pytest.fixture
    def mixed(self, rig) -> tuple[RigMember, ClassicClient]:
        new = rig.member("new", "topic").join()
        client = ClassicClient(rig, "topic").join()
        work_on(rig, new, client)
        return new, client

    def test_wrong_generations_and_strangers_are_told_so(self, rig, mixed):
        _, client = mixed
        assert rig.beat(client.member_id, client.generation - 1) == ILLEGAL_GENERATION
        assert rig.beat("stranger", client.generation) == UNKNOWN_MEMBER_ID
        assert rig.beat("new", client.generation) == UNKNOWN_MEMBER_ID
        sync = rig.answers[rig.sync(client.member_id, client.generation, protocol_name="other")]
        assert sync.error_code == INCONSISTENT_GROUP_PROTOCOL
        assert rig.answers[rig.sync("stranger", client.generation)].error_code == UNKNOWN_MEMBER_ID

    def test_protocols_that_others_do_not_speak_are_refused(self, rig, mixed):
        ticket = rig.join(protocols={"roundrobin": b""})
        assert rig.answers[ticket].error_code == INCONSISTENT_GROUP_PROTOCOL
        ticket = rig.join(protocol_type="connect")
        assert rig.answers[ticket].error_code == INCONSISTENT_GROUP_PROTOCOL

    def test_a_silent_one_is_let_go_after_its_own_session_time_out(self, rig, mixed):
        new, client = mixed
        rig.advance(SESSION_TIMEOUT_MS)
        assert client.member_id not in rig.consumer_group().members
        rig.settle(new)
        check_shared_evenly(rig, new)

    def test_one_that_is_told_to_join_and_does_not_is_let_go(self, rig, mixed):
        new, client = mixed
        rig.topics.put("topic", 7)
        new.beat()
        for _ in range(REBALANCE_TIMEOUT_MS // 1_000):
            code = rig.beat(client.member_id, client.generation)
            assert code == REBALANCE_IN_PROGRESS
            rig.advance(1_000)
            new.beat()
        assert client.member_id not in rig.consumer_group().members

    def test_one_that_joins_and_does_not_sync_is_let_go(self, rig, mixed):
        new, client = mixed
        rig.topics.put("topic", 7)
        new.beat()
        rig.beat(client.member_id, client.generation)
        metadata = rig.consumer_group().members[client.member_id].classic.protocols[0].metadata
        joined = rig.answers[rig.join(client.member_id, protocols={"range": metadata})]
        for _ in range(REBALANCE_TIMEOUT_MS // 1_000):
            rig.beat(client.member_id, joined.generation_id)
            new.beat()
            rig.advance(1_000)
        assert client.member_id not in rig.consumer_group().members

    def test_leaving_answers_for_each_member_that_is_named(self, rig, mixed):
        _, client = mixed
        response = rig.leave(client.member_id, "stranger", "new")
        assert [member.error_code for member in response.members] == [0, UNKNOWN_MEMBER_ID, 0]
        assert rig.consumer_group().is_empty()

    def test_committing_checks_the_generation_as_in_a_classic_group(self, rig, mixed):
        _, client = mixed
        group = rig.consumer_group()
        group.check_offset_commit(client.member_id, None, client.generation, transactional=False, api_version=2)
        with pytest.raises(Exception, match="generation") as refused:
            group.check_offset_commit(client.member_id, None, client.generation - 1, transactional=False, api_version=2)
        assert refused.value.code == ILLEGAL_GENERATION


class TestStaticMembers:
    def test_a_static_classic_member_is_replaced_by_one_of_the_new_protocol(self, rig):
        client = ClassicClient(rig, "topic", instance_id="i")
        classic_group(rig, client)
        had = by_name(rig, client)
        new = rig.member("new", "topic", instance_id="i").join()
        assert by_name(rig, new) == had
        assert list(rig.consumer_group().members) == ["new"]

    def test_and_back_which_makes_the_group_classic_without_a_rebalance(self, rig):
        client = ClassicClient(rig, "topic", instance_id="i")
        classic_group(rig, client)
        new = rig.member("new", "topic", instance_id="i").join()
        new.leave(AWAY)
        back = ClassicClient(rig, "topic", instance_id="i").join()
        group = rig.shard.groups[GROUP]
        assert isinstance(group, ClassicGroup)
        assert group.state is ClassicState.STABLE
        back.look()
        check_shared_evenly(rig, back)
        assert back.errors == []


def test_a_downgrade_keeps_within_the_size_of_classic_groups(rig):
    clients = [ClassicClient(rig, "topic") for _ in range(2)]
    classic_group(rig, *clients)
    new = rig.member("new", "topic").join()
    work_on(rig, new, *clients)
    part = rig.shard.part(ClassicGroups)
    part.config = replace(part.config, max_size=1)
    new.leave()
    assert isinstance(rig.shard.groups[GROUP], ConsumerGroup)
