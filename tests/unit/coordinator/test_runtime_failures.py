"""The coordinators' runtime when something goes wrong: what it costs, and whom."""

from __future__ import annotations

import pytest

from pystream.common.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    InvalidProducerEpoch,
    InvalidRequest,
    KafkaStorageError,
    LogMoving,
    NotCoordinator,
    NotEnoughReplicas,
    UnknownServerError,
)
from pystream.coordinator.machine import Effects, Ticket
from pystream.coordinator.runtime import PARKED_MS
from pystream.coordinator.served import FIRST_RELOAD_DELAY_MS
from tests.unit.coordinator.test_runtime import WRITE_TIMEOUT_MS, Shard, commit, in_a_loop, read, rig, turns, wait


@in_a_loop
async def test_what_an_operation_raises_reaches_its_caller():
    def refuse(shard: Shard, ticket: Ticket, now_ms: int, effects: Effects) -> None:
        raise InvalidRequest("no")

    async with rig() as found:
        with pytest.raises(InvalidRequest, match="no"):
            found.submit(refuse)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KafkaStorageError("disk"), NotCoordinator),
        (OSError("disk"), NotCoordinator),
        (NotEnoughReplicas(), CoordinatorNotAvailable),
    ],
)
@in_a_loop
async def test_a_failed_append_fails_the_turn_and_the_shard_is_read_again(error, told):
    async with rig() as found:
        kept = found.submit(commit("kept", 1))
        await turns()
        found.log.append_error = error
        lost = [found.submit(commit("lost", 2)), found.submit(read())]
        joined = found.submit(wait)
        await turns()
        for future in lost:
            with pytest.raises(told):
                await future
        assert await joined == "gone"
        with pytest.raises(CoordinatorLoadInProgress):
            found.submit(read())
        found.commit()
        assert await kept == "kept=1"
        found.log.append_error = None
        await found.advance(FIRST_RELOAD_DELAY_MS)
        assert found.submit(read()) == {"kept": 1}


@in_a_loop
async def test_a_record_that_does_not_encode_fails_its_request_alone():
    async with rig() as found:
        joined = found.submit(wait)
        before = found.submit(commit("before", 1))
        with pytest.raises(UnknownServerError):
            found.submit(commit("t", 1 << 70))
        with pytest.raises(UnknownServerError):
            found.submit(commit("\ud800", 1))
        after = found.submit(commit("after", 2))
        await turns()
        found.commit()
        assert (await before, await after) == ("before=1", "after=2")
        assert found.submit(read()) == {"before": 1, "after": 2}
        assert not joined.done()
        assert found.runtime.loads.loaded == 1


@pytest.mark.parametrize("error", [MemoryError("no memory for an append"), ValueError("bug")])
@in_a_loop
async def test_a_shard_that_cannot_be_written_leaves_the_others_of_its_turn_alone(error):
    async with rig() as found:
        found.runtime.load(1)
        await turns()
        found.log.append_errors[0] = error
        lost = found.submit(commit("lost", 1))
        written = found.runtime.submit(1, commit("written", 2))
        await turns()
        with pytest.raises(UnknownServerError):
            await lost
        found.runtime.committed(1, found.log.commit(1))
        assert await written == "written=2"
        del found.log.append_errors[0]
        await found.advance(FIRST_RELOAD_DELAY_MS)
        assert found.submit(read()) == {}


@in_a_loop
async def test_a_shard_that_goes_in_disorder_still_answers_who_waits_in_it():
    async with rig() as found:
        joined = found.submit(wait)

        def fail(effects: Effects) -> None:
            raise KeyError("bug")

        found.shard.unloaded = fail
        found.runtime.unload(0)
        with pytest.raises(NotCoordinator):
            await joined


@in_a_loop
async def test_a_marker_that_is_not_written_ends_nothing():
    async with rig() as found:
        found.submit(commit("b", 2, producer_id=9, producer_epoch=3))
        await turns()
        found.log.append_error = KafkaStorageError("disk")
        with pytest.raises(NotCoordinator):
            await found.runtime.write_marker(0, 9, 3, committed=True, coordinator_epoch=5)
        found.log.append_error = None
        await turns()
        await found.advance(FIRST_RELOAD_DELAY_MS)
        assert found.shard.pending == {9: {"b": 2}}


@in_a_loop
async def test_a_marker_that_is_fenced_fails_alone():
    async with rig() as found:
        found.submit(commit("b", 2, producer_id=9, producer_epoch=3))
        await turns()
        found.commit()
        before = found.shard
        found.log.append_error = InvalidProducerEpoch()
        with pytest.raises(InvalidProducerEpoch):
            await found.runtime.write_marker(0, 9, 2, committed=True, coordinator_epoch=5)
        assert found.shard is before
        assert found.shard.pending == {9: {"b": 2}}


@in_a_loop
async def test_a_write_that_is_not_committed_in_time_is_answered_with_an_error():
    async with rig() as found:
        future = found.submit(commit("t", 1))
        await turns()
        await found.advance(WRITE_TIMEOUT_MS)
        with pytest.raises(CoordinatorNotAvailable):
            await future
        late = found.submit(read())
        await found.advance(WRITE_TIMEOUT_MS - 1)
        assert not late.done()
        found.commit()
        assert await late == {"t": 1}
        assert found.runtime.writes.timeouts == 1


@in_a_loop
async def test_a_producer_that_is_fenced_fails_its_request_alone():
    async with rig() as found:
        joined = found.submit(wait)
        found.submit(commit("a", 1, producer_id=9, producer_epoch=3))
        with pytest.raises(InvalidProducerEpoch):
            found.submit(commit("a", 2, producer_id=9, producer_epoch=2))
        await turns()
        with pytest.raises(InvalidProducerEpoch):
            found.submit(commit("a", 3, producer_id=9, producer_epoch=2))
        newer = found.submit(commit("a", 4, producer_id=9, producer_epoch=4))
        await turns()
        found.commit()
        assert await newer == "a=4"
        assert found.shard.pending == {9: {"a": 4}}
        assert not joined.done()
        assert found.runtime.loads.loaded == 1


@in_a_loop
async def test_what_a_log_that_is_moving_does_not_take_is_written_when_it_has_moved():
    async with rig() as found:
        joined = found.submit(wait)
        found.log.append_error = LogMoving()
        first = found.submit(commit("a", 1))
        await turns()
        second = found.submit(commit("b", 2))
        await found.advance(PARKED_MS)
        with pytest.raises(CoordinatorNotAvailable):
            found.runtime.write_marker(0, 9, 3, committed=True, coordinator_epoch=5)
        assert not first.done()
        assert not second.done()
        found.log.append_error = None
        await found.advance(PARKED_MS)
        found.commit()
        assert (await first, await second) == ("a=1", "b=2")
        assert [len(batch.records) for batch in found.log.batches[0]] == [2]
        assert found.runtime.writes.records == 2
        assert not joined.done()
        assert found.runtime.loads.loaded == 1


@in_a_loop
async def test_a_marker_that_a_log_that_is_moving_does_not_take_fails_alone():
    async with rig() as found:
        before = found.shard
        found.log.append_error = LogMoving()
        with pytest.raises(LogMoving):
            await found.runtime.write_marker(0, 9, 3, committed=True, coordinator_epoch=5)
        assert found.shard is before


@in_a_loop
async def test_a_log_that_moves_too_long_is_read_again():
    async with rig() as found:
        found.log.append_error = LogMoving()
        lost = found.submit(commit("lost", 1))
        await turns()
        for _ in range(WRITE_TIMEOUT_MS // PARKED_MS + 1):
            await found.advance(PARKED_MS)
        with pytest.raises(NotCoordinator):
            await lost
        found.log.append_error = None
        await found.advance(FIRST_RELOAD_DELAY_MS)
        assert found.submit(read()) == {}


@in_a_loop
async def test_who_waits_for_a_log_that_is_moving_is_sent_elsewhere_when_the_partition_goes():
    async with rig() as found:
        found.log.append_error = LogMoving()
        written = found.submit(commit("a", 1))
        await turns()
        found.runtime.unload(0)
        with pytest.raises(NotCoordinator):
            await written
