"""WriteTxnMarkers (key 27), versions 1-2: the markers of transactions, from a coordinator or from who aborts by hand.

`kafka-transactions.sh abort` ends with it a transaction that no coordinator knows of any more.

    1    flexible
    2    the transaction version of the coordinator: from 2 on the epoch must be above the transaction's (KIP-890)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    NOT_COORDINATOR,
    NOT_LEADER_OR_FOLLOWER,
)
from pystream.coordinator.ports import MarkerBatch
from pystream.protocol.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

REQUEST = WriteTxnMarkersRequest
# Of the offsets' coordinator; whoever writes markers knows only of leaders.
_NOT_READY = frozenset({COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR})


async def handle(context: BrokerContext, call: Call, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    codes = await asyncio.gather(*(_write(context, marker) for marker in request.markers))
    return _response(request.markers, codes)


def failed(request: WriteTxnMarkersRequest, code: int, message: str) -> WriteTxnMarkersResponse:
    return _response(request.markers, [dict.fromkeys(_places(marker), code) for marker in request.markers])


async def _write(context: BrokerContext, asked: WritableTxnMarker) -> Mapping[tuple[str, int], int]:
    marker = MarkerBatch(asked.producer_id, asked.producer_epoch, asked.transaction_result, asked.coordinator_epoch)

    places = list(dict.fromkeys(_places(asked)))
    codes = await context.coordinators.transaction_ports.write_markers(places, marker, asked.transaction_version)
    return {place: NOT_LEADER_OR_FOLLOWER if code in _NOT_READY else code for place, code in codes.items()}


def _places(marker: WritableTxnMarker) -> list[tuple[str, int]]:
    return [(topic.name, partition) for topic in marker.topics for partition in topic.partition_indexes]


def _response(
    markers: Iterable[WritableTxnMarker], codes: Iterable[Mapping[tuple[str, int], int]]
) -> WriteTxnMarkersResponse:
    return WriteTxnMarkersResponse(
        markers=[
            WritableTxnMarkerResult(
                producer_id=marker.producer_id,
                topics=[
                    WritableTxnMarkerTopicResult(
                        name=topic.name,
                        partitions=[
                            WritableTxnMarkerPartitionResult(
                                partition_index=partition, error_code=found[topic.name, partition]
                            )
                            for partition in topic.partition_indexes
                        ],
                    )
                    for topic in marker.topics
                ],
            )
            for marker, found in zip(markers, codes, strict=True)
        ]
    )
