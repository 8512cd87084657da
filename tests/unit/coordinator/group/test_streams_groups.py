"""Streams groups (KIP-1071): topologies, tasks, standbys, reconciliation, time-outs."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pystream.common.error_codes import (
    FENCED_MEMBER_EPOCH,
    GROUP_ID_NOT_FOUND,
    GROUP_MAX_SIZE_REACHED,
    ILLEGAL_GENERATION,
    INVALID_REQUEST,
    NONE,
    STALE_MEMBER_EPOCH,
    STREAMS_INVALID_TOPOLOGY,
    UNKNOWN_MEMBER_ID,
)
from pystream.common.errors import StaleMemberEpoch, UnsupportedVersion
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.modern.member import MemberState
from pystream.coordinator.group.streams.assignor import Worker, assign_tasks
from pystream.coordinator.group.streams.describe import describe_streams_groups
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.tasks import NO_TASKS, Tasks, each
from pystream.coordinator.group.streams.topology import ConfiguredSubtopology, InternalTopic, Status
from pystream.protocol.messages import streams_group_heartbeat as messages
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS
from tests.support.streams_rig import (
    JOINING,
    LEAVING,
    NOTHING,
    WORD_COUNT,
    StreamsRig,
    subtopology,
    task_ids,
    topic,
    topology,
)

SESSION_TIMEOUT_MS = 45_000
DELAY_MS = 3_000
ALL = frozenset((name, index) for name in "01" for index in range(4))
ROUNDS, FULL_ROUNDS = 300, 30_000


@pytest.fixture
def rig() -> StreamsRig:
    rig = StreamsRig()
    rig.topics.put("words", 4)
    return rig


def test_the_first_member_makes_the_internal_topics_and_gets_all_tasks_after_the_delay(rig):
    one = rig.thread("one").join()
    assert {Status.ASSIGNMENT_DELAYED, Status.MISSING_INTERNAL_TOPICS} == one.status
    assert (one.epoch, one.active) == (1, NOTHING)
    assert {name: rig.topics.by_name(name).partition_count for name in ("repartition", "changelog")} == {
        "repartition": 4,
        "changelog": 4,
    }
    rig.advance(DELAY_MS)
    one.beat()
    assert one.active == ALL
    assert one.status == set()
    assert rig.streams_group().state_name(rig.now_ms) == "Stable"


def test_a_heartbeat_with_nothing_new_writes_nothing(rig):
    one = rig.thread("one").join()
    rig.settle(one)
    written = len(rig.log)
    response = one.beat().response
    assert len(rig.log) == written
    assert response.active_tasks is None
    assert response.heartbeat_interval_ms == 5_000


def test_a_task_goes_to_its_new_owner_only_when_the_old_one_has_given_it_up(rig):
    one = rig.thread("one").join()
    rig.settle(one)
    two = rig.thread("two").join()
    assert two.active == NOTHING
    assert rig.streams_group().members["two"].state is MemberState.UNRELEASED
    one.beat()
    kept = one.active
    assert len(kept) == 4
    assert rig.streams_group().members["one"].state is MemberState.UNREVOKED
    two.beat()
    assert two.active == NOTHING
    one.beat()
    two.beat()
    assert two.active == ALL - kept


def test_tasks_that_read_the_same_partitions_are_spread_over_members(rig):
    threads = [rig.thread(name).join() for name in ("one", "two")]
    rig.settle(*threads)
    for thread in threads:
        assert Counter(name for name, _ in thread.active) == {"0": 2, "1": 2}


def test_a_member_that_leaves_or_falls_silent_is_replaced(rig):
    one, two, three = (rig.thread(name).join() for name in ("one", "two", "three"))
    rig.settle(one, two, three)
    two.leave()
    rig.settle(one, three)
    assert one.active | three.active == ALL
    for _ in range(SESSION_TIMEOUT_MS // 5_000):
        rig.advance(5_000)
        one.beat()
    assert list(rig.streams_group().members) == ["one"]
    rig.settle(one)
    assert one.active == ALL
    assert three.beat().response.error_code == UNKNOWN_MEMBER_ID


def test_a_member_that_does_not_give_up_in_time_is_let_go(rig):
    one = rig.thread("one").join()
    rig.settle(one)
    two = rig.thread("two").join()
    for _ in range(REBALANCE_TIMEOUT_MS // 1_000):
        assert rig.heartbeat("one", one.epoch).response.error_code == 0
        two.beat()
        rig.advance(1_000)
    assert list(rig.streams_group().members) == ["two"]


def test_standbys_follow_in_other_processes_and_take_over(rig):
    rig.set_group(streams_num_standby_replicas=1, streams_initial_rebalance_delay_ms=0)
    one, two = rig.thread("one").join(), rig.thread("two").join()
    rig.settle(one, two)
    stateful = {task for task in ALL if task[0] == "1"}
    assert one.standby | two.standby == stateful
    assert not one.standby & one.active
    assert not two.standby & two.active
    followed = two.standby
    one.leave()
    rig.settle(two)
    assert followed <= two.active
    assert two.standby == NOTHING


def test_two_threads_of_one_process_never_have_one_task_twice(rig):
    rig.set_group(streams_num_standby_replicas=2, streams_initial_rebalance_delay_ms=0)
    threads = [rig.thread(f"{p}{t}", process=p).join() for p in "abc" for t in range(2)]
    rig.settle(*threads)
    for process in "abc":
        held = [task for t in threads if t.process_id == process for task in (*t.active, *t.standby)]
        assert len(held) == len(set(held))
    copies = Counter(task for t in threads for task in t.standby)
    assert set(copies.values()) == {2}


def test_a_changed_number_of_standbys_moves_the_epoch(rig):
    one, two = rig.thread("one").join(), rig.thread("two").join()
    rig.settle(one, two)
    epoch = rig.streams_group().group_epoch
    rig.set_group(streams_num_standby_replicas=1)
    rig.settle(one, two)
    assert rig.streams_group().group_epoch == epoch + 1
    assert one.standby
    assert two.standby


class TestTopologies:
    def test_missing_sources_keep_the_group_from_working_until_they_are_there(self, rig):
        rig.topics.drop("words")
        one = rig.thread("one").join()
        rig.advance(DELAY_MS)
        one.beat()
        assert one.status == {Status.MISSING_SOURCE_TOPICS}
        assert rig.streams_group().state_name(rig.now_ms) == "NotReady"
        rig.topics.put("words", 2)
        rig.settle(one)
        assert one.active == {(name, index) for name in "01" for index in range(2)}

    def test_internal_topics_with_other_partition_counts_are_not_used(self, rig):
        rig.topics.put("changelog", 3)
        one = rig.thread("one").join()
        assert Status.INCORRECTLY_PARTITIONED_TOPICS in one.status
        detail = next(s.status_detail for s in one.last.status if s.status_code == 2)
        assert detail == "Existing topic changelog has different number of partitions: expected 4, found 3"

    def test_joined_topics_must_have_the_same_number_of_partitions(self, rig):
        rig.topics.put("other", 3)
        both = messages.CopartitionGroup(source_topics=[0, 1])
        joined = topology(subtopology("0", "words", "other", copartition=[both]))
        one = rig.thread("one", topology=joined).join()
        assert Status.INCORRECTLY_PARTITIONED_TOPICS in one.status

    def test_a_joined_repartition_topic_gets_the_count_of_the_topic_from_outside(self, rig):
        rig.topics.put("wide", 7)
        group = messages.CopartitionGroup(source_topics=[0], repartition_source_topics=[0])
        joined = topology(
            subtopology("0", "wide", sinks=["through"]),
            subtopology("1", "words", repartition=[topic("through")], copartition=[group]),
        )
        rig.settle(rig.thread("one", topology=joined).join())
        assert rig.topics.by_name("through").partition_count == 4

    def test_a_fixed_repartition_topic_must_fit_the_topic_it_is_joined_with(self, rig):
        group = messages.CopartitionGroup(source_topics=[0], repartition_source_topics=[0])
        joined = topology(
            subtopology("0", "words", sinks=["through"]),
            subtopology("1", "words", repartition=[topic("through", 5)], copartition=[group]),
        )
        one = rig.thread("one", topology=joined).join()
        assert Status.INCORRECTLY_PARTITIONED_TOPICS in one.status

    def test_repartition_topics_in_a_row_take_the_count_of_the_first_source(self, rig):
        chain = topology(
            subtopology("2", repartition=[topic("second")]),
            subtopology("1", repartition=[topic("first")], sinks=["second"]),
            subtopology("0", "words", sinks=["first"]),
        )
        rig.settle(rig.thread("one", topology=chain).join())
        assert rig.topics.by_name("second").partition_count == 4

    @pytest.mark.parametrize(
        "invalid",
        [
            topology(subtopology("0", repartition=[topic("a")], sinks=["a"])),
            topology(subtopology("0", "words", repartition=[topic("a")])),
            topology(subtopology("0")),
            topology(
                messages.Subtopology(
                    subtopology_id="0", source_topics=["words"], state_changelog_topics=[topic("log", 3)]
                )
            ),
            topology(
                subtopology("0", "words", copartition=[messages.CopartitionGroup(source_topics=[1])]),
            ),
        ],
    )
    def test_topologies_that_cannot_be_are_refused_and_leave_no_trace(self, rig, invalid):
        reply = rig.heartbeat(
            "one",
            JOINING,
            topology=invalid,
            active_tasks=[],
            standby_tasks=[],
            warmup_tasks=[],
            rebalance_timeout_ms=1000,
        )
        assert reply.response.error_code == STREAMS_INVALID_TOPOLOGY
        assert rig.log == []

    def test_another_topology_is_refused_and_an_older_one_is_told_so(self, rig):
        rig.settle(rig.thread("one", topology=topology(subtopology("0", "words"), epoch=3)).join())
        other = rig.thread("two", topology=topology(subtopology("7", "words"), epoch=3))
        with pytest.raises(AssertionError, match="Topology updates are not supported yet"):
            other.join()
        old = rig.thread("three", topology=topology(subtopology("7", "words"), epoch=2)).join()
        assert Status.STALE_TOPOLOGY in old.status

    def test_a_source_that_grows_makes_new_tasks(self, rig):
        one = rig.thread("one", topology=topology(subtopology("0", "words"))).join()
        rig.settle(one)
        rig.topics.put("words", 6)
        rig.settle(one)
        assert len(one.active) == 6


def test_a_member_that_asks_for_it_ends_the_whole_application(rig):
    one, two = rig.thread("one").join(), rig.thread("two").join()
    rig.settle(one, two)
    one.leave(shutdown_application=True)
    two.beat()
    assert Status.SHUTDOWN_APPLICATION in two.status
    two.leave()
    assert rig.streams_group().shutdown_asked_by is None


def test_endpoints_are_told_with_the_partitions_that_they_answer_for(rig):
    endpoint = messages.StreamsGroupHeartbeatRequestEndpoint(host="here", port=80)
    one = rig.thread("one", user_endpoint=endpoint).join()
    two = rig.thread("two").join()
    rig.settle(one, two)
    told = two.beat().response.partitions_by_user_endpoint
    (entry,) = told
    assert (entry.user_endpoint.host, entry.user_endpoint.port) == ("here", 80)
    answered = {(found.topic, index) for found in entry.active_partitions for index in found.partitions}
    inputs = {"0": "words", "1": "repartition"}
    assert answered == {(inputs[name], index) for name, index in one.active}
    epoch = two.last.endpoint_information_epoch
    assert two.beat(endpoint_information_epoch=epoch).response.partitions_by_user_endpoint is None


class TestErrors:
    def test_strangers_are_told_so(self, rig):
        assert rig.heartbeat("one", 3).response.error_code == GROUP_ID_NOT_FOUND
        rig.thread("one").join()
        assert rig.heartbeat("two", 3).response.error_code == UNKNOWN_MEMBER_ID
        assert rig.heartbeat("two", LEAVING).response.error_code == UNKNOWN_MEMBER_ID

    def test_wrong_epochs_are_fenced(self, rig):
        one = rig.thread("one").join()
        rig.settle(one)
        assert rig.heartbeat("one", one.epoch + 1).response.error_code == FENCED_MEMBER_EPOCH
        assert rig.heartbeat("one", one.epoch - 1).response.error_code == FENCED_MEMBER_EPOCH

    def test_a_lost_answer_is_made_up_for(self, rig):
        one = rig.thread("one").join()
        rig.advance(DELAY_MS)
        lost = rig.heartbeat("one", one.epoch, active_tasks=[], standby_tasks=[], warmup_tasks=[]).response
        assert lost.member_epoch > one.epoch
        again = rig.heartbeat("one", one.epoch, active_tasks=[], standby_tasks=[], warmup_tasks=[]).response
        assert (again.error_code, again.member_epoch) == (0, lost.member_epoch)

    def test_tasks_that_there_are_not_are_refused(self, rig):
        one = rig.thread("one").join()
        rig.settle(one)
        for task in (("9", 0), ("0", 4)):
            owned = task_ids(frozenset({task}))
            reply = rig.heartbeat("one", one.epoch, active_tasks=owned, standby_tasks=[], warmup_tasks=[])
            assert reply.response.error_code == INVALID_REQUEST

    def test_the_group_takes_no_more_members_than_it_may(self, rig):
        rig.configure_streams(max_size=1)
        rig.thread("one").join().join()
        with pytest.raises(AssertionError, match="maximum capacity of 1 members"):
            rig.thread("two").join()
        full = rig.heartbeat(
            "two", 0, topology=WORD_COUNT, active_tasks=[], standby_tasks=[], warmup_tasks=[], rebalance_timeout_ms=1
        )
        assert full.response.error_code == GROUP_MAX_SIZE_REACHED

    @pytest.mark.parametrize(
        "changes",
        [
            {"member_id": ""},
            {"group_id": " "},
            {"rack_id": ""},
            {"rebalance_timeout_ms": -1},
            {"active_tasks": None},
            {"topology": None},
            {"instance_id": "i"},
            {"task_offsets": []},
            {"member_epoch": -2},
            {"member_epoch": 1},
            {"warmup_tasks": [messages.StreamsGroupHeartbeatRequestTaskIds(subtopology_id="0", partitions=[0])]},
            {"topology": topology(messages.Subtopology(subtopology_id="0", source_topic_regex=["a.*"]))},
        ],
    )
    def test_requests_that_make_no_sense_are_refused(self, rig, changes):
        sound = {
            "member_id": "one",
            "member_epoch": 0,
            "topology": WORD_COUNT,
            "active_tasks": [],
            "standby_tasks": [],
            "warmup_tasks": [],
            "rebalance_timeout_ms": 1000,
        }
        says = {name: value for name, value in (sound | changes).items() if name not in ("member_id", "member_epoch")}
        ids = sound | changes
        reply = rig.heartbeat(ids["member_id"], ids["member_epoch"], **says)
        assert reply.response.error_code == INVALID_REQUEST
        assert reply.response.status == [], "there is nothing to tell besides, as in Kafka"
        assert rig.log == []


class TestOffsets:
    def check(self, rig, epoch, **options):
        group = rig.streams_group()
        return group.check_offset_commit("one", None, epoch, **{"transactional": False, "api_version": 9} | options)

    def test_commits_of_an_earlier_epoch_count_for_tasks_that_the_member_still_has(self, rig):
        one = rig.thread("one").join()
        rig.settle(one)
        first = one.epoch
        two = rig.thread("two").join()
        rig.settle(one, two)
        assert one.epoch > first
        assert self.check(rig, one.epoch) is None
        check = self.check(rig, first)
        kept = next(index for name, index in one.active if name == "0")
        lost = next(index for name, index in two.active if name == "0")
        check("words", kept)
        for topic_name, index in (("words", lost), ("elsewhere", 0)):
            with pytest.raises(StaleMemberEpoch):
                check(topic_name, index)
        with pytest.raises(StaleMemberEpoch):
            self.check(rig, one.epoch + 1)
        with pytest.raises(UnsupportedVersion):
            self.check(rig, one.epoch, api_version=8)

    def test_one_partition_that_may_not_be_committed_keeps_the_others_from_it(self, rig):
        one = rig.thread("one").join()
        rig.settle(one)
        first = one.epoch
        two = rig.thread("two").join()
        rig.settle(one, two)
        kept = next(index for name, index in one.active if name == "0")
        lost = next(index for name, index in two.active if name == "0")
        both = {("words", kept): 5, ("words", lost): 6}
        assert rig.commit(both, "one", first) == STALE_MEMBER_EPOCH
        assert rig.commit_in_transaction(1, both, "one", first) == ILLEGAL_GENERATION
        rig.end_transaction(1, committed=True)
        assert rig.offset("words", kept) == -1
        assert rig.commit({("words", kept): 5}, "one", first) == NONE
        assert rig.offset("words", kept) == 5

    def test_source_topics_are_subscribed_to_while_somebody_is_in(self, rig):
        one = rig.thread("one").join()
        group = rig.streams_group()
        assert group.is_subscribed_to("words")
        assert group.is_subscribed_to("repartition")
        assert not group.is_subscribed_to("changelog")
        one.leave()
        assert not group.is_subscribed_to("words")


def test_every_group_epoch_is_counted_as_a_rebalance(rig):
    one = rig.thread("one").join()
    rig.settle(one)
    rig.thread("two").join()
    one.leave()
    counted = rig.shard.metrics.rebalances[GroupKind.STREAMS]
    assert counted == rig.streams_group().group_epoch - 1, "a group begins with the second epoch"
    assert counted >= 3


def test_a_restart_brings_the_group_back_as_it_was(rig):
    rig.set_group(streams_num_standby_replicas=1)
    one, two = rig.thread("one").join(), rig.thread("two").join()
    rig.settle(one, two)
    before = rig.streams_group()
    rig.reload()
    after = rig.streams_group()
    for name in ("group_epoch", "target_epoch", "metadata_hash", "validated_topology_epoch", "assignment_configs"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.topology == before.topology
    assert after.members == before.members
    assert after.targets == before.targets
    written = len(rig.log)
    rig.settle(one, two)
    assert len(rig.log) == written
    rig.advance(SESSION_TIMEOUT_MS)
    assert rig.streams_group().is_empty()


def test_a_deleted_group_leaves_nothing_behind(rig):
    rig.thread("one").join().leave()
    rig.apply(rig.streams_group().write_tombstones)
    assert GROUP not in rig.shard.groups
    assert GROUP not in rig.loaded_from_log().groups


def test_an_empty_classic_group_gives_way_and_any_other_does_not(rig):
    ticket = rig.join()
    rig.advance(10_000)
    member = rig.answers[ticket].member_id
    with pytest.raises(AssertionError, match="is not a streams group"):
        rig.thread("one").join()
    rig.leave(member)
    rig.thread("one").join()
    assert isinstance(rig.loaded_from_log().groups[GROUP], StreamsGroup)


def test_the_group_is_described(rig):
    one = rig.thread("one", client_tags=[messages.KeyValue(key="zone", value="a")]).join()
    rig.settle(one)
    found, missing = rig.call(describe_streams_groups, [GROUP, "nobody"])
    assert missing.error_code == GROUP_ID_NOT_FOUND
    assert (found.group_state, found.group_epoch, found.assignment_epoch) == ("Stable", one.epoch, one.epoch)
    assert [s.subtopology_id for s in found.topology.subtopologies] == ["0", "1"]
    assert found.topology.subtopologies[1].repartition_source_topics[0].partitions == 4
    (member,) = found.members
    assert {(t.subtopology_id, tuple(t.partitions)) for t in member.assignment.active_tasks} == {
        ("0", (0, 1, 2, 3)),
        ("1", (0, 1, 2, 3)),
    }
    assert [(tag.key, tag.value) for tag in member.client_tags] == [("zone", "a")]


def random_topology(chance: random.Random) -> dict[str, ConfiguredSubtopology]:
    log = {"log": InternalTopic("log", 1, 0, ())}
    return {
        str(n): ConfiguredSubtopology(
            chance.randint(1, 8), frozenset({"t"}), {}, frozenset(), log if chance.random() < 0.6 else {}
        )
        for n in range(chance.randint(1, 4))
    }


def test_the_assignor_gives_each_task_out_once_evenly_and_keeps_what_it_can(full):
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        chance = random.Random(seed)
        subtopologies = random_topology(chance)
        replicas = chance.randint(0, 2)
        everything = {(name, index) for name, found in subtopologies.items() for index in range(found.tasks)}
        workers = {f"m{n}": Worker(f"p{chance.randint(0, 3)}", NO_TASKS) for n in range(chance.randint(1, 6))}
        for _ in range(4):
            assigned = assign_tasks(workers, subtopologies, replicas)
            active = Counter(task for tasks in assigned.values() for task in each(tasks.active))
            assert active == Counter(everything), f"seed {seed}"
            loads = [len(list(each(tasks.active))) for tasks in assigned.values()]
            assert max(loads) - min(loads) <= 1, f"seed {seed}"
            processes = {worker.process_id for worker in workers.values()}
            held: dict[str, list[tuple[str, int]]] = {process: [] for process in processes}
            for member_id, tasks in assigned.items():
                held[workers[member_id].process_id] += [*each(tasks.active), *each(tasks.standby)]
            assert all(len(found) == len(set(found)) for found in held.values()), f"seed {seed}"
            copies = Counter(task for tasks in assigned.values() for task in each(tasks.standby))
            wanted = min(replicas, len(processes) - 1)
            stateful = {task for task in everything if subtopologies[task[0]].is_stateful()}
            assert copies == Counter(dict.fromkeys(stateful, wanted) if wanted else {}), f"seed {seed}"
            workers = {m: Worker(worker.process_id, assigned[m]) for m, worker in workers.items()}
            if chance.random() < 0.5:
                again = assign_tasks(workers, subtopologies, replicas)
                assert [t.active for t in again.values()] == [t.active for t in assigned.values()], f"seed {seed}"
            if chance.random() < 0.5:
                workers[f"new{chance.random()}"] = Worker(f"p{chance.randint(0, 3)}", NO_TASKS)
            elif len(workers) > 1:
                del workers[chance.choice(list(workers))]


def test_the_assignor_gives_nothing_to_nobody():
    assert assign_tasks({}, random_topology(random.Random(1)), 1) == {}
    assert assign_tasks({"m": Worker("p", Tasks())}, {}, 1) == {"m": NO_TASKS}
