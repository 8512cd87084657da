"""A Quix Streams application, unchanged, on the broker: state, windows, exactly once, and a kill -9 in the middle.

Quix Streams wants another confluent-kafka than the project: PYSTREAM_QUIX_PYTHON names a Python that has it, else the
test makes an environment under .cache, and is skipped where it cannot be installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WANTED = "quixstreams==3.28.1"
INSTALL_SECONDS = 300
APPLICATION_SECONDS = 120
PARTITIONS = 3
CARDS = 7
PAYMENTS = 1_000
EARLY = 500  # payments before the application is killed
KILLED_AFTER = 300  # totals that were committed by then
SECONDS_APART = 5
WINDOW_SECONDS = 60
BEGIN_SECONDS = 1_700_000_040  # a window begins here


@pytest.fixture(scope="module")
def quix_python() -> Path:
    given = os.environ.get("PYSTREAM_QUIX_PYTHON")
    if given:
        return Path(given)
    folder = ROOT / ".cache" / WANTED
    installed = folder / "installed"
    if not installed.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_SECONDS)
        done = subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WANTED],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"{WANTED} cannot be installed: {done.stderr[-300:]}")
        installed.touch()
    return folder / "bin" / "python"


def face(python: Path) -> list[str]:
    """What runs a script with pystream's face of confluent-kafka; the serdes of Schema Registry stay the real ones."""
    found = subprocess.run(
        [python, "-c", "import confluent_kafka as c; print(c.__path__[0])"], capture_output=True, text=True, check=True
    )
    return [str(HERE / "compat" / "run_as.py"), "confluent_kafka", "--rest", found.stdout.strip()]


class Application:
    """The application in a process of its own."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)

    def stop(self, by: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(by)
        return self._process.wait(APPLICATION_SECONDS)

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:]

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Reader:
    """Reads a topic's committed records."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"reader-{uuid4()}"})
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        self.found: dict[str, list[Any]] = defaultdict(list)
        self.count = 0

    def read(self, count: int, application: Application) -> None:
        """Until there are as many."""
        deadline = time.monotonic() + APPLICATION_SECONDS
        while self.count < count:
            assert time.monotonic() < deadline, f"{self.count} of {count}: {application.tail()}"
            message = self._consumer.poll(0.5)
            if message is not None and message.error() is None:
                self.found[message.key().decode()].append(json.loads(message.value()))
                self.count += 1

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def topics(new_topic: Callable[..., str]) -> list[str]:
    """Where payments come from, and where the results go."""
    return [new_topic(f"quix-{kind}", partitions=PARTITIONS) for kind in ("payments", "totals", "windows")]


def publish(bootstrap: str, topic: str, numbers: range) -> None:
    """Payments of some cards, one every few seconds."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in numbers:
        producer.produce(
            topic,
            json.dumps({"number": number, "amount": number % 10}),
            key=f"card-{number % CARDS}",
            timestamp=(BEGIN_SECONDS + number * SECONDS_APART) * 1000,
        )
    assert producer.flush(APPLICATION_SECONDS) == 0


def expected() -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Totals of each card in order, and its windows, but the last one, which nothing closes."""
    totals: dict[str, list[Any]] = defaultdict(list)
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    running: dict[str, int] = defaultdict(int)
    for number in range(PAYMENTS):
        card = f"card-{number % CARDS}"
        running[card] += number % 10
        totals[card].append({"number": number, "total": running[card]})
        at = BEGIN_SECONDS + number * SECONDS_APART
        sums[card][at - at % WINDOW_SECONDS] += number % 10
    windows = {
        card: [
            {"start": start * 1000, "end": (start + WINDOW_SECONDS) * 1000, "value": value}
            for start, value in sorted(found.items())[:-1]
        ]
        for card, found in sums.items()
    }
    return totals, windows


@pytest.fixture
def reader(bootstrap: str, topics: list[str]) -> Iterator[Callable[[str], Reader]]:
    readers: list[Reader] = []

    def of(topic: str) -> Reader:
        readers.append(Reader(bootstrap, topic))
        return readers[-1]

    yield of
    for each in readers:
        each.close()


@pytest.mark.timeout(2 * APPLICATION_SECONDS + INSTALL_SECONDS)
@pytest.mark.parametrize("library", ["confluent-kafka", "pystream.compat.confluent_kafka"])
def test_a_quix_application_counts_every_payment_once_though_it_is_killed_and_loses_its_state(
    library: str,
    quix_python: Path,
    bootstrap: str,
    topics: list[str],
    reader: Callable[[str], Reader],
    tmp_path: Path,
) -> None:
    runner = face(quix_python) if library != "confluent-kafka" else []
    state = tmp_path / "state"
    script = str(HERE / "quix_totals.py")
    application = Application([str(quix_python), *runner, script, bootstrap, *topics, str(state)], tmp_path / "log")
    totals, windows = reader(topics[1]), reader(topics[2])
    wanted_totals, wanted_windows = expected()
    try:
        publish(bootstrap, topics[0], range(EARLY))
        application.start()
        totals.read(KILLED_AFTER, application)
        application.stop(signal.SIGKILL)
        shutil.rmtree(state)  # what it knew is in the changelog topics only
        publish(bootstrap, topics[0], range(EARLY, PAYMENTS))
        application.start()
        totals.read(PAYMENTS, application)
        windows.read(sum(map(len, wanted_windows.values())), application)
        ended = application.stop(signal.SIGTERM)
    finally:
        application.end()
    assert ended == 0, application.tail()
    assert totals.found == wanted_totals
    assert windows.found == wanted_windows
    assert "Recovery successful" in (tmp_path / "log").read_text()
