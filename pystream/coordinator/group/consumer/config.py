"""Settings of consumer groups that no single group changes, under the names and with the defaults of Kafka 4.2.

Session time-outs and heartbeat intervals are in `group_settings`: a group may have its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import MINUTE_MS, SECOND_MS
from pystream.common.config import INT_MAX, key
from pystream.coordinator.group.assignors import range as range_assignor
from pystream.coordinator.group.assignors import uniform as uniform_assignor
from pystream.coordinator.group.assignors.model import Assignor

ASSIGNORS: dict[str, Assignor] = {
    uniform_assignor.NAME: uniform_assignor.assign_uniformly,
    range_assignor.NAME: range_assignor.assign_ranges,
}
MIGRATION_POLICIES = ("BIDIRECTIONAL", "UPGRADE", "DOWNGRADE", "DISABLED")


def _policy_complaint(value: str) -> str | None:
    if value.upper() in MIGRATION_POLICIES:
        return None
    return f"String must be one of (case insensitive): {', '.join(MIGRATION_POLICIES)}"


def _assignors_complaint(value: tuple[str, ...]) -> str | None:
    if not value:
        return "Configuration must not be empty"
    if unknown := [name for name in value if name not in ASSIGNORS]:
        return f"no such assignor: {', '.join(unknown)}; there are {', '.join(ASSIGNORS)}"
    return "Configuration must not contain duplicates" if len(set(value)) < len(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupConfig:
    """What ConsumerGroupHeartbeat goes by."""

    max_size: int = key(
        "group.consumer.max.size",
        default=INT_MAX,
        minimum=1,
        doc="The maximum number of consumers that a single consumer group can accommodate.",
    )
    assignors: tuple[str, ...] = key(
        "group.consumer.assignors",
        default=tuple(ASSIGNORS),
        check=_assignors_complaint,
        doc="The server side assignors; the first is the default for members that ask for none: uniform, range.",
    )
    migration_policy: str = key(
        "group.consumer.migration.policy",
        default=MIGRATION_POLICIES[0].lower(),
        check=_policy_complaint,
        doc="Whether a non-empty classic group becomes a consumer group when a member of that protocol joins, and a "
        "consumer group a classic one when the last such member leaves: bidirectional, upgrade, downgrade, disabled.",
    )
    regex_refresh_interval_ms: int = key(
        "group.consumer.regex.refresh.interval.ms",
        default=10 * MINUTE_MS,
        minimum=10 * SECOND_MS,
        doc="How often at most the topics that regular expressions name are looked up anew without a new topic.",
    )

    @property
    def may_upgrade(self) -> bool:
        return self.migration_policy.upper() in ("BIDIRECTIONAL", "UPGRADE")

    @property
    def may_downgrade(self) -> bool:
        return self.migration_policy.upper() in ("BIDIRECTIONAL", "DOWNGRADE")
