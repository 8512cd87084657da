"""Ctrl-C on consumers that wait: a real process, a real signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream.client import AdminClient
from pystream.client.admin.topics import NewTopic
from tests.support.broker_process import BrokerProcess
from tests.support.ports import hold

PATIENCE = 120
SCRIPT = """
import sys
from pystream import Consumer, ShareConsumer

kind, way, bootstrap = sys.argv[1:]
never = dict.fromkeys(["default_api_timeout_ms", "request_timeout_ms"], 3_600_000)  # an end by itself
settings = {"bootstrap_servers": bootstrap, "group_id": f"{kind}-{way}", **never}
consumer = (Consumer if kind == "consumer" else ShareConsumer)(settings)
try:
    with consumer:
        consumer.subscribe("topic")
        while way != "nobody" and not consumer.assignment():
            consumer.poll(0.05)
        print("waiting", flush=True)
        if way == "iterate":
            for message in consumer:
                pass
        elif way == "batch":
            consumer.poll_batch()
        else:
            consumer.poll()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with BrokerProcess(tmp_path_factory.mktemp("interrupt") / "data") as broker:
        with AdminClient(bootstrap_servers=broker.bootstrap) as admin:
            admin.create_topics([NewTopic("topic", 1, 1)]).checked()
        yield broker.bootstrap


def interrupt(kind: str, way: str, bootstrap: str, before: Callable[[], object] = lambda: None) -> str:
    """Ctrl-C, which ends the process: what that wrote to standard error. `before` is called while it waits."""
    command = [sys.executable, "-c", SCRIPT, kind, way, bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n", process.communicate(timeout=PATIENCE)
        before()
        process.send_signal(signal.SIGINT)
        told, complaints = process.communicate(timeout=PATIENCE)
        assert (process.returncode, told) == (7, "interrupted\n"), complaints
        assert "Traceback" not in complaints
    return complaints


@pytest.mark.parametrize("way", ["poll", "batch", "iterate"])
@pytest.mark.parametrize("kind", ["consumer", "share"])
def test_a_waiting_consumer_is_interrupted_and_closes_in_order(bootstrap: str, kind: str, way: str):
    assert "not closed in order" not in interrupt(kind, way, bootstrap)


@pytest.mark.parametrize("kind", ["consumer", "share"])
def test_a_consumer_that_nobody_answers_is_interrupted_too(kind: str):
    with hold() as held:  # bound, and nobody listens
        interrupt(kind, "nobody", f"127.0.0.1:{held.getsockname()[1]}")


@pytest.mark.parametrize("kind", ["consumer", "share"])
def test_a_consumer_whose_broker_has_died_is_interrupted_too(tmp_path: Path, kind: str):
    with BrokerProcess(tmp_path / "data") as broker:
        with AdminClient(bootstrap_servers=broker.bootstrap) as admin:
            admin.create_topics([NewTopic("topic", 1, 1)]).checked()
        interrupt(kind, "poll", broker.bootstrap, before=broker.kill)


def test_who_was_interrupted_has_left_its_group(bootstrap: str):
    interrupt("consumer", "poll", bootstrap)
    with AdminClient(bootstrap_servers=bootstrap) as admin:
        found = admin.describe_consumer_groups(["consumer-poll"]).checked()["consumer-poll"]
        assert list(found.members) == []
