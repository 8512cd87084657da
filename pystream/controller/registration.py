"""A broker's place in the cluster: the cluster's id, the broker's registration, and who is the controller.

    cluster_id = await found_cluster(store)
    session = BrokerSession(store, publisher, clock, config, node_id=1, endpoints=..., rack=...)
    await session.register()                      brokers/1 and, if nobody has it, controller, on one lease
    supervisor.start("heartbeat", session.run())
    committer = Committer(store, session.fence)

The lease is kept alive while the process runs. When the store has let it go, because the process stood still for too
long, its keys are gone and its epoch is never revived: the session registers anew, under a later epoch. Nothing relies
on the lease as a lock: whatever the controller writes is compared with its own epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pystream.common.clock import SleepingClock
from pystream.common.errors import (
    Busy,
    DuplicateBrokerRegistration,
    LeaseGone,
    StoreOutcomeUnknown,
    StoreUnavailable,
)
from pystream.common.logging import get_logger
from pystream.common.model import Endpoint, random_uuid, uuid_text
from pystream.controller.config import ControllerConfig
from pystream.metadata import records
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store import Absent, Compare, CreateRevision, Lease, MetadataStore, Put

logger = get_logger(__name__)

METADATA_VERSION: Final = 29  # 4.2-IV1
FEATURES: Final[Mapping[str, int]] = {
    "metadata.version": METADATA_VERSION,
    "transaction.version": 2,
    "group.version": 1,
    "share.version": 1,
    "streams.version": 1,
}


async def found_cluster(
    store: MetadataStore,
    *,
    cluster_id: str | None = None,
    features: Mapping[str, int] = FEATURES,
    min_insync_replicas: int | None = None,
) -> str:
    """The cluster's id; the first caller ever sets it, to `cluster_id` or a new one, and finalizes `features`.

    It also makes `min_insync_replicas` a default of the whole cluster if given: brokers whose own files differ would
    not agree on when a partition has enough replicas. Source: KIP-966.
    """
    written = (cluster_id or uuid_text(random_uuid())).encode()
    writes = [
        Put(records.CLUSTER_ID_KEY, written),
        Put(records.FEATURES_KEY, records.encode_mapping("levels", features)),
    ]
    if min_insync_replicas is not None:
        defaults = {"min.insync.replicas": str(min_insync_replicas)}
        writes.append(Put(records.broker_config_key(""), records.encode_mapping("values", defaults)))
    result = await store.transaction([Absent(records.CLUSTER_ID_KEY)], writes)
    item = await store.get(records.CLUSTER_ID_KEY)
    assert item is not None, "the transaction writes the key unless it is there"
    if result.succeeded:
        logger.info("cluster founded", cluster_id=item.value.decode())
    return item.value.decode()


class BrokerSession:
    """One run of one broker. `incarnation` tells it from every other run."""

    def __init__(
        self,
        store: MetadataStore,
        publisher: ImagePublisher,
        clock: SleepingClock,
        config: ControllerConfig,
        *,
        node_id: int,
        endpoints: Sequence[Endpoint],
        rack: str | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._config = config
        self._node_id = node_id
        self._record = records.BrokerRecord(uuid_text(random_uuid()), tuple(endpoints), rack)
        self._lease: Lease | None = None
        self._controller_epoch: int | None = None
        self.broker_epoch = 0

    @property
    def incarnation(self) -> str:
        return self._record.incarnation

    @property
    def is_controller(self) -> bool:
        """Whether this broker took the controller's place and has not noticed that it lost it."""
        return self._controller_epoch is not None

    def fence(self) -> Compare | None:
        """True of the store while this broker is the controller; None when it is not."""
        epoch = self._controller_epoch
        return None if epoch is None else CreateRevision(records.CONTROLLER_KEY, epoch)

    async def register(self) -> int:
        """Claim the broker's id, and the controller's place if it is free. Returns the broker epoch.

        Registering twice in one run is harmless. Raises DuplicateBrokerRegistration while another run holds the id.
        """
        lease = await self._store.lease(self._config.session_timeout_ms)
        key, value = records.broker_key(self._node_id), records.encode_broker(self._record)
        result = await self._store.transaction([Absent(key)], [Put(key, value, lease.id)])
        if not result.succeeded:
            await lease.revoke()
            return await self._already_registered(key)
        self._lease, self.broker_epoch = lease, result.revision
        logger.info("broker registered", broker=self._node_id, broker_epoch=result.revision)
        await self._claim_controller()
        return self.broker_epoch

    async def run(self) -> None:
        """Keep the lease alive until cancelled; register anew when it is gone; step in when there is no controller."""
        while True:
            await self._clock.sleep_ms(self._config.heartbeat_interval_ms)
            try:
                await self._beat()
            except (StoreUnavailable, StoreOutcomeUnknown, Busy) as error:
                logger.limited("heartbeat failed", error=error)

    async def leave(self) -> None:
        """Give up id and controllership, so that others need not wait for the lease to end."""
        if self._lease is not None:
            await self._lease.revoke()
        self._lease, self._controller_epoch = None, None

    async def _beat(self) -> None:
        try:
            if self._lease is None:
                await self.register()
            else:
                await self._lease.keep_alive()
                if not self.is_controller:
                    await self._claim_controller()
        except LeaseGone:
            logger.warning("broker lease lost", broker=self._node_id, broker_epoch=self.broker_epoch)
            self._lease, self._controller_epoch = None, None
            await self.register()

    async def _already_registered(self, key: str) -> int:
        item = await self._store.get(key)
        if item is not None and records.decode_broker(key, item.value).incarnation == self.incarnation:
            self.broker_epoch = item.create_revision
            return self.broker_epoch
        raise DuplicateBrokerRegistration(f"Another broker is registered with that broker id: {self._node_id}")

    async def _claim_controller(self) -> None:
        assert self._lease is not None, "only a registered broker can be the controller"
        result = await self._store.transaction(
            [Absent(records.CONTROLLER_KEY), CreateRevision(records.broker_key(self._node_id), self.broker_epoch)],
            [Put(records.CONTROLLER_KEY, records.encode_controller(self._node_id), self._lease.id)],
        )
        if result.succeeded:
            self._controller_epoch = result.revision
            logger.info("controller claimed", broker=self._node_id, controller_epoch=result.revision)
