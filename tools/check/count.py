"""Closes tools/test: `N passed, N failed, N skipped` over the checks and pytest's own report, and the exit code.

    python tools/check/count.py RESULTS PYTEST_STATUS

RESULTS holds NAME.check files (`passed` or `FAILED`), pytest.xml, and retry.txt and retry.xml when tests were run again
(tools/check/retry.py): then the second result counts, and what passed only then is named. pytest's status counts as a
failure of its own when no failed test explains it: a run that collected nothing or broke off has not passed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def count_tests(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit report; nothing but a failure when there is none."""
    if not report.exists():
        return 0, 1, 0
    passed = failed = skipped = 0
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        broken = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        left_out = int(suite.get("skipped", 0))
        passed += int(suite.get("tests", 0)) - broken - left_out
        failed += broken
        skipped += left_out
    return passed, failed, skipped


def main(results: Path, pytest_status: int) -> int:
    passed, failed, skipped = count_tests(results / "pytest.xml")
    if pytest_status != 0 and failed == 0:
        failed += 1
    retried = results / "retry.txt"
    if pytest_status == 1 and retried.exists():
        names = retried.read_text().splitlines()
        passed_then, failed, skipped_then = count_tests(results / "retry.xml")
        failed = max(failed, len(names) - passed_then)
        passed += passed_then
        skipped += skipped_then
        for name in names if not failed else ():
            print(f"failed, and passed when run again alone: {name}")
    for check in sorted(results.glob("*.check")):
        if check.read_text().strip() == "passed":
            passed += 1
        else:
            failed += 1
            print(f"failed check: {check.stem}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
