"""gRPC admin is a guest: the same calls on our broker and on Apache Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystream.client.grpc import connect
from pystream.client.grpc.faces import Admin
from pystream.client.grpc.status import error_of
from pystream.common.errors import GroupIdNotFound, SecurityDisabled, TopicAlreadyExists, UnknownTopicOrPartition
from tests.conformance.sdk.conftest import EVENTUALLY_SECONDS, RunningCluster
from tests.support.admin_process import AdminProcess


@pytest.fixture
def admin(cluster: RunningCluster, tmp_path: Path) -> Iterator[Admin]:
    with AdminProcess(cluster.bootstrap, tmp_path / "admin.log") as server, connect(server.address) as client:
        yield client


def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """What `ask` gives once it `holds`: Kafka's brokers hear of changes a moment after they were acknowledged."""
    ends_at, pause = time.monotonic() + EVENTUALLY_SECONDS, threading.Event()
    while not holds(found := ask()):
        assert time.monotonic() < ends_at, found
        pause.wait(0.05)
    return found


def test_topics_records_and_partitions(cluster: RunningCluster, admin: Admin):
    name = cluster.fresh("grpc")

    created = admin.topics.create_topics(topics=[name], partitions=2, config={"retention.ms": "-1"}, timeout=60)
    again = admin.topics.create_topics(topics=[name], timeout=60)
    written = admin.records.produce_records(
        topic=name, records=[{"value": {"text": str(n)}, "partition": n % 2} for n in range(6)], timeout=60
    )
    peeked = admin.records.peek_records(topic=name, start="start", text=True, timeout=60)
    listed = admin.partitions.list_partitions(topics=[name], offsets=True, timeout=60)

    assert [(each.name, each.partitions) for each in created.results] == [(name, 2)]
    assert isinstance(error_of(again.failures[0].error), TopicAlreadyExists)
    assert [(each.written.partition, each.written.offset) for each in written.results] == [
        (number % 2, number // 2) for number in range(6)
    ]
    assert sorted(each.value.text for each in peeked.records) == [str(number) for number in range(6)]
    assert [(each.partition, each.end_offset) for each in listed.results] == [(0, 3), (1, 3)]
    with pytest.raises(UnknownTopicOrPartition):
        admin.topics.trim_topic(topic=cluster.fresh("nowhere"), before="1", timeout=60)


def test_a_tail_follows(cluster: RunningCluster, admin: Admin):
    name = cluster.fresh("tail")
    admin.topics.create_topics(topics=[name], partitions=1, timeout=60)

    with admin.records.tail_records(topic=name, text=True, limit=1, timeout=120) as tail:
        tail.wait_until_begun()
        admin.records.produce_records(topic=name, records=[{"value": {"text": "now"}}], timeout=60)
        assert [each.value.text for each in next(tail).records] == ["now"]


def test_cluster_configs_quotas_and_groups(cluster: RunningCluster, admin: Admin):
    user = cluster.fresh("user")
    admin.quotas.alter_quota(entity={"user": user}, set={"consumer_byte_rate": "512"}, timeout=60)

    assert admin.cluster.describe_cluster(timeout=60).result.brokers == 1
    assert [each.broker for each in admin.cluster.describe_log_dirs(timeout=60).results] == [1]
    assert "metadata.version" in [each.feature for each in admin.cluster.list_features(timeout=60).results]
    assert len(admin.configs.describe_configs(type="brokers", names=["1"], all=True, timeout=60).results) > 100
    assert list(admin.groups.list_groups(pattern=cluster.fresh("nobody"), timeout=60).results) == []
    (failure,) = admin.groups.delete_groups(groups=[cluster.fresh("nobody")], timeout=60).failures
    assert isinstance(error_of(failure.error), GroupIdNotFound)


def test_access_control_lists(cluster: RunningCluster, admin: Admin):
    name = cluster.fresh("secret")
    chosen = {"resource": "topic", "name": name}

    made = admin.acls.create_acls(**chosen, principal=["User:alice"], operation=["read", "write"], timeout=60)
    if not cluster.is_kafka:  # our broker has no authorizer yet, and says so
        assert [type(error_of(each.error)) for each in made.failures] == [SecurityDisabled] * 2
        return
    listed = eventually(lambda: admin.acls.list_acls(**chosen, timeout=60), lambda found: len(found.results) == 2)
    planned = admin.acls.delete_acls(**chosen, dry_run=True, timeout=60)
    deleted = admin.acls.delete_acls(**chosen, timeout=60)

    assert [(each.principal, each.operation, each.permission) for each in listed.results] == [
        ("User:alice", "read", "allow"),
        ("User:alice", "write", "allow"),
    ]
    assert len(planned.results) == len(deleted.results) == 2
    eventually(lambda: admin.acls.list_acls(**chosen, timeout=60), lambda found: not found.results)
