"""The harness measures what it says: real programs on loopback, and reports of made-up results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.groups import Shape, measure_groups, table
from benchmarks.harness.report import render, update_between_markers
from benchmarks.harness.runner import Runner, Timing
from benchmarks.harness.targets.catalogue import TARGETS, make_targets
from benchmarks.harness.wire import record_batch
from benchmarks.harness.workload import Workload, all_workloads, choose, read_workload
from pystream._native.batch import parse_headers
from pystream._native.record_reader import RecordReader

pytestmark = [
    pytest.mark.unsanitized,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the generator is compiled with cc"),
]
TIMING = Timing(window_ms=500, warmup_ms=20, touch_gib=0)
MACHINE = {"cpu": "a processor", "cpus": 2, "memory_gib": 8, "system": "Linux", "python": "3.11"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSTREAM_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "bench-cache"))


def result(target: str, cpu_s: float, workload: str = "tiny-1x1") -> dict[str, object]:
    latency = {"p50": 10.0, "p99": 20.0, "p999": 30.0}
    figures = {"seconds": 1.0, "requests": 1000, "bytes": 100_000, "target_cpu_s": cpu_s, "client_cpu_s": 0.5}
    return {"target": target, "workload": workload, "repeat": 0, "load": 1.0, "latency_us": latency, **figures}


@pytest.mark.parametrize(
    ("target", "workload"),
    [("echo", "tiny-1x1"), ("echo", "tiny-1x64"), ("floor_produce", "produce-16kb"), ("floor_fetch", "fetch-1mb")],
)
def test_a_floor_answers_the_generator_and_its_cpu_time_is_seen(target: str, workload: str, tmp_path: Path) -> None:
    targets = make_targets([target], tmp_path)

    with Runner(targets, TIMING) as runner:
        row = runner.measure(targets[0], choose([workload])[0], repeat=0)

    assert "error" not in row
    assert row["requests"] > 0
    assert 0 < row["target_cpu_s"] < 1
    assert row["latency_us"]["p50"] <= row["latency_us"]["p99"] <= row["latency_us"]["max"] * 1.01
    assert targets[0].child is None


def test_a_target_that_cannot_start_is_a_row_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = make_targets(["tansu"], tmp_path)
    monkeypatch.setenv("TANSU", shutil.which("false") or "/bin/false")

    with Runner(targets, TIMING) as runner:
        row = runner.measure(targets[0], choose(["tiny-1x1"])[0], repeat=0)

    assert "ended with 1" in row["error"]


def test_consumer_groups_are_measured_and_their_goals_judged(tmp_path: Path) -> None:
    (target,) = make_targets(["pystream"], tmp_path)

    row = measure_groups(target, Shape(groups=3, members=4, seconds=1.0, rebalances=2, rate=10.0))

    assert "error" not in row
    assert row["heartbeats"]["count"] > 0
    assert row["rebalance"]["count"] == 2
    assert row["rebalance"]["joined_max_ms"] <= row["rebalance"]["max_ms"]
    assert min(row["commits_closed_loop"]["count"], row["commits"]["count"]) > 0
    text = table([row])
    assert "| pystream | commits closed loop |" in text
    assert "rebalance of one group after the last join, max | ≤ 100 ms |" in text


def test_every_workload_file_is_well_formed_and_names_a_target_as_its_floor() -> None:
    workloads = all_workloads()

    assert len(workloads) > 20
    assert {workload.floor for workload in workloads} - {""} <= TARGETS.keys()
    assert {name for workload in workloads for name in workload.skip} <= TARGETS.keys()


def test_an_unknown_key_of_a_workload_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text('title = "t"\nmode = "produce"\nper = "gb"\nconections = 4\n')

    with pytest.raises(HarnessError, match="conections"):
        read_workload(path)


def test_workloads_are_chosen_by_name_or_beginning() -> None:
    chosen: list[Workload] = choose(["tiny-1x*", "fetch-1mb"])

    assert [workload.name for workload in chosen] == ["tiny-1x1", "tiny-1x64", "fetch-1mb"]


def test_the_report_gives_ratios_of_medians_and_tells_what_failed() -> None:
    runs = [result("pystream", cpu) for cpu in (0.010, 0.012, 0.900)] + [result("kafka", 0.066), result("echo", 0.006)]
    runs.append({"target": "tansu", "workload": "tiny-1x1", "repeat": 0, "load": 1.0, "error": "it fell over"})
    content = {"machine": MACHINE, "versions": {}, "runs": runs, "measures": [], "finished": "now"}

    text = render(content, base="pystream")

    assert "| one 100 B record, 1 x 1 | 5.5 | — | 0.5 |" in text
    assert "CPU per small request, 1 x 1: Kafka / pystream | ≥ 5 | ≥ 10 | 5.5 | reached |" in text
    assert "- tansu, tiny-1x1: it fell over (1 x)" in text


def test_the_report_replaces_only_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("head\n<!-- figures: begin -->\nold\n<!-- figures: end -->\ntail\n")

    update_between_markers(page, "new")

    assert page.read_text() == "head\n<!-- figures: begin -->\n\nnew\n<!-- figures: end -->\ntail\n"


@pytest.mark.parametrize("size", [5, 200])
def test_the_bare_clients_build_a_batch_that_reads_as_it_was_meant(size: int) -> None:
    batch = record_batch(bytes(size), producer=(7, 3, 11), transactional=True)

    (header,) = parse_headers(batch)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 3, 11)
    assert header.is_transactional
    assert [record.value for record in RecordReader(batch)] == [bytes(size)]  # which checks the checksum
