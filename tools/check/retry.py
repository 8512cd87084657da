"""Runs again, alone and once, what failed in a run of the tests: a race of processes on a busy machine, or a defect?

    python tools/check/retry.py RESULTS

Only tests of whole processes get a second try (`PROCESS_TESTS`), and only a few of them: more than `MOST` failures are
no chance. Apache Kafka's build does the same (maxTestRetries, maxTestRetryFailures). What passed only then is named in
the closing lines of tools/test and is a defect to look for, of the test or of what it tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROCESS_TESTS = ("tests/conformance/", "tests/fault/", "tests/integration/")
MOST = 3
LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")  # pytest's own list, of node ids


def choose(failed: list[str]) -> list[str]:
    """Those of `failed`, node ids of pytest, that are run again: all of them, or none."""
    if len(failed) > MOST or not all(name.startswith(PROCESS_TESTS) for name in failed):
        return []
    return sorted(failed)


def main(results: Path) -> int:
    names = choose(list(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else [])
    if not names:
        return 0
    (results / "retry.txt").write_text("".join(f"{name}\n" for name in names))
    print("== run again, alone:", *names, sep="\n   ", flush=True)
    report = results / "retry.xml"
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "--junitxml", str(report), *names]).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
