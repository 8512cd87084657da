"""Finalized feature levels: what all brokers of the cluster promise at once. Source: KIP-584, KIP-1022.

All updates of a request are applied in one transaction, or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pystream.common.errors import ConcurrentTransactions, InvalidRequest, InvalidUpdateVersion
from pystream.common.logging import get_logger
from pystream.controller.commit import Committer
from pystream.metadata import records
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store import ModRevision, Put, Value

logger = get_logger(__name__)

ATTEMPTS: Final = 10
METADATA_VERSION: Final = "metadata.version"
FAILED: Final = "The update failed for all features since the following feature had an error: "


class UpgradeType(IntEnum):
    """Which way a level may go, by the numbers of the wire."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


@dataclass(frozen=True, slots=True)
class FeatureUpdate:
    """The level that a feature shall have; 0 disables it. `upgrade_type` is as it came."""

    name: str
    level: int
    upgrade_type: int = UpgradeType.UPGRADE


class FeatureController:
    """Changes the finalized levels within what this broker supports: (lowest, highest level) by name."""

    def __init__(
        self, publisher: ImagePublisher, committer: Committer, supported: Mapping[str, tuple[int, int]]
    ) -> None:
        self._publisher = publisher
        self._committer = committer
        self._supported = supported

    async def update(self, updates: Sequence[FeatureUpdate], *, validate_only: bool = False) -> None:
        """Raises InvalidUpdateVersion, InvalidRequest, or what the store raises; nothing has changed then."""
        for _ in range(ATTEMPTS):
            item = await self._committer.get(records.FEATURES_KEY)
            before = records.decode_mapping(records.FEATURES_KEY, item.value, "levels") if item is not None else {}
            after = self._updated(before, updates)
            if validate_only or after == before:
                return
            value = records.encode_mapping("levels", after)
            revision = await self._committer.commit(
                [ModRevision(records.FEATURES_KEY, item.mod_revision if item is not None else 0)],
                [Put(records.FEATURES_KEY, value)],
                proof=Value(records.FEATURES_KEY, value),
            )
            if revision is not None:
                logger.info("features updated", levels=",".join(f"{name}={level}" for name, level in after.items()))
                await self._publisher.wait_for(revision)
                return
        raise ConcurrentTransactions(f"The features were changed by others {ATTEMPTS} times meanwhile")

    def _updated(self, before: Mapping[str, int], updates: Sequence[FeatureUpdate]) -> dict[str, int]:
        names = [update.name for update in updates]
        if len(set(names)) != len(names):
            raise InvalidRequest("A feature must appear at most once.")
        after = dict(before)
        for update in updates:
            self._check(update, before.get(update.name, 0))
            if update.level:
                after[update.name] = update.level
            else:
                after.pop(update.name, None)
        return after

    def _check(self, update: FeatureUpdate, before: int) -> None:
        invalid = f"{FAILED}Invalid update version {update.level} for feature {update.name}."
        us = f"Local controller {self._publisher.image.controller_id}"
        if update.upgrade_type not in {kind.value for kind in UpgradeType}:
            raise InvalidUpdateVersion(f"{invalid} The controller does not support the given upgrade type.")
        if update.level < 0:
            raise InvalidUpdateVersion(f"{invalid} A feature version cannot be less than 0.")
        if update.name not in self._supported:
            unknown = f"{us} does not support this feature." if update.level else f"Feature {update.name} not found."
            raise InvalidUpdateVersion(f"{invalid} {unknown}")
        lowest, highest = self._supported[update.name]
        if not lowest <= update.level <= highest:
            raise InvalidUpdateVersion(f"{invalid} {us} only supports versions {lowest}-{highest}")
        if update.level < before:
            if update.upgrade_type == UpgradeType.UPGRADE:
                raise InvalidUpdateVersion(
                    f"{invalid} Can't downgrade the version of this feature without setting the upgrade type to either "
                    "safe or unsafe downgrade."
                )
            if update.name == METADATA_VERSION:
                raise InvalidUpdateVersion(f"{invalid} The metadata.version cannot be downgraded.")
        if update.level > before and update.upgrade_type != UpgradeType.UPGRADE:
            raise InvalidUpdateVersion(f"{invalid} Can't downgrade to a newer version.")
