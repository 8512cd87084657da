"""Quotas of users and clients, and SCRAM credentials."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, Told, outcome
from pystream.client.given import listed, mapped
from pystream.common.config import Password
from pystream.common.errors import PystreamError, UnsupportedSaslMechanism
from pystream.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)
from pystream.protocol.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from pystream.protocol.messages.describe_client_quotas import ComponentData, DescribeClientQuotasRequest
from pystream.protocol.messages.describe_user_scram_credentials import (
    DescribeUserScramCredentialsRequest,
    UserName,
)

EXACT, DEFAULT, ANY_NAME = 0, 1, 2  # how a filter's name is matched
SALT_BYTES: Final = 24
DEFAULT_ITERATIONS: Final = 4_096


class Match(Enum):
    """What a quota filter matches besides a name and None, which is the default entity."""

    ANY = "any"


class ScramMechanism(Told):
    """By the numbers of the protocol."""

    UNKNOWN = 0
    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2


@dataclass(frozen=True, slots=True)
class QuotaEntity:
    """Whom a quota is about: (("user", "alice"), ("client-id", None)); None is the default of its type."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, parts: Mapping[str, str | None]) -> QuotaEntity:
        """{"user": "alice", "client-id": None}: the order does not matter."""
        return cls(tuple(sorted(parts.items())))


@dataclass(frozen=True, slots=True)
class ScramCredential:
    """A mechanism that a user can authenticate with."""

    mechanism: ScramMechanism
    iterations: int


@dataclass(frozen=True, slots=True)
class ScramUpsertion:
    """Set a user's password for a mechanism. The salt is random unless given; the password stays here."""

    user: str
    mechanism: ScramMechanism
    password: Password
    iterations: int = DEFAULT_ITERATIONS
    salt: bytes | None = None


@dataclass(frozen=True, slots=True)
class ScramDeletion:
    """Take a mechanism from a user."""

    user: str
    mechanism: ScramMechanism


class UserOperations(AdminBase):
    """Operations on quotas and credentials."""

    async def describe_client_quotas(
        self,
        components: Mapping[str, str | Match | None] | None = None,
        *,
        strict: bool = False,
        timeout_ms: int | None = None,
    ) -> dict[QuotaEntity, dict[str, float]]:
        """The quotas of the entities that match: {"user": "alice", "client-id": Match.ANY}; all without components.

        `strict`: only entities that have no other part than those named.
        """
        asked_for = [_component(kind, wanted) for kind, wanted in mapped(components or {}, '{"user": "alice"}').items()]
        request = DescribeClientQuotasRequest(components=asked_for, strict=strict)
        response = await self._once("describe_client_quotas", request, timeout_ms=timeout_ms)
        return {
            QuotaEntity.of({part.entity_type: part.entity_name for part in entry.entity}): {
                value.key: value.value for value in entry.values
            }
            for entry in response.entries or ()
        }

    async def alter_client_quotas(
        self,
        changes: Mapping[QuotaEntity, Mapping[str, float | None]],
        *,
        validate_only: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[QuotaEntity, None]:
        """Set quotas: {entity: {"producer_byte_rate": 1e6, "request_percentage": None}}; None removes."""
        mapped(changes, '{QuotaEntity.of({"user": "alice"}): {"producer_byte_rate": 1e6}}')

        async def ask(asked: Asked, group: list[QuotaEntity]) -> dict[QuotaEntity, PystreamError | None]:
            entries = [
                AlterClientQuotasRequestEntryData(
                    entity=[
                        AlterClientQuotasRequestEntityData(entity_type=kind, entity_name=name)
                        for kind, name in entity.parts
                    ],
                    ops=[
                        OpData(key=key, value=0.0 if value is None else value, remove=value is None)
                        for key, value in changes[entity].items()
                    ],
                )
                for entity in group
            ]
            response = await asked.ask(AlterClientQuotasRequest(entries=entries, validate_only=validate_only))
            return {
                QuotaEntity.of({part.entity_type: part.entity_name for part in told.entity}): outcome(
                    told.error_code, told.error_message, None
                )
                for told in response.entries
            }

        return await self._each("alter_client_quotas", changes, self._controller(), ask, timeout_ms=timeout_ms)

    async def describe_user_scram_credentials(
        self, users: Iterable[str] | None = None, *, timeout_ms: int | None = None
    ) -> Results[str, tuple[ScramCredential, ...]]:
        """The mechanisms of the given users, or of all that have any."""
        names = None if users is None else [UserName(name=user) for user in dict.fromkeys(listed(users))]
        response = await self._once(
            "describe_user_scram_credentials",
            DescribeUserScramCredentialsRequest(users=names),
            timeout_ms=timeout_ms,
        )
        return Results(
            {
                told.user: outcome(
                    told.error_code,
                    told.error_message,
                    tuple(
                        ScramCredential(ScramMechanism(each.mechanism), each.iterations)
                        for each in told.credential_infos
                    ),
                )
                for told in response.results
            }
        )

    async def alter_user_scram_credentials(
        self, alterations: Iterable[ScramUpsertion | ScramDeletion], *, timeout_ms: int | None = None
    ) -> Results[str, None]:
        """Set and delete credentials; all changes of one user succeed or fail together."""
        wanted = listed(alterations)
        upsertions = [_upsertion(each) for each in wanted if isinstance(each, ScramUpsertion)]
        deletions = [
            ScramCredentialDeletion(name=each.user, mechanism=each.mechanism)
            for each in wanted
            if isinstance(each, ScramDeletion)
        ]

        async def ask(asked: Asked, users: list[str]) -> dict[str, PystreamError | None]:
            request = AlterUserScramCredentialsRequest(
                deletions=[each for each in deletions if each.name in users],
                upsertions=[each for each in upsertions if each.name in users],
            )
            response = await asked.ask(request)
            return {told.user: outcome(told.error_code, told.error_message, None) for told in response.results}

        users = [each.user for each in wanted]
        return await self._each("alter_user_scram_credentials", users, self._controller(), ask, timeout_ms=timeout_ms)


def _component(kind: str, wanted: str | Match | None) -> ComponentData:
    if isinstance(wanted, str):
        return ComponentData(entity_type=kind, match_type=EXACT, match=wanted)
    return ComponentData(entity_type=kind, match_type=DEFAULT if wanted is None else ANY_NAME, match=None)


def _upsertion(wanted: ScramUpsertion) -> ScramCredentialUpsertion:
    """Salts and hashes here, so that brokers never see the password. Source: RFC 5802, KIP-554."""
    digests = {ScramMechanism.SCRAM_SHA_256: "sha256", ScramMechanism.SCRAM_SHA_512: "sha512"}
    if wanted.mechanism not in digests:
        raise UnsupportedSaslMechanism(f"{wanted.mechanism.name}: expected one of {', '.join(m.name for m in digests)}")
    salt = secrets.token_bytes(SALT_BYTES) if wanted.salt is None else wanted.salt
    password = Password(wanted.password).reveal().encode()
    return ScramCredentialUpsertion(
        name=wanted.user,
        mechanism=wanted.mechanism,
        iterations=wanted.iterations,
        salt=salt,
        salted_password=hashlib.pbkdf2_hmac(digests[wanted.mechanism], password, salt, max(wanted.iterations, 1)),
    )
