"""`pystream up` starts the admin server beside the broker, watches over both, and stops both."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import UsageError

from pystream.cli import up_command
from pystream.cli.up_command import ADMIN_PORT, KAFKA_PORT, METRICS_PORT, chosen_components
from pystream.client.grpc import connect
from tests.integration.broker.test_platform import Platform, ends
from tests.support.ports import HeldPorts


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with HeldPorts(KAFKA_PORT, METRICS_PORT, ADMIN_PORT) as held:
        started = Platform(tmp_path / "data", held.offset, only="broker,admin")
        yield started
        started.clean_up()


def process_of(platform: Platform, component: str) -> int:
    """From the table, or from the last restart."""
    found = re.findall(rf"{component}\W+process\W+(\d+)|{component} is up again, process (\d+)", platform.shown)
    return int(next(filter(None, found[-1])))


def test_up_starts_the_admin_server_and_stops_it(platform: Platform):
    shown = platform.read_until("Ctrl-C")
    address = f"127.0.0.1:{ADMIN_PORT + platform.port_offset}"
    admin_process = os.pidfd_open(process_of(platform, "admin"))

    assert address in shown
    with connect(address) as admin:
        assert admin.cluster.describe_cluster(timeout=60).result.brokers == 1
        (brokers,) = admin.metrics.list_metrics(pattern="kafka_network_requestmetrics_totaltimems").results
        assert brokers.source == f"http://127.0.0.1:{METRICS_PORT + platform.port_offset}/metrics"
    assert platform.stop() == 0
    assert ends(admin_process)


def test_an_admin_server_that_dies_is_started_again_on_its_port(platform: Platform):
    platform.read_until("Ctrl-C")
    os.kill(process_of(platform, "admin"), signal.SIGKILL)
    platform.read_until("admin is up again")

    with connect(f"127.0.0.1:{ADMIN_PORT + platform.port_offset}") as admin:
        assert admin.cluster.describe_cluster(timeout=60).result.brokers == 1
    assert platform.stop() == 0


@pytest.mark.parametrize(
    ("assignments", "sources"),
    [
        ((), "http://127.0.0.1:9405/metrics"),
        (("metrics.listener=http://127.0.0.1:1234", "num.partitions=3"), "http://127.0.0.1:1234/metrics"),
        (("metrics.listener=",), ""),
    ],
)
def test_the_admin_server_is_told_where_the_broker_serves_its_metrics(
    tmp_path: Path, assignments: tuple[str, ...], sources: str
):
    component = up_command.admin_component(up_command.UpOptions(tmp_path, "127.0.0.1", 1, assignments))

    assert f"metrics.sources={sources}" in component.command


def test_without_grpc_the_platform_is_what_is_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(up_command, "missing_extra", lambda name: "install it" if name == "admin" else None)

    assert chosen_components(None) == ["broker"]
    with pytest.raises(UsageError, match="admin: install it"):
        chosen_components("broker,admin")
