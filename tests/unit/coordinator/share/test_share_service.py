"""ShareFetch and ShareAcknowledge on a log that is a list: sessions, waiting, locks, releases, what a restart keeps."""

from __future__ import annotations

import asyncio

import pytest

from pystream.common.error_codes import (
    INVALID_RECORD_STATE,
    INVALID_REQUEST,
    NONE,
    NOT_LEADER_OR_FOLLOWER,
    UNKNOWN_SERVER_ERROR,
    UNKNOWN_TOPIC_ID,
)
from pystream.common.errors import (
    CoordinatorNotAvailable,
    InvalidRequest,
    InvalidShareSessionEpoch,
    ShareSessionLimitReached,
    ShareSessionNotFound,
)
from pystream.coordinator.group_settings import GroupSettings
from pystream.coordinator.share import state_shard
from pystream.coordinator.share.partition import Acquired, Limits, SharePartition, Span, StateBatch, Wanted
from pystream.coordinator.share.runs import RecordState
from pystream.protocol.messages import share_fetch
from tests.support.share_rig import GROUP, KEY, ServiceRig, ranges, run_service

ACCEPT, RELEASE, REJECT, RENEW = 1, 2, 3, 4
LOCK_MS = 30_000


def test_records_are_acquired_and_go_out_as_they_lie_in_the_log():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(4, 3)
        response = await rig.member("ann").fetch()
        assert ranges(response) == [(0, 6, 1)]
        assert response.acquisition_lock_timeout_ms == LOCK_MS
        assert bytes(response.responses[0].partitions[0].records) == b"[0..3][4..6]"

    run_service(scenario)


def test_what_one_member_has_nobody_else_gets():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(4, 3)
        ann, ben = rig.member("ann"), rig.member("ben", 2)
        assert await ann.take(max_records=2) == [(0, 3, 1)], "whole batches"
        assert await ben.take(max_records=2, share_acquire_mode=1) == [(4, 5, 1)], "not one record more"
        assert await ben.take() == [(6, 6, 1)]
        assert await ann.take() == []

    run_service(scenario)


def test_a_fetch_waits_for_records_and_no_longer_than_it_said():
    async def scenario(rig: ServiceRig) -> None:
        ann = rig.member("ann")
        waiting = asyncio.ensure_future(ann.take(max_wait_ms=500))
        await rig.settle()
        assert not waiting.done()
        rig.log.append(1)
        assert await waiting == [(0, 0, 1)]
        waiting = asyncio.ensure_future(ann.take(max_wait_ms=500))
        await rig.settle()
        rig.clock.advance(499)
        await rig.settle()
        assert not waiting.done()
        rig.clock.advance(1)
        assert await waiting == []

    run_service(scenario)


def test_a_fetch_waits_for_as_many_bytes_as_it_wants():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        waiting = asyncio.ensure_future(rig.member("ann").take(max_wait_ms=500, min_bytes=12))
        await rig.settle()
        assert not waiting.done()
        rig.log.append(1)
        assert await waiting == [(0, 1, 1)]

    run_service(scenario)


@pytest.mark.parametrize(
    ("limit", "sizes"), [(10, [64] * 5 + [32, 16, 8, 4, 1]), (5, [64] * 3 + [32, 1]), (2, [64, 64])]
)
def test_records_that_come_again_and_again_come_with_fewer_and_fewer_others(limit: int, sizes: list[int]):
    """One of them may be poison. The sizes are those of Kafka 4.2."""
    machine = SharePartition(Limits(2_000, limit), start_offset=0)
    seen = []
    for _ in sizes:
        wanted = Wanted(member_id="ann", max_records=500, batch_size=500, exact=False, deadline_ms=1)
        machine.acquire(wanted, fetch_offset=0, read_to=64, spans=[Span(0, 63)])
        seen.append(wanted.count)
        transition = machine.release("ann")
        assert transition is not None
        machine.settle(transition, written=True)
    assert seen == sizes
    assert machine.start_offset == (64 if limit == 2 else 1), "what was delivered for the last time is gone"


def test_a_record_that_may_be_poison_comes_with_nothing_that_is_new():
    machine = SharePartition(Limits(2_000, 5), start_offset=0, batches=[StateBatch(2, 9, RecordState.AVAILABLE, 3)])
    counts = []
    for _ in range(3):
        wanted = Wanted(member_id="ann", max_records=500, batch_size=500, exact=False, deadline_ms=1)
        counts.append(machine.acquire(wanted, fetch_offset=0, read_to=12, spans=[Span(0, 9), Span(10, 11)]))
    assert counts == [[Acquired(0, 1, 1)], [Acquired(2, 5, 4)], [Acquired(6, 7, 4)]]


def test_records_that_were_never_given_out_cannot_be_acknowledged():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(2)
        ann = rig.member("ann")
        await ann.take(max_records=0)
        assert await ann.acknowledge((0, 0, ACCEPT)) == INVALID_RECORD_STATE, "nobody has anything: as Kafka says it"
        await ann.take(max_records=1, share_acquire_mode=1)
        assert await ann.acknowledge((1, 1, ACCEPT)) == INVALID_REQUEST
        assert await ann.acknowledge((0, 1, ACCEPT)) == INVALID_REQUEST
        assert await ann.acknowledge((0, 0, ACCEPT)) == NONE

    run_service(scenario)


def test_released_records_wake_a_member_that_waits():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(2)
        ann, ben = rig.member("ann"), rig.member("ben", 2)
        await ann.take()
        waiting = asyncio.ensure_future(ben.take(max_wait_ms=500))
        await rig.settle()
        assert await ann.acknowledge((0, 1, RELEASE)) == NONE
        assert await waiting == [(0, 1, 2)]

    run_service(scenario)


def test_a_lock_ends_in_time_and_a_renewed_one_later():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1, 1)
        ann, ben = rig.member("ann"), rig.member("ben", 2)
        assert await ann.take() == [(0, 1, 1)]
        waiting = asyncio.ensure_future(ben.take(max_wait_ms=10 * LOCK_MS))
        await rig.settle()
        rig.clock.advance(LOCK_MS - 1)
        assert await ann.acknowledge((1, 1, RENEW), is_renew_ack=True) == NONE
        rig.clock.advance(1)
        assert await waiting == [(0, 0, 2)]
        assert await ann.acknowledge((0, 0, ACCEPT)) == INVALID_RECORD_STATE
        assert await ann.acknowledge((1, 1, ACCEPT)) == NONE

    run_service(scenario)


def test_what_was_acknowledged_stays_away_after_a_restart():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(10)
        ann = rig.member("ann")
        await ann.take()
        assert await ann.acknowledge((0, 1, ACCEPT), (4, 5, REJECT), (7, 7, RELEASE)) == NONE
        rig.runtime.reload()
        rig.start()
        assert await rig.member("ann").take() == [(2, 3, 1), (6, 6, 1), (7, 7, 2), (8, 9, 1)]

    run_service(scenario)


def test_acknowledgements_come_along_with_a_fetch():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(2)
        ann = rig.member("ann")
        await ann.take()
        response = await ann.fetch([(0, 1, ACCEPT)])
        (partition,) = response.responses[0].partitions
        assert (partition.acknowledge_error_code, partition.error_code) == (NONE, NONE)
        response = await ann.fetch([(0, 5, ACCEPT)])
        assert response.responses[0].partitions[0].acknowledge_error_code == INVALID_RECORD_STATE

    run_service(scenario)


def test_a_state_that_cannot_be_written_leaves_the_records_with_their_member():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        ann = rig.member("ann")
        await ann.take()
        rig.runtime.fails_with = CoordinatorNotAvailable()
        assert await ann.acknowledge((0, 0, ACCEPT)) == CoordinatorNotAvailable.code
        rig.runtime.fails_with = None
        assert await rig.member("ben", 2).take() == []
        assert await ann.acknowledge((0, 0, ACCEPT)) == NONE

    run_service(scenario)


def test_records_whose_state_is_being_written_are_nobodys():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        ann, ben = rig.member("ann"), rig.member("ben", 2)
        await ann.take()
        await ben.take()
        rig.runtime.held = []
        releasing = asyncio.ensure_future(ann.acknowledge((0, 0, RELEASE)))
        await rig.settle()
        assert await ben.take() == []
        rig.runtime.let_go()
        assert await releasing == NONE
        assert await ben.take() == [(0, 0, 2)]

    run_service(scenario)


def test_a_partition_that_was_set_anew_is_read_from_its_new_start():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1, 1, 1)
        ann = rig.member("ann")
        await ann.take()
        rig.runtime.submit(0, state_shard.initialize(KEY, state_epoch=9, start_offset=2))
        assert await ann.acknowledge((0, 0, ACCEPT)) == NOT_LEADER_OR_FOLLOWER
        assert await ann.take() == [(2, 2, 1)]

    run_service(scenario)


def test_a_log_that_loses_its_beginning_takes_the_start_offset_along():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1, 1, 1)
        ann = rig.member("ann")
        await ann.take()
        rig.log.start_offset = 2
        assert await ann.take() == []
        await rig.settle()
        assert rig.runtime.states.states[KEY].start_offset == 2
        assert await ann.acknowledge((0, 2, ACCEPT)) == NONE

    run_service(scenario)


def test_control_records_are_passed_over():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        rig.log.append(1, deliverable=False)
        rig.log.append(1)
        ann = rig.member("ann")
        assert await ann.take() == [(0, 0, 1), (2, 2, 1)]
        assert await ann.acknowledge((0, 0, ACCEPT), (2, 2, ACCEPT)) == NONE
        assert rig.runtime.states.states[KEY].start_offset == 3

    run_service(scenario)


def test_a_log_of_nothing_but_control_records_is_passed_over_without_an_answer():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(*[1] * 5, deliverable=False)
        waiting = asyncio.ensure_future(rig.member("ann").take(max_wait_ms=500))
        await rig.settle()
        rig.log.append(1)
        assert await waiting == [(5, 5, 1)]

    run_service(scenario)


def test_latest_begins_with_the_first_record_after_the_first_fetch_also_after_a_restart():
    async def scenario(rig: ServiceRig) -> None:
        object.__setattr__(rig.settings, "share_auto_offset_reset", "latest")
        rig.log.append(5)
        assert await rig.member("ann").take() == []
        rig.log.append(2)
        rig.runtime.reload()
        rig.start()
        assert await rig.member("ann").take() == [(5, 6, 1)]

    run_service(scenario)


def test_the_epochs_of_a_session_follow_one_another():
    async def scenario(rig: ServiceRig) -> None:
        ann = rig.member("ann")
        with pytest.raises(ShareSessionNotFound):
            await rig.service.fetch(ann.request(share_session_epoch=1), 1)
        await ann.take()
        with pytest.raises(InvalidShareSessionEpoch):
            await rig.service.fetch(ann.request(share_session_epoch=5), 1)
        with pytest.raises(InvalidShareSessionEpoch):
            await ann.acknowledge((0, 0, ACCEPT), share_session_epoch=0)
        with pytest.raises(InvalidRequest):
            await rig.service.fetch(ann.request([(0, 0, ACCEPT)], share_session_epoch=0), 1)
        assert rig.watched == [1]

    run_service(scenario)


def test_sessions_are_limited():
    async def scenario(rig: ServiceRig) -> None:
        for name in ("ann", "ben", "cat"):
            await rig.member(name).take()
        with pytest.raises(ShareSessionLimitReached):
            await rig.member("dan").take()
        await rig.member("ann").take()

    run_service(scenario)


def test_a_member_without_room_for_its_session_is_told_when_it_has_waited():
    """Else it would ask again and again."""

    async def scenario(rig: ServiceRig) -> None:
        for name in ("ann", "ben", "cat"):
            await rig.member(name).take()
        refused = asyncio.ensure_future(rig.member("dan").take(max_wait_ms=500))
        await rig.settle()
        rig.clock.advance(499)
        await rig.settle()
        assert not refused.done()
        rig.clock.advance(1)
        with pytest.raises(ShareSessionLimitReached):
            await refused

    run_service(scenario)


def test_who_waits_for_room_is_answered_when_the_connection_or_the_broker_ends():
    """Else it would be kept for max_wait_ms, which may be weeks, and hold up a controlled shutdown."""

    async def scenario(rig: ServiceRig) -> None:
        for name in ("ann", "ben", "cat"):
            await rig.member(name).take()
        longest_ms = 2**31 - 1
        gone, stays = (
            asyncio.ensure_future(rig.member(name, connection).take(max_wait_ms=longest_ms))
            for name, connection in (("dan", 7), ("eve", 8))
        )
        await rig.settle()
        assert {7, 8} <= set(rig.watched)
        rig.service.connection_closed(7)
        with pytest.raises(ShareSessionLimitReached):
            await gone
        assert not stays.done()
        rig.service.close_all()
        with pytest.raises(ShareSessionLimitReached):
            await stays

    run_service(scenario)


def test_a_partition_of_which_nothing_is_said_is_answered():
    async def scenario(rig: ServiceRig) -> None:
        ann = rig.member("ann")
        await ann.take()
        assert await ann.acknowledge() == NONE

    run_service(scenario)


def test_the_final_epoch_acknowledges_and_releases_the_rest():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(3)
        ann = rig.member("ann")
        await ann.take()
        assert await ann.acknowledge((0, 0, ACCEPT), share_session_epoch=-1) == NONE
        assert await rig.member("ben", 2).take() == [(1, 2, 2)]
        with pytest.raises(ShareSessionNotFound):
            await ann.take()

    run_service(scenario)


def test_a_member_whose_connection_ends_has_nothing_any_more_and_waits_no_longer():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(2)
        ann = rig.member("ann", connection=7)
        await ann.take()
        waiting = asyncio.ensure_future(ann.take(max_wait_ms=60_000))
        await rig.settle()
        rig.service.connection_closed(7)
        assert await waiting == []
        assert await rig.member("ben", 2).take() == [(0, 1, 2)]

    run_service(scenario)


def test_a_member_that_was_removed_from_its_group_has_nothing_any_more():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(2)
        await rig.member("ann").take()
        rig.service.member_left(GROUP, "ann")
        await rig.settle()
        assert await rig.member("ben", 2).take() == [(0, 1, 2)]

    run_service(scenario)


def test_an_unknown_topic_is_an_error_of_its_own_and_its_neighbours_are_served():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        ann = rig.member("ann")
        request = ann.request()
        unknown = share_fetch.FetchTopic(topic_id=bytes(16), partitions=[share_fetch.FetchPartition(partition_index=0)])
        request.topics = [unknown, *request.topics]
        response = await rig.service.fetch(request, 1)
        codes = {topic.topic_id: topic.partitions[0].error_code for topic in response.responses}
        assert codes == {bytes(16): UNKNOWN_TOPIC_ID, KEY.topic_id: NONE}
        assert ranges(response) == [(0, 0, 1)]

    run_service(scenario)


def test_a_share_partition_without_a_state_is_an_error_and_an_absent_coordinator_only_a_wait():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        rig.runtime.submit(0, state_shard.delete(KEY))
        response = await rig.member("ann").fetch()
        assert response.responses[0].partitions[0].error_code == UNKNOWN_SERVER_ERROR
        await rig.initialize()
        rig.runtime.fails_with = CoordinatorNotAvailable()
        ben = rig.member("ben")
        assert await ben.take() == []
        rig.runtime.fails_with = None
        assert await ben.take() == [(0, 0, 1)]

    run_service(scenario)


def test_what_happens_to_records_is_counted():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(10)
        ann = rig.member("ann")
        await ann.take()
        await ann.acknowledge((0, 1, ACCEPT), (2, 4, RELEASE), (5, 5, REJECT))
        rig.clock.advance(LOCK_MS)
        await rig.settle()
        metrics = rig.partitions.metrics
        assert (metrics.acquired, metrics.lock_timeouts, metrics.write_failures) == (10, 4, 0)
        assert (metrics.acknowledged[1], metrics.acknowledged[2], metrics.acknowledged[3]) == (2, 3, 1)
        waiting = asyncio.ensure_future(rig.member("ben", 2).take(max_wait_ms=500, min_bytes=1_000))
        await rig.settle()
        assert metrics.waiting == 1
        rig.clock.advance(500)
        await waiting
        assert metrics.waiting == 0

    run_service(scenario)


def test_a_request_that_renews_asks_for_nothing():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(1)
        ann = rig.member("ann")
        await ann.take()
        with pytest.raises(InvalidRequest):
            await rig.service.fetch(ann.request([(0, 0, RENEW)], is_renew_ack=True), 1)
        assert await ann.acknowledge((0, 0, RENEW)) == INVALID_REQUEST, "a request that does not say so renews nothing"
        response = await ann.fetch([(0, 0, RENEW)], is_renew_ack=True, max_bytes=0, max_records=0)
        assert response.responses[0].partitions[0].acknowledge_error_code == NONE

    run_service(scenario)


@pytest.mark.parametrize("member_id", ["", "m" * 37])
def test_members_without_a_proper_id_are_refused(member_id: str):
    async def scenario(rig: ServiceRig) -> None:
        with pytest.raises(InvalidRequest):
            await rig.member(member_id).take()

    run_service(scenario)


def test_many_members_that_wait_get_each_record_once():
    async def scenario(rig: ServiceRig) -> None:
        names = ["ann", "ben", "cat"]
        members = [rig.member(name, connection) for connection, name in enumerate(names)]
        found: list[tuple[int, int, int]] = []
        waiting = {asyncio.ensure_future(m.take(max_wait_ms=500, max_records=1)): m for m in members}
        for _ in range(60):
            rig.log.append(1)
        while len(found) < 60:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                member = waiting.pop(task)
                found += task.result()
                waiting[asyncio.ensure_future(member.take(max_wait_ms=500, max_records=1))] = member
        assert sorted(found) == [(offset, offset, 1) for offset in range(60)]
        rig.service.close_all()
        await asyncio.wait(waiting)

    run_service(scenario)


def test_a_group_that_begins_before_all_time_begins_at_the_start():
    async def scenario(rig: ServiceRig) -> None:
        rig.settings = GroupSettings(share_auto_offset_reset="by_duration:P99999999999999D")
        rig.log.append(2)
        assert await rig.member("ann").take() == [(0, 1, 1)]

    run_service(scenario)


def test_a_fault_of_the_share_coordinator_is_answered_and_costs_one_request():
    async def scenario(rig: ServiceRig) -> None:
        rig.log.append(4)
        ann = rig.member("ann")
        assert await ann.take() == [(0, 3, 1)]
        rig.runtime.fails_with = ValueError("bug")
        assert await ann.acknowledge((0, 3, ACCEPT)) == UNKNOWN_SERVER_ERROR
        rig.runtime.fails_with = None
        assert await ann.acknowledge((0, 3, ACCEPT)) == NONE

    run_service(scenario)


def test_a_share_partition_that_does_not_load_is_answered_and_tried_again():
    async def scenario(rig: ServiceRig) -> None:
        async def fail(topic: str, partition: int, timestamp_ms: int) -> int:
            raise ValueError("bug")

        rig.settings = GroupSettings(share_auto_offset_reset="by_duration:PT1H")
        rig.log.append(4)
        offset_for_time, rig.log.offset_for_time = rig.log.offset_for_time, fail
        ann = rig.member("ann")
        response = await ann.fetch()
        assert [p.error_code for topic in response.responses for p in topic.partitions] == [UNKNOWN_SERVER_ERROR]
        assert rig.supervisor.faults == 1
        rig.log.offset_for_time = offset_for_time
        assert await ann.take() == [(0, 3, 1)]

    run_service(scenario)
