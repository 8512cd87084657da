"""SCRAM credentials of users: kept as what proves a password, never as the password. Source: KIP-554, RFC 5802."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pystream.common.errors import (
    ConcurrentTransactions,
    DuplicateResource,
    KafkaError,
    ResourceNotFound,
    UnacceptableCredential,
    UnsupportedSaslMechanism,
)
from pystream.common.logging import get_logger
from pystream.controller.commit import Committer
from pystream.metadata import records
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.records import ScramCredential
from pystream.metadata.store import Absent, Delete, ModRevision, Put, Value

logger = get_logger(__name__)

MECHANISMS: Final[Mapping[int, str]] = {1: "sha256", 2: "sha512"}  # SCRAM-SHA-256, SCRAM-SHA-512
LEAST_ITERATIONS: Final = 4_096
MOST_ITERATIONS: Final = 16_384
ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """One mechanism's credential of a user: a new one, or none where `salted_password` is None."""

    user: str
    mechanism: int
    iterations: int = 0
    salt: bytes = b""
    salted_password: bytes | None = None


class CredentialOutcome(NamedTuple):
    """What became of one user's changes: all of them, or none."""

    user: str
    error: KafkaError | None


class ScramController:
    """Alters credentials in the metadata store; brokers read them from the image."""

    def __init__(self, publisher: ImagePublisher, committer: Committer) -> None:
        self._publisher = publisher
        self._committer = committer

    async def alter(self, changes: Sequence[CredentialChange]) -> list[CredentialOutcome]:
        """One outcome for each distinct user, in the order of first mention."""
        mentions = Counter((change.user, change.mechanism) for change in changes)
        outcomes = []
        newest = 0
        for user in dict.fromkeys(change.user for change in changes):
            mine = [change for change in changes if change.user == user]
            error: KafkaError | None = None
            try:
                if any(mentions[user, change.mechanism] > 1 for change in mine):
                    raise DuplicateResource("A user credential cannot be altered twice in the same request")
                for change in mine:
                    _check(change)
                newest = max(newest, await self._alter_user(user, mine))
            except KafkaError as caught:
                error = caught
            outcomes.append(CredentialOutcome(user, error))
        await self._publisher.wait_for(newest)
        return outcomes

    async def _alter_user(self, user: str, changes: Sequence[CredentialChange]) -> int:
        key = records.scram_user_key(user)
        for _ in range(ATTEMPTS):
            item = await self._committer.get(key)
            credentials = records.decode_scram(key, item.value) if item is not None else {}
            for change in changes:
                if change.salted_password is not None:
                    credentials[change.mechanism] = _credential(change, change.salted_password)
                elif credentials.pop(change.mechanism, None) is None:
                    raise ResourceNotFound("Attempt to delete a user credential that does not exist")
            value = records.encode_scram(credentials)
            revision = await self._committer.commit(
                [ModRevision(key, item.mod_revision if item is not None else 0)],
                [Put(key, value) if credentials else Delete(key)],
                proof=Value(key, value) if credentials else Absent(key),
            )
            if revision is not None:
                logger.info("credentials changed", user=user, mechanisms=",".join(str(c.mechanism) for c in changes))
                return revision
        raise ConcurrentTransactions(f"The credentials were changed by others {ATTEMPTS} times meanwhile")


def _check(change: CredentialChange) -> None:
    if not change.user:
        raise UnacceptableCredential("Username must not be empty")
    if change.mechanism not in MECHANISMS:
        raise UnsupportedSaslMechanism("Unknown SCRAM mechanism")
    if change.salted_password is None:
        return
    if change.iterations < LEAST_ITERATIONS:
        raise UnacceptableCredential("Too few iterations")
    if change.iterations > MOST_ITERATIONS:
        raise UnacceptableCredential("Too many iterations")
    if not change.salt or not change.salted_password:
        raise UnacceptableCredential("Salt and salted password must not be empty")


def _credential(change: CredentialChange, salted_password: bytes) -> ScramCredential:
    algorithm = MECHANISMS[change.mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", algorithm)
    return ScramCredential(
        salt=change.salt,
        iterations=change.iterations,
        stored_key=hashlib.new(algorithm, client_key).digest(),
        server_key=hmac.digest(salted_password, b"Server Key", algorithm),
    )
