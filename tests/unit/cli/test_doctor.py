"""Each check on facts made for it: what is wrong is found, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pystream.client.admin.log_dirs import LogDir
from pystream.client.admin.quorum import FeatureMetadata, VersionRange
from pystream.client.admin.transactions import TransactionDescription
from pystream.client.cluster.metadata import Node
from pystream.client.operations.diagnosis.facts import Facts, Hanging, PartitionFacts
from pystream.client.operations.groups import GroupDetail, GroupPartition
from pystream.client.operations.handlers.doctor import CHECKS, diagnose
from pystream.common.errors import ClusterAuthorizationFailed, ConnectFailed, KafkaStorageError
from pystream.common.model import TopicPartition

NODES = (Node(1, "a.example", 9092, None), Node(2, "b.example", 9092, None), Node(3, "c.example", 9092, None))


def sound() -> Facts:
    """Three brokers, nothing wrong."""
    return Facts(
        now_ms=10_000_000,
        nodes=NODES,
        bootstrap=("a.example:9092",),
        controller_id=1,
        reached={1: None, 2: None, 3: None},
        features={n: FeatureMetadata({"f": VersionRange(1, 2)}, 1, {"f": VersionRange(0, 2)}) for n in (1, 2, 3)},
        partitions=[PartitionFacts("orders", 0, 1, (1, 2, 3), (1, 2, 3))],
        topic_settings={"orders": {"min.insync.replicas": "2", "retention.ms": "1000", "retention.bytes": "-1"}},
        broker_settings={n: {"min.insync.replicas": "2", "offsets.topic.replication.factor": "3"} for n in (1, 2, 3)},
        log_dirs={1: {"/data": LogDir("/data", {}, 1000, 900, None)}},
        clock_skew_ms=5,
    )


def features(number: int, supported: int, finalized: int) -> FeatureMetadata:
    return FeatureMetadata({"f": VersionRange(1, finalized)}, 1, {"f": VersionRange(0, supported)})


def group(state: str, committed: int, start: int, end: int) -> GroupDetail:
    place = GroupPartition("orders", 0, committed, start, end, end - committed)
    return GroupDetail("billing", "Classic", state, 1, "range", None, [], [place])


def transaction(started_ms: int) -> TransactionDescription:
    return TransactionDescription(
        "pay", 1, "Ongoing", 7, 0, 60_000, started_ms, frozenset({TopicPartition("orders", 0)})
    )


NO_SETTINGS: dict[str, object] = {"topic_settings": {}}
FAULTS = {
    "unreachable": ("listeners", "error", {"reached": {1: None, 2: ConnectFailed("refused"), 3: None}}),
    "nowhere": ("listeners", "error", {"nodes": (Node(1, "0.0.0.0", 9092, None), *NODES[1:])}),
    "loopback": ("listeners", "warning", {"nodes": (Node(1, "localhost", 9092, None), *NODES[1:])}),
    "same place": ("listeners", "error", {"nodes": (*NODES[:2], Node(3, "b.example", 9092, None))}),
    "no controller": ("controller", "error", {"controller_id": -1}),
    "mixed versions": ("versions", "warning", {"features": {1: features(1, 2, 2), 2: features(2, 3, 2)}}),
    "level too high": ("versions", "error", {"features": {1: features(1, 2, 3)}}),
    "level behind": ("versions", "info", {"features": {1: features(1, 3, 2)}}),
    "clock ahead": ("clock", "warning", {"clock_skew_ms": 5_000}),
    "clock behind": ("clock", "warning", {"clock_skew_ms": -5_000}),
    "unclean": ("settings", "warning", {"broker_settings": {1: {"unclean.leader.election.enable": "true"}}}),
    "offsets topic": ("settings", "warning", {"broker_settings": {1: {"offsets.topic.replication.factor": "1"}}}),
    "differing": ("settings", "warning", {"broker_settings": {1: {"num.partitions": "1"}, 2: {"num.partitions": "2"}}}),
    "dir offline": ("disks", "error", {"log_dirs": {1: {"/d": LogDir("/d", {}, -1, -1, KafkaStorageError("gone"))}}}),
    "disk full": ("disks", "warning", {"log_dirs": {1: {"/d": LogDir("/d", {}, 1000, 100, None)}}}),
    "volatile": ("disks", "warning", {"log_dirs": {1: {"/tmp/d": LogDir("/tmp/d", {}, 1000, 900, None)}}}),
    "retention above disk": ("disks", "warning", {"topic_settings": {"orders": {"retention.bytes": "999999"}}}),
    "kept for ever": ("disks", "info", {"topic_settings": {"orders": {"retention.ms": "-1", "retention.bytes": "-1"}}}),
    "offline": ("partitions", "error", {"partitions": [PartitionFacts("orders", 0, -1, (1, 2, 3), (1,))]}),
    "under min": ("partitions", "error", {"partitions": [PartitionFacts("orders", 0, 1, (1, 2, 3), (1,))]}),
    "under-replicated": ("partitions", "warning", {"partitions": [PartitionFacts("orders", 0, 1, (1, 2, 3), (1, 2))]}),
    "not preferred": ("partitions", "info", {"partitions": [PartitionFacts("orders", 0, 2, (1, 2, 3), (1, 2, 3))]}),
    "never enough": ("replication", "warning", {"topic_settings": {"orders": {"min.insync.replicas": "4"}}}),
    "brittle": ("replication", "warning", {"topic_settings": {"orders": {"min.insync.replicas": "3"}}}),
    "single": (
        "replication",
        "warning",
        {"partitions": [PartitionFacts("orders", 0, 1, (1,), (1,))], "topic_settings": {}},
    ),
    "lagging": ("groups", "warning", {"groups": [group("Stable", 0, 0, 200_000)]}),
    "abandoned": ("groups", "warning", {"groups": [group("Empty", 0, 0, 10)]}),
    "before the log": ("groups", "warning", {"groups": [group("Stable", 5, 8, 10)]}),
    "open for long": ("transactions", "warning", {"transactions": {"pay": transaction(1_000)}}),
    "hanging": ("transactions", "error", {"hanging": [Hanging(TopicPartition("orders", 0), 7, 1, None)]}),
    "no access": ("access", "info", {"unseen": {"groups": ClusterAuthorizationFailed("no")}}),
}


def test_nothing_is_found_where_nothing_is_wrong():
    assert diagnose(sound(), include_ok=False) == []
    assert [(each.check, each.severity) for each in diagnose(sound(), include_ok=True)] == [
        (name, "ok") for name in CHECKS
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_with_why_and_remedy(fault: str):
    check, severity, changes = FAULTS[fault]

    found = diagnose(replace(sound(), **changes), include_ok=False)

    assert {(each.check, each.severity) for each in found} == {(check, severity)}
    assert all((found[0].subject, found[0].what, found[0].why, found[0].remedy))
    assert found[0].alarming == (severity in ("warning", "error"))


def test_what_is_within_its_limits_is_no_finding():
    young = replace(sound(), transactions={"pay": transaction(9_900_000)})
    working = replace(sound(), groups=[group("Stable", 0, 0, 100), group("Empty", 10, 0, 10)])

    assert diagnose(young, include_ok=False) == []
    assert diagnose(working, include_ok=False) == []
