"""Other clients' own test suites on pystream's faces of them: every test passes, or suites.py says why it does not.

PYSTREAM_CONFLUENT_SRC and PYSTREAM_KAFKA_PYTHON_SRC name the source trees, PYSTREAM_CONFLUENT_PYTHON a Python with what
confluent-kafka's tests import; without a tree its tests are skipped. A test that fails without being listed is run once
more by itself: theirs are bound by time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.compat import suites
from tests.conformance.compat.test_examples import RUN_AS, source
from tests.conformance.conftest import BROKER_SETTINGS
from tests.support.broker_process import BrokerProcess

ROOT = RUN_AS.parents[3]
SUITE_SECONDS = 1_500
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=short", "--timeout=90", "--timeout-method=signal")

pytestmark = pytest.mark.timeout(2 * SUITE_SECONDS)

Outcomes = dict[str, str]  # a test with its parameters -> passed, failed or skipped


class Suite:
    """One suite's tests, copied without the library that they belong to."""

    def __init__(self, package: str, rest: str, python: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._command = [python, str(RUN_AS), package, "--rest", rest, "-m", "pytest", *OPTIONS]
        self._folder = folder
        path = os.pathsep.join(filter(None, [str(ROOT), str(folder), os.environ.get("PYTHONPATH")]))
        self._environment = {**os.environ, "PYTHONPATH": path, **environment}

    def run(self, targets: Sequence[str], expected: Mapping[str, str], *options: str) -> Outcomes:
        """The outcomes; fails when a test did that is not expected to."""
        outcomes, log = self._once(targets, options)
        assert "passed" in outcomes.values(), log
        again = [name for name, outcome in outcomes.items() if outcome == "failed" and base(name) not in expected]
        if again:
            names = " or ".join(sorted({base(name) for name in again}))
            repeated, log = self._once(targets, (*options, "-k", names))  # the last -k counts
            outcomes.update({name: repeated[name] for name in again})
        failed = {base(name) for name, outcome in outcomes.items() if outcome == "failed"}
        assert failed - set(expected) == set(), log
        return outcomes

    def _once(self, targets: Sequence[str], options: Sequence[str]) -> tuple[Outcomes, str]:
        report = self._folder / "junit.xml"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [*self._command, f"--junitxml={report}", *options, *targets],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SUITE_SECONDS,
            check=False,
        )
        assert report.exists(), done.stdout[-3_000:]
        return dict(map(outcome_of, ElementTree.parse(report).getroot().iter("testcase"))), done.stdout[-6_000:]


def base(name: str) -> str:
    """A test's name without its parameters."""
    return name.split("[")[0]


def outcome_of(case: ElementTree.Element) -> tuple[str, str]:
    outcome = "passed"
    if case.find("failure") is not None or case.find("error") is not None:
        outcome = "failed"
    elif case.find("skipped") is not None:
        outcome = "skipped"
    return str(case.get("name")), outcome


def told(what: str, outcomes: Outcomes) -> None:
    counts = {kind: list(outcomes.values()).count(kind) for kind in ("passed", "failed", "skipped")}
    print(what, counts, sorted(name for name, outcome in outcomes.items() if outcome == "failed"))


@pytest.fixture
def confluent(tmp_path: Path) -> Suite:
    tree = source("PYSTREAM_CONFLUENT_SRC")
    python = os.environ.get("PYSTREAM_CONFLUENT_PYTHON") or sys.executable
    for module in ("pytest_asyncio", "trivup"):
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode != 0:
            pytest.skip(f"{python} has no {module}, which confluent-kafka's tests import")
    shutil.copytree(tree / "tests", tmp_path / "tests")
    shutil.copy(tree / "pyproject.toml", tmp_path)
    find = "import confluent_kafka as c; print(c.__path__[0])"
    real = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    return Suite("confluent_kafka", real, python, tmp_path, {})


@pytest.fixture
def kafka_python(tmp_path: Path) -> Suite:
    tree = source("PYSTREAM_KAFKA_PYTHON_SRC")
    shutil.copytree(tree / "test", tmp_path / "test")
    (tmp_path / "servers/4.2.0/kafka-bin").mkdir(parents=True)  # looked for even where a broker is given
    rest = f"{tree / 'kafka'},net,protocol"
    return Suite("kafka", rest, sys.executable, tmp_path, {"KAFKA_VERSION": "4.2.0"})


@pytest.fixture(scope="module")
def short_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose share groups have the time-outs that confluent-kafka's suite gives its own."""
    settings = {
        **BROKER_SETTINGS,
        "group.share.record.lock.duration.ms": "1000",
        "group.share.min.record.lock.duration.ms": "1000",
    }
    with BrokerProcess(tmp_path_factory.mktemp("share-suite") / "data", settings) as broker:
        yield broker.bootstrap


def test_confluents_unit_tests(confluent: Suite) -> None:
    told("unit", confluent.run(suites.CONFLUENT_UNIT, suites.CONFLUENT_UNIT_FAILS))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_confluents_integration_tests(protocol: str, confluent: Suite, bootstrap: str) -> None:
    confluent._environment |= {"BROKERS": bootstrap, "TEST_CONSUMER_GROUP_PROTOCOL": protocol}
    expected = suites.CONSUMER_PROTOCOL_FAILS if protocol == "consumer" else suites.CONFLUENT_FAILS
    told(protocol, confluent.run(suites.CONFLUENT_FOLDERS, expected, "-k", "not sasl_cluster"))


@pytest.mark.slow
def test_confluents_share_consumer_tests(confluent: Suite, short_locks: str) -> None:
    confluent._environment |= {"BROKERS": short_locks}
    ignored = f"--ignore={suites.SHARE_SERDES}"
    told("share", confluent.run([suites.SHARE_FOLDER], suites.SHARE_FAILS, ignored))


def test_kafka_pythons_unit_tests(kafka_python: Suite) -> None:
    told("unit", kafka_python.run(suites.KAFKA_PYTHON_UNIT, suites.KAFKA_PYTHON_UNIT_FAILS))


def test_kafka_pythons_integration_tests(kafka_python: Suite, bootstrap: str) -> None:
    kafka_python._environment |= {"KAFKA_URI": f"kafka://{bootstrap}"}
    ignored = [f"--ignore={suites.KAFKA_PYTHON_FOLDER}/{name}" for name in suites.KAFKA_PYTHON_LEFT_OUT]
    told(
        "integration",
        kafka_python.run([suites.KAFKA_PYTHON_FOLDER], suites.KAFKA_PYTHON_FAILS, "-k", "not acls", *ignored),
    )
