"""Requests of consumer groups at the edge of the broker: the feature that they need, and no coordinator yet."""

from __future__ import annotations

from pystream.common.error_codes import (
    COORDINATOR_NOT_AVAILABLE,
    GROUP_ID_NOT_FOUND,
    INVALID_GROUP_ID,
    NONE,
    NOT_COORDINATOR,
    UNSUPPORTED_VERSION,
)
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from pystream.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.share_group_describe import ShareGroupDescribeRequest
from pystream.protocol.messages.streams_group_describe import StreamsGroupDescribeRequest
from pystream.protocol.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from tests.support.cold_rig import ColdRig, run_cold

SAFE_DOWNGRADE = 2
HEARTBEAT = ConsumerGroupHeartbeatRequest(
    group_id="group", member_id="member", rebalance_timeout_ms=1_000, subscribed_topic_names=["topic"]
)
DESCRIBE = ConsumerGroupDescribeRequest(group_ids=["one", "two"])


def test_a_new_cluster_has_consumer_groups_and_tells_of_them_to_those_who_can_read_it():
    async def scenario(rig: ColdRig):
        request = ApiVersionsRequest(client_software_name="a", client_software_version="1")
        return [await rig.call(request, version) for version in (3, 4)]

    old, new = run_cold(scenario)
    assert "group.version" not in {feature.name for feature in old.supported_features}
    assert ("group.version", 0, 1) in {(f.name, f.min_version, f.max_version) for f in new.supported_features}
    assert {f.name: f.max_version_level for f in new.finalized_features}["group.version"] == 1


def test_requests_are_refused_without_the_feature():
    async def scenario(rig: ColdRig):
        update = FeatureUpdateKey(feature="group.version", max_version_level=0, upgrade_type=SAFE_DOWNGRADE)
        assert (await rig.call(UpdateFeaturesRequest(feature_updates=[update]), 2)).error_code == NONE
        return await rig.call(HEARTBEAT, 1), await rig.call(DESCRIBE, 1)

    heartbeat, described = run_cold(scenario)
    assert heartbeat.error_code == UNSUPPORTED_VERSION
    assert [(group.group_id, group.error_code) for group in described.groups] == [
        ("one", UNSUPPORTED_VERSION),
        ("two", UNSUPPORTED_VERSION),
    ]


def test_each_group_is_told_that_nobody_coordinates_it_yet():
    async def scenario(rig: ColdRig):
        return await rig.call(HEARTBEAT, 1), await rig.call(DESCRIBE, 0)

    heartbeat, described = run_cold(scenario)
    nobody = {COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR}
    assert heartbeat.error_code in nobody
    assert [group.group_id for group in described.groups] == ["one", "two"]
    assert {group.error_code for group in described.groups} <= nobody


def test_protocols_that_the_broker_leaves_out_are_refused():
    async def scenario(rig: ColdRig):
        return await rig.call(HEARTBEAT, 1), await rig.call(StreamsGroupDescribeRequest(group_ids=["one"]), 0)

    heartbeat, described = run_cold(scenario, {"group.coordinator.rebalance.protocols": "classic,consumer"})
    assert heartbeat.error_code != UNSUPPORTED_VERSION
    assert [group.error_code for group in described.groups] == [UNSUPPORTED_VERSION]
    assert "leaves streams out" in described.groups[0].error_message


def test_a_group_without_an_id_is_described_as_such():
    requests = (ConsumerGroupDescribeRequest, 1), (StreamsGroupDescribeRequest, 0), (ShareGroupDescribeRequest, 1)

    async def scenario(rig: ColdRig):
        await rig.call(FindCoordinatorRequest(coordinator_keys=["one"]), 6)
        answers = [await rig.call(kind(group_ids=["", "one"]), version) for kind, version in requests]
        return [[(group.group_id, group.error_code) for group in answer.groups] for answer in answers]

    assert run_cold(scenario) == [[("", INVALID_GROUP_ID), ("one", GROUP_ID_NOT_FOUND)]] * 3
