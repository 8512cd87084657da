"""Operations on the cluster and its brokers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.cluster"
DESCRIBE: Final = Permission(resource="CLUSTER", operation="DESCRIBE")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster as a whole. `controller` -1 for none."""

    cluster_id: str
    controller: int
    brokers: int
    topics: int
    partitions: int
    offline_partitions: int
    under_replicated_partitions: int


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is there."""

    broker: int
    host: str
    port: int
    rack: str | None
    controller: bool


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: the level the cluster is at, 0 for not in use, and those that brokers support."""

    feature: str
    level: int
    supported_minimum: int
    supported_maximum: int
    epoch: int | None


@dataclass(frozen=True, slots=True)
class QuorumMember:
    """A controller. Times are -1 where they are not known."""

    node: int
    role: str  # leader, follower, observer
    log_end_offset: int
    lag: int
    last_fetch_ms: int
    last_caught_up_ms: int
    leader_epoch: int
    high_watermark: int
    endpoints: list[str]


@dataclass(frozen=True, slots=True)
class ReplicaSize:
    """A replica in a log directory. `future`: it will replace the current one when it has caught up."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    future: bool


@dataclass(frozen=True, slots=True)
class LogDirectory:
    """A log directory of a broker. Bytes are -1 where it does not tell."""

    path: str
    broker: int
    replicas: int
    size_bytes: int
    total_bytes: int
    usable_bytes: int
    error: str | None
    partitions: list[ReplicaSize] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """Something that has to be done for the cluster to be as declared, or was done."""

    name: str
    action: str  # create, alter or delete
    change: str
    pending: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of the cluster says."""

    check: str
    severity: str  # ok, info, warning or error
    subject: str
    what: str
    why: str
    remedy: str
    alarming: bool  # a warning or an error


MANIFEST: Final = Argument(
    "file", Kind.DOCUMENT, doc="A manifest, YAML or JSON; may be repeated.", many=True, required=True, short="f"
)
PRUNE: Final = Argument(
    "prune", Kind.FLAG, doc="Delete what the manifest does not name, in the sections that it has; nothing internal."
)
MANIFEST_NOTES: Final = (
    "A manifest has some of the sections topics (name, partitions, replication_factor, configs), configs (type, name, "
    "configs), acls (principal, operations, resource, name, pattern, permission, host) and quotas (entity, quotas).",
)

OPERATIONS: Final = (
    Operation(
        noun="cluster",
        verb="describe",
        doc="Show the cluster's id and controller, and whether partitions are in want of something.",
        handler=f"{HANDLERS}:describe",
        row=Cluster,
        columns=(
            *("cluster_id", "controller", "brokers", "topics", "partitions"),
            *("offline_partitions", "under_replicated_partitions"),
        ),
        single=True,
        permission=DESCRIBE,
        examples=("pystream cluster describe", "pystream cluster describe --json"),
        old_names=("kafka-cluster cluster-id", "rpk cluster info", "rpk cluster health"),
    ),
    Operation(
        noun="cluster",
        verb="brokers",
        doc="List the brokers.",
        handler=f"{HANDLERS}:brokers",
        row=Broker,
        columns=("broker", "host", "port", "rack", "controller"),
        permission=DESCRIBE,
        examples=("pystream cluster brokers",),
        old_names=("kafka-cluster list-endpoints",),
    ),
    Operation(
        noun="cluster",
        verb="features",
        doc="Show the features of the cluster and their levels.",
        handler=f"{HANDLERS}:features",
        row=Feature,
        columns=("feature", "level", "supported_minimum", "supported_maximum"),
        permission=DESCRIBE,
        examples=("pystream cluster features",),
        old_names=("kafka-features describe",),
    ),
    Operation(
        noun="cluster",
        verb="quorum",
        doc="Show who leads the controllers, and how far the others have come.",
        handler=f"{HANDLERS}:quorum",
        row=QuorumMember,
        columns=("node", "role", "log_end_offset", "lag", "leader_epoch", "high_watermark"),
        permission=DESCRIBE,
        examples=("pystream cluster quorum",),
        old_names=("kafka-metadata-quorum describe --status", "kafka-metadata-quorum describe --replication"),
    ),
    Operation(
        noun="cluster",
        verb="log-dirs",
        doc="Show the log directories of brokers, and what lies in them.",
        handler=f"{HANDLERS}:log_dirs",
        row=LogDirectory,
        columns=("path", "broker", "replicas", "size_bytes", "total_bytes", "usable_bytes", "error"),
        permission=DESCRIBE,
        arguments=(
            Argument("broker", Kind.INTEGER, doc="Only of this broker; may be repeated.", many=True, minimum=0),
            Argument("topic", doc="Only replicas of this topic; may be repeated.", many=True, completes="topics"),
        ),
        examples=("pystream cluster log-dirs", "pystream cluster log-dirs --topic orders -o json"),
        old_names=("kafka-log-dirs --describe", "rpk cluster logdirs describe"),
    ),
    Operation(
        noun="cluster",
        verb="diff",
        doc="Show what differs between the cluster and a manifest of topics, settings, ACLs and quotas.",
        handler="pystream.client.operations.handlers.desired:diff",
        row=PlannedChange,
        columns=("name", "action", "change"),
        permission=DESCRIBE,
        alarm="pending",
        tone="action",
        arguments=(MANIFEST, PRUNE),
        notes=(*MANIFEST_NOTES, "Exit code 1 where there is something to do."),
        examples=("pystream cluster diff -f cluster.yaml", "pystream cluster diff -f cluster.yaml --prune"),
    ),
    Operation(
        noun="cluster",
        verb="apply",
        doc="Bring topics, settings, ACLs and quotas to what a manifest says. All is checked before anything is done.",
        handler="pystream.client.operations.handlers.desired:apply",
        row=PlannedChange,
        columns=("name", "action", "change"),
        permission=Permission(resource="CLUSTER", operation="ALTER"),
        mutating=True,
        tone="action",
        arguments=(MANIFEST, PRUNE),
        notes=MANIFEST_NOTES,
        examples=(
            "pystream cluster apply -f cluster.yaml",
            "pystream cluster apply -f a.yaml -f b.yaml --dry-run",
        ),
    ),
    Operation(
        noun="cluster",
        verb="doctor",
        doc="Look for what is wrong, or will be: each finding says why it matters, and what to do.",
        handler="pystream.client.operations.handlers.doctor:doctor",
        row=Finding,
        columns=("severity", "check", "subject", "what", "why", "remedy"),
        permission=DESCRIBE,
        alarm="alarming",
        tone="severity",
        arguments=(
            Argument("all", Kind.FLAG, doc="Checks that found nothing, too.", short="a"),
            Argument("max_lag", Kind.INTEGER, doc="Records that a group may be behind.", default=100_000, minimum=0),
            Argument("hanging_after_ms", Kind.INTEGER, doc="Age of one that hangs.", default=900_000, minimum=1),
            Argument("clock_skew_ms", Kind.INTEGER, doc="That clocks may differ.", default=1_000, minimum=1),
            Argument("disk_percent", Kind.INTEGER, doc="That a disk may be full.", default=85, minimum=1),
        ),
        notes=("Exit code 1 where there is a warning or an error.",),
        examples=("pystream cluster doctor", "pystream cluster doctor --all --max-lag 1000 --json"),
        old_names=("rpk cluster health --exit-when-healthy",),
    ),
)
