"""Groups and committed offsets as metrics: Kafka's GroupCoordinatorMetrics, and GroupMetadataManager's older names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pystream.broker.monitoring.coordinator_metrics import load_families, single
from pystream.common.metrics import COUNTER, GAUGE, Family, Sample
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.offsets import Offsets

if TYPE_CHECKING:
    from pystream.coordinator.group.metrics import GroupMetrics
    from pystream.coordinator.group.shard import GroupShard
    from pystream.coordinator.runtime import CoordinatorRuntime

GROUP: Final = "groupcoordinatormetrics"
PREFIX: Final = f"kafka_server_{GROUP}_"
OLDER: Final = "kafka_coordinator_group_groupmetadatamanager_"
CLASSIC_STATES: Final = ("PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty")
STATES: Final = {
    GroupKind.CONSUMER: ("Empty", "Assigning", "Reconciling", "Stable", "Dead"),
    GroupKind.SHARE: ("Empty", "Stable", "Dead"),
    GroupKind.STREAMS: ("Empty", "NotReady", "Assigning", "Reconciling", "Stable", "Dead"),
}
REBALANCES: Final = {
    GroupKind.CLASSIC: ("group_completed_rebalance_count", "Rebalances of classic groups that are complete."),
    GroupKind.CONSUMER: ("consumer_group_rebalance_count", "Rebalances of consumer groups."),
    GroupKind.SHARE: ("share_group_rebalance_count", "Rebalances of share groups."),
    GroupKind.STREAMS: ("streams_group_rebalance_count", "Rebalances of streams groups."),
}


def group_families(runtime: CoordinatorRuntime[GroupShard], metrics: GroupMetrics) -> Iterator[Family]:
    """One family for each of Kafka's metrics but its rates, which follow from the counts. From any thread."""
    shards = list(runtime.active())
    now_ms = runtime.now_ms()
    found = Counter((group.kind, group.state_name(now_ms)) for shard in shards for group in list(shard.groups.values()))
    yield from load_families(GROUP, runtime)
    yield from _counts(found)
    yield single(f"{OLDER}numoffsets", GAUGE, "Committed offsets.", sum(shard.part(Offsets).count for shard in shards))
    for name, text, value in (
        ("offset_commit_count", "Offsets committed.", metrics.offset_commits),
        ("offset_expiration_count", "Offsets that have expired.", metrics.offset_expirations),
        ("offset_deletion_count", "Offsets deleted by OffsetDelete.", metrics.offset_deletions),
        *((name, text, metrics.rebalances[kind]) for kind, (name, text) in REBALANCES.items()),
    ):
        yield single(PREFIX + name, COUNTER, text, value)


def _counts(found: Counter[tuple[GroupKind, str]]) -> Iterator[Family]:
    """Groups by kind and by state."""
    totals = {kind: sum(count for (of, _), count in found.items() if of is kind) for kind in GroupKind}
    samples = [Sample((("protocol", kind.value),), count) for kind, count in totals.items()]
    yield Family(f"{PREFIX}group_count", GAUGE, "Groups by their protocol.", samples)
    for kind, states in STATES.items():
        samples = [Sample((("state", state),), found[kind, state]) for state in states]
        yield Family(f"{PREFIX}{kind}_group_count", GAUGE, f"Groups of the {kind} protocol by state.", samples)
    yield single(f"{OLDER}numgroups", GAUGE, "Classic groups.", totals[GroupKind.CLASSIC])
    for state in CLASSIC_STATES:
        text = f"Classic groups that are {state}."
        yield single(f"{OLDER}numgroups{state.lower()}", GAUGE, text, found[GroupKind.CLASSIC, state])
