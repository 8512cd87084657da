"""kill -9 of a broker among administrative requests: what was acknowledged holds, the rest is whole or not at all."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from tests.support.broker_process import BrokerProcess

TIMEOUT_SECONDS = 60.0
NAMES = ["a", "b", "c", "d"]
KEYS = ["retention.ms", "segment.ms"]


@dataclass
class Topic:
    """What a client was told of a topic."""

    partitions: int
    configs: dict[str, str] = field(default_factory=dict)


Cluster = dict[str, Topic]


@dataclass
class Change:
    """A request, and what it makes of the cluster."""

    send: Callable[[AdminClient], dict[Any, Future[Any]]]
    apply: Callable[[Cluster], None]


def random_change(cluster: Cluster, random_source: random.Random) -> Change:
    """A request that must succeed on this cluster."""
    absent = [name for name in NAMES if name not in cluster]
    if absent and (not cluster or random_source.random() < 0.4):
        name, partitions = random_source.choice(absent), random_source.randint(1, 3)
        return Change(
            lambda admin: admin.create_topics([NewTopic(name, partitions, 1)]),
            lambda after: after.update({name: Topic(partitions)}),
        )
    name = random_source.choice(sorted(cluster))
    kind = random_source.choice(["delete", "grow", "configure", "configure"])
    if kind == "delete":
        return Change(lambda admin: admin.delete_topics([name]), lambda after: after.pop(name))
    if kind == "grow":
        count = cluster[name].partitions + 1
        return Change(
            lambda admin: admin.create_partitions([NewPartitions(name, count)]),
            lambda after: setattr(after[name], "partitions", count),
        )
    key, value = random_source.choice(KEYS), str(random_source.randint(1_000, 9_999))
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    return Change(
        lambda admin: admin.incremental_alter_configs([resource]),
        lambda after: after[name].configs.update({key: value}),
    )


def read(admin: AdminClient) -> Cluster:
    """The cluster as clients see it."""
    listed = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    found = {name: Topic(len(topic.partitions)) for name, topic in listed.items()}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in found]
    for resource, future in (admin.describe_configs(resources) if resources else {}).items():
        settings = future.result(TIMEOUT_SECONDS)
        found[resource.name].configs = {
            key: settings[key].value for key in KEYS if not settings[key].is_default and settings[key].source == 1
        }
    return found


@pytest.mark.unsanitized
def test_administration_outlives_a_killed_broker(tmp_path: Path, full: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    random_source = random.Random(seed)
    broker = BrokerProcess(tmp_path / "data", {"auto.create.topics.enable": "false"})
    possible: list[Cluster] = [{}]
    for _ in range(100 if full else 6):
        with broker:
            admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
            cluster = read(admin)
            assert cluster in possible
            for _ in range(random_source.randrange(12)):
                change = random_change(cluster, random_source)
                (future,) = change.send(admin).values()
                future.result(TIMEOUT_SECONDS)
                change.apply(cluster)
            assert read(admin) == cluster
            change = random_change(cluster, random_source)
            after = copy.deepcopy(cluster)
            change.apply(after)
            possible = [cluster, after]
            change.send(admin)
            admin.poll(random_source.random() / 20)  # how far it comes is left to chance
            broker.kill()
