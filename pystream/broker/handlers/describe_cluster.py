"""DescribeCluster (key 60), versions 0-2: cluster id, controller and brokers.

0    flexible from the start (KIP-700)
1    endpoint type: 1 brokers, 2 controllers (KIP-919); we have no controller endpoints to tell of
2    fenced brokers too, when asked for (KIP-1073); a broker that lost its lease counts as fenced
"""

from __future__ import annotations

from pystream.broker.authorized_operations import ALL_ON_CLUSTER, NOT_ASKED
from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import MISMATCHED_ENDPOINT_TYPE, UNSUPPORTED_ENDPOINT_TYPE
from pystream.protocol.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

REQUEST = DescribeClusterRequest
BROKERS, CONTROLLERS = 1, 2


def handle(context: BrokerContext, call: Call, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type == CONTROLLERS:
        mismatch = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
        return failed(request, MISMATCHED_ENDPOINT_TYPE, mismatch)
    if request.endpoint_type != BROKERS:
        return failed(request, UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {request.endpoint_type}")
    image = context.image()
    return DescribeClusterResponse(
        endpoint_type=BROKERS,
        cluster_id=image.cluster_id,
        controller_id=context.image().controller_id,
        brokers=[
            DescribeClusterBroker(
                broker_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack, is_fenced=False
            )
            for broker, endpoint in context.reachable_brokers(call.listener)
        ],
        cluster_authorized_operations=(ALL_ON_CLUSTER if request.include_cluster_authorized_operations else NOT_ASKED),
    )


def failed(request: DescribeClusterRequest, code: int, message: str) -> DescribeClusterResponse:
    return DescribeClusterResponse(error_code=code, error_message=message, cluster_id="")
