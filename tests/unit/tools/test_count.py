"""The last line of tools/test: nothing that failed is lost on the way to the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check import retry
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


def run_again(folder: Path, *names: str, tests: int, failures: int = 0, skipped: int = 0) -> None:
    report = REPORT.format(tests=tests, failures=failures, errors=0, skipped=skipped)
    (folder / "retry.xml").write_text(report)
    (folder / "retry.txt").write_text("".join(f"{name}\n" for name in names))


def test_what_passes_at_the_second_try_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    results(tmp_path, tests=10, failures=2)
    run_again(tmp_path, "tests/fault/test_a.py::a", "tests/fault/test_a.py::b", tests=2)
    assert main(tmp_path, 1) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "10 passed, 0 failed, 0 skipped"
    assert [line.rpartition(" ")[2] for line in told[:-1]] == ["tests/fault/test_a.py::a", "tests/fault/test_a.py::b"]


@pytest.mark.parametrize("again", [{"tests": 2, "failures": 1}, {"tests": 1}, {"tests": 2, "skipped": 1}], ids=str)
def test_what_does_not_pass_at_the_second_try_fails_the_run(tmp_path: Path, again: dict[str, int]):
    results(tmp_path, tests=10, failures=2)
    run_again(tmp_path, "tests/fault/test_a.py::a", "tests/fault/test_a.py::b", **again)
    assert main(tmp_path, 1) == 1


def test_a_second_run_without_a_report_fails_the_run(tmp_path: Path):
    results(tmp_path, tests=10, failures=1)
    (tmp_path / "retry.txt").write_text("tests/fault/test_a.py::a\n")
    assert main(tmp_path, 1) == 1


@pytest.mark.parametrize("status", [2, 3], ids=["interrupted", "broken"])
def test_no_second_try_mends_a_run_that_broke_off(tmp_path: Path, status: int):
    results(tmp_path, tests=10, failures=1)
    run_again(tmp_path, "tests/fault/test_a.py::a", tests=1)
    assert main(tmp_path, status) == 1


def test_only_few_tests_and_only_of_processes_are_run_again():
    a, b, c, d = (
        f"tests/{where}.py::t" for where in ("fault/test_a", "integration/test_b", "conformance/test_c", "fault/d")
    )
    assert retry.choose([b, a]) == [a, b]
    assert len(retry.choose([a, b, c])) == retry.MOST
    assert retry.choose([a, b, c, d]) == []
    assert retry.choose([a, "tests/unit/test_e.py::t"]) == []
    assert retry.choose([]) == []
