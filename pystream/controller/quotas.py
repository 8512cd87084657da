"""Quotas of users and client ids: kept in the metadata store, enforced by every broker by itself.

    entity                  keys
    user, client-id, both   producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate
    ip                      connection_creation_rate; of an address, or of a host that has one

A name of None is the default for all that have no quota of their own. Source: KIP-546, KIP-599, KIP-612.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pystream.common.config import INT_MAX, LONG_MAX, ConfigType
from pystream.common.errors import ConcurrentTransactions, InvalidRequest, KafkaError
from pystream.common.logging import get_logger
from pystream.controller.commit import Committer
from pystream.metadata import records
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.records import QuotaEntity
from pystream.metadata.store import Absent, Delete, ModRevision, Put, Value

logger = get_logger(__name__)

USER: Final = "user"
CLIENT_ID: Final = "client-id"
IP: Final = "ip"
PRODUCER_BYTE_RATE: Final = "producer_byte_rate"
CONSUMER_BYTE_RATE: Final = "consumer_byte_rate"
REQUEST_PERCENTAGE: Final = "request_percentage"
CONTROLLER_MUTATION_RATE: Final = "controller_mutation_rate"
CONNECTION_CREATION_RATE: Final = "connection_creation_rate"
CLIENT_KEYS: Final[Mapping[str, ConfigType]] = {
    PRODUCER_BYTE_RATE: ConfigType.LONG,
    CONSUMER_BYTE_RATE: ConfigType.LONG,
    REQUEST_PERCENTAGE: ConfigType.DOUBLE,
    CONTROLLER_MUTATION_RATE: ConfigType.DOUBLE,
}
ADDRESS_KEYS: Final[Mapping[str, ConfigType]] = {CONNECTION_CREATION_RATE: ConfigType.INT}
# Of whole numbers, as the doubles that quotas are sent as: 2**63 - 1 arrives as 2**63.
LARGEST: Final = {ConfigType.INT: ("an INT", float(INT_MAX)), ConfigType.LONG: ("a LONG", float(LONG_MAX))}
ATTEMPTS: Final = 10
FRACTION: Final = 1e-6
LOOK_UP_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """What is to become of one entity's quotas: (key, value), a value of None removes the key."""

    entity: tuple[tuple[str, str | None], ...]  # as it was given
    values: tuple[tuple[str, float | None], ...]


class QuotaOutcome(NamedTuple):
    entity: tuple[tuple[str, str | None], ...]
    error: KafkaError | None


class QuotaController:
    """Alters quotas in the metadata store; brokers read them from the image."""

    def __init__(self, publisher: ImagePublisher, committer: Committer) -> None:
        self._publisher = publisher
        self._committer = committer

    async def alter(self, changes: Sequence[QuotaChange], *, validate_only: bool = False) -> list[QuotaOutcome]:
        """One outcome for each distinct entity, in the order of first mention; each succeeds by itself."""
        outcomes: dict[QuotaEntity, QuotaOutcome] = {}
        newest = 0
        for change in changes:
            name = tuple(sorted(change.entity, key=str))
            error: KafkaError | None = None
            try:
                if name in outcomes:
                    raise InvalidRequest(f"Ignoring duplicate entity {_shown(change.entity)}")
                values = checked(change)
                await self._check_host(change)
                if not validate_only:
                    newest = max(newest, await self._alter(name, values))
            except KafkaError as caught:
                error = caught
            outcomes[name] = QuotaOutcome(change.entity, error)
        await self._publisher.wait_for(newest)
        return list(outcomes.values())

    async def _check_host(self, change: QuotaChange) -> None:
        """What has no address any more can still be rid of its quotas."""
        names = [name for kind, name in change.entity if kind == IP and name is not None]
        if not names or all(value is None for _, value in change.values):
            return
        if await resolved_address(names[0]) is None:
            raise InvalidRequest(f"{names[0]} is not a valid IP or resolvable host.")

    async def _alter(self, entity: QuotaEntity, values: Mapping[str, float | None]) -> int:
        key = records.client_quota_key(entity)
        for _ in range(ATTEMPTS):
            item = await self._committer.get(key)
            before = records.decode_mapping(key, item.value, "values") if item is not None else {}
            merged = {**before, **values}
            after = {name: value for name, value in merged.items() if value is not None}
            if after == before:
                return 0
            value = records.encode_mapping("values", after)
            revision = await self._committer.commit(
                [ModRevision(key, item.mod_revision if item is not None else 0)],
                [Put(key, value) if after else Delete(key)],
                proof=Value(key, value) if after else Absent(key),
            )
            if revision is not None:
                logger.info("quotas changed", entity=_shown(entity), keys=",".join(sorted(values)))
                return revision
        raise ConcurrentTransactions(f"The quotas were changed by others {ATTEMPTS} times meanwhile")


def checked(change: QuotaChange) -> dict[str, float | None]:
    """The change's values. Raises InvalidRequest in Kafka's words."""
    known = keys_of(change.entity)
    values: dict[str, float | None] = {}
    for name, value in change.values:
        if name in values:
            raise InvalidRequest(
                f"Duplicate quota key {name} not updating quota for this entity {_shown(change.entity)}"
            )
        values[name] = value
        if value is not None:
            _check_value(known, name, value)
    return values


def packed_address(name: str) -> bytes | None:
    """The 4 or 16 bytes of an IP address, an IPv4 one that is mapped into IPv6 as itself; None for what is none."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address.packed if mapped is None else mapped.packed


async def resolved_address(name: str) -> bytes | None:
    """The bytes of an address, or of the first one that a host has at present; None where it has none."""
    packed = packed_address(name)
    if packed is not None:
        return packed
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a time-out is an OSError
        return None
    return packed_address(str(found[0][4][0])) if found else None


def keys_of(entity: Sequence[tuple[str, str | None]]) -> Mapping[str, ConfigType]:
    """The keys that such an entity may have. Raises InvalidRequest for a combination that there is not."""
    kinds = [kind for kind, _ in entity]
    if not kinds:
        raise InvalidRequest("Invalid empty client quota entity")
    for kind, name in entity:
        if kinds.count(kind) > 1:
            raise InvalidRequest(f"Invalid client quota entity, duplicate entity entry {kind}")
        if kind not in (USER, CLIENT_ID, IP):
            raise InvalidRequest(f"Unhandled client quota entity type: {kind}")
        if name == "":
            raise InvalidRequest(f"Empty {kind} not supported")
    if IP not in kinds:
        return CLIENT_KEYS
    if len(kinds) > 1:
        raise InvalidRequest("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
    return ADDRESS_KEYS


def _check_value(known: Mapping[str, ConfigType], name: str, value: float) -> None:
    if name not in known:
        raise InvalidRequest(f"Invalid configuration key {name}")
    if not value > 0:
        raise InvalidRequest(f"Quota {name} must be greater than 0")
    if known[name] not in LARGEST:
        return
    kind, largest = LARGEST[known[name]]
    if value > largest:
        raise InvalidRequest(f"Proposed value for {name} is too large for {kind}.")
    if value % 1.0 > FRACTION:
        raise InvalidRequest(f"{name} cannot be a fractional value.")


def _shown(entity: Sequence[tuple[str, str | None]]) -> str:
    return ",".join(f"{kind}={'<default>' if name is None else name}" for kind, name in entity)
