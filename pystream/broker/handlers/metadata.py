"""Metadata (key 3), versions 0-13: brokers, and topics with their partitions and leaders.

Topics are asked for by name, from version 12 also by id; null means all (version 0: an empty list). A topic that does
not exist is created when the client allows it and auto.create.topics.enable says so; the answer then waits until it
takes records, so that the client need not ask twice. One result for each topic asked for.

    1    controller id, rack, internal topics; null topics            2    cluster id
    3    throttle time    4    the client allows auto creation          5    offline replicas
    7    leader epoch (KIP-320)    8    authorized operations (KIP-430), 11: no longer those of the cluster
    9    flexible    10    topic ids (KIP-516); asking by id works from 12    13    top-level error (KIP-1102)
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from pystream.broker.authorized_operations import ALL_ON_CLUSTER, ALL_ON_TOPIC, NOT_ASKED
from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.error_codes import (
    INVALID_REQUEST,
    INVALID_TOPIC_EXCEPTION,
    LEADER_NOT_AVAILABLE,
    LISTENER_NOT_FOUND,
    NONE,
    THROTTLING_QUOTA_EXCEEDED,
    UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import InvalidRequest, InvalidTopic, KafkaError, RequestTimedOut
from pystream.common.model import CLUSTER_METADATA_TOPIC, NO_BROKER, ZERO_UUID, is_internal, validate_topic_name
from pystream.controller.requests import NewTopic, TopicOutcome
from pystream.metadata.image import ClusterImage, PartitionImage, TopicImage
from pystream.protocol.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

REQUEST = MetadataRequest
FIRST_VERSION_WITH_NULL_TOPICS = 1
FIRST_VERSION_WITH_LISTENER_NOT_FOUND = 6
FIRST_VERSION_BY_ID = 12


def handle(
    context: BrokerContext, call: Call, request: MetadataRequest
) -> MetadataResponse | Awaitable[MetadataResponse]:
    if call.api_version < FIRST_VERSION_BY_ID and any(t.topic_id != ZERO_UUID for t in request.topics or ()):
        raise InvalidRequest(f"topic ids cannot be asked for in version {call.api_version}")
    missing = _creatable(context, request)
    if missing:
        return _create_and_answer(context, call, request, missing)
    return _answer(context, call, request, {})


def failed(request: MetadataRequest, code: int, message: str) -> MetadataResponse:
    topics = [_unknown(topic.name or "", topic.topic_id, code) for topic in request.topics or ()]
    return MetadataResponse(topics=topics, error_code=code)


def _creatable(context: BrokerContext, request: MetadataRequest) -> list[str]:
    """Names asked for that do not exist and may be created."""
    if not (request.topics and request.allow_auto_topic_creation and context.config.auto_create_topics_enable):
        return []
    known = context.image().topics
    names = [topic.name for topic in request.topics if topic.name and topic.name not in known and _valid(topic.name)]
    return [name for name in names if name != CLUSTER_METADATA_TOPIC]


async def _create_and_answer(
    context: BrokerContext, call: Call, request: MetadataRequest, missing: list[str]
) -> MetadataResponse:
    """Create what is missing with the defaults of the cluster; what cannot be created is answered with why.

    It counts against the client's quota of topic changes; beyond it a topic stays unknown, and may be asked for again.
    """
    quota = context.client_quotas.mutations(call.client_id, strict=True)

    async def create() -> list[TopicOutcome]:
        names = dict.fromkeys(missing)
        own = [NewTopic(name=name) for name in names if not is_internal(name)]
        outcomes = await context.topics.create_topics(own, charge=quota.charge)
        await context.applier.caught_up()
        return outcomes + [await _made_for_coordinators(context, name) for name in names if is_internal(name)]

    try:
        outcomes = await in_time(create(), context.config.request_timeout_ms)
    except RequestTimedOut:
        outcomes = []
    failures = {outcome.name: outcome.error.code for outcome in outcomes if outcome.name and outcome.error}
    failures = {name: code for name, code in failures.items() if code != THROTTLING_QUOTA_EXCEEDED}
    return _answer(context, call, request, failures)


async def _made_for_coordinators(context: BrokerContext, name: str) -> TopicOutcome:
    """A topic of the coordinators' own is made as they need it."""
    try:
        await context.coordinators.internal_topics.ensure(name)
    except KafkaError as error:
        return TopicOutcome(name, error)
    return TopicOutcome(name)


def _answer(context: BrokerContext, call: Call, request: MetadataRequest, failures: dict[str, int]) -> MetadataResponse:
    image = context.image()
    brokers = context.reachable_brokers(call.listener)
    reachable = {broker.node_id for broker, _ in brokers}
    no_listener = (
        LISTENER_NOT_FOUND if call.api_version >= FIRST_VERSION_WITH_LISTENER_NOT_FOUND else LEADER_NOT_AVAILABLE
    )
    operations = ALL_ON_TOPIC if request.include_topic_authorized_operations else NOT_ASKED

    def describe(topic: TopicImage | MetadataResponseTopic) -> MetadataResponseTopic:
        if isinstance(topic, MetadataResponseTopic):
            topic.topic_authorized_operations = operations if topic.name else NOT_ASKED
            return topic
        return MetadataResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=is_internal(topic.name),
            partitions=[
                _partition(partition, context.leader_of(topic.name, partition, reachable), reachable, no_listener)
                for partition in topic.partitions
            ],
            topic_authorized_operations=operations,
        )

    return MetadataResponse(
        brokers=[
            MetadataResponseBroker(node_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack)
            for broker, endpoint in brokers
        ],
        cluster_id=image.cluster_id,
        controller_id=context.image().controller_id,
        topics=[describe(found) for found in _topics(image, call, request, failures)],
        cluster_authorized_operations=ALL_ON_CLUSTER if request.include_cluster_authorized_operations else NOT_ASKED,
    )


def _topics(
    image: ClusterImage, call: Call, request: MetadataRequest, failures: dict[str, int]
) -> Iterable[TopicImage | MetadataResponseTopic]:
    """What was asked for, each once: the topic, or the result that says why there is none."""
    everything = request.topics is None or (call.api_version < FIRST_VERSION_WITH_NULL_TOPICS and not request.topics)
    if everything or request.topics is None:
        yield from image.topics.values()
        return
    for name, topic_id in dict.fromkeys((topic.name, topic.topic_id) for topic in request.topics):
        if topic_id != ZERO_UUID:
            yield image.topics_by_id.get(topic_id) or _unknown(None, topic_id, UNKNOWN_TOPIC_ID)
        elif name is None:
            yield _unknown("", ZERO_UUID, INVALID_REQUEST)  # a null name cannot be answered before version 12
        else:
            code = failures.get(name, UNKNOWN_TOPIC_OR_PARTITION) if _valid(name) else INVALID_TOPIC_EXCEPTION
            yield image.topics.get(name) or _unknown(name, ZERO_UUID, code)


def _partition(
    partition: PartitionImage, leader: int, reachable: set[int], no_listener: int
) -> MetadataResponsePartition:
    """`leader` is the one that can be asked: of a leader on another listener we say that, else that there is none."""
    code = NONE
    if leader == NO_BROKER:
        elsewhere = partition.leader != NO_BROKER and partition.leader not in reachable
        code = no_listener if elsewhere else LEADER_NOT_AVAILABLE
    return MetadataResponsePartition(
        error_code=code,
        partition_index=partition.index,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=partition.replicas,
        isr_nodes=partition.isr,
        offline_replicas=[replica for replica in partition.replicas if replica not in reachable],
    )


def _unknown(name: str | None, topic_id: bytes, code: int) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        error_code=code,
        name=name,
        topic_id=topic_id,
        is_internal=name is not None and is_internal(name),
        partitions=[],
    )


def _valid(name: str) -> bool:
    try:
        validate_topic_name(name)
    except InvalidTopic:
        return False
    return True
