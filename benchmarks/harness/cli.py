"""The command: `run`, `measure`, `groups`, `transactions`, `clients-sdk`, `report`, `list`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.harness import cli_times, clients_sdk, compaction, crash_start, transactions
from benchmarks.harness.cache import cache_folder
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.groups import Shape, measure_groups, table
from benchmarks.harness.measures import MEASURES, measure
from benchmarks.harness.plot import draw
from benchmarks.harness.report import render, summary_line, update_between_markers
from benchmarks.harness.runner import Row, Runner, Timing, rounds, run_all
from benchmarks.harness.sdk_load import CASES
from benchmarks.harness.targets.base import Target
from benchmarks.harness.targets.catalogue import TARGETS, make_targets
from benchmarks.harness.workload import all_workloads, choose

console = Console(stderr=True)


def split(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "memory_gib": round(memory_kib / (1 << 20), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


@contextlib.contextmanager
def data_folder(parent: str) -> Iterator[Path]:
    base = Path(parent) if parent else cache_folder("data")
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def progress_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def usable(names: Sequence[str], data_root: Path) -> tuple[list[Target], dict[str, str]]:
    """The targets that can be had on this machine, and their versions; tells of the others."""
    targets, versions = [], {}
    for target in make_targets(names, data_root):
        try:
            versions[target.name] = target.version()
            targets.append(target)
        except (HarnessError, OSError) as error:
            console.print(f"[yellow]{target.name} is left out: {error}")
    return targets, versions


class Results:
    """The JSON file of a run, written anew after every row, so that a broken run keeps what it has."""

    def __init__(self, path: Path, versions: dict[str, str]) -> None:
        self.path = path
        self.content: dict[str, Any] = {"machine": machine(), "versions": versions, "runs": [], "measures": []}
        if path.exists():
            self.content = json.loads(path.read_text())
            self.content["versions"] |= versions
        self.content["finished"] = time.strftime("%Y-%m-%d %H:%M")

    def add(self, kind: str, row: Row) -> None:
        self.content.setdefault(kind, []).append(row)
        self.content["finished"] = time.strftime("%Y-%m-%d %H:%M")
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(self.content, indent=1))
        unfinished.replace(self.path)


def result_path(given: str, *, append: bool) -> Path:
    path = Path(given) if given else cache_folder("results") / "latest.json"
    if not append:
        path.unlink(missing_ok=True)
    return path


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Benchmarks of whole brokers, side by side, on this machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@main.command("list")
def list_command() -> None:
    """Show targets, workloads and measures."""
    print("targets:   ", ", ".join(TARGETS))
    print("measures:  ", ", ".join(MEASURES))
    print("workloads:")
    for workload in all_workloads():
        print(f"  {workload.name:24}{workload.title}")


@main.command()
@click.option("--targets", default=",".join(TARGETS), callback=split, help="Comma list, measured in this order.")
@click.option("--workloads", default="", callback=split, help="Comma list; `tiny-*` takes all of that beginning.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--window-ms", default=2500, show_default=True, help="Length of a measurement.")
@click.option("--warmup-ms", default=500, show_default=True)
@click.option(
    "--first-warmup-ms", default=4000, show_default=True, help="First warm-up of a target that compiles itself."
)
@click.option("--time-limit", default=60.0, show_default=True, help="Minutes; nothing new is begun after it.")
@click.option(
    "--touch-gib", default=4, show_default=True, help="Memory touched before writing workloads; see native/touch.c."
)
@click.option("--json", "json_path", default="", help="Result file; default latest.json in the cache folder.")
@click.option("--append", is_flag=True, help="Add to the result file.")
@click.option("--data-root", default="", help="Folder for the brokers' data; default in the cache folder.")
def run(
    targets: list[str],
    workloads: list[str],
    repeats: int,
    window_ms: int,
    warmup_ms: int,
    first_warmup_ms: int,
    time_limit: float,
    touch_gib: int,
    json_path: str,
    append: bool,
    data_root: str,
) -> None:
    """Run workloads against targets in turn."""
    timing = Timing(window_ms=window_ms, warmup_ms=warmup_ms, first_warmup_ms=first_warmup_ms, touch_gib=touch_gib)
    path = result_path(json_path, append=append)
    with data_folder(data_root) as folder, progress_bar() as progress:
        chosen = choose(workloads)
        ready, versions = usable(targets, folder)
        results = Results(path, versions)
        task = progress.add_task("", total=sum(1 for _ in rounds(chosen, ready, repeats)))

        def took(row: Row) -> None:
            results.add("runs", row)
            progress.console.print(summary_line(row), highlight=False, markup=False, soft_wrap=True)
            progress.advance(task)

        with Runner(ready, timing) as runner:
            whole = run_all(runner, chosen, repeats=repeats, time_limit_s=time_limit * 60, report=took)
    console.print(f"{'done' if whole else 'time limit reached'}: {path}")


@main.command("measure")
@click.option("--targets", default="pystream,kafka,tansu", callback=split)
@click.option("--what", default=",".join(MEASURES), callback=split, help=f"Comma list of {', '.join(MEASURES)}.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--json", "json_path", default="", help="Result file to add to; default latest.json in the cache folder.")
@click.option("--data-root", default="")
def measure_command(targets: list[str], what: list[str], repeats: int, json_path: str, data_root: str) -> None:
    """Measure start-up time and memory: idle, with 10,000 connections, with 10,000 partitions."""
    if unknown := set(what) - set(MEASURES):
        raise click.UsageError(f"no measure {sorted(unknown)}")
    path = result_path(json_path, append=True)
    with data_folder(data_root) as folder, progress_bar() as progress:
        ready, versions = usable(targets, folder)
        results = Results(path, versions)
        task = progress.add_task("", total=repeats * len(what) * len(ready))
        for repeat in range(repeats):
            for name in what:
                for target in ready:
                    row = measure(name, target, repeat)
                    results.add("measures", row)
                    progress.console.print(summary_line(row), highlight=False, markup=False, soft_wrap=True)
                    progress.advance(task)
    console.print(f"done: {path}")


@main.command("compaction")
@click.option("--mib", default=512, show_default=True, help="Input of one case, before it is compressed: less then.")
@click.option("--map-mib", default=128, show_default=True, help="log.cleaner.dedupe.buffer.size.")
@click.option("--data-root", default="")
def compaction_command(mib: int, map_mib: int, data_root: str) -> None:
    """Measure how fast one thread compacts a log, and the memory that takes."""
    with data_folder(data_root) as folder:
        for case in compaction.CASES:
            figure = compaction.run_case(folder / "log", case, mib << 20, map_mib << 20)
            print(figure.line(), flush=True)


@main.command("crash-start")
@click.option("--partitions", default=100, show_default=True)
@click.option("--mib-each", default=20, show_default=True, help="Records of each partition.")
@click.option("--full", is_flag=True, help="20 GiB in 1,000 partitions.")
@click.option("--repeats", default=2, show_default=True, help="Starts; each ends with kill -9 again.")
@click.option("--data-root", default="")
def crash_start_command(partitions: int, mib_each: int, full: bool, repeats: int, data_root: str) -> None:
    """Measure the start of a broker after kill -9."""
    if full:
        partitions, mib_each = 1_000, 20
    with data_folder(data_root) as folder:
        crash_start.filled(folder, partitions, mib_each << 20)
        for _ in range(repeats):
            print(crash_start.start(folder, partitions).line(), flush=True)


@main.command("groups")
@click.option("--targets", default="pystream", callback=split, show_default=True, help="Comma list: pystream, kafka.")
@click.option("--groups", "group_count", default=1_000, show_default=True)
@click.option("--members", default=10, show_default=True, help="Of each group, each with a connection.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of each measurement.")
@click.option("--rebalances", default=50, show_default=True, help="Groups that rejoin, one after the other.")
@click.option("--rate", default=1_000.0, show_default=True, help="Commits a second.")
@click.option("--json", "json_path", default="", help="Result file to add to; default latest.json in the cache folder.")
@click.option("--data-root", default="")
def groups_command(
    targets: list[str],
    group_count: int,
    members: int,
    seconds: float,
    rebalances: int,
    rate: float,
    json_path: str,
    data_root: str,
) -> None:
    """Measure consumer groups: CPU of heartbeats, time of rebalances, commits."""
    shape = Shape(groups=group_count, members=members, seconds=seconds, rebalances=rebalances, rate=rate)
    with data_folder(data_root) as folder:
        ready, versions = usable(targets, folder)
        results = Results(result_path(json_path, append=True), versions)
        rows = []
        for target in ready:
            row = measure_groups(target, shape)
            rows.append(row)
            results.add("groups", row)
    print(table(rows))
    console.print(f"done: {results.path}")
    if any("error" in row for row in rows):
        sys.exit(1)


@main.command("transactions")
@click.option("--targets", default="pystream", callback=split, show_default=True, help="Comma list: pystream, kafka.")
@click.option("--producers", default=16, show_default=True)
@click.option("--partitions", default=4, show_default=True, help="Of each transaction.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of the measurement of commits.")
@click.option("--mib", default=2_000, show_default=True, help="Large batches of 1 MiB, each way.")
@click.option("--json", "json_path", default="", help="Result file to add to; default latest.json in the cache folder.")
@click.option("--data-root", default="")
def transactions_command(
    targets: list[str], producers: int, partitions: int, seconds: float, mib: int, json_path: str, data_root: str
) -> None:
    """Measure transactions: commits a second, and what they add to the cost of large batches."""
    shape = transactions.Shape(producers=producers, partitions=partitions, seconds=seconds, mib=mib)
    with data_folder(data_root) as folder:
        ready, versions = usable(targets, folder)
        results = Results(result_path(json_path, append=True), versions)
        rows = []
        for target in ready:
            row = transactions.measure_transactions(target, shape)
            rows.append(row)
            results.add("transactions", row)
    print(transactions.table(rows))
    console.print(f"done: {results.path}")
    if any("error" in row for row in rows):
        sys.exit(1)


@main.command("clients-sdk")
@click.option("--target", default="pystream", show_default=True, help="The broker: pystream or kafka.")
@click.option("--rows", default=",".join(CASES), callback=split, help="Comma list.")
@click.option("--rounds", "turns", default=3, show_default=True, help="Of all clients, interleaved.")
@click.option("--scale", default=1.0, show_default=True, help="Times the records of each row.")
@click.option("--json", "json_path", default="", help="Result file to add to; default latest.json in the cache folder.")
@click.option("--data-root", default="")
def clients_sdk_command(target: str, rows: list[str], turns: int, scale: float, json_path: str, data_root: str) -> None:
    """Measure our clients beside confluent-kafka and aiokafka: CPU of the client for a message."""
    if unknown := set(rows) - set(CASES):
        raise click.UsageError(f"no row {sorted(unknown)}")
    taken: list[Row] = []
    with data_folder(data_root) as folder:
        ready, versions = usable([target], folder)
        results = Results(result_path(json_path, append=True), versions)

        def took(row: Row) -> None:
            taken.append(row)
            results.add("clients", row)
            console.print(f"{row['row']:18} {row['client']:30} {row['cpu_us']:8.3f} µs", highlight=False)

        for one in ready:
            clients_sdk.measure_clients(one, rows, rounds=turns, scale=scale, report=took)
    print(clients_sdk.table(taken))
    console.print(f"done: {results.path}")


@main.command("cli")
@click.option("--topics", default=10_000, show_default=True)
@click.option("--repeats", default=9, show_default=True)
@click.option("--data-root", default="")
def cli_command(topics: int, repeats: int, data_root: str) -> None:
    """Measure the command line: --help, a list of many topics, completion."""
    with data_folder(data_root) as folder:
        (target,), _ = usable(["pystream"], folder)
        for times in cli_times.measure(target, topics, repeats):
            print(times.line(), flush=True)


@main.command("report")
@click.option("--json", "json_path", default="", help="Result file; default latest.json in the cache folder.")
@click.option("--base", default="pystream", show_default=True, help="The target that the others are compared with.")
@click.option("--markdown", default="", help="Write the report here instead of to the terminal.")
@click.option("--update", default="", help="Replace the part between the figure marks of this Markdown file.")
@click.option("--plot", default="", help="Write the plot here: .svg or .png.")
def report_command(json_path: str, base: str, markdown: str, update: str, plot: str) -> None:
    """Show medians, ratios first, in Markdown; and draw them."""
    content = json.loads(result_path(json_path, append=True).read_text())
    text = render(content, base=base)
    if markdown:
        Path(markdown).write_text(text)
    if update:
        update_between_markers(Path(update), text)
    if plot:
        draw(content, base=base, path=Path(plot))
    if not (markdown or update or plot):
        print(text)
