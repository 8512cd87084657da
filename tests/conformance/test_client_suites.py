"""Client projects' own test suites on the broker. Sources are never committed: the environment names them.

    PYSTREAM_LIBRDKAFKA_SRC      a librdkafka tree with tests/test-runner built
    PYSTREAM_KAFKA_PYTHON_SRC    a kafka-python tree
    PYSTREAM_CONFLUENT_SRC       a confluent-kafka-python tree
    PYSTREAM_CONFLUENT_PYTHON    a Python with what its tests import
    PYSTREAM_CONFORMANCE         the folder of runners; ../shared/conformance/broker beside the repository by default

What is not there is skipped, and says so. The run of librdkafka's tests with idempotent producers is one for --full.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.conformance import java, librdkafka_tests
from tests.conformance.conftest import BROKER_SETTINGS
from tests.support.broker_process import BrokerProcess

ROOT = Path(__file__).resolve().parents[2]
ONE_REPLICA_SOURCE = Path(__file__).with_name("one_replica.c")
TEST_SECONDS = 300
SUITE_SECONDS = 1_200
# a test of librdkafka is bound by time; one more try, as its page advises
RETRIES = 1
# its slowest test waits a minute for an error
KAFKA_PYTHON_TEST_SECONDS = 120

pytestmark = pytest.mark.timeout(SUITE_SECONDS)

# the longest of librdkafka's tests, 0113, takes over eight minutes, on Apache Kafka too
LIBRDKAFKA_TEST_SECONDS = 580

KCAT_CHECKS = 12

# what of the Python clients' integration tests creates ACLs
KAFKA_PYTHON_LATER = "acls"
CONFLUENT_LATER = "test_basic_operations"
CONFLUENT_TESTS = 32


def runners() -> Path:
    folder = Path(os.environ.get("PYSTREAM_CONFORMANCE") or ROOT.parent / "shared" / "conformance" / "broker")
    if not folder.is_dir():
        pytest.skip(f"no runners of client suites: {folder} is missing")
    return folder


def source(variable: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no source tree")
    return Path(os.environ[variable])


def run_librdkafka(
    bootstrap: str, number: str, out: Path, *options: str, environment: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """The verdicts of the tests of one number, but those that belong to another scenario than the one that is run."""
    tree = source("PYSTREAM_LIBRDKAFKA_SRC")
    command = [sys.executable, str(runners() / "librdkafka.py"), bootstrap, str(tree), "--out", str(out)]
    subprocess.run(
        [*command, "--only", number, "--retry", str(RETRIES), "--per-test", str(LIBRDKAFKA_TEST_SECONDS), *options],
        env={**os.environ, "SHIM_PY": sys.executable, **(environment or {})},
        capture_output=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    verdicts: list[dict[str, Any]] = json.loads((out / "librdkafka.json").read_text())
    return [verdict for verdict in verdicts if verdict["why"] != "belongs to another scenario"]


def log_tail(out: Path, number: str) -> str:
    return (out / "librdkafka.logs" / f"{number}.log").read_text(errors="replace")[-3_000:]


@pytest.mark.parametrize("number", librdkafka_tests.RUN)
def test_librdkafka(number: str, bootstrap: str, tmp_path: Path) -> None:
    assert_passed(run_librdkafka(bootstrap, number, tmp_path), number, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", librdkafka_tests.RUN)
def test_librdkafka_with_idempotent_producers(number: str, bootstrap: str, tmp_path: Path) -> None:
    assert_passed(run_librdkafka(bootstrap, number, tmp_path, "--idempotent"), number, tmp_path)


def assert_passed(verdicts: list[dict[str, Any]], number: str, out: Path) -> None:
    allowed = {"PASSED", "VACUOUS"} if number in librdkafka_tests.SHORT_BY_NATURE else {"PASSED"}
    assert verdicts
    assert {verdict["verdict"] for verdict in verdicts} <= allowed, (verdicts, log_tail(out, number))


@pytest.fixture(scope="module")
def quick_groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose consumer groups have the time-outs that librdkafka's tests expect."""
    settings = {
        **BROKER_SETTINGS,
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "10000",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.heartbeat.interval.ms": "1000",
    }
    with BrokerProcess(tmp_path_factory.mktemp("consumer-protocol") / "data", settings) as broker:
        yield broker.bootstrap


@pytest.mark.parametrize("number", librdkafka_tests.CONSUMER_PROTOCOL)
def test_librdkafka_over_the_consumer_protocol(number: str, quick_groups: str, tmp_path: Path) -> None:
    verdicts = run_librdkafka(quick_groups, number, tmp_path, "--protocol", "consumer")
    assert verdicts
    assert {verdict["verdict"] for verdict in verdicts} == {"PASSED"}, (verdicts, log_tail(tmp_path, number))


@pytest.mark.parametrize("number", librdkafka_tests.NO_AUTO_CREATE)
def test_librdkafka_where_topics_are_not_created_by_use(number: str, tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "data", {**BROKER_SETTINGS, "auto.create.topics.enable": "false"}) as broker:
        verdicts = run_librdkafka(broker.bootstrap, number, tmp_path, "--scenario", "noautocreate")
    found = {verdict["test"]: verdict["verdict"] for verdict in verdicts}
    names = librdkafka_tests.NO_AUTO_CREATE[number]
    assert [found[name] for name in names] == ["PASSED"] * len(names), (verdicts, log_tail(tmp_path, number))


@pytest.mark.parametrize("number", librdkafka_tests.ONE_REPLICA)
def test_librdkafka_with_one_replica(number: str, tmp_path: Path) -> None:
    """A library in front of librdkafka turns topics of three replicas into topics of one; nothing else is changed."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = tmp_path / "one_replica.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(ONE_REPLICA_SOURCE), "-ldl"], check=True)
    scenario = librdkafka_tests.ONE_REPLICA[number]
    settings = {**BROKER_SETTINGS, "auto.create.topics.enable": str(scenario == "default").lower()}
    options = ("--kafka-path", str(kafka_folder(tmp_path / "kafka")), "--scenario", scenario)
    with BrokerProcess(tmp_path / "data", settings) as broker:
        environment = {"LD_PRELOAD": str(library)}
        verdicts = run_librdkafka(broker.bootstrap, number, tmp_path, *options, environment=environment)
    assert {verdict["verdict"] for verdict in verdicts} == {"PASSED"}, (verdicts, log_tail(tmp_path, number))


def kafka_folder(folder: Path) -> Path:
    """What librdkafka's tests look for in a Kafka: its jars, and a script that runs a class of them."""
    (folder / "bin").mkdir(parents=True)
    (folder / "libs").symlink_to(java.jars())
    run_class = folder / "bin" / "kafka-run-class.sh"
    run_class.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec java -cp "$CLASSPATH:{folder}/libs/*" "$@"\n')
    run_class.chmod(0o755)
    return folder


@pytest.mark.parametrize("part", librdkafka_tests.ADMIN_PARTS)
def test_librdkafka_admin(part: str, bootstrap: str, tmp_path: Path) -> None:
    """0081_admin, one part at a time. Its filter may start parts of longer names too: those are not looked at."""
    run_librdkafka(bootstrap, "0081", tmp_path, environment={"SUBTESTS": part})
    log = (tmp_path / "librdkafka.logs" / "0081.log").read_text(errors="replace")
    assert re.search(rf"\[ {part}:\d+:.* PASS \(", log), log[-3_000:]
    assert not re.search(rf'### Test "0081_admin \({part}:.*failed', log), log[-3_000:]


def test_every_broker_test_of_librdkafka_is_run_or_left_out_with_a_reason() -> None:
    tree = source("PYSTREAM_LIBRDKAFKA_SRC")
    listed = subprocess.run(
        [sys.executable, str(runners() / "librdkafka.py"), "none:0", str(tree), "--list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=TEST_SECONDS,
    )
    numbers = {name[:4] for name in listed.stdout.split()}
    assert set(librdkafka_tests.RUN).isdisjoint(librdkafka_tests.LEFT_OUT)
    assert numbers == {*librdkafka_tests.RUN, *librdkafka_tests.LEFT_OUT}


def test_kcat_round_trips(bootstrap: str, tmp_path: Path) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed")
    subprocess.run(
        ["bash", str(runners() / "kcat.sh"), bootstrap],
        env={**os.environ, "OUT": str(tmp_path), "WAIT": "20"},
        capture_output=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    lines = (tmp_path / "kcat.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("FAILED")] == []
    assert sum(line.startswith("PASSED") for line in lines) == KCAT_CHECKS


def test_kafka_python(bootstrap: str, tmp_path: Path) -> None:
    tree = source("PYSTREAM_KAFKA_PYTHON_SRC")
    done = subprocess.run(
        ["bash", str(runners() / "kafka_python.sh"), bootstrap, str(tree), "-k", f"not {KAFKA_PYTHON_LATER}"],
        env={**os.environ, "OUT": str(tmp_path), "PY": sys.executable, "PER_TEST": str(KAFKA_PYTHON_TEST_SECONDS)},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + (tmp_path / "kafka-python" / "log").read_text()[-3_000:]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_confluent_kafka(protocol: str, bootstrap: str, tmp_path: Path) -> None:
    tree = source("PYSTREAM_CONFLUENT_SRC")
    python = os.environ.get("PYSTREAM_CONFLUENT_PYTHON") or sys.executable
    done = subprocess.run(
        ["bash", str(runners() / "confluent_python.sh"), bootstrap, str(tree)],
        env={**os.environ, "OUT": str(tmp_path), "PY": python, "TEST_CONSUMER_GROUP_PROTOCOL": protocol},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    folder = tmp_path / "confluent-kafka-python"
    cases = [*ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")]
    bad = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert set(bad) <= {CONFLUENT_LATER}, done.stdout + (folder / "log").read_text()[-3_000:]
    assert len(cases) == CONFLUENT_TESTS
