"""Limits changed while a broker runs, set and felt by clients over sockets: event loops, rates of new connections."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from pystream.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.describe_client_quotas import ComponentData, DescribeClientQuotasRequest
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

TIMEOUT_SECONDS = 60.0
MANY = 100
WINDOWS = {"quota.window.num": "2", "quota.window.size.seconds": "1"}


def client(broker: BrokerProcess) -> RawClient:
    return RawClient(int(broker.bootstrap.rpartition(":")[2]))


def is_served(connection: RawClient) -> bool:
    try:
        return connection.call(ApiVersionsRequest(), 0).error_code == 0
    except OSError:
        return False


def served(broker: BrokerProcess, count: int) -> list[bool]:
    """Which of so many connections, opened one after another, are answered."""
    with contextlib.ExitStack() as opened:
        return [is_served(opened.enter_context(client(broker))) for _ in range(count)]


def is_refused_in_the_end(broker: BrokerProcess) -> bool:
    """Whether one of many connections, opened as fast as it goes, is not answered."""
    with contextlib.ExitStack() as opened:
        return not all(is_served(opened.enter_context(client(broker))) for _ in range(MANY))


def bound_addresses(connection: RawClient, rate: float | None) -> int:
    """The code that AlterClientQuotas answers for the quota of all addresses."""
    entry = AlterClientQuotasRequestEntryData(
        entity=[AlterClientQuotasRequestEntityData(entity_type="ip", entity_name=None)],
        ops=[OpData(key="connection_creation_rate", value=rate or 0.0, remove=rate is None)],
    )
    (result,) = connection.call(AlterClientQuotasRequest(entries=[entry], validate_only=False), 1).entries
    return int(result.error_code)


def rates_shown(connection: RawClient) -> list[tuple[str | None, float]]:
    request = DescribeClientQuotasRequest(
        components=[ComponentData(entity_type="ip", match_type=2, match=None)], strict=False
    )
    return [(entry.entity[0].entity_name, entry.values[0].value) for entry in connection.call(request, 1).entries]


def set_live(broker: BrokerProcess, name: str, value: str | None) -> None:
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value or "", incremental_operation=operation)
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    (future,) = admin.incremental_alter_configs([resource]).values()
    future.result(TIMEOUT_SECONDS)


def test_a_quota_of_addresses_is_set_shown_enforced_and_outlives_a_restart(make_broker: Callable[..., BrokerProcess]):
    broker = make_broker(WINDOWS).start()
    with client(broker) as first:
        assert bound_addresses(first, 1) == 0
        assert rates_shown(first) == [(None, 1.0)]
        assert is_refused_in_the_end(broker)
        assert is_served(first)
    broker.terminate()
    broker.start()
    with client(broker) as first:
        assert rates_shown(first) == [(None, 1.0)]
        assert is_refused_in_the_end(broker)
        assert bound_addresses(first, None) == 0
        assert served(broker, 3) == [True, True, True]


@pytest.mark.parametrize("prefix", ["", "listener.name.plaintext."])
def test_connections_beyond_the_rate_wait_and_are_served(make_broker: Callable[..., BrokerProcess], prefix: str):
    name = f"{prefix}max.connection.creation.rate"
    broker = make_broker({**WINDOWS, name: "3"}).start()
    began = time.monotonic()
    assert served(broker, 6) == [True] * 6
    assert time.monotonic() - began > 0.5
    set_live(broker, name, "1000000")
    began = time.monotonic()
    assert served(broker, MANY) == [True] * MANY
    assert time.monotonic() - began < MANY / 3 - 2, "as if it were three a second still"


def test_event_loops_come_and_go_and_connections_stay(make_broker: Callable[..., BrokerProcess]):
    broker = make_broker({"num.network.threads": "2"}).start()
    with contextlib.ExitStack() as opened:
        before = [opened.enter_context(client(broker)) for _ in range(4)]
        assert all(map(is_served, before))
        set_live(broker, "num.network.threads", "4")
        grown = [opened.enter_context(client(broker)) for _ in range(8)]
        assert all(map(is_served, [*before, *grown]))
        for fewer in ("2", "1"):
            set_live(broker, "num.network.threads", fewer)
        after = [opened.enter_context(client(broker)) for _ in range(4)]
        assert all(map(is_served, [*before, *grown, *after]))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("num.network.threads", "9", "should not be greater than double the current value 4"),
        ("num.network.threads", "1", "should be at least half the current value 4"),
        ("num.io.threads", "17", "should not be greater than double the current value 8"),
        ("num.network.threads", "0", "at least 1"),
    ],
)
def test_a_pool_neither_halves_nor_doubles_at_once_by_more(shared: BrokerProcess, name: str, value: str, reason: str):
    with pytest.raises(KafkaException, match=reason):
        set_live(shared, name, value)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "data", {"num.network.threads": "4"}) as started:
        yield started
