"""What the quotas of an image mean on this broker: rules for the data plane, and the quota of topic changes.

Kafka looks a client's quota up by user and client id, the narrowest first; without authentication every user is
ANONYMOUS. The data plane knows client ids only, so the order of precedence is worked out here, for every client id
that is named and for all others:

    user+client > user+<default client> > user > <default user>+client > <default user>+<default client>
    > <default user> > client > <default client>

A quota of a user alone is shared by all his clients; every other one counts for each client id by itself. An address
that has no quota of its own has the one that is set for all; a host is looked up whenever quotas change, and its first
address counts.
Source: KIP-55, KIP-124, KIP-219, KIP-599, KIP-612; Kafka's ClientQuotaManager and ControllerMutationQuotaManager.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from pystream.common.errors import ThrottlingQuotaExceeded
from pystream.common.logging import get_logger
from pystream.controller.quotas import (
    CLIENT_ID,
    CONNECTION_CREATION_RATE,
    CONSUMER_BYTE_RATE,
    CONTROLLER_MUTATION_RATE,
    IP,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
    USER,
    packed_address,
    resolved_address,
)

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.common.clock import Clock
    from pystream.common.tasks import Supervisor
    from pystream.metadata.image import ClusterImage
    from pystream.metadata.records import QuotaEntity

logger = get_logger(__name__)

ANONYMOUS: Final = "ANONYMOUS"
MICROSECONDS_PER_PERCENT: Final = 10_000  # of one thread's second
LARGEST_RATE: Final = 1 << 62
MOST_BUCKETS: Final = 10_000
Rule = tuple[str | None, tuple[int, int, int], tuple[bool, bool, bool]]


class QuotaWindow(NamedTuple):
    """Over how much time a rate is looked at: so many samples, of which one is always under way."""

    samples: int
    sample_seconds: int

    @property
    def sample_ms(self) -> int:
        return self.sample_seconds * 1_000

    @property
    def burst_ms(self) -> int:
        return max(self.samples - 1, 1) * self.sample_ms


class Found(NamedTuple):
    """A quota in force: its rate, and whether all clients of the user share it."""

    rate: float
    is_shared: bool


def quota_of(
    quotas: Mapping[QuotaEntity, Mapping[str, float]], key: str, client_id: str | None, user: str = ANONYMOUS
) -> Found | None:
    """The quota of a client; of one that no quota names where `client_id` is None."""
    for entity in _precedence(user, client_id):
        values = quotas.get(entity)
        if values is not None and key in values:
            return Found(values[key], entity in (((USER, user),), ((USER, None),)))
    return None


def _precedence(user: str, client_id: str | None) -> Iterator[QuotaEntity]:
    for name in (user, None):
        if client_id is not None:
            yield ((CLIENT_ID, client_id), (USER, name))
        yield ((CLIENT_ID, None), (USER, name))
        yield ((USER, name),)
    if client_id is not None:
        yield ((CLIENT_ID, client_id),)
    yield ((CLIENT_ID, None),)


def rules_of(quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> list[Rule]:
    """Rules for the data plane: for all others first, then for every client id that a quota names."""
    named = {name for entity in quotas for kind, name in entity if kind == CLIENT_ID and name is not None}
    rules = [_rule(quotas, client_id) for client_id in (None, *sorted(named))]
    return rules if any(any(rates) for _, rates, _ in rules) else []


class AddressRates(NamedTuple):
    """Connections a second: by address, by host, and of every other one; 0 is unlimited."""

    named: dict[bytes, int]
    hosts: dict[str, int]
    default: int


def address_rates_of(quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> AddressRates:
    """What bounds new connections of addresses."""
    named: dict[bytes, int] = {}
    hosts: dict[str, int] = {}
    default = 0
    for entity, values in quotas.items():
        if entity[0][0] != IP or CONNECTION_CREATION_RATE not in values:
            continue
        rate = _bounded(values[CONNECTION_CREATION_RATE])
        address = entity[0][1]
        if address is None:
            default = rate
        elif (packed := packed_address(address)) is not None:
            named[packed] = rate
        else:
            hosts[address] = rate
    return AddressRates(named, hosts, default)


def _rule(quotas: Mapping[QuotaEntity, Mapping[str, float]], client_id: str | None) -> Rule:
    found = [quota_of(quotas, key, client_id) for key in (PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, REQUEST_PERCENTAGE)]
    scales = (1, 1, MICROSECONDS_PER_PERCENT)
    rates = [0 if each is None else _bounded(each.rate * scale) for each, scale in zip(found, scales, strict=True)]
    shared = [each is not None and each.is_shared for each in found]
    return client_id, (rates[0], rates[1], rates[2]), (shared[0], shared[1], shared[2])


def _bounded(rate: float) -> int:
    """What the data plane can count in: at least one, and no more than nobody ever reaches."""
    return max(int(min(rate, LARGEST_RATE)), 1)


class TokenBucket:
    """Tokens come at `rate` per second up to a burst; they may be spent once below zero (KIP-599)."""

    def __init__(self, rate: float, burst: float, now_ms: int) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated_ms = now_ms

    def throttle_ms(self, now_ms: int) -> int:
        """How long until there is a token again; 0 while there are some."""
        self._tokens = min(self._burst, self._tokens + (now_ms - self._updated_ms) * self.rate / 1_000)
        self._updated_ms = now_ms
        return 0 if self._tokens >= 0 else max(round(-self._tokens / self.rate * 1_000), 1)

    def spend(self, tokens: float) -> None:
        self._tokens -= tokens


class MutationQuota:
    """One request's changes of topics, counted in partitions.

    A `strict` version has what comes too early refused, and is told to wait only then; before it everything passes, and
    the client waits afterwards.
    """

    def __init__(self, bucket: TokenBucket | None, *, strict: bool, clock: Clock) -> None:
        self._bucket = bucket
        self._strict = strict
        self._clock = clock
        self._until_ms = 0  # the client is to wait

    @property
    def throttle_ms(self) -> int:
        """How long the client has to wait, from now on."""
        return max(self._until_ms - self._clock.monotonic_ms(), 0) if self._until_ms else 0

    def charge(self, partitions: int) -> None:
        """For a change that has passed every check. Raises ThrottlingQuotaExceeded when it may not be made now."""
        if self._bucket is None:
            return
        now_ms = self._clock.monotonic_ms()
        if self._strict and (throttle_ms := self._bucket.throttle_ms(now_ms)) > 0:
            self._until_ms = now_ms + throttle_ms
            raise ThrottlingQuotaExceeded("The throttling quota has been exceeded.")
        self._bucket.spend(partitions)
        if not self._strict:
            self._until_ms = now_ms + self._bucket.throttle_ms(now_ms)


class ClientQuotas:
    """Lives in the broker's loop; `apply` is called with every image that changes quotas."""

    def __init__(
        self,
        plane: DataPlane,
        clock: Clock,
        supervisor: Supervisor,
        *,
        window: QuotaWindow,
        controller_window: QuotaWindow,
    ) -> None:
        self._plane = plane
        self._clock = clock
        self._supervisor = supervisor
        self._address_rates = AddressRates({}, {}, 0)
        self._addresses: dict[str, bytes] = {}  # of hosts, as they were found last
        self._look_up: asyncio.Task[None] | None = None
        self._window = window
        self._mutation_burst_ms = controller_window.samples * controller_window.sample_ms
        self._quotas: Mapping[QuotaEntity, Mapping[str, float]] = {}
        self.bounds_requests = False
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()  # of topic changes

    def apply(self, image: ClusterImage) -> None:
        """What clients are bounded by from now on."""
        self._quotas = image.client_quotas
        self._buckets.clear()
        rules = rules_of(self._quotas)
        self.bounds_requests = any(rates[2] for _, rates, _ in rules)
        self._plane.set_client_quotas(rules, self._window.burst_ms, longest_time_wait_ms=self._window.sample_ms)
        self._address_rates = address_rates_of(self._quotas)
        self._bound_addresses()
        if self._address_rates.hosts:
            self._look_up = self._supervisor.attempt("look up hosts", self._look_up_hosts(self._address_rates))

    async def in_force(self) -> None:
        """Return once the quotas of hosts are in force too, as far as these can be found."""
        if self._look_up is not None:
            await asyncio.wait([self._look_up])

    async def _look_up_hosts(self, rates: AddressRates) -> None:
        hosts = list(rates.hosts)
        for host, address in zip(hosts, await asyncio.gather(*map(resolved_address, hosts)), strict=True):
            if address is not None:
                self._addresses[host] = address
            else:
                logger.warning("host of a quota not found", host=host)
        if rates is self._address_rates:
            self._addresses = {host: self._addresses[host] for host in hosts if host in self._addresses}
            self._bound_addresses()

    def _bound_addresses(self) -> None:
        rates = self._address_rates
        hosts = {self._addresses[host]: rate for host, rate in rates.hosts.items() if host in self._addresses}
        self._plane.bound_addresses(
            sorted({**hosts, **rates.named}.items()),
            default_rate=rates.default,
            window_ms=self._window.burst_ms,
            longest_wait_ms=self._window.sample_ms,
        )

    def mutations(self, client_id: str | None, *, strict: bool) -> MutationQuota:
        """The quota of topic changes for one request."""
        client_id = client_id or ""
        found = quota_of(self._quotas, CONTROLLER_MUTATION_RATE, client_id) if self._quotas else None
        if found is None:
            return MutationQuota(None, strict=strict, clock=self._clock)
        name = "" if found.is_shared else client_id
        bucket = self._buckets.get(name)
        if bucket is None:
            burst = found.rate * self._mutation_burst_ms / 1_000
            bucket = self._buckets[name] = TokenBucket(found.rate, burst, self._clock.monotonic_ms())
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return MutationQuota(bucket, strict=strict, clock=self._clock)

    def request_throttle_ms(self, client_id: str | None, spent_ns: int) -> int:
        """Charge the time that a request took in the control plane; the throttle time, one sample at most."""
        return self._plane.charge_request(client_id or "", spent_ns // 1_000, self._clock.monotonic_ms())
