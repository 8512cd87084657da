"""The topology of a streams application, and what it takes to run it: how many tasks, which internal topics.

    source topics ─► subtopology ─► repartition topic ─► subtopology ─► ...     one task for each partition of the
                         └─ changelog topics of its stores                       widest source of a subtopology

The partition counts that the application leaves open are worked out as Kafka Streams does: a repartition topic has as
many as the widest source of the subtopology that writes it, topics that are joined (copartition groups) have the same
number, a changelog has one for each task. Source: KIP-1071, "topology configuration".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pystream.common.errors import StreamsInvalidTopology
from pystream.coordinator.group.topics import TopicCatalog
from pystream.protocol.coordinator_records.streams_group_topology import (
    CopartitionGroup,
    StreamsGroupTopologyValue,
    Subtopology,
    TopicConfig,
    TopicInfo,
)

NAMES_SHOWN = 3


class Status(IntEnum):
    """What members are told besides their assignment, by the numbers of the wire."""

    STALE_TOPOLOGY = 0
    MISSING_SOURCE_TOPICS = 1
    INCORRECTLY_PARTITIONED_TOPICS = 2
    MISSING_INTERNAL_TOPICS = 3
    SHUTDOWN_APPLICATION = 4
    ASSIGNMENT_DELAYED = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the topology cannot run yet."""

    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class InternalTopic:
    """A topic that belongs to the application. `replication_factor` 0: the broker's default."""

    name: str
    partitions: int
    replication_factor: int
    configs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ConfiguredSubtopology:
    """A subtopology with its numbers worked out."""

    tasks: int
    source_topics: frozenset[str]
    repartition_sources: Mapping[str, InternalTopic]
    repartition_sinks: frozenset[str]
    changelogs: Mapping[str, InternalTopic]

    def is_stateful(self) -> bool:
        return bool(self.changelogs)

    def inputs(self) -> frozenset[str]:
        return self.source_topics | self.repartition_sources.keys()


@dataclass(frozen=True, slots=True)
class ConfiguredTopology:
    """Ready to run when nothing is in the way; `to_create` are internal topics that do not exist yet."""

    epoch: int
    metadata_hash: int
    subtopologies: Mapping[str, ConfiguredSubtopology]
    to_create: tuple[InternalTopic, ...]
    trouble: Trouble | None

    def is_ready(self) -> bool:
        return self.trouble is None


class _Unfit(Exception):
    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.trouble = Trouble(status, detail)


def as_record(topology: Any) -> StreamsGroupTopologyValue:
    """The topology of a heartbeat as it is written down."""

    def topic(info: Any) -> TopicInfo:
        return TopicInfo(
            name=info.name,
            partitions=info.partitions,
            replication_factor=info.replication_factor,
            topic_configs=[TopicConfig(key=pair.key, value=pair.value) for pair in info.topic_configs],
        )

    return StreamsGroupTopologyValue(
        epoch=topology.epoch,
        subtopologies=[
            Subtopology(
                subtopology_id=found.subtopology_id,
                source_topics=list(found.source_topics),
                source_topic_regex=list(found.source_topic_regex),
                state_changelog_topics=[topic(info) for info in found.state_changelog_topics],
                repartition_sink_topics=list(found.repartition_sink_topics),
                repartition_source_topics=[topic(info) for info in found.repartition_source_topics],
                copartition_groups=[
                    CopartitionGroup(
                        source_topics=list(group.source_topics),
                        source_topic_regex=list(group.source_topic_regex),
                        repartition_source_topics=list(group.repartition_source_topics),
                    )
                    for group in found.copartition_groups
                ],
            )
            for found in topology.subtopologies
        ],
    )


def required_topics(topology: StreamsGroupTopologyValue) -> set[str]:
    """All topics that the application reads or keeps its state in."""
    found: set[str] = set()
    for subtopology in topology.subtopologies:
        found.update(subtopology.source_topics)
        found.update(info.name for info in subtopology.repartition_source_topics)
        found.update(info.name for info in subtopology.state_changelog_topics)
    return found


def subtopology_reading(topology: StreamsGroupTopologyValue, topic: str) -> Subtopology | None:
    """The subtopology whose tasks take the records of `topic`."""
    for subtopology in topology.subtopologies:
        if topic in _inputs(subtopology):
            return subtopology
    return None


def configure(topology: StreamsGroupTopologyValue, catalog: TopicCatalog) -> ConfiguredTopology:
    """Work out what is open, from the topics that there are. Raises StreamsInvalidTopology when nothing could do it."""
    metadata_hash = catalog.fingerprint(required_topics(topology))
    try:
        subtopologies, to_create = _Configuration(topology, catalog).run()
    except _Unfit as unfit:
        return ConfiguredTopology(topology.epoch, metadata_hash, {}, (), unfit.trouble)
    trouble = None
    if to_create:
        missing = _summary(topic.name for topic in to_create)
        trouble = Trouble(Status.MISSING_INTERNAL_TOPICS, f"Internal topics are missing: {missing}")
    return ConfiguredTopology(topology.epoch, metadata_hash, subtopologies, to_create, trouble)


class _Configuration:
    """`_decided` holds partition counts of internal topics; what exists already counts as it is."""

    def __init__(self, topology: StreamsGroupTopologyValue, catalog: TopicCatalog) -> None:
        self._subtopologies = list(topology.subtopologies)
        self._catalog = catalog
        self._decided: dict[str, int] = {}

    def run(self) -> tuple[dict[str, ConfiguredSubtopology], tuple[InternalTopic, ...]]:
        self._check_sources()
        self._decide_repartition_topics()
        self._decide_copartitioned_topics()
        for subtopology in self._subtopologies:
            for info in subtopology.state_changelog_topics:
                self._decided[info.name] = self._tasks(subtopology)
        configured = {s.subtopology_id: self._configured(s) for s in self._subtopologies}
        return dict(sorted(configured.items())), self._missing(configured.values())

    def _count(self, topic: str) -> int | None:
        found = self._catalog.by_name(topic)
        return self._decided.get(topic) if found is None else found.partition_count

    def _known_count(self, topic: str) -> int:
        count = self._count(topic)
        if count is None:
            raise StreamsInvalidTopology(f"Number of partitions is not set for topic: {topic}")
        return count

    def _check_sources(self) -> None:
        internal = {info.name for s in self._subtopologies for info in s.repartition_source_topics}
        sources = {name for s in self._subtopologies for name in s.source_topics} - internal
        if missing := sorted(name for name in sources if self._catalog.by_name(name) is None):
            raise _Unfit(Status.MISSING_SOURCE_TOPICS, f"Source topics {_summary(missing)} are missing.")

    def _decide_repartition_topics(self) -> None:
        """In rounds: the sinks of one subtopology are sources of the next."""
        decided = {
            info.name: info.partitions
            for s in self._subtopologies
            for info in s.repartition_source_topics
            if info.partitions
        }
        sinks = [(s, sink) for s in self._subtopologies for sink in s.repartition_sink_topics]
        open_sinks = [(s, sink) for s, sink in sinks if sink not in decided]
        while open_sinks:
            left = []
            for subtopology, sink in open_sinks:
                counts = [decided.get(info.name) for info in subtopology.repartition_source_topics]
                counts += [self._count(name) for name in subtopology.source_topics]
                known = [count for count in counts if count is not None]
                if sink in decided:
                    continue
                if known:
                    decided[sink] = max(known)
                else:
                    left.append((subtopology, sink))
            if len(left) == len(open_sinks):
                raise StreamsInvalidTopology(
                    "Failed to compute number of partitions for all repartition topics. "
                    "There may be loops in the topology that cannot be resolved."
                )
            open_sinks = left
        if any(info.name not in decided for s in self._subtopologies for info in s.repartition_source_topics):
            raise StreamsInvalidTopology(
                "Failed to compute number of partitions for all repartition topics, because "
                "a repartition source topic is never used as a sink topic."
            )
        self._decided.update(decided)

    def _decide_copartitioned_topics(self) -> None:
        infos = [info for s in self._subtopologies for info in s.repartition_source_topics]
        fixed = {info.name for info in infos if info.partitions}
        flexible = {info.name for info in infos if not info.partitions}
        for subtopology in self._subtopologies:
            for group in subtopology.copartition_groups:
                names = {subtopology.source_topics[i] for i in group.source_topics}
                names |= {subtopology.repartition_source_topics[i].name for i in group.repartition_source_topics}
                if names:
                    self._copartition(names, fixed, flexible)

    def _copartition(self, names: Set[str], fixed: Set[str], flexible: Set[str]) -> None:
        """One count for all: that of the topics from outside, of those that the application fixes, or the largest."""
        repartition = {name: self._known_count(name) for name in names if name in fixed or name in flexible}
        external = {name: self._known_count(name) for name in names if name not in repartition}
        if external:
            count = _same_count(external)
        elif fixed_here := {name: found for name, found in repartition.items() if name in fixed}:
            count = _same_count(fixed_here)
        else:
            count = max(repartition.values())
        for name, found in repartition.items():
            if name in fixed and found != count:
                raise _Unfit(
                    Status.INCORRECTLY_PARTITIONED_TOPICS,
                    f"Number of partitions [{found}] of repartition topic [{name}] "
                    f"doesn't match number of partitions [{count}] of the source topic.",
                )
            self._decided[name] = count

    def _tasks(self, subtopology: Subtopology) -> int:
        names = _inputs(subtopology)
        if not names:
            raise StreamsInvalidTopology(f"No source topics found for subtopology {subtopology.subtopology_id}")
        return max(self._known_count(name) for name in names)

    def _configured(self, subtopology: Subtopology) -> ConfiguredSubtopology:
        return ConfiguredSubtopology(
            tasks=self._tasks(subtopology),
            source_topics=frozenset(subtopology.source_topics),
            repartition_sources={info.name: self._internal(info) for info in subtopology.repartition_source_topics},
            repartition_sinks=frozenset(subtopology.repartition_sink_topics),
            changelogs={info.name: self._internal(info) for info in subtopology.state_changelog_topics},
        )

    def _internal(self, info: TopicInfo) -> InternalTopic:
        configs = tuple((pair.key, pair.value) for pair in info.topic_configs)
        return InternalTopic(info.name, info.partitions or self._decided[info.name], info.replication_factor, configs)

    def _missing(self, configured: Iterable[ConfiguredSubtopology]) -> tuple[InternalTopic, ...]:
        missing: dict[str, InternalTopic] = {}
        for subtopology in configured:
            for topic in (*subtopology.repartition_sources.values(), *subtopology.changelogs.values()):
                found = self._catalog.by_name(topic.name)
                if found is None:
                    missing[topic.name] = topic
                elif found.partition_count != topic.partitions:
                    raise _Unfit(
                        Status.INCORRECTLY_PARTITIONED_TOPICS,
                        f"Existing topic {topic.name} has different number of partitions: "
                        f"expected {topic.partitions}, found {found.partition_count}",
                    )
        return tuple(missing[name] for name in sorted(missing))


def _inputs(subtopology: Subtopology) -> set[str]:
    return {*subtopology.source_topics, *(info.name for info in subtopology.repartition_source_topics)}


def _same_count(counts: Mapping[str, int]) -> int:
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name}={count}" for name, count in sorted(counts.items()))
        raise _Unfit(
            Status.INCORRECTLY_PARTITIONED_TOPICS,
            f"Following topics do not have the same number of partitions: [{{{shown}}}]",
        )
    return next(iter(counts.values()))


def _summary(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(found[:NAMES_SHOWN])
    return shown if len(found) <= NAMES_SHOWN else f"{shown} and {len(found) - NAMES_SHOWN} additional topics"
