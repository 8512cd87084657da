"""Handler of `doctor`: gathers the facts, has every check look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pystream.client.operations.cluster import Finding
from pystream.client.operations.declaration import Answer
from pystream.client.operations.diagnosis import brokers, workload
from pystream.client.operations.diagnosis.facts import Facts, Limits, gather
from pystream.client.operations.diagnosis.findings import Check, ok, unseen
from pystream.client.operations.groups import GroupDetail
from pystream.client.operations.handlers import groups

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

SEVERITIES: Final = ("error", "warning", "info", "ok")

# What is checked, and what is said where nothing was found.
CHECKS: Final[dict[str, tuple[Check, str]]] = {
    "listeners": (brokers.listeners, "every broker answers where it says that it is"),
    "versions": (brokers.versions, "all brokers support the same, and the cluster uses it"),
    "clock": (brokers.clock, "the controller's clock agrees with this machine's"),
    "settings": (brokers.settings, "no setting of a broker puts records at risk"),
    "disks": (brokers.disks, "disks are online, and have room"),
    "partitions": (workload.partitions, "every partition has its leader, and all replicas in sync"),
    "replication": (workload.replication, "min.insync.replicas fits the replicas of every topic"),
    "groups": (workload.groups, "no group is left behind"),
    "transactions": (workload.transactions, "no transaction hangs"),
}


async def doctor(
    admin: AdminClient,
    *,
    all: bool,
    max_lag: int,
    hanging_after_ms: int,
    clock_skew_ms: int,
    disk_percent: int,
) -> Answer:
    """The gravest first. Raises where there is no cluster to look at."""
    limits = Limits(max_lag, hanging_after_ms, clock_skew_ms, disk_percent)

    async def describe(names: list[str]) -> list[GroupDetail]:
        return (await groups.describe(admin, groups=names)).rows

    return Answer(diagnose(await gather(admin, limits, describe), include_ok=all))


def diagnose(facts: Facts, *, include_ok: bool) -> list[Finding]:
    """The findings of all checks."""
    found = list(unseen(facts))
    for name, (check, fine) in CHECKS.items():
        said = list(check(facts))
        found += said
        if include_ok and not said:
            found.append(ok(name, fine))
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
