"""What the coordinators' runtimes count, as metrics; one series for each of their topics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pystream.common.metrics import COUNTER, GAUGE, Family, Sample

if TYPE_CHECKING:
    from pystream.common.tasks import Supervisor
    from pystream.coordinator.runtime import CoordinatorRuntime

PREFIX: Final = "kafka_coordinator_"
SHOWN: Final[tuple[tuple[str, str, str, Callable[[Any], float]], ...]] = (
    ("partitions_active", GAUGE, "Partitions that are served.", lambda runtime: runtime.loads.active),
    ("partitions_loading", GAUGE, "Partitions being read.", lambda runtime: runtime.loads.loading),
    ("partition_loads_total", COUNTER, "Partitions read to their end.", lambda runtime: runtime.loads.loaded),
    ("partition_load_failures_total", COUNTER, "Reads that failed.", lambda runtime: runtime.loads.failed),
    ("partition_load_records_total", COUNTER, "Records read.", lambda runtime: runtime.loads.records),
    (
        "partition_load_unknown_records_total",
        COUNTER,
        "Records of a newer version, passed over.",
        lambda runtime: runtime.loads.unknown_records,
    ),
    ("partition_load_last_ms", GAUGE, "How long the last read took.", lambda runtime: runtime.loads.last_ms),
    ("partition_load_longest_ms", GAUGE, "How long the longest read took.", lambda runtime: runtime.loads.longest_ms),
    ("partition_load_ms_total", COUNTER, "Time of all reads.", lambda runtime: runtime.loads.total_ms),
    ("written_batches_total", COUNTER, "Batches appended.", lambda runtime: runtime.writes.batches),
    ("written_records_total", COUNTER, "Records appended.", lambda runtime: runtime.writes.records),
    ("written_bytes_total", COUNTER, "Bytes of keys and values appended.", lambda runtime: runtime.writes.bytes),
    ("write_failures_total", COUNTER, "Appends that failed.", lambda runtime: runtime.writes.failures),
    ("write_timeouts_total", COUNTER, "Answers given up on.", lambda runtime: runtime.writes.timeouts),
)


def load_time_families(group: str, runtime: CoordinatorRuntime[Any]) -> Iterator[Family]:
    """How long loading took in the last 30 seconds; NaN where nothing was loaded, as in Kafka."""
    took_ms = runtime.loads.recent_ms(runtime.now_ms())
    longest, mean = (max(took_ms), sum(took_ms) / len(took_ms)) if took_ms else (math.nan, math.nan)
    name = f"kafka_server_{group}_partition_load_time"
    yield single(f"{name}_max", GAUGE, "The longest time that loading a partition took lately.", longest)
    yield single(f"{name}_avg", GAUGE, "The mean time that loading a partition took lately.", mean)


def load_families(group: str, runtime: CoordinatorRuntime[Any]) -> Iterator[Family]:
    """Loading, and partitions by their state."""
    yield from load_time_families(group, runtime)
    loads = runtime.loads
    counts = {"active": loads.active, "loading": loads.loading}
    counts["failed"] = max(len(list(runtime.led())) - sum(counts.values()), 0)  # that will be tried again
    samples = [Sample((("state", state),), count) for state, count in counts.items()]
    yield Family(f"kafka_server_{group}_num_partitions", GAUGE, "Partitions of the coordinator by state.", samples)


def single(name: str, kind: str, text: str, value: float) -> Family:
    """A family of one sample without labels."""
    return Family(name, kind, text, [Sample((), value)])


def fault_family(supervisor: Supervisor) -> Family:
    """What requests have started and what then failed in a way that nobody expected."""
    text = "Faults in work that requests have started."
    return Family("pystream_request_task_faults_total", COUNTER, text, [Sample((), supervisor.faults)])


def coordinator_families(runtimes: Iterable[CoordinatorRuntime[Any]]) -> Iterator[Family]:
    """One family for each thing that is counted."""
    found = list(runtimes)
    for name, kind, text, value in SHOWN:
        yield Family(
            PREFIX + name, kind, text, [Sample((("topic", runtime.topic),), value(runtime)) for runtime in found]
        )
