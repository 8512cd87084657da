"""The controller and the image against a plain dict, over random schedules of requests and faults.

After each step three pictures of the cluster must agree:

    the model       name -> partitions, replicas, settings; written here without a look at the implementation
    the image       kept by the publisher, change by change
    a follower      what a subscriber knows that only ever applied the deltas it was told
    a fresh image   read from the store in one go, as after a restart
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pystream.common.errors import KafkaError
from pystream.common.model import collision_key
from pystream.controller.requests import Alteration, AlterOperation, ConfigAlteration, MorePartitions, NewTopic
from pystream.metadata import records
from pystream.metadata.image import ClusterImage, Delta, PartitionImage
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.records import PartitionRecord
from pystream.metadata.store import Put
from tests.support.controller import ControllerKit, started_kit

BROKERS = [(1, "a"), (2, "b"), (3, "a")]
# Few names and mostly good numbers, so that requests meet the same topics again.
NAMES = st.sampled_from(["a", "a", "a.b", "a_b", "no good"])
PARTITIONS = st.sampled_from([1, 2, 3, -1, 0, -2])
FACTORS = st.sampled_from([1, 2, 3, 1, 2, -1, 0, 4])
KEYS = st.sampled_from(["retention.ms", "cleanup.policy", "no.such.key"])
VALUES = st.sampled_from(["1", "compact", "compact,delete", "nonsense"])
VALID = {("retention.ms", "1"), ("cleanup.policy", "compact"), ("cleanup.policy", "compact,delete")}


@dataclass
class Topic:
    """What the model knows of a topic."""

    replication_factor: int
    partitions: list[tuple[int, int, tuple[int, ...]] | None]  # (leader, epoch, isr); None: as it began
    configs: dict[str, str] = field(default_factory=dict)


class Follower:
    """A subscriber that believes its deltas."""

    def __init__(self, image: ClusterImage) -> None:
        self.partitions: dict[tuple[bytes, int], PartitionImage] = {}
        self.configs: dict[bytes, dict[str, str]] = {}
        self.names: dict[str, bytes] = {}
        self.told(Delta(created=tuple(image.topics.values())), image)

    def told(self, delta: Delta, image: ClusterImage) -> None:
        for topic in delta.deleted:
            del self.names[topic.name], self.configs[topic.topic_id]
            for partition in topic.partitions:
                del self.partitions[topic.topic_id, partition.index]
        for topic in delta.created:
            assert topic.name not in self.names
            self.names[topic.name], self.configs[topic.topic_id] = topic.topic_id, dict(topic.configs)
            for partition in topic.partitions:
                self.partitions[topic.topic_id, partition.index] = partition
        for topic, partition in delta.changed_partitions:
            self.partitions[topic.topic_id, partition.index] = partition
        for topic in delta.reconfigured:
            self.configs[topic.topic_id] = dict(topic.configs)


class ControllerMachine(RuleBasedStateMachine):
    """One cluster. Rules are what clients ask, what brokers report, and what goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.kit: ControllerKit = self.runner.run(started_kit(BROKERS))
        self.model: dict[str, Topic] = {}
        self.ids: dict[bytes, None] = {}  # in the order of creation: ids are random, their order must not be
        self.follower = Follower(self.kit.image)
        self.kit.publisher.subscribe(self.follower.told)

    @initialize()
    def follow(self) -> None:
        async def start() -> asyncio.Task[None]:
            return asyncio.ensure_future(self.kit.publisher.run())

        self.following = self.runner.run(start())

    def teardown(self) -> None:
        async def stop() -> None:
            self.following.cancel()
            await asyncio.wait([self.following])
            await self.kit.store.close()

        if hasattr(self, "following"):
            self.runner.run(stop())
        self.runner.close()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    # --- what clients ask ---------------------------------------------------------------------------------------------

    @rule(
        names=st.lists(NAMES, min_size=1, max_size=3),
        partitions=PARTITIONS,
        factor=FACTORS,
        settings_=st.dictionaries(KEYS, VALUES, max_size=1),
        validate_only=st.booleans(),
        lost=st.sampled_from([None, "lose_reply", "lose_request"]),
    )
    def create(
        self,
        names: list[str],
        partitions: int,
        factor: int,
        settings_: dict[str, str],
        validate_only: bool,
        lost: str | None,
    ) -> None:
        requests = [
            NewTopic(name=n, partitions=partitions, replication_factor=factor, configs=list(settings_.items()))
            for n in names
        ]
        good = partitions not in (0, -2) and factor in (-1, 1, 2, 3) and set(settings_.items()) <= VALID
        expected: dict[str, bool] = {}
        taken = {collision_key(name) for name in self.model}
        for name in dict.fromkeys(names):
            fits = good and names.count(name) == 1 and name not in ("", "no good") and collision_key(name) not in taken
            expected[name] = fits
            taken |= {collision_key(name)} if fits else set()
        if lost is not None and not validate_only and any(expected.values()):
            setattr(self.kit.store.faults, lost, 1)
        first = next((name for name, fits in expected.items() if fits), None)
        if lost == "lose_request" and first is not None and not validate_only:
            expected[first] = False
        outcomes = self.run(self.kit.topics.create_topics(requests, validate_only=validate_only))
        assert {outcome.name: outcome.error is None for outcome in outcomes} == expected
        for name, made in expected.items():
            if made and not validate_only:
                self.model[name] = Topic(max(factor, 1), [None] * max(partitions, 1), dict(settings_))

    @rule(names=st.lists(NAMES, min_size=1, max_size=3))
    def delete_by_name(self, names: list[str]) -> None:
        outcomes = self.run(self.kit.topics.delete_topics(names=names))
        expected = {name: name in self.model and names.count(name) == 1 for name in names}
        assert {outcome.name: outcome.error is None for outcome in outcomes} == expected
        for name, gone in expected.items():
            if gone:
                del self.model[name]

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def delete_by_id(self, data: st.DataObject) -> None:
        topic_id = data.draw(st.sampled_from(list(self.ids)))
        lives = next((t.name for t in self.kit.image.topics.values() if t.topic_id == topic_id), None)
        (outcome,) = self.run(self.kit.topics.delete_topics(topic_ids=[topic_id]))
        assert (outcome.error is None, outcome.name) == (lives is not None, lives)
        if lives is not None:
            del self.model[lives]

    @rule(name=NAMES, count=st.integers(1, 8), validate_only=st.booleans())
    def grow(self, name: str, count: int, validate_only: bool) -> None:
        request = MorePartitions(name=name, count=count)
        (outcome,) = self.run(self.kit.topics.create_partitions([request], validate_only=validate_only))
        topic = self.model.get(name)
        grows = topic is not None and count > len(topic.partitions)
        assert (outcome.error is None) == grows
        if topic is not None and grows and not validate_only:
            topic.partitions += [None] * (count - len(topic.partitions))

    @rule(name=NAMES, config=KEYS, value=VALUES, operation=st.sampled_from(AlterOperation), twice=st.booleans())
    def alter(self, name: str, config: str, value: str, operation: AlterOperation, twice: bool) -> None:
        alteration = Alteration(config, operation, None if operation is AlterOperation.DELETE else value)
        request = ConfigAlteration(resource_type=2, resource_name=name, alterations=[alteration])
        requests = [request] * (1 + twice)
        outcomes = self.run(self.kit.configs.incremental_alter_configs(requests))
        assert len(outcomes) == len(requests)
        topic = self.model.get(name)
        after = self.altered(topic.configs if topic else {}, config, value, operation)
        fits = topic is not None and after is not None and not twice
        assert [outcome.error is None for outcome in outcomes] == [fits] * len(requests), outcomes
        if topic is not None and after is not None and fits:
            topic.configs = after

    @staticmethod
    def altered(before: dict[str, str], config: str, value: str, operation: AlterOperation) -> dict[str, str] | None:
        """The settings after one change; None when it must be refused."""
        after = dict(before)
        if operation is AlterOperation.DELETE:
            after.pop(config, None)
            return after
        if operation is AlterOperation.SET:
            after[config] = value
            return after if (config, value) in VALID else None
        if config != "cleanup.policy":
            return None
        items, given = before.get(config, "delete").split(","), value.split(",")
        items = [item for item in items if item]
        if operation is AlterOperation.APPEND:
            items += [item for item in given if item not in items]
        else:
            items = [item for item in items if item not in given]
        after[config] = ",".join(items)
        return after if set(items) <= {"compact", "delete"} else None

    # --- what brokers report, and what goes wrong ---------------------------------------------------------------------

    @precondition(lambda self: self.model)
    @rule(data=st.data(), leader=st.sampled_from([-1, 1, 2, 3]), epoch=st.integers(1, 9))
    def move_leader(self, data: st.DataObject, leader: int, epoch: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        index = data.draw(st.integers(0, len(self.model[name].partitions) - 1))
        topic = self.kit.image.topics[name]
        replicas = topic.partitions[index].replicas
        state = PartitionRecord(leader, epoch, epoch, replicas, replicas[:1])
        put = Put(records.partition_key(topic.topic_id, index), records.encode_partition(state))
        result = self.run(self.kit.store.transaction([], [put]))
        self.run(self.kit.publisher.wait_for(result.revision))
        self.model[name].partitions[index] = (leader, epoch, replicas[:1])

    @rule()
    def forget_history(self) -> None:
        self.kit.store.compact(self.kit.store.revision + 1)

    @rule()
    def fall_behind(self) -> None:
        """A change of which the watch hears nothing before the history is gone."""

        async def change() -> int:
            result = await self.kit.store.transaction([], [Put("features", records.encode_mapping("levels", {}))])
            self.kit.store.compact(result.revision + 1)
            return result.revision

        self.run(self.kit.publisher.wait_for(self.run(change())))

    @rule()
    def lose_the_lease(self) -> None:
        """A controller without its lease changes nothing; the next heartbeat brings it back under a later epoch."""

        async def lose_and_return() -> list[KafkaError | None]:
            before = self.kit.image.controller_epoch
            self.kit.clock.advance(ms=60_000)
            refused = await self.kit.topics.create_topics([NewTopic(name="never")])
            await self.kit.session._beat()
            image = await self.kit.publisher.wait_for(self.kit.store.revision)
            assert image.controller_epoch > before
            return [outcome.error for outcome in refused]

        (error,) = self.run(lose_and_return())
        assert error is not None
        assert error.name in ("NOT_CONTROLLER", "INVALID_REPLICATION_FACTOR")

    # --- what must hold after every step ------------------------------------------------------------------------------

    @invariant()
    def the_image_is_the_model(self) -> None:
        if not hasattr(self, "following"):
            return
        image = self.run(self.kit.publisher.wait_for(self.kit.store.revision))
        assert set(image.topics) == set(self.model)
        for name, expected in self.model.items():
            topic = image.topics[name]
            assert dict(topic.configs) == expected.configs
            assert len(topic.partitions) == len(expected.partitions)
            for partition, state in zip(topic.partitions, expected.partitions, strict=True):
                assert len(partition.replicas) == len(set(partition.replicas)) == expected.replication_factor
                begun = (partition.replicas[0], 0, partition.replicas)
                assert (partition.leader, partition.leader_epoch, partition.isr) == (state or begun)
            self.ids[topic.topic_id] = None
        assert {topic.topic_id: topic for topic in image.topics.values()} == image.topics_by_id

    @invariant()
    def an_image_read_anew_is_the_image_kept_by_changes(self) -> None:
        if hasattr(self, "following"):
            assert self.run(ImagePublisher(self.kit.store, self.kit.clock).load()) == self.kit.image

    @invariant()
    def a_follower_of_deltas_knows_the_same(self) -> None:
        topics = self.kit.image.topics
        assert self.follower.names == {name: topic.topic_id for name, topic in topics.items()}
        assert self.follower.configs == {topic.topic_id: dict(topic.configs) for topic in topics.values()}
        assert self.follower.partitions == {
            (topic.topic_id, partition.index): partition for topic in topics.values() for partition in topic.partitions
        }

    @invariant()
    def nothing_is_left_of_topics_that_are_gone(self) -> None:
        page = self.run(self.kit.store.range(""))
        living = {records.topic_key(topic.topic_id) for topic in self.kit.image.topics.values()}
        for item in page.items:
            for prefix in (records.PARTITIONS, records.TOPIC_CONFIGS):
                if item.key.startswith(prefix):
                    assert records.TOPICS + item.key[len(prefix) :].split("/")[0] in living


TestController = ControllerMachine.TestCase
TestController.settings = settings(max_examples=80, stateful_step_count=40)
