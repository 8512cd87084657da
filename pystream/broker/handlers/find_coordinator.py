"""FindCoordinator (key 10), versions 0-6: which broker coordinates a group, a transactional id or a share partition.

The coordinator of a key leads the partition of the coordinators' topic that the key's hash names. A topic that does not
exist is made first, and the answer waits for that. One result for each key; they are where the caller's listener is.

    0    one group
    1    key type (0 group, 1 transaction), throttle time, error message
    3    flexible
    4    many keys of one type, a result each (KIP-699)
    5    error TRANSACTION_ABORTABLE (KIP-890)
    6    key type 2, share partition "group:topic id:partition" (KIP-932)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.error_codes import COORDINATOR_NOT_AVAILABLE, INVALID_REQUEST, NONE
from pystream.common.errors import InvalidRequest, KafkaError, MalformedInput, RequestTimedOut
from pystream.common.model import (
    CONSUMER_OFFSETS_TOPIC,
    NO_BROKER,
    SHARE_GROUP_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC,
    uuid_bytes,
)
from pystream.coordinator.keys import PartitionKeys
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse

REQUEST = FindCoordinatorRequest
FIRST_VERSION_WITH_MANY_KEYS = 4
FIRST_VERSION_WITH_SHARE_GROUPS = 6
SHARE = 2
TOPICS = {0: CONSUMER_OFFSETS_TOPIC, 1: TRANSACTION_STATE_TOPIC, SHARE: SHARE_GROUP_STATE_TOPIC}
SHARE_KEY_PARTS = 3
NO_PORT = -1


def handle(
    context: BrokerContext, call: Call, request: FindCoordinatorRequest
) -> FindCoordinatorResponse | Awaitable[FindCoordinatorResponse]:
    topic = TOPICS.get(request.key_type)
    if topic is None or (request.key_type == SHARE and call.api_version < FIRST_VERSION_WITH_SHARE_GROUPS):
        return failed(request, INVALID_REQUEST, f"key type {request.key_type} does not exist")
    if topic not in context.coordinators.runtimes:
        return failed(
            request, COORDINATOR_NOT_AVAILABLE, f"this broker has no coordinator for key type {request.key_type}"
        )
    if topic not in context.image().topics:
        return _made(context, call, request, topic)
    return _answer(context, call, request, topic)


def failed(request: FindCoordinatorRequest, code: int, message: str) -> FindCoordinatorResponse:
    """Both forms at once: the fields of a single key (versions 0-3), and one result for each key (4 and later)."""
    return _response([_failed(key, code, message) for key in request.coordinator_keys], _failed("", code, message))


async def _made(
    context: BrokerContext, call: Call, request: FindCoordinatorRequest, topic: str
) -> FindCoordinatorResponse:
    """The answer, once the topic has been made; when that fails or takes too long, clients ask again."""
    try:
        await in_time(context.coordinators.internal_topics.ensure(topic), context.config.request_timeout_ms)
    except RequestTimedOut as error:
        return failed(request, COORDINATOR_NOT_AVAILABLE, str(error))
    return _answer(context, call, request, topic)


def _answer(context: BrokerContext, call: Call, request: FindCoordinatorRequest, topic: str) -> FindCoordinatorResponse:
    find = _finder(context, call, topic)
    check = _check_share_key if request.key_type == SHARE else _no_check
    if call.api_version < FIRST_VERSION_WITH_MANY_KEYS:
        return _response((), _found(request.key, find, check))
    return _response([_found(key, find, check) for key in request.coordinator_keys], Coordinator())


def _finder(context: BrokerContext, call: Call, name: str) -> Callable[[str], Coordinator]:
    """What finds the coordinator of a key among the leaders of the topic's partitions."""
    topic = context.image().topics[name]
    brokers = {broker.node_id: endpoint for broker, endpoint in context.reachable_brokers(call.listener)}
    keys = PartitionKeys()
    keys.partition_count = len(topic.partitions)

    def find(key: str) -> Coordinator:
        partition = topic.partitions[keys.partition_for(key)]
        leader = context.leader_of(name, partition, brokers.keys())
        if leader == NO_BROKER:
            return _failed(key, COORDINATOR_NOT_AVAILABLE, "")
        endpoint = brokers[leader]
        return Coordinator(
            key=key, node_id=leader, host=endpoint.host, port=endpoint.port, error_code=NONE, error_message=""
        )

    return find


def _found(key: str, find: Callable[[str], Coordinator], check: Callable[[str], None]) -> Coordinator:
    try:
        check(key)
        return find(key)
    except KafkaError as error:
        return _failed(key, error.code, str(error))


def _no_check(key: str) -> None:
    """Any text is the name of a group or of a transaction."""


def _check_share_key(key: str) -> None:
    """Raises InvalidRequest unless the key is "group:topic id:partition"; a group's id may have colons."""
    parts = key.rsplit(":", 2)
    if len(parts) < SHARE_KEY_PARTS or not parts[0] or not _is_number(parts[2]):
        raise InvalidRequest(f"Invalid key format: expected - groupId:topicId:partition, found -  {key}")
    try:
        uuid_bytes(parts[1])
    except MalformedInput as error:
        raise InvalidRequest(f"Invalid topic ID: {error}") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _failed(key: str, code: int, message: str) -> Coordinator:
    return Coordinator(key=key, node_id=NO_BROKER, host="", port=NO_PORT, error_code=code, error_message=message)


def _response(coordinators: Sequence[Coordinator], single: Coordinator) -> FindCoordinatorResponse:
    return FindCoordinatorResponse(
        error_code=single.error_code,
        error_message=single.error_message,
        node_id=single.node_id,
        host=single.host,
        port=single.port,
        coordinators=coordinators,
    )
