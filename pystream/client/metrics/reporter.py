"""Pushes a client's metrics to the cluster, when the cluster asks for them. Source: KIP-714.

    ask which ──▶ none: ask again after the interval
        ▲    └──▶ some: push now and then, deltas of totals, compressed ──▶ the last time with `terminating`, at close
        └──────── the subscription has changed, or the codec does not suit

The first push comes after a random half to one and a half of the interval, so that clients that began together do not
push together. Whatever goes wrong here is told in the log, and to nobody else: the client works on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pystream._native.compression import Codec, compress, is_available
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.metrics.client import ClientMetrics
from pystream.client.metrics.otlp import Encoder
from pystream.common import error_codes as codes
from pystream.common.errors import ClientError, Closed, PystreamError, UnsupportedVersion, error_class
from pystream.common.logging import get_logger
from pystream.common.model import ZERO_UUID
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.get_telemetry_subscriptions import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
)
from pystream.protocol.messages.push_telemetry import PushTelemetryRequest, PushTelemetryResponse

logger = get_logger(__name__)

DEFAULT_INTERVAL_MS: Final = 300_000
RETRY_MS: Final = 30_000  # after a broker did not answer
GOOD_BYE_SECONDS: Final = 1.0
FIRST_PUSH: Final = (0.5, 1.5)  # of the interval
ASK_AGAIN: Final = frozenset({codes.UNKNOWN_SUBSCRIPTION_ID, codes.UNSUPPORTED_COMPRESSION_TYPE})
USELESS: Final = frozenset({codes.INVALID_REQUEST, codes.INVALID_RECORD, codes.UNSUPPORTED_VERSION})


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the cluster wants of this client."""

    subscription_id: int
    interval_ms: int
    requested: tuple[str, ...]
    codec: Codec
    maximum_bytes: int
    delta: bool


class TelemetryReporter:
    """One for each client. Belongs to the loop of its cluster."""

    def __init__(
        self, cluster: Cluster, metrics: ClientMetrics, labels: Callable[[], Mapping[str, str | None]]
    ) -> None:
        """`labels` gives what brokers do not know of the client: its group, its transactional id."""
        self.instance_id = ZERO_UUID
        self.subscription: Subscription | None = None
        self._cluster = cluster
        self._metrics = metrics
        self._labels = labels
        self._encoder = Encoder(cluster.clock.now_ms())
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._unsuitable: set[Codec] = set()
        self._asking = asyncio.Lock()
        cluster.subscribe(self._begin)

    def _begin(self, _: ClusterMetadata) -> None:
        """The cluster can be reached."""
        if self._task is None:
            self._task = self._cluster.spawn("push metrics", self._run())

    async def client_instance_id(self, timeout_ms: int | None = None) -> bytes:
        """The 16 bytes under which brokers know this client's metrics; asks when nobody has yet.

        Raises UnsupportedVersion where brokers do not take metrics, DeadlineExceeded.
        """
        if self.instance_id == ZERO_UUID:
            await self._cluster.retrying("client instance id", lambda _: self._identify(), timeout_ms=timeout_ms)
        return self.instance_id

    async def _identify(self) -> None:
        async with self._asking:
            if self.instance_id == ZERO_UUID:
                await self._ask()

    async def close(self, timeout_s: float | None = None) -> None:
        """Push the last time, where anything was asked for and a broker is at hand.

        Waits for its answer at most `timeout_s`, and never longer than GOOD_BYE_SECONDS.
        """
        subscription, self.subscription = self.subscription, None
        try:
            self._cluster.check_usable()
        except PystreamError:  # closed already, or in a forked child: the connections are not ours
            return
        if self._task is not None:
            self._task.cancel()
        connection = self._connection
        if subscription is None or not subscription.requested or connection is None or not connection.is_open:
            return
        try:
            async with asyncio.timeout(GOOD_BYE_SECONDS if timeout_s is None else min(timeout_s, GOOD_BYE_SECONDS)):
                await self._push(connection, subscription, terminating=True)
        except (PystreamError, TimeoutError) as error:
            logger.debug("last metrics not pushed", error=str(error))

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        wait_ms = 0
        while True:
            await self._cluster.clock.sleep_ms(wait_ms)
            try:
                async with self._asking:
                    wait_ms = await self._ask()
                if self.subscription is not None and self.subscription.requested:
                    wait_ms = await self._push_until_changed(self.subscription)
            except Closed:
                return
            except UnsupportedVersion:
                wait_ms = DEFAULT_INTERVAL_MS  # until, perhaps, the brokers are newer
            except PystreamError as error:
                logger.debug("metrics not pushed", error=str(error))
                wait_ms = RETRY_MS

    async def _ask(self) -> int:
        """Ask what is wanted; gives when to ask again where that is nothing."""
        connection = await self._cluster.any_broker()
        version = connection.version_of(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS)
        request = GetTelemetrySubscriptionsRequest(client_instance_id=self.instance_id)
        response: GetTelemetrySubscriptionsResponse = await connection.request(request, version)
        if response.error_code == codes.THROTTLING_QUOTA_EXCEEDED:
            return response.push_interval_ms or DEFAULT_INTERVAL_MS
        if response.error_code != codes.NONE:
            raise error_class(response.error_code)(f"{connection.name}: GetTelemetrySubscriptions failed")
        self._connection = connection
        self.instance_id = bytes(response.client_instance_id)
        self.subscription = Subscription(
            response.subscription_id,
            response.push_interval_ms or DEFAULT_INTERVAL_MS,
            tuple(response.requested_metrics),
            self._codec_of(response.accepted_compression_types),
            response.telemetry_max_bytes,
            response.delta_temporality,
        )
        return self.subscription.interval_ms

    def _codec_of(self, accepted: Sequence[int]) -> Codec:
        """The first that the broker accepts and we have."""
        for number in accepted:
            if number in list(Codec) and is_available(number) and Codec(number) not in self._unsuitable:
                return Codec(number)
        return Codec.NONE

    async def _push_until_changed(self, subscription: Subscription) -> int:
        """Push again and again; gives how long to wait before asking again what is wanted."""
        wait_ms = round(subscription.interval_ms * random.uniform(*FIRST_PUSH))
        while True:
            await self._cluster.clock.sleep_ms(wait_ms)
            wait_ms = subscription.interval_ms
            try:
                connection = await self._cluster.any_broker()
                code = await self._push(connection, subscription, terminating=False)
            except (Closed, UnsupportedVersion):
                raise
            except PystreamError as error:
                logger.debug("metrics not pushed", error=str(error))
                continue
            self._connection = connection
            if code in ASK_AGAIN:
                if code == codes.UNSUPPORTED_COMPRESSION_TYPE:
                    self._unsuitable.add(subscription.codec)
                return 0
            if code in USELESS:
                logger.warning("brokers refuse this client's metrics", error=codes.TABLE[code].name)
                self.subscription = None
                return DEFAULT_INTERVAL_MS

    async def _push(self, connection: Connection, subscription: Subscription, *, terminating: bool) -> int:
        """The error code of one push; NONE too when it was too large or empty, and did not go out."""
        version = connection.version_of(ApiKey.PUSH_TELEMETRY)
        labels = {name: text for name, text in self._labels().items() if text}
        body = self._encoder.encode(
            self._metrics.collect(),
            subscription.requested,
            self._cluster.clock.now_ms(),
            delta=subscription.delta,
            labels=labels,
        )
        codec = subscription.codec if body else Codec.NONE
        packed = compress(body, codec) if codec is not Codec.NONE else body
        if len(packed) > subscription.maximum_bytes:
            logger.warning("metrics are too large", size_bytes=len(packed), maximum_bytes=subscription.maximum_bytes)
            return codes.NONE
        request = PushTelemetryRequest(
            client_instance_id=self.instance_id,
            subscription_id=subscription.subscription_id,
            terminating=terminating,
            compression_type=int(codec),
            metrics=packed,
        )
        response: PushTelemetryResponse = await connection.request(request, version)
        if response.error_code == codes.NONE:
            self._encoder.taken()
        return response.error_code


def reporter_of(reporter: TelemetryReporter | None) -> TelemetryReporter:
    """Raises ClientError where there is none."""
    if reporter is None:
        raise ClientError("brokers give no id to a client that pushes no metrics; set enable.metrics.push=true")
    return reporter


def as_ms(timeout: float | None) -> int | None:
    """Seconds of users as milliseconds."""
    return None if timeout is None else round(timeout * 1000)
