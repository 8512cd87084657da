"""What /metrics shows of the broker, under the names that the JMX exporter's usual rules give Kafka's own metrics.

    kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=orders   Count
    kafka_server_brokertopicmetrics_bytesin_total{topic="orders"}

Everything is read when somebody looks: counters of the data plane without a lock, sizes and offsets from the logs.
What Kafka has no metric for begins with `pystream_`; the process's own begin with `process_`, as everywhere.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from pystream.broker.applier import least_in_sync
from pystream.common.metrics import COUNTER, GAUGE, Family, Histogram, Registry, Sample
from pystream.common.model import NO_BROKER
from pystream.metadata.image import ClusterImage, PartitionImage

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.applier import ImageApplier
    from pystream.storage.log_manager import LogManager

RUNNING: Final = 3  # Kafka's BrokerState
PAGE_SIZE_BYTES: Final = resource.getpagesize()

# What a topic's counters hold, in their order: (metric, what it counts).
TOPIC_METRICS: Final = (
    ("bytesin", "Bytes of record batches taken from producers."),
    ("bytesout", "Bytes of record batches sent to consumers."),
    ("messagesin", "Records appended."),
    ("totalproducerequests", "Partitions named in Produce requests."),
    ("totalfetchrequests", "Partitions named in Fetch requests."),
    ("failedproducerequests", "Partitions in Produce requests that were answered with an error."),
    ("failedfetchrequests", "Partitions in Fetch requests that were answered with an error."),
)
# Requests that the data plane answers: its counter -> Kafka's name of the request.
PLANE_REQUESTS: Final = {
    "produce_requests": "Produce",
    "fetch_requests": "Fetch",
    "list_offsets_requests": "ListOffsets",
}
# The data plane's other counters: (counter, metric, type, help).
PLANE_METRICS: Final = (
    ("connections", "kafka_server_socketservermetrics_connection_count", GAUGE, "Connections open now."),
    (
        "connections_accepted",
        "kafka_server_socketservermetrics_connection_creation_total",
        COUNTER,
        "Connections accepted.",
    ),
    ("connections_closed", "kafka_server_socketservermetrics_connection_close_total", COUNTER, "Connections closed."),
    (
        "connections_expired",
        "kafka_network_socketserver_expiredconnectionskilledcount",
        GAUGE,
        "Connections closed because they were idle, or too slow with a request.",
    ),
    ("connections_refused", "pystream_network_connections_refused_total", COUNTER, "Connections above a limit."),
    (
        "connections_throttled",
        "pystream_network_connections_throttled_total",
        COUNTER,
        "Connections closed because their address came faster than its quota allows.",
    ),
    (
        "accepts_delayed",
        "pystream_network_accepts_delayed_total",
        COUNTER,
        "Times that a listener waited because connections came faster than max.connection.creation.rate.",
    ),
    (
        "frames_refused",
        "pystream_network_frames_refused_total",
        COUNTER,
        "Frames that closed their connection: malformed or too large.",
    ),
    ("bytes_received", "kafka_server_socketservermetrics_incoming_byte_total", COUNTER, "Bytes received."),
    ("bytes_sent", "kafka_server_socketservermetrics_outgoing_byte_total", COUNTER, "Bytes sent."),
    ("batches_appended", "pystream_log_batches_appended_total", COUNTER, "Record batches appended."),
    ("appends", "pystream_log_appends_total", COUNTER, "Writes to logs; batches share one where they can."),
    (
        "produce_parked",
        "kafka_server_delayedoperationpurgatory_produce_total",
        COUNTER,
        "Produce requests that had to wait.",
    ),
    ("fetch_parked", "kafka_server_delayedoperationpurgatory_fetch_total", COUNTER, "Fetch requests that had to wait."),
    ("fetch_sessions", "kafka_server_fetchsessioncache_numincrementalfetchsessions", GAUGE, "Fetch sessions kept."),
    (
        "fetch_sessions_evicted",
        "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total",
        COUNTER,
        "Fetch sessions dropped for others.",
    ),
    ("turns", "pystream_network_turns_total", COUNTER, "Turns of the event loops."),
)
LOG_METRICS: Final = (
    ("size", "Bytes of the log."),
    ("numlogsegments", "Segments of the log."),
    ("logstartoffset", "First offset that can be read."),
    ("logendoffset", "Offset of the next record."),
)


class RequestMetrics:
    """Requests answered in Python; BrokerMetrics shows the counts together with the data plane's."""

    def __init__(self, registry: Registry) -> None:
        self._times = registry.histogram(
            "kafka_network_requestmetrics_totaltimems",
            "Milliseconds from taking a request to handing on its answer.",
            labels=("request",),
        )
        self._refusals = registry.counter(
            "pystream_network_refused_requests_total",
            "Requests that did not parse or are not offered.",
        )
        self._durations: dict[str, Histogram] = {}

    def durations(self, api: str) -> Histogram:
        """Where the milliseconds of each answered request go. `api` is Kafka's name of it."""
        found = self._durations[api] = self._times.labels(api)
        return found

    def refused(self) -> None:
        self._refusals.labels().add()

    def counts(self) -> dict[str, int]:
        """Requests answered, by API."""
        return {api: durations.count for api, durations in self._durations.items() if durations.count > 0}


class BrokerMetrics:
    """Families computed at scrape time; `collect` is registered with the process's registry."""

    def __init__(
        self,
        *,
        node_id: int,
        plane: DataPlane,
        logs: LogManager,
        applier: ImageApplier,
        requests: RequestMetrics,
    ) -> None:
        self._node_id = node_id
        self._plane = plane
        self._logs = logs
        self._applier = applier
        self._requests = requests

    def collect(self) -> Iterator[Family]:
        counters = self._plane.counters()
        yield from self._topics()
        yield self._request_counts(counters)
        for name, metric, kind, help in PLANE_METRICS:
            yield _single(metric, kind, help, counters.get(name, 0))
        yield from self._partitions()
        yield from self._replicas()
        yield from self._cluster()

    def _topics(self) -> Iterator[Family]:
        by_topic = sorted(self._plane.topic_counters().items())
        for position, (metric, help) in enumerate(TOPIC_METRICS):
            samples = [Sample((("topic", topic),), counters[position]) for topic, counters in by_topic]
            total = Sample((), sum(sample.value for sample in samples))
            yield Family(f"kafka_server_brokertopicmetrics_{metric}_total", COUNTER, help, [total, *samples])

    def _request_counts(self, counters: dict[str, int]) -> Family:
        counts = {api: counters.get(name, 0) for name, api in PLANE_REQUESTS.items()}
        for api, count in self._requests.counts().items():
            counts[api] = counts.get(api, 0) + count
        samples = [Sample((("request", api),), count) for api, count in sorted(counts.items())]
        return Family("kafka_network_requestmetrics_requests_total", COUNTER, "Requests by API.", samples)

    def _partitions(self) -> Iterator[Family]:
        rows = []
        for topic, partition in self._hosted(self._applier.image):
            log = self._logs.get(topic, partition.index)
            if log is not None:
                labels = (("topic", topic), ("partition", str(partition.index)))
                native = log.native
                rows.append((labels, (native.size_bytes, native.segment_count, native.start_offset, native.end_offset)))
        for position, (metric, help) in enumerate(LOG_METRICS):
            samples = [Sample(labels, values[position]) for labels, values in rows]
            yield Family(f"kafka_log_log_{metric}", GAUGE, help, samples)

    def _replicas(self) -> Iterator[Family]:
        hosted = list(self._hosted(self._applier.image))
        led = [(topic, partition) for topic, partition in hosted if partition.leader == self._node_id]
        lagging = sum(len(partition.isr) < len(partition.replicas) for _, partition in led)
        logs = [(partition, self._logs.get(topic, partition.index)) for topic, partition in led]
        spare = [len(each.isr) - least_in_sync(each, log.config) for each, log in logs if log is not None]
        below, at = sum(each < 0 for each in spare), spare.count(0)
        name = "kafka_server_replicamanager"
        yield _single(f"{name}_partitioncount", GAUGE, "Partitions on this broker.", len(hosted))
        yield _single(f"{name}_leadercount", GAUGE, "Partitions that this broker leads.", len(led))
        yield _single(f"{name}_underreplicatedpartitions", GAUGE, "Led partitions with a replica behind.", lagging)
        yield _single(f"{name}_underminisrpartitioncount", GAUGE, "Led partitions that refuse acks=all.", below)
        yield _single(f"{name}_atminisrpartitioncount", GAUGE, "Led partitions with no replica in sync to spare.", at)
        refusing = [log for log in self._logs.partitions() if log.native.is_offline]
        offline = len(self._applier.unusable) + len(refusing)
        yield _single(f"{name}_offlinereplicacount", GAUGE, "Partitions whose log is damaged or failed.", offline)
        directories = {id(log.hosted) for log in refusing if log.hosted.directory.is_offline}
        yield _single(
            "kafka_log_logmanager_offlinelogdirectorycount", GAUGE, "Log directories that failed.", len(directories)
        )

    def _cluster(self) -> Iterator[Family]:
        image = self._applier.image
        partitions = [partition for topic in image.topics.values() for partition in topic.partitions]
        leaderless = sum(partition.leader == NO_BROKER for partition in partitions)
        active = int(image.controller_id == self._node_id)
        name = "kafka_controller_kafkacontroller"
        yield _single(f"{name}_activecontrollercount", GAUGE, "1 on the broker that is the controller.", active)
        yield _single(f"{name}_activebrokercount", GAUGE, "Running brokers.", len(image.brokers))
        yield _single(f"{name}_globaltopiccount", GAUGE, "Topics of the cluster.", len(image.topics))
        yield _single(f"{name}_globalpartitioncount", GAUGE, "Partitions of the cluster.", len(partitions))
        yield _single(f"{name}_offlinepartitionscount", GAUGE, "Partitions without a leader.", leaderless)
        yield _single("kafka_server_kafkaserver_brokerstate", GAUGE, "3: running.", RUNNING)

    def _hosted(self, image: ClusterImage) -> Iterator[tuple[str, PartitionImage]]:
        for topic in image.topics.values():
            for partition in topic.partitions:
                if self._node_id in partition.replicas:
                    yield topic.name, partition


def process_metrics(started_seconds: float, monotonic_ms: Callable[[], int]) -> Callable[[], Iterator[Family]]:
    """A collector of what Prometheus' client libraries tell of their process. Linux only."""
    began_ms = monotonic_ms()

    def collect() -> Iterator[Family]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        with open("/proc/self/statm", encoding="ascii") as statm:
            resident_pages = int(statm.read().split()[1])
        cpu_seconds = usage.ru_utime + usage.ru_stime
        resident = resident_pages * PAGE_SIZE_BYTES
        descriptors = len(os.listdir("/proc/self/fd"))
        yield _single("process_cpu_seconds_total", COUNTER, "CPU time of user and system.", cpu_seconds)
        yield _single("process_resident_memory_bytes", GAUGE, "Memory in RAM.", resident)
        yield _single("process_open_fds", GAUGE, "Open file descriptors.", descriptors)
        yield _single("process_start_time_seconds", GAUGE, "Start, since 1970.", started_seconds)
        yield _single("process_uptime_seconds", GAUGE, "Time since the start.", (monotonic_ms() - began_ms) / 1_000)

    return collect


def _single(name: str, kind: str, help: str, value: float) -> Family:
    return Family(name, kind, help, [Sample((), value)])
