"""What /metrics tells of groups and committed offsets, from a shard that is in use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pystream.broker.monitoring.group_metrics import group_families
from pystream.coordinator.served import LoadMetrics
from tests.support.group_rig import GROUP, GroupRig

RETENTION_MS = 7 * 24 * 3_600_000


class Rig(GroupRig):
    """With as much of a runtime as the metrics ask."""

    def figures(self) -> dict[str, float]:
        loads = LoadMetrics()
        loads.note(self.now_ms, records=1, took_ms=7)
        runtime: Any = SimpleNamespace(
            active=lambda: [self.shard], now_ms=lambda: self.now_ms, loads=loads, led=lambda: [0, 1, 2]
        )
        loads.loading = 1
        return {
            " ".join([family.name, *(value for _, value in sample.labels)]): sample.value
            for family in group_families(runtime, self.shard.metrics)
            for sample in family.samples
        }


@pytest.fixture
def rig() -> Rig:
    return Rig()


def told(rig: Rig, *names: str, prefix: str = "kafka_server_groupcoordinatormetrics_") -> list[float]:
    figures = rig.figures()
    return [figures[prefix + name] for name in names]


def test_groups_are_counted_by_protocol_and_by_state(rig: Rig) -> None:
    rig.stable_group(2)
    rig.commit({("topic", 0): 1}, group_id="simple")
    older = "kafka_coordinator_group_groupmetadatamanager_"
    assert told(rig, "group_count classic", "group_count consumer") == [2, 0]
    assert told(rig, "numgroups", "numgroupsstable", "numgroupsempty", prefix=older) == [2, 1, 1]
    assert told(rig, "consumer_group_count Stable", "streams_group_count NotReady", "share_group_count Dead") == [0] * 3


def test_offsets_and_rebalances_are_counted(rig: Rig) -> None:
    (leader,), generation = rig.stable_group(1)
    rig.commit({("topic", 0): 1, ("topic", 1): 1, ("other", 0): 1}, leader, generation)
    rig.commit_in_transaction(1_000, {("other", 1): 1})
    rig.leave(leader)
    rig.delete_offsets(("other", 0), ("other", 7), group_id=GROUP)
    assert told(rig, "offset_commit_count", "offset_deletion_count", "group_completed_rebalance_count") == [4, 1, 1]
    assert told(rig, "numoffsets", prefix="kafka_coordinator_group_groupmetadatamanager_") == [2]
    rig.end_transaction(1_000, committed=False)
    rig.advance(RETENTION_MS + 1_200_000)
    assert told(rig, "offset_expiration_count") == [2]


def test_loads_are_told_as_kafka_tells_them(rig: Rig) -> None:
    assert told(rig, "partition_load_time_max", "partition_load_time_avg") == [7, 7]
    assert told(rig, "num_partitions active", "num_partitions loading", "num_partitions failed") == [1, 1, 1]
