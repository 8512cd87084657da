from __future__ import annotations

import asyncio

import pytest

from pystream.common import errors
from pystream.common.clock import ManualClock
from pystream.common.model import Endpoint, uuid_bytes
from pystream.controller.commit import Committer
from pystream.controller.config import ControllerConfig
from pystream.controller.producer_ids import BLOCK_SIZE, ProducerIdAllocator
from pystream.controller.registration import BrokerSession, found_cluster
from pystream.metadata import records
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store import Exists, Put
from pystream.metadata.store.simulated import SimulatedStore
from tests.support.controller import ControllerKit, with_controller

CONFIG = ControllerConfig()


def session_of(kit: ControllerKit, node_id: int) -> BrokerSession:
    endpoints = [Endpoint("PLAINTEXT", "127.0.0.1", 9093)]
    return BrokerSession(kit.store, kit.publisher, kit.clock, CONFIG, node_id=node_id, endpoints=endpoints)


async def settle(kit: ControllerKit) -> None:
    for _ in range(20):
        await kit.clock.sleep_ms(0)


def test_a_cluster_is_founded_once() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        first, second = await asyncio.gather(found_cluster(store), found_cluster(store))
        assert first == second == await found_cluster(store)
        assert len(uuid_bytes(first)) == 16
        image = await ImagePublisher(store, ManualClock()).load()
        levels = {"metadata.version": 29, "transaction.version": 2, "group.version": 1, "share.version": 1}
        levels |= {"streams.version": 1}
        assert (image.cluster_id, image.features) == (first, levels)

    asyncio.run(scenario())


def test_a_cluster_can_be_founded_under_a_given_id_and_never_changes_it() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        assert await found_cluster(store, cluster_id="given") == "given"
        assert await found_cluster(store, cluster_id="another") == "given"

    asyncio.run(scenario())


def test_founding_makes_min_insync_replicas_a_default_of_the_cluster() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        await found_cluster(store, min_insync_replicas=2)
        await found_cluster(store, min_insync_replicas=3)
        image = await ImagePublisher(store, ManualClock()).load()
        assert image.broker_configs("") == {"min.insync.replicas": "2"}

    asyncio.run(scenario())


def test_a_registered_broker_is_in_the_image_and_controls_the_cluster() -> None:
    async def scenario(kit: ControllerKit) -> None:
        broker = kit.image.brokers[1]
        assert (broker.epoch, broker.incarnation) == (kit.session.broker_epoch, kit.session.incarnation)
        assert broker.endpoints == (Endpoint("PLAINTEXT", "127.0.0.1", 9092),)
        assert kit.image.controller_id == 1
        assert kit.session.is_controller

    with_controller(scenario)


def test_registering_again_mints_no_new_epoch() -> None:
    async def scenario(kit: ControllerKit) -> None:
        epoch = kit.session.broker_epoch
        assert await kit.session.register() == epoch

    with_controller(scenario)


def test_an_id_that_is_taken_is_refused() -> None:
    async def scenario(kit: ControllerKit) -> None:
        with pytest.raises(errors.DuplicateBrokerRegistration, match="broker id: 1"):
            await session_of(kit, 1).register()

    with_controller(scenario)


def test_a_heartbeat_keeps_the_registration_alive() -> None:
    async def scenario(kit: ControllerKit) -> None:
        running = asyncio.ensure_future(kit.session.run())
        for _ in range(20):
            await settle(kit)
            kit.clock.advance(ms=CONFIG.heartbeat_interval_ms)
        await settle(kit)
        assert kit.image.brokers[1].epoch == kit.session.broker_epoch
        assert kit.image.controller_epoch == kit.image.brokers[1].epoch + 1
        running.cancel()

    with_controller(scenario)


def test_a_lost_lease_is_followed_by_a_registration_under_a_later_epoch() -> None:
    async def scenario(kit: ControllerKit) -> None:
        before = kit.session.broker_epoch
        running = asyncio.ensure_future(kit.session.run())
        await settle(kit)
        kit.clock.advance(ms=CONFIG.session_timeout_ms)
        await settle(kit)
        assert kit.session.broker_epoch > before
        assert kit.image.brokers[1].epoch == kit.session.broker_epoch
        assert kit.session.is_controller
        assert kit.image.controller_id == 1
        running.cancel()

    with_controller(scenario)


def test_another_broker_steps_in_when_the_controller_leaves() -> None:
    async def scenario(kit: ControllerKit) -> None:
        other = session_of(kit, 2)
        await other.register()
        assert not other.is_controller
        running = asyncio.ensure_future(other.run())
        await kit.session.leave()
        await settle(kit)
        kit.clock.advance(ms=CONFIG.heartbeat_interval_ms)
        await settle(kit)
        assert other.is_controller
        assert set(kit.image.brokers) == {2}
        with pytest.raises(errors.NotController):
            await kit.committer.commit([], [Put("x", b"")], proof=Exists("x"))
        running.cancel()

    with_controller(scenario)


def test_heartbeats_outlast_an_unreachable_store() -> None:
    async def scenario(kit: ControllerKit) -> None:
        running = asyncio.ensure_future(kit.session.run())
        kit.store.faults.unavailable = True
        await settle(kit)
        kit.clock.advance(ms=CONFIG.heartbeat_interval_ms)
        await settle(kit)
        kit.store.faults.unavailable = False
        kit.clock.advance(ms=CONFIG.heartbeat_interval_ms)
        await settle(kit)
        assert not running.done()
        assert set(kit.image.brokers) == {1}
        running.cancel()

    with_controller(scenario)


def test_producer_ids_come_in_blocks_and_no_two_brokers_share_one() -> None:
    async def scenario(kit: ControllerKit) -> None:
        other = ProducerIdAllocator(kit.committer)
        before = kit.store.revision
        ids = [await kit.producer_ids.next_id() for _ in range(BLOCK_SIZE)]
        assert kit.store.revision == before + 1
        ids += [await allocator.next_id() for allocator in (other, kit.producer_ids, other)]
        assert len(set(ids)) == len(ids)
        assert ids[:3] == [0, 1, 2]

    with_controller(scenario)


def test_many_at_once_get_different_producer_ids() -> None:
    async def scenario(kit: ControllerKit) -> None:
        allocators = [ProducerIdAllocator(kit.committer) for _ in range(3)]
        ids = await asyncio.gather(*(allocator.next_id() for allocator in allocators for _ in range(10)))
        assert len(set(ids)) == 30

    with_controller(scenario)


def test_a_block_is_ours_although_the_reply_was_lost_and_not_when_the_request_was() -> None:
    async def scenario(kit: ControllerKit) -> None:
        kit.store.faults.lose_reply = 1
        assert await kit.producer_ids.next_id() == 0
        other = ProducerIdAllocator(kit.committer)
        kit.store.faults.lose_request = 1
        with pytest.raises(errors.RequestTimedOut):
            await other.next_id()
        assert await other.next_id() == BLOCK_SIZE

    with_controller(scenario)


def test_producer_ids_end_with_the_range_of_a_long() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await kit.store.transaction([], [Put(records.PRODUCER_IDS_KEY, f"{2**63 - 10} x".encode())])
        with pytest.raises(errors.UnknownServerError, match="Exhausted"):
            await kit.producer_ids.next_id()

    with_controller(scenario)


def test_a_committer_without_a_fence_writes_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        nobody = Committer(kit.store, lambda: None)
        with pytest.raises(errors.NotController):
            await ProducerIdAllocator(nobody).next_id()

    with_controller(scenario)
