"""A broker in a process of its own, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.broker_process import BrokerProcess


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "data") as started:
        yield started


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """Makes brokers on one data directory, not started; whatever still runs when the test ends is killed."""
    made: list[BrokerProcess] = []

    def make(settings: dict[str, str] | None = None, *, arguments: tuple[str, ...] = ()) -> BrokerProcess:
        made.append(BrokerProcess(tmp_path / "data", settings, arguments=arguments))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()
