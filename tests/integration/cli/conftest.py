"""One broker for the commands of this folder, and a way to run them in this process."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer

from pystream.cli.main import main
from tests.support.broker_process import BrokerProcess

SETTINGS = {"node.id": "1", "num.partitions": "4", "group.initial.rebalance.delay.ms": "0"}


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]
Produce = Callable[[str, int], None]
NUMBERS = itertools.count()


def fresh(stem: str) -> str:
    """A name that nobody used before."""
    return f"{stem}-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("cli") / "data", SETTINGS) as process:
        yield process


@pytest.fixture
def pystream(broker: BrokerProcess, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `pystream ...` against the broker."""

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--bootstrap-server", broker.bootstrap, "--timeout", "60"])
        captured = capsys.readouterr()
        code = stopped.value.code
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return run


@pytest.fixture
def produce(broker: BrokerProcess) -> Produce:
    """Write so many records to partition 0 of a topic."""

    def write(topic: str, count: int) -> None:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(count):
            producer.produce(topic, str(number), partition=0)
        assert producer.flush(30) == 0

    return write
