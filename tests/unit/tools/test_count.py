"""The last line of tools/test: nothing that failed is lost on the way to the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check.count import main

REPORT = """<?xml version="1.0"?><testsuites>
<testsuite name="pytest" errors="{errors}" failures="{failures}" skipped="{skipped}" tests="{tests}"/></testsuites>"""


def results(folder: Path, *, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0, **checks: str) -> Path:
    report = REPORT.format(tests=tests, failures=failures, errors=errors, skipped=skipped)
    (folder / "pytest.xml").write_text(report)
    for name, result in checks.items():
        (folder / f"{name}.check").write_text(f"{result}\n")
    return folder


def closing_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_checks_and_tests_are_counted_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(results(tmp_path, tests=10, skipped=2, ruff="passed", mypy="passed"), 0) == 0
    assert closing_line(capsys) == "10 passed, 0 failed, 2 skipped"


def test_a_failed_check_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(results(tmp_path, tests=10, ruff="FAILED"), 0) == 1
    assert closing_line(capsys) == "10 passed, 1 failed, 0 skipped"


def test_failures_and_errors_of_pytest_fail_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(results(tmp_path, tests=10, failures=1, errors=2), 1) == 1
    assert closing_line(capsys) == "7 passed, 3 failed, 0 skipped"


@pytest.mark.parametrize("status", [2, 3, 5], ids=["interrupted", "broken", "collected nothing"])
def test_a_pytest_that_broke_off_has_not_passed(tmp_path: Path, status: int):
    assert main(results(tmp_path, tests=3), status) == 1


def test_a_missing_report_is_a_failure(tmp_path: Path):
    assert main(tmp_path, 0) == 1
