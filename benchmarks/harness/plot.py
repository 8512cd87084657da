"""The report as a picture: CPU cost of every target relative to one of them, a row of bars for each workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.statistics import FLOOR, tabulate

COLOURS = {"kafka": "#444444", "tansu": "#b5651d", FLOOR: "#7fb069"}
OTHER_COLOUR = "#3b6ea5"
ROW_INCHES = 0.45


def draw(content: dict[str, Any], *, base: str, path: Path) -> None:
    """Writes SVG or PNG by the ending of `path`. Needs matplotlib; raises HarnessError without it."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text, the file small
        matplotlib.rcParams["svg.hashsalt"] = "pystream"
        from matplotlib import pyplot
    except ImportError:
        raise HarnessError("the plot needs matplotlib: pip install matplotlib") from None
    table = tabulate(content)
    others = table.columns(base)
    shown = [item for item in table.workloads if any(table.ratio(item.name, target, base, "cpu") for target in others)]
    figure, axes = pyplot.subplots(figsize=(10, 1.6 + ROW_INCHES * len(shown)))
    labelled: set[str] = set()
    for row, workload in enumerate(shown):
        ratios = [(target, table.ratio(workload.name, target, base, "cpu")) for target in others]
        known = [(target, ratio) for target, ratio in ratios if ratio]
        height = 0.8 / len(known)
        for index, (target, ratio) in enumerate(known):
            where = row - 0.4 + height * (index + 0.5)
            bar_label = target if target not in labelled else None
            axes.barh(where, ratio - 1, height, left=1, color=COLOURS.get(target, OTHER_COLOUR), label=bar_label)
            axes.annotate(f"{ratio:.2g}", (ratio, where), va="center", ha="left" if ratio >= 1 else "right", fontsize=7)
            labelled.add(target)
    axes.axvline(1, color=OTHER_COLOUR, linewidth=1.5)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [item.title for item in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"CPU cost relative to {base} (= 1), logarithmic; medians of one interleaved run")
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
