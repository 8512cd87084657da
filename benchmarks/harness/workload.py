"""Workloads: what is asked of a target, one TOML file each in `workloads/`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.harness.errors import HarnessError

FOLDER = Path(__file__).parent / "workloads"
MODES = (
    "produce",
    "fetch",
    "latency",
    "client-produce",
    "client-consume",
    "client-latency",
    "rdkafka-produce",
    "rdkafka-consume",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One row of the report. `per` names the unit of CPU cost: `gb` of record batches, or `request`."""

    name: str
    title: str
    mode: str
    per: str
    order: int = 100
    partitions: int = 4
    connections: int = 1
    depth: int = 1
    acks: int = 1
    records: int = 1
    """Records of a batch."""
    record_bytes: int = 100
    fetch_bytes: int = 1 << 20
    fill_bytes: int = 256 << 20
    """What a topic holds before it is fetched; read round and round."""
    rate: int = 1000
    durable: bool = False
    """Acknowledged means fsynced: group commit in pystream, flush.messages=1 in Kafka."""
    floor: str = ""
    """The target that does the bare work of this workload."""
    skip: tuple[str, ...] = ()
    """Targets that cannot run it."""

    @property
    def latency_only(self) -> bool:
        """The rate is fixed: only latency and CPU differ."""
        return self.mode in ("latency", "client-latency")

    @property
    def writes_much(self) -> bool:
        return self.mode.endswith("produce") and self.per == "gb"

    @property
    def through_client(self) -> bool:
        return self.mode.startswith(("client-", "rdkafka-"))


def read_workload(path: Path) -> Workload:
    """Raises HarnessError for a key or a mode that does not exist."""
    table: dict[str, Any] = tomllib.loads(path.read_text())
    known = {field.name for field in fields(Workload)}
    if unknown := table.keys() - known:
        raise HarnessError(f"{path.name}: unknown keys {sorted(unknown)}")
    table["skip"] = tuple(table.get("skip", ()))
    workload = Workload(name=path.stem, **table)
    if workload.mode not in MODES or workload.per not in ("gb", "request"):
        raise HarnessError(f"{path.name}: mode {workload.mode!r} per {workload.per!r}; modes are {MODES}")
    return workload


def all_workloads() -> list[Workload]:
    return sorted(
        (read_workload(path) for path in FOLDER.glob("*.toml")), key=lambda workload: (workload.order, workload.name)
    )


def choose(names: Sequence[str]) -> list[Workload]:
    """Those named; `tiny-*` means all of that beginning, no names mean all. Raises HarnessError for an unknown one."""
    known = all_workloads()
    if not names:
        return known
    chosen = []
    for name in names:
        found = [
            item for item in known if item.name == name or (name.endswith("*") and item.name.startswith(name[:-1]))
        ]
        if not found:
            raise HarnessError(f"no workload {name!r}; there are {', '.join(item.name for item in known)}")
        chosen += found
    return sorted(set(chosen), key=known.index)
