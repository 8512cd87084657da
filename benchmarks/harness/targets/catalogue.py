"""All targets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.targets.base import Target
from benchmarks.harness.targets.floors import Echo, FloorFetch, FloorProduce
from benchmarks.harness.targets.kafka import Kafka
from benchmarks.harness.targets.pystream import Pystream
from benchmarks.harness.targets.tansu import Tansu

TARGETS: dict[str, type[Target]] = {
    kind.name: kind for kind in (Pystream, Kafka, Tansu, Echo, FloorProduce, FloorFetch)
}


def make_targets(names: Sequence[str], data_root: Path) -> list[Target]:
    """Raises HarnessError for a name that is none."""
    for name in names:
        if name not in TARGETS:
            raise HarnessError(f"no target {name!r}; there are {', '.join(TARGETS)}")
    return [TARGETS[name](data_root) for name in names]
