"""confluent_kafka's clients that nobody closed: they leave their groups, and their loop ends, as the SDK's do."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystream import testing
from pystream.client import AdminClient as SdkAdminClient
from pystream.client import Producer as SdkProducer
from pystream.client.admin.topics import NewTopic
from pystream.client.sync import runner
from pystream.compat.confluent_kafka import Consumer, Producer
from pystream.compat.confluent_kafka.admin import AdminClient

TOPIC = "dropped"
TEST_SECONDS = 60


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with testing.broker() as broker:
        with SdkAdminClient(bootstrap_servers=broker.bootstrap) as admin:
            admin.create_topics([NewTopic(TOPIC, 1, 1)]).checked()
        with SdkProducer(bootstrap_servers=broker.bootstrap) as producer:
            producer.send(TOPIC, b"value").result(TEST_SECONDS)
        yield broker.bootstrap


@pytest.fixture
def drop(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], list[str]]:
    """Lets go of what is in a list; gives the warnings once no loop of this test's clients runs any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what earlier tests dropped is told of now
    monkeypatch.setattr(runner, "_shared", [])
    before = set(threading.enumerate())

    def dropped(held: list[Any]) -> list[str]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ResourceWarning)
            held.clear()
            gc.collect()
            for thread in set(threading.enumerate()) - before:  # the end of a flush() holds its client for a moment
                if thread.name == "pystream-client":
                    thread.join(TEST_SECONDS)
                    assert not thread.is_alive()
        return [str(each.message) for each in told if "close() it, or use" in str(each.message)]

    return dropped


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("callbacks", [{}, {"on_assign": lambda *_: None}], ids=["alone", "with callbacks"])
def test_a_dropped_consumer_leaves_its_group(
    bootstrap: str, drop: Callable[[list[Any]], list[str]], protocol: str, callbacks: dict[str, Any]
) -> None:
    group = f"{protocol}-{len(callbacks)}"
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol}
    held = [Consumer({**settings, "auto.offset.reset": "earliest"})]
    held[0].subscribe([TOPIC], **callbacks)
    while held[0].poll(TEST_SECONDS) is None:
        continue
    assert len(drop(held)) == 1
    with SdkAdminClient(bootstrap_servers=bootstrap) as admin:
        assert admin.describe_consumer_groups([group]).checked()[group].members == ()


def test_a_dropped_producer_and_a_dropped_admin_client_end(
    bootstrap: str, drop: Callable[[list[Any]], list[str]]
) -> None:
    held: list[Any] = [Producer({"bootstrap.servers": bootstrap}), AdminClient({"bootstrap.servers": bootstrap})]
    held[0].produce(TOPIC, b"flushed")
    held[0].flush(TEST_SECONDS)
    assert held[1].list_topics(timeout=TEST_SECONDS).topics
    assert sorted(each.split()[1].rstrip(":") for each in drop(held)) == ["AdminClient", "Producer"]
