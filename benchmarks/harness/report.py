"""The report in Markdown: goals, ratios, then figures, then the machine. Medians everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.goals import goal_rows
from benchmarks.harness.statistics import Figures, Row, Table, cpu_cost, tabulate
from benchmarks.harness.workload import Workload, all_workloads

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
MIB = 1 << 20


def number(value: float | None) -> str:
    """Three digits that count, an em dash for nothing."""
    if value is None or math.isnan(value):
        return "—"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def unit(workload: Workload) -> str:
    return "s/GB" if workload.per == "gb" else "µs/request"


def ratio_table(table: Table, base: str, field: str) -> str:
    others = table.columns(base)
    rows = []
    for workload in table.workloads:
        ratios = [table.ratio(workload.name, target, base, field) for target in others]
        if any(ratio is not None and not math.isnan(ratio) for ratio in ratios):
            rows.append([workload.title, *map(number, ratios)])
    return markdown_table(["", *(f"{target} / {base}" for target in others)], rows)


def inverse_ratio_table(table: Table, base: str) -> str:
    """Rates, base over the others, so that everywhere more is better for the base."""
    others = table.columns(base)
    rows = []
    for workload in table.workloads:
        field = "megabytes_per_s" if workload.per == "gb" else "requests_per_s"
        ratios = [table.ratio(workload.name, base, target, field) for target in others]
        if not workload.latency_only and any(ratio is not None for ratio in ratios):
            rows.append([workload.title, *map(number, ratios)])
    return markdown_table(["", *(f"{base} / {target}" for target in others)], rows)


def figure_rows(table: Table) -> list[list[str]]:
    rows = []
    for workload in table.workloads:
        for target in table.targets:
            found = table.figures.get((workload.name, target))
            if found is not None:
                rows.append([workload.title, target, *figure_cells(found, workload)])
    return rows


def figure_cells(found: Figures, workload: Workload) -> list[str]:
    rate = f"{number(found.rate(workload))} {'MB/s' if workload.per == 'gb' else '/s'}"
    latency = " / ".join(number(value) for value in (found.p50_us, found.p99_us, found.p999_us))
    return [
        f"{number(found.cpu)} {unit(workload)}",
        rate,
        "—" if math.isnan(found.p50_us) else latency,
        number(found.memory_bytes / MIB),
        f"{number(found.system_share * 100)} %",
        number(found.client_share),
        str(found.repeats),
    ]


MEASURE_COLUMNS: dict[str, tuple[str, float]] = {
    "start_s": ("start to first accepted produce, s", 1),
    "start_cpu_s": ("CPU until then, s", 1),
    "idle_bytes": ("idle, MiB", MIB),
    "connections_bytes": ("10,000 idle connections, MiB more", MIB),
    "partitions_bytes": ("10,000 partitions, MiB more", MIB),
    "partitions_s": ("time to make them, s", 1),
    "open_files": ("open files then", 1),
}


def measure_table(table: Table) -> str:
    rows = []
    for target in table.targets:
        values = [table.measures.get((target, field)) for field in MEASURE_COLUMNS]
        if any(value is not None for value in values):
            scaled = [
                value / scale if value is not None else None
                for value, (_, scale) in zip(values, MEASURE_COLUMNS.values(), strict=True)
            ]
            rows.append([target, *map(number, scaled)])
    return markdown_table(["", *(title for title, _ in MEASURE_COLUMNS.values())], rows) if rows else ""


def failures(content: dict[str, Any]) -> list[str]:
    counted: dict[tuple[str, str, str], int] = {}
    for row in content["runs"] + content["measures"]:
        if "error" in row:
            key = (row["target"], row.get("workload") or row["measure"], " ".join(row["error"].split())[:160])
            counted[key] = counted.get(key, 0) + 1
    return [f"- {target}, {what}: {error} ({count} x)" for (target, what, error), count in counted.items()]


def describe_machine(content: dict[str, Any]) -> str:
    machine = content["machine"]
    loads = [row["load"] for row in content["runs"]] or [0.0]
    lines = [
        f"Machine: {machine['cpus']} x {machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}; load average during the run {min(loads):.1f}-{max(loads):.1f}; "
        f"{content['finished']}.",
        *(f"`{name}`: {version}." for name, version in content["versions"].items()),
    ]
    return "  \n".join(lines)


def render(content: dict[str, Any], *, base: str) -> str:
    table = tabulate(content)
    if base not in table.targets:
        raise HarnessError(f"{base} is not among the targets {table.targets}")
    parts: list[tuple[str, str]] = [
        (
            "Goals",
            markdown_table(["what", "at least", "aim", "figure", "verdict"], goal_rows(table))
            if base == "pystream"
            else "",
        ),
        (f"CPU cost, others / {base} (more is better for {base}; a floor is below 1)", ratio_table(table, base, "cpu")),
        (f"Rate, {base} / others", inverse_ratio_table(table, base)),
        (f"Latency p50, others / {base}", ratio_table(table, base, "p50_us")),
        (f"Latency p99, others / {base}", ratio_table(table, base, "p99_us")),
        ("Start and memory", measure_table(table)),
        ("Figures", markdown_table(FIGURE_HEAD, figure_rows(table))),
        ("Failed", "\n".join(failures(content))),
        ("Machine and versions", describe_machine(content)),
    ]
    return "\n\n".join(f"### {title}\n\n{body}" for title, body in parts if body) + "\n"


FIGURE_HEAD = (
    "workload",
    "target",
    "CPU",
    "rate",
    "p50 / p99 / p99.9, µs",
    "RSS, MiB",
    "in the kernel",
    "client cores",
    "repeats",
)


def summary_line(row: Row) -> str:
    """One line for the terminal."""
    head = f"{row['target']:14}{row.get('workload') or row['measure']:22}"
    if "error" in row:
        return f"{head}FAILED {row['error']}"
    if "measure" in row:
        shown = {key: value for key, value in row.items() if key not in ("target", "measure", "repeat", "load")}
        return head + "  ".join(
            f"{key} {number(value / MIB) + ' MiB' if key.endswith('bytes') else number(value)}"
            for key, value in shown.items()
        )
    workload = next(item for item in all_workloads() if item.name == row["workload"])
    latency = row.get("latency_us", {})
    megabytes_per_s = row["bytes"] / row["seconds"] / 1e6
    return (
        f"{head}{number(cpu_cost(row, workload)):>8} {unit(workload):11}{number(megabytes_per_s):>7} MB/s"
        f"{number(row['requests'] / row['seconds']):>11}/s"
        f"   p50 {number(latency.get('p50'))} p99 {number(latency.get('p99'))} µs   load {row['load']:.1f}"
    )


def update_between_markers(path: Path, text: str) -> None:
    """Puts `text` between the two marks of a Markdown file; raises HarnessError when it has none."""
    content = path.read_text()
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise HarnessError(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
