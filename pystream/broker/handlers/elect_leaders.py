"""ElectLeaders (key 43), versions 0-2: let another replica lead (KIP-183, KIP-460).

    election type 0    the preferred replica, the first of the list
    election type 1    any replica, where there is no leader: records may be lost

A partition has one replica here, and the controller lets it lead as long as its broker is there. So an election is not
needed, or impossible: its broker is not registered. Null partitions ask for all; those that need no election are then
left out.

    1    election types
    2    flexible
"""

from __future__ import annotations

from collections.abc import Iterable

from pystream.broker.context import BrokerContext, Call
from pystream.common.errors import (
    ElectionNotNeeded,
    EligibleLeadersNotAvailable,
    InvalidRequest,
    KafkaError,
    PreferredLeaderNotAvailable,
    UnknownTopicOrPartition,
)
from pystream.metadata.image import ClusterImage
from pystream.protocol.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

REQUEST = ElectLeadersRequest
PREFERRED, UNCLEAN = 0, 1


def handle(context: BrokerContext, call: Call, request: ElectLeadersRequest) -> ElectLeadersResponse:
    if request.election_type not in (PREFERRED, UNCLEAN):
        raise InvalidRequest(f"Unknown election type {request.election_type}")
    image = context.image()
    results = []
    for topic, partitions in _asked(image, request):
        errors = [(index, _election(image, topic, index, request.election_type)) for index in partitions]
        if request.topic_partitions is None:
            errors = [(index, error) for index, error in errors if not isinstance(error, ElectionNotNeeded)]
        results.append(ReplicaElectionResult(topic=topic, partition_result=[_result(*each) for each in errors]))
    if request.topic_partitions is None:
        results = [result for result in results if result.partition_result]
    return ElectLeadersResponse(replica_election_results=results)


def failed(request: ElectLeadersRequest, code: int, message: str) -> ElectLeadersResponse:
    return ElectLeadersResponse(
        error_code=code,
        replica_election_results=[
            ReplicaElectionResult(
                topic=topic.topic,
                partition_result=[
                    PartitionResult(partition_id=index, error_code=code, error_message=message)
                    for index in topic.partitions
                ],
            )
            for topic in request.topic_partitions or ()
        ],
    )


def _asked(image: ClusterImage, request: ElectLeadersRequest) -> Iterable[tuple[str, Iterable[int]]]:
    if request.topic_partitions is None:
        return [(topic.name, range(len(topic.partitions))) for topic in image.topics.values()]
    return [(topic.topic, topic.partitions) for topic in request.topic_partitions]


def _election(image: ClusterImage, topic: str, index: int, election_type: int) -> KafkaError:
    """Why nobody else leads from now on."""
    partition = image.partition(topic, index)
    if partition is None:
        if topic not in image.topics:
            return UnknownTopicOrPartition(f"No such topic as {topic}")
        return UnknownTopicOrPartition(f"No such partition as {topic}-{index}")
    if partition.leader in image.brokers and (election_type == UNCLEAN or partition.leader == partition.replicas[0]):
        return ElectionNotNeeded()
    if election_type == PREFERRED:
        return PreferredLeaderNotAvailable()
    return EligibleLeadersNotAvailable()


def _result(index: int, error: KafkaError) -> PartitionResult:
    return PartitionResult(partition_id=index, error_code=error.code, error_message=str(error))
