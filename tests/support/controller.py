"""A controller over a simulated store, with its image kept up to date, for tests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pystream.common.clock import ManualClock
from pystream.common.config import definition_of
from pystream.common.model import Endpoint
from pystream.controller.commit import Committer
from pystream.controller.config import ControllerConfig
from pystream.controller.configs import ConfigController
from pystream.controller.producer_ids import ProducerIdAllocator
from pystream.controller.registration import BrokerSession, found_cluster
from pystream.controller.topics import TopicController
from pystream.metadata import records
from pystream.metadata.image import ClusterImage
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.records import BrokerRecord
from pystream.metadata.store import Put
from pystream.metadata.store.simulated import SimulatedStore
from pystream.storage.config import LogConfig


@dataclass
class ControllerKit:
    """Everything that decides, wired as a broker wires it."""

    clock: ManualClock
    store: SimulatedStore
    publisher: ImagePublisher
    session: BrokerSession
    committer: Committer
    topics: TopicController
    configs: ConfigController
    producer_ids: ProducerIdAllocator

    @property
    def image(self) -> ClusterImage:
        return self.publisher.image


def with_controller(
    scenario: Callable[[ControllerKit], Awaitable[None]],
    *,
    brokers: Sequence[tuple[int, str | None]] = ((1, None),),
    config: ControllerConfig | None = None,
    seed: int = 1,
) -> None:
    """Run a scenario with these brokers (id, rack) registered; the first one is the controller."""

    async def within_loop() -> None:
        kit = await started_kit(brokers, config, seed)
        running = asyncio.ensure_future(kit.publisher.run())
        try:
            await scenario(kit)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await kit.store.close()

    asyncio.run(within_loop())


async def started_kit(
    brokers: Sequence[tuple[int, str | None]], config: ControllerConfig | None = None, seed: int = 1
) -> ControllerKit:
    """A controller whose brokers are registered and whose image is loaded; `publisher.run` is the caller's to start."""
    kit = _wired(brokers, config or ControllerConfig(), random.Random(seed))
    await found_cluster(kit.store)
    await kit.session.register()
    for node_id, rack in brokers[1:]:
        value = records.encode_broker(BrokerRecord(f"run-{node_id}", (), rack))
        await kit.store.transaction([], [Put(records.broker_key(node_id), value)])
    await kit.publisher.load()
    return kit


def _wired(
    brokers: Sequence[tuple[int, str | None]], config: ControllerConfig, random_source: random.Random
) -> ControllerKit:
    clock = ManualClock()
    store = SimulatedStore(clock)
    publisher = ImagePublisher(store, clock)
    node_id, rack = brokers[0]
    endpoints = [Endpoint("PLAINTEXT", "127.0.0.1", 9092)]
    session = BrokerSession(store, publisher, clock, config, node_id=node_id, endpoints=endpoints, rack=rack)
    committer = Committer(store, session.fence)
    topic_definition = definition_of(LogConfig)
    broker_keys = {
        **{k.name: k for k in definition_of(ControllerConfig).keys.values()},
        **{k.name: k for k in topic_definition.broker_keys()},
    }
    return ControllerKit(
        clock=clock,
        store=store,
        publisher=publisher,
        session=session,
        committer=committer,
        topics=TopicController(store, publisher, committer, topic_definition, config, random_source),
        configs=ConfigController(publisher, committer, topic_definition, broker_keys),
        producer_ids=ProducerIdAllocator(committer),
    )
