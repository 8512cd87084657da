"""Settings of the controller, under Kafka's names."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.config import INT_MAX, ConfigType, key


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """What the controller goes by where a request leaves it open."""

    num_partitions: int = key(
        "num.partitions", default=1, minimum=1, doc="Partitions of a topic that is created without a number."
    )
    default_replication_factor: int = key(
        "default.replication.factor",
        default=1,
        minimum=1,
        type=ConfigType.INT,
        doc="Replicas of each partition of a topic that is created without a number.",
    )
    delete_topic_enable: bool = key("delete.topic.enable", default=True, doc="Whether topics can be deleted.")
    maximum_partitions_per_request: int = key(
        "controller.max.partitions.per.request",
        default=10_000,
        minimum=1,
        doc="Partitions that one request may create; more are refused with POLICY_VIOLATION.",
    )
    maximum_partitions: int = key(
        "max.partitions",
        default=100_000,
        minimum=1,
        maximum=INT_MAX,
        doc="Partitions that the cluster holds at most; a request for more is refused with POLICY_VIOLATION.",
    )
    session_timeout_ms: int = key(
        "broker.session.timeout.ms", default=9_000, minimum=2_000, doc="A broker silent for so long is taken for dead."
    )
    heartbeat_interval_ms: int = key(
        "broker.heartbeat.interval.ms", default=2_000, minimum=1, doc="Time between two signs of life of a broker."
    )
