"""Who leads the partitions that a share consumer asked the wrong broker for, and where that broker is (KIP-951)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pystream.common.error_codes import FENCED_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER

if TYPE_CHECKING:
    from pystream.common.model import Endpoint
    from pystream.metadata.image import BrokerImage, ClusterImage

WRONG_LEADER = frozenset({NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH})


def with_leaders(
    image: ClusterImage,
    reachable_brokers: Callable[[], Iterable[tuple[BrokerImage, Endpoint]]],
    response: Any,
    messages: ModuleType,
) -> Any:
    """A response of ShareFetch or ShareAcknowledge, its classes in `messages`, with leaders where one is wrong."""
    named: set[int] = set()
    for topic in response.responses:
        known = image.topics_by_id.get(topic.topic_id)
        for answered in topic.partitions:
            partition = None if known is None else known.partition(answered.partition_index)
            if answered.error_code in WRONG_LEADER and partition is not None:
                answered.current_leader = messages.LeaderIdAndEpoch(
                    leader_id=partition.leader, leader_epoch=partition.leader_epoch
                )
                named.add(partition.leader)
    if named:
        response.node_endpoints = [
            messages.NodeEndpoint(node_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack)
            for broker, endpoint in reachable_brokers()
            if broker.node_id in named
        ]
    return response
