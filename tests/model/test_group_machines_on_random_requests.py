"""Random requests to groups that live: whatever they say, each is answered once, and the log gives the group as it is.

The bodies are random in every field; some fields are then made to hit: the group, its members, their epochs, topics.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from pystream.coordinator.group.consumer.describe import describe_consumer_groups
from pystream.coordinator.group.consumer.heartbeat import heartbeat as consumer_heartbeat
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.streams.describe import describe_streams_groups
from pystream.coordinator.group.streams.heartbeat import heartbeat as streams_heartbeat
from pystream.protocol.api_keys import ApiKey
from tests.model.test_consumer_groups_model import state_of as consumer_state
from tests.model.test_handlers_on_random_requests import body_of, requests
from tests.model.test_streams_groups_model import state_of as streams_state
from tests.support.consumer_rig import ConsumerRig
from tests.support.group_rig import GROUP
from tests.support.streams_rig import WORD_COUNT, StreamsRig

ROUNDS, FULL_ROUNDS = 400, 4_000
EPOCHS = (-2, -1, 0, 0, 0, 1, 2, 3, 2**31 - 1)


def bodies(api_key: int, versions: range, rounds: int) -> Iterator[tuple[int, Any]]:
    for version in versions:
        for frame in requests(api_key, version, rounds):
            yield version, body_of(frame, api_key, version)


def aim(request: Any, chance: random.Random) -> None:
    """Make the request hit something, as often as not."""
    if chance.random() < 0.9:
        request.group_id = GROUP
    if chance.random() < 0.9:
        request.member_id = chance.choice(("one", "two", "three", ""))
    if chance.random() < 0.9:
        request.member_epoch = chance.choice(EPOCHS)
    if chance.random() < 0.7:
        request.instance_id = None
    if chance.random() < 0.8:
        request.rack_id = None
    if request.rebalance_timeout_ms == -1 or chance.random() < 0.5:
        request.rebalance_timeout_ms = chance.choice((-1, 0, 1_000, 60_000))


@pytest.mark.timeout(3600)
def test_consumer_groups_answer_whatever_they_are_asked(full: bool):
    chance = random.Random(1)
    rig = ConsumerRig()
    for name in ("a", "b"):
        rig.topics.put(name, 4)
    member = rig.member("one", "a").join()
    codes = set()
    for version, request in bodies(ApiKey.CONSUMER_GROUP_HEARTBEAT, range(2), FULL_ROUNDS if full else ROUNDS):
        aim(request, chance)
        if chance.random() < 0.6:
            request.subscribed_topic_names = chance.choice((None, [], ["a"], ["a", "b", "c"]))
        if chance.random() < 0.7:
            request.subscribed_topic_regex = chance.choice((None, None, "", "[ab]", "("))
        if chance.random() < 0.8:
            request.server_assignor = chance.choice((None, None, "range", "uniform"))
        if chance.random() < 0.6:
            request.topic_partitions = chance.choice((None, []))
        response = rig.call(consumer_heartbeat, Caller(version, "client", "/127.0.0.1"), request)
        response.encode(version)
        codes.add(response.error_code)
        if chance.random() < 0.2:
            rig.advance(chance.choice((0, 1_000, 30_000)))
        if chance.random() < 0.1:
            member.beat()
            rig.call(describe_consumer_groups, [GROUP])
            replayed = rig.loaded_from_log().groups.get(GROUP)
            assert consumer_state(rig.shard.groups.get(GROUP)) == consumer_state(replayed)  # type: ignore[arg-type]
    assert 0 in codes
    assert len(codes) > 5


@pytest.mark.timeout(3600)
def test_streams_groups_answer_whatever_they_are_asked(full: bool):
    chance = random.Random(2)
    rig = StreamsRig()
    rig.topics.put("words", 4)
    rig.settle(rig.thread("one").join())
    codes = set()
    for version, request in bodies(ApiKey.STREAMS_GROUP_HEARTBEAT, range(1), FULL_ROUNDS if full else ROUNDS):
        aim(request, chance)
        request.instance_id = request.task_offsets = request.task_end_offsets = None
        if chance.random() < 0.8:
            request.topology = chance.choice((None, WORD_COUNT))
        if chance.random() < 0.8:
            owned = chance.choice((None, []))
            request.active_tasks = request.standby_tasks = request.warmup_tasks = owned
        reply = rig.call(streams_heartbeat, Caller(version, "client", "/127.0.0.1"), request)
        reply.response.encode(version)
        rig.create_topics(reply)
        codes.add(reply.response.error_code)
        if chance.random() < 0.2:
            rig.advance(chance.choice((0, 1_000, 30_000)))
        if chance.random() < 0.1:
            rig.call(describe_streams_groups, [GROUP])
            live, replayed = rig.shard.groups.get(GROUP), rig.loaded_from_log().groups.get(GROUP)
            assert (live is None) == (replayed is None)  # an empty group without offsets is forgotten in time
            if live is not None:
                assert streams_state(live) == streams_state(replayed)  # type: ignore[arg-type]
    assert 0 in codes
    assert len(codes) > 4
