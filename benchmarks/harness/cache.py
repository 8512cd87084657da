"""Where the harness keeps what it downloads, compiles and measures: never inside the repository."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """`$PYSTREAM_BENCH_CACHE`, else `$XDG_CACHE_HOME/pystream-bench`, else `~/.cache/pystream-bench`."""
    chosen = os.environ.get("PYSTREAM_BENCH_CACHE")
    base = (
        Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystream-bench"
    )
    folder = base.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
