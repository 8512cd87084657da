"""Topics, partitions, the cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pystream.client.admin import partitions as sdk_partitions
from pystream.client.admin import topics as sdk_topics
from pystream.client.admin.log_dirs import Replica
from pystream.client.admin.results import Results
from pystream.client.given import listed
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.compat.kafka_python.admin._calls import (
    Calls,
    class_of,
    code_and_message,
    operations_of,
    partitions_of,
    raise_first,
    topic_uuid,
)
from pystream.compat.kafka_python.admin._model import NewPartitions, NewTopic
from pystream.compat.kafka_python.errors import BrokerResponseError, ElectionNotNeededError
from pystream.compat.kafka_python.structs import OffsetAndTimestamp


class TopicResult(NamedTuple):
    """Of create_partitions()."""

    name: str
    error_code: int
    error_message: str | None


class TopicResults(NamedTuple):
    results: list[TopicResult]


class PartitionResult(NamedTuple):
    """Of elect_leaders()."""

    partition_id: int
    error_code: int
    error_message: str | None


class ElectionResult(NamedTuple):
    topic: str
    partition_result: list[PartitionResult]


class ElectionResults(NamedTuple):
    replica_election_results: list[ElectionResult]


class TopicCalls(Calls):
    """Calls on topics."""

    def list_topics(self) -> list[str]:
        """The names of all topics."""
        return list(self._run(self._sdk.list_topics(include_internal=True)))

    def describe_topics(self, topics: Iterable[str | uuid.UUID] | None = None) -> list[dict[str, Any]]:
        """Partitions, leaders and replicas; of all topics when None."""
        names = listed(self.list_topics() if topics is None else topics)
        by_name = [name for name in names if isinstance(name, str)]
        by_id = [name.bytes for name in names if isinstance(name, uuid.UUID)]
        found: dict[Any, Any] = {}
        if by_name:
            found |= self._run(self._sdk.describe_topics(by_name, include_authorized_operations=True))
        if by_id:
            found |= self._run(self._sdk.describe_topics_by_id(by_id, include_authorized_operations=True))
        return [_described(name, each) for name, each in found.items()]

    def create_topics(
        self,
        new_topics: Any,
        timeout_ms: int | None = None,
        validate_only: bool = False,
        raise_errors: bool = True,
        wait_for_metadata: bool = False,
    ) -> dict[str, Any]:
        """Create topics: names, NewTopics, or {name: {"num_partitions": …, "configs": …}}."""
        if validate_only and wait_for_metadata:
            raise ValueError("validate_only and wait_for_metadata are mutually exclusive")
        wanted = _wanted_topics(new_topics)
        found = self._run(self._sdk.create_topics(wanted, validate_only=validate_only, timeout_ms=timeout_ms))
        if raise_errors:
            raise_first(found.values())
        if wait_for_metadata:
            self.wait_for_topics([topic.name for topic in wanted])
        return {"topics": [_created(name, each) for name, each in found.items()]}

    def wait_for_topics(self, topic_names: list[str], timeout_ms: float = 10_000) -> None:
        """Return once all partitions of these topics have leaders."""
        raise TypeError(f"only KafkaAdminClient can wait for {topic_names}")

    def delete_topics(
        self, topics: Iterable[str | uuid.UUID], timeout_ms: int | None = None, raise_errors: bool = True
    ) -> dict[str, Any]:
        """Delete topics by names or ids."""
        names = listed(topics)
        found: dict[Any, Any] = {}
        by_name = [name for name in names if isinstance(name, str)]
        by_id = [name.bytes for name in names if isinstance(name, uuid.UUID)]
        if by_name:
            found |= self._run(self._sdk.delete_topics(by_name, timeout_ms=timeout_ms))
        if by_id:
            found |= self._run(self._sdk.delete_topics_by_id(by_id, timeout_ms=timeout_ms))
        if raise_errors:
            raise_first(found.values())
        told = []
        for name, each in found.items():
            code, message = code_and_message(each)
            told.append({"name": name, "error_code": code, "error_message": message})
        return {"topics": told}

    def create_partitions(
        self,
        topic_partitions: Mapping[str, Any],
        timeout_ms: int | None = None,
        validate_only: bool = False,
        raise_errors: bool = True,
    ) -> TopicResults:
        """Give topics more partitions: {name: total}, {name: {"count": …, "assignments": …}}, {name: NewPartitions}."""
        wanted = {name: _wanted_partitions(each) for name, each in topic_partitions.items()}
        found = self._run(self._sdk.create_partitions(wanted, validate_only=validate_only, timeout_ms=timeout_ms))
        if raise_errors:
            raise_first(found.values())
        return TopicResults([TopicResult(name, *code_and_message(each)) for name, each in found.items()])

    def delete_records(
        self,
        records_to_delete: Mapping[TopicPartition, int],
        timeout_ms: int | None = None,
        partition_leader_id: int | None = None,
    ) -> dict[TopicPartition, dict[str, int]]:
        """Delete what is before the offsets; -1 means all."""
        found = self._run(self._sdk.delete_records(_places(records_to_delete), timeout_ms=timeout_ms))
        raise_first(found.values())
        return {
            place: {"low_watermark": low, "error_code": 0, "partition_index": place.partition}
            for place, low in found.checked().items()
        }

    def elect_leaders(
        self,
        election_type: int,
        topic_partitions: Mapping[str, Iterable[int]] | Iterable[str] | None = None,
        timeout_ms: int | None = None,
        raise_errors: bool = True,
    ) -> ElectionResults:
        """Elect leaders: 0 is the preferred one, 1 any that is alive."""
        wanted: list[TopicPartition] | None = None
        if isinstance(topic_partitions, Mapping):
            wanted = partitions_of(topic_partitions)
        elif topic_partitions is not None:
            described = self.describe_topics(topic_partitions)
            wanted = partitions_of(
                {topic["name"]: [part["partition_index"] for part in topic["partitions"]] for topic in described}
            )
        kind = sdk_partitions.ElectionType(election_type)
        found = self._run(self._sdk.elect_leaders(kind, wanted, timeout_ms=timeout_ms))
        if raise_errors:
            raise_first(found.values())
        by_topic: dict[str, list[PartitionResult]] = {}
        for place, each in found.items():
            code, message = (ElectionNotNeededError.errno or 0, None) if each is False else code_and_message(each)
            by_topic.setdefault(place.topic, []).append(PartitionResult(place.partition, code, message))
        return ElectionResults([ElectionResult(topic, told) for topic, told in by_topic.items()])

    def alter_partition_reassignments(
        self,
        reassignments: Mapping[TopicPartition, list[int] | None],
        timeout_ms: int | None = None,
        raise_errors: bool = True,
    ) -> dict[TopicPartition, type[BrokerResponseError] | None]:
        """Move partitions to other brokers; None cancels."""
        work = self._sdk.alter_partition_reassignments(_places(reassignments), timeout_ms=timeout_ms)
        found = self._run(work)
        if raise_errors:
            raise_first(found.values())
        return {place: class_of(each) if isinstance(each, PystreamError) else None for place, each in found.items()}

    def list_partition_reassignments(
        self,
        topic_partitions: Iterable[TopicPartition] | Mapping[str, Iterable[int]] | None = None,
        timeout_ms: int | None = None,
    ) -> dict[TopicPartition, dict[str, list[int]]]:
        """The moves under way."""
        wanted: list[TopicPartition] | None = None
        if isinstance(topic_partitions, Mapping):
            wanted = partitions_of(topic_partitions)
        elif topic_partitions is not None:
            wanted = [TopicPartition(*each) for each in topic_partitions]
        found = self._run(self._sdk.list_partition_reassignments(wanted, timeout_ms=timeout_ms))
        return {
            place: {
                "replicas": list(each.replicas),
                "adding_replicas": list(each.adding_replicas),
                "removing_replicas": list(each.removing_replicas),
            }
            for place, each in found.items()
        }

    def list_partition_offsets(
        self, topic_partitions: Mapping[TopicPartition, int], timeout_ms: int | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp]:
        """An offset of each: an OffsetSpec, or of the first record at or after a time."""
        wanted = {place: int(spec) for place, spec in _places(topic_partitions).items()}
        found = self._run(self._sdk.list_offsets(wanted, timeout_ms=timeout_ms)).checked()
        return {
            place: OffsetAndTimestamp(each.offset, each.timestamp, each.leader_epoch) for place, each in found.items()
        }

    # --- the cluster --------------------------------------------------------------------------------------------------

    def describe_cluster(self) -> dict[str, Any]:
        """Id, controller and brokers."""
        found = self._run(self._sdk.describe_cluster(include_authorized_operations=True))
        return {
            "cluster_id": found.cluster_id,
            "controller_id": found.controller_id,
            "brokers": [
                {
                    "broker_id": node.node_id,
                    "host": node.host,
                    "port": node.port,
                    "rack": node.rack,
                    "is_fenced": node.node_id in found.fenced,
                }
                for node in found.nodes
            ],
            "authorized_operations": operations_of(found.authorized_operations),
        }

    def describe_log_dirs(
        self, topic_partitions: Any = None, brokers: Iterable[int] | None = None
    ) -> list[dict[str, Any]]:
        """What lies in the log directories of each broker."""
        ids = [b["broker_id"] for b in self.describe_cluster()["brokers"]] if brokers is None else list(brokers)
        wanted = None
        if isinstance(topic_partitions, Mapping):
            wanted = partitions_of(topic_partitions)
        elif topic_partitions is not None:
            described = self.describe_topics(topic_partitions)
            wanted = [TopicPartition(t["name"], p["partition_index"]) for t in described for p in t["partitions"]]
        found = self._run(self._sdk.describe_log_dirs(ids, partitions=wanted)).checked()
        return [
            {"broker": node, "log_dirs": [_log_dir(each) for each in dirs.values()]} for node, dirs in found.items()
        ]

    def alter_replica_log_dirs(self, replica_assignments: Mapping[Any, str]) -> dict[Any, type[BrokerResponseError]]:
        """Move replicas to other directories of their brokers."""
        wanted = {Replica(*replica): path for replica, path in replica_assignments.items()}
        found: Results[Replica, None] = self._run(self._sdk.alter_replica_log_dirs(wanted))
        return {replica: class_of(found[Replica(*replica)]) for replica in replica_assignments}

    def describe_features(self, send_request_to_controller: bool = False) -> dict[str, Any]:
        """What features there are, and which are on."""
        found = self._run(self._sdk.describe_features())
        return {
            "supported_features": {
                name: {"min_version": each.minimum, "max_version": each.maximum}
                for name, each in found.supported.items()
            },
            "finalized_features": {
                name: {"min_version_level": each.minimum, "max_version_level": each.maximum}
                for name, each in found.finalized.items()
            },
            "finalized_features_epoch": found.finalized_epoch,
        }

    def describe_metadata_quorum(self) -> dict[str, Any]:
        """The controllers' quorum."""
        found = self._run(self._sdk.describe_metadata_quorum())
        partition = {
            "partition_index": 0,
            "error": None,
            "leader_id": found.leader_id,
            "leader_epoch": found.leader_epoch,
            "high_watermark": found.high_watermark,
            "current_voters": [_replica(each) for each in found.voters],
            "observers": [_replica(each) for each in found.observers],
        }
        return {"topics": [{"topic_name": "__cluster_metadata", "partitions": [partition]}]}


def _places(wanted: Mapping[Any, Any]) -> dict[TopicPartition, Any]:
    return {TopicPartition(*place): each for place, each in wanted.items()}


def _described(name: Any, found: Any) -> dict[str, Any]:
    if isinstance(found, PystreamError):
        code, _ = code_and_message(found)
        shown = name if isinstance(name, str) else None
        return {"error_code": code, "name": shown, "is_internal": False, "partitions": []}
    return {
        "error_code": 0,
        "name": found.name,
        "topic_id": topic_uuid(found.topic_id),
        "is_internal": found.is_internal,
        "partitions": [
            {
                "error_code": 0,
                "partition_index": each.partition,
                "leader_id": each.leader,
                "leader_epoch": each.leader_epoch,
                "replica_nodes": list(each.replicas),
                "isr_nodes": list(each.in_sync_replicas),
                "offline_replicas": list(each.offline_replicas),
            }
            for each in found.partitions
        ],
        "authorized_operations": operations_of(found.authorized_operations),
    }


def _wanted_topics(new_topics: Any) -> list[sdk_topics.NewTopic]:
    if isinstance(new_topics, Mapping):
        return [
            sdk_topics.NewTopic(
                name,
                options.get("num_partitions", -1),
                options.get("replication_factor", -1),
                options.get("configs") or {},
                options.get("assignments") or {},
            )
            for name, options in new_topics.items()
        ]
    return [
        sdk_topics.NewTopic(
            each.name, each.num_partitions, each.replication_factor, each.topic_configs, each.replica_assignments
        )
        if isinstance(each, NewTopic)
        else sdk_topics.NewTopic(each)
        for each in listed(new_topics)
    ]


def _created(name: str, found: Any) -> dict[str, Any]:
    code, message = code_and_message(found)
    told: dict[str, Any] = {"name": name, "error_code": code, "error_message": message}
    if not isinstance(found, PystreamError):
        told["topic_id"] = topic_uuid(found.topic_id)
        told["num_partitions"] = found.num_partitions
        told["replication_factor"] = found.replication_factor
        told["configs"] = {key: {"value": value} for key, value in (found.configs or {}).items()}
    return told


def _wanted_partitions(wanted: Any) -> sdk_topics.NewPartitions:
    if isinstance(wanted, int):
        return sdk_topics.NewPartitions(wanted)
    if isinstance(wanted, NewPartitions):
        return sdk_topics.NewPartitions(wanted.total_count, wanted.new_assignments)
    return sdk_topics.NewPartitions(wanted["count"], wanted.get("assignments"))


def _log_dir(found: Any) -> dict[str, Any]:
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for place, each in found.replicas.items():
        by_topic.setdefault(place.topic, []).append(
            {
                "partition_index": place.partition,
                "partition_size": each.size_bytes,
                "offset_lag": each.offset_lag,
                "is_future_key": each.is_future,
            }
        )
    code, _ = (0, None) if found.error is None else code_and_message(found.error)
    return {
        "error_code": code,
        "log_dir": found.path,
        "topics": [{"name": topic, "partitions": partitions} for topic, partitions in by_topic.items()],
        "total_bytes": found.total_bytes,
        "usable_bytes": found.usable_bytes,
    }


def _replica(found: Any) -> dict[str, Any]:
    return {
        "replica_id": found.replica_id,
        "log_end_offset": found.log_end_offset,
        "last_fetch_timestamp": found.last_fetch_timestamp,
        "last_caught_up_timestamp": found.last_caught_up_timestamp,
    }
