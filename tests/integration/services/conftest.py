"""One broker and one admin server for the tests of this folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from pystream.client.grpc import connect
from pystream.client.grpc.faces import Admin
from tests.support.admin_process import AdminProcess
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "node.id": "1",
    "num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
}
NUMBERS = itertools.count()


def fresh(stem: str) -> str:
    """A name that nobody used before."""
    return f"{stem}-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("admin") / "data", SETTINGS) as process:
        yield process


@pytest.fixture(scope="session")
def server(broker: BrokerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminProcess]:
    with AdminProcess(broker.bootstrap, tmp_path_factory.mktemp("admin") / "admin.log") as process:
        yield process.wait_until_serving()


@pytest.fixture(scope="session")
def admin(server: AdminProcess) -> Iterator[Admin]:
    with connect(server.address) as client:
        yield client
