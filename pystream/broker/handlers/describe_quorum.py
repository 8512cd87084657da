"""DescribeQuorum (key 55), versions 0-2: who decides on the metadata (KIP-595, KIP-836, KIP-853).

The metadata store stands in for Kafka's `__cluster_metadata` partition 0. The controller leads it, the leader epoch is
the controller's, the end of the log the store's revision. One voter, no observers.

    1    when a replica was last seen
    2    directory ids, nodes with their listeners, error messages
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE, UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.model import CLUSTER_METADATA_TOPIC
from pystream.protocol.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Listener,
    Node,
    ReplicaState,
)

REQUEST = DescribeQuorumRequest


def handle(context: BrokerContext, call: Call, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    image = context.image()
    controller = image.brokers.get(image.controller_id)
    nodes = (
        []
        if controller is None
        else [
            Node(
                node_id=controller.node_id,
                listeners=[
                    Listener(name=each.listener, host=each.host, port=each.port) for each in controller.endpoints
                ],
            )
        ]
    )
    return DescribeQuorumResponse(
        error_message=None,
        nodes=nodes,
        topics=[
            DescribeQuorumResponseTopicData(
                topic_name=topic.topic_name,
                partitions=[_described(context, topic.topic_name, asked.partition_index) for asked in topic.partitions],
            )
            for topic in request.topics
        ],
    )


def failed(request: DescribeQuorumRequest, code: int, message: str) -> DescribeQuorumResponse:
    return DescribeQuorumResponse(
        error_code=code,
        error_message=message,
        topics=[
            DescribeQuorumResponseTopicData(
                topic_name=topic.topic_name,
                partitions=[
                    DescribeQuorumResponsePartitionData(
                        partition_index=asked.partition_index, error_code=code, error_message=message
                    )
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def _described(context: BrokerContext, topic: str, partition: int) -> DescribeQuorumResponsePartitionData:
    if (topic, partition) != (CLUSTER_METADATA_TOPIC, 0):
        return DescribeQuorumResponsePartitionData(
            partition_index=partition,
            error_code=UNKNOWN_TOPIC_OR_PARTITION,
            error_message=f"{topic}-{partition} is not the metadata partition",
        )
    image = context.image()
    now_ms = context.clock.now_ms()
    voter = ReplicaState(
        replica_id=image.controller_id,
        log_end_offset=image.revision,
        last_fetch_timestamp=now_ms,
        last_caught_up_timestamp=now_ms,
    )
    return DescribeQuorumResponsePartitionData(
        partition_index=partition,
        error_code=NONE,
        error_message=None,
        leader_id=image.controller_id,
        leader_epoch=image.controller_epoch,
        high_watermark=image.revision,
        current_voters=[voter],
    )
