"""Delegation tokens: create, renew, expire, describe. Brokers without authentication answer with an error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pystream.client.admin.base import AdminBase
from pystream.client.given import listed
from pystream.common.config import Password
from pystream.protocol.messages.create_delegation_token import CreatableRenewers, CreateDelegationTokenRequest
from pystream.protocol.messages.describe_delegation_token import (
    DescribeDelegationTokenOwner,
    DescribeDelegationTokenRequest,
)
from pystream.protocol.messages.expire_delegation_token import ExpireDelegationTokenRequest
from pystream.protocol.messages.renew_delegation_token import RenewDelegationTokenRequest

BROKER_DEFAULT: Final = -1
OWNER_SINCE: Final = 3  # version of CreateDelegationToken


class Principal(NamedTuple):
    """Who: ("User", "alice")."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"


@dataclass(frozen=True, slots=True)
class DelegationToken:
    """A token. `hmac` is the secret part, in base64 what SASL takes as password; times are epoch milliseconds."""

    token_id: str
    owner: Principal
    requester: Principal
    renewers: tuple[Principal, ...]
    issued_at_ms: int
    expires_at_ms: int
    expires_at_most_ms: int
    hmac: bytes

    def __repr__(self) -> str:
        return f"DelegationToken({self.token_id}, owner={self.owner}, hmac={Password()!r})"


class TokenOperations(AdminBase):
    """Operations on delegation tokens."""

    async def create_delegation_token(
        self,
        *,
        renewers: Iterable[Principal] = (),
        owner: Principal | None = None,
        max_lifetime_ms: int = BROKER_DEFAULT,
        timeout_ms: int | None = None,
    ) -> DelegationToken:
        """A token of this client's principal, or of `owner`."""
        may_renew = tuple(listed(renewers))
        request = CreateDelegationTokenRequest(
            renewers=[CreatableRenewers(principal_type=each.type, principal_name=each.name) for each in may_renew],
            max_lifetime_ms=max_lifetime_ms,
            owner_principal_type=None if owner is None else owner.type,
            owner_principal_name=None if owner is None else owner.name,
        )
        told = await self._once(
            "create_delegation_token",
            request,
            route=self._controller(),
            lowest=0 if owner is None else OWNER_SINCE,
            timeout_ms=timeout_ms,
        )
        return DelegationToken(
            told.token_id,
            Principal(told.principal_type, told.principal_name),
            Principal(told.token_requester_principal_type, told.token_requester_principal_name),
            may_renew,
            told.issue_timestamp_ms,
            told.expiry_timestamp_ms,
            told.max_timestamp_ms,
            told.hmac,
        )

    async def renew_delegation_token(
        self, hmac: bytes, *, renew_period_ms: int = BROKER_DEFAULT, timeout_ms: int | None = None
    ) -> int:
        """Let a token live on; gives its new expiry."""
        request = RenewDelegationTokenRequest(hmac=hmac, renew_period_ms=renew_period_ms)
        told = await self._once("renew_delegation_token", request, route=self._controller(), timeout_ms=timeout_ms)
        expiry: int = told.expiry_timestamp_ms
        return expiry

    async def expire_delegation_token(
        self, hmac: bytes, *, expiry_period_ms: int = BROKER_DEFAULT, timeout_ms: int | None = None
    ) -> int:
        """Have a token expire in so long, at once by default; gives its new expiry."""
        request = ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=expiry_period_ms)
        told = await self._once("expire_delegation_token", request, route=self._controller(), timeout_ms=timeout_ms)
        expiry: int = told.expiry_timestamp_ms
        return expiry

    async def describe_delegation_token(
        self, owners: Iterable[Principal] | None = None, *, timeout_ms: int | None = None
    ) -> list[DelegationToken]:
        """The tokens of the given owners, or all that the client may see."""
        wanted = (
            None
            if owners is None
            else [
                DescribeDelegationTokenOwner(principal_type=each.type, principal_name=each.name)
                for each in listed(owners)
            ]
        )
        request = DescribeDelegationTokenRequest(owners=wanted)
        response = await self._once("describe_delegation_token", request, timeout_ms=timeout_ms)
        return [
            DelegationToken(
                told.token_id,
                Principal(told.principal_type, told.principal_name),
                Principal(told.token_requester_principal_type, told.token_requester_principal_name),
                tuple(Principal(each.principal_type, each.principal_name) for each in told.renewers),
                told.issue_timestamp,
                told.expiry_timestamp,
                told.max_timestamp,
                told.hmac,
            )
            for told in response.tokens
        ]
