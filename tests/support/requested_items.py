"""What each request asks for item by item, and what its answer tells of item by item: one result each, always.

An item is named by what stands on the way to it: (topic, partition), (transactional id, topic, partition), (group,).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pystream.protocol.api_keys import ApiKey

Item = tuple[Any, ...]
Items = Callable[[Any], list[Item]]
SCALAR = "."  # the elements of a list name themselves
NAMELESS = ""  # the elements of a list have no part in the name


def at(*levels: tuple[str, str]) -> Items:
    """Items behind nested lists: at each level the field with the list, and the fields that name an element."""

    def found(message: Any) -> list[Item]:
        return list(_walk(message, levels))

    return found


def _walk(element: Any, levels: tuple[tuple[str, str], ...]) -> Iterable[Item]:
    (field, naming), *rest = levels
    for inner in getattr(element, field) or ():
        name = (inner,) if naming == SCALAR else tuple(getattr(inner, each) for each in naming.split())
        if not rest:
            yield name
        else:
            yield from ((*name, *item) for item in _walk(inner, tuple(rest)))


def both(*parts: Items) -> Items:
    """Of several lists; versions differ in which one they have."""
    return lambda message: [item for part in parts for item in part(message)]


def count(field: str) -> Items:
    """Nameless items, one after the other."""
    return lambda message: [(number,) for number in range(len(getattr(message, field) or ()))]


def quota_entities(message: Any) -> list[Item]:
    """What quotas are for. Who asks for one several times gets one result, as from Kafka."""
    return [
        tuple(sorted((part.entity_type, part.entity_name is None, part.entity_name or "") for part in entry.entity))
        for entry in message.entries
    ]


def named_or_known(field: str) -> Items:
    """Topics by name, or by id where they have none."""
    return lambda message: [
        (topic.topic_id if topic.name is None else topic.name,) for topic in getattr(message, field) or ()
    ]


TOPICS = (("topics", "name"), ("partitions", "partition_index"))
CONFIGS = ("resources", "resource_type resource_name")
STATES = at(("topics", "topic_id"), ("partitions", "partition"))
STATE_RESULTS = at(("results", "topic_id"), ("partitions", "partition"))
GROUPS = (at(("group_ids", SCALAR)), at(("groups", "group_id")))

REQUESTED: Mapping[int, tuple[Items, Items]] = {
    ApiKey.OFFSET_COMMIT: (
        at(("topics", "name topic_id"), ("partitions", "partition_index")),
        at(("topics", "name topic_id"), ("partitions", "partition_index")),
    ),
    ApiKey.OFFSET_FETCH: (
        both(at(("topics", "name"), ("partition_indexes", SCALAR)), at(("groups", "group_id"))),
        both(at(*TOPICS), at(("groups", "group_id"))),
    ),
    ApiKey.FIND_COORDINATOR: (at(("coordinator_keys", SCALAR)), at(("coordinators", "key"))),
    ApiKey.LEAVE_GROUP: (
        at(("members", "member_id group_instance_id")),
        at(("members", "member_id group_instance_id")),
    ),
    ApiKey.DESCRIBE_GROUPS: (at(("groups", SCALAR)), at(("groups", "group_id"))),
    ApiKey.CREATE_TOPICS: (at(("topics", "name")), at(("topics", "name"))),
    ApiKey.DELETE_TOPICS: (both(at(("topic_names", SCALAR)), named_or_known("topics")), named_or_known("responses")),
    ApiKey.DELETE_RECORDS: (at(*TOPICS), at(*TOPICS)),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: (
        at(("topics", "topic"), ("partitions", "partition")),
        at(("topics", "topic"), ("partitions", "partition")),
    ),
    ApiKey.ADD_PARTITIONS_TO_TXN: (
        both(
            at(("v3_and_below_topics", "name"), ("partitions", SCALAR)),
            at(("transactions", "transactional_id"), ("topics", "name"), ("partitions", SCALAR)),
        ),
        both(
            at(("results_by_topic_v3_and_below", "name"), ("results_by_partition", "partition_index")),
            at(
                ("results_by_transaction", "transactional_id"),
                ("topic_results", "name"),
                ("results_by_partition", "partition_index"),
            ),
        ),
    ),
    ApiKey.WRITE_TXN_MARKERS: (
        at(("markers", "producer_id"), ("topics", "name"), ("partition_indexes", SCALAR)),
        at(("markers", "producer_id"), *TOPICS),
    ),
    ApiKey.TXN_OFFSET_COMMIT: (at(*TOPICS), at(*TOPICS)),
    ApiKey.CREATE_ACLS: (count("creations"), count("results")),
    ApiKey.DELETE_ACLS: (count("filters"), count("filter_results")),
    ApiKey.DESCRIBE_CONFIGS: (at(CONFIGS), at(("results", "resource_type resource_name"))),
    ApiKey.ALTER_CONFIGS: (at(CONFIGS), at(("responses", "resource_type resource_name"))),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: (at(CONFIGS), at(("responses", "resource_type resource_name"))),
    ApiKey.ALTER_REPLICA_LOG_DIRS: (
        at(("dirs", NAMELESS), ("topics", "name"), ("partitions", SCALAR)),
        at(("results", "topic_name"), ("partitions", "partition_index")),
    ),
    ApiKey.CREATE_PARTITIONS: (at(("topics", "name")), at(("results", "name"))),
    ApiKey.DELETE_GROUPS: (at(("groups_names", SCALAR)), at(("results", "group_id"))),
    ApiKey.ELECT_LEADERS: (
        at(("topic_partitions", "topic"), ("partitions", SCALAR)),
        at(("replica_election_results", "topic"), ("partition_result", "partition_id")),
    ),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: (at(*TOPICS), at(("responses", "name"), TOPICS[1])),
    ApiKey.OFFSET_DELETE: (at(*TOPICS), at(*TOPICS)),
    ApiKey.ALTER_CLIENT_QUOTAS: (quota_entities, quota_entities),
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: (at(("users", "name")), at(("results", "user"))),
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: (
        both(at(("deletions", "name")), at(("upsertions", "name"))),
        at(("results", "user")),
    ),
    ApiKey.UPDATE_FEATURES: (at(("feature_updates", "feature")), at(("results", "feature"))),
    ApiKey.DESCRIBE_PRODUCERS: (at(("topics", "name"), ("partition_indexes", SCALAR)), at(*TOPICS)),
    ApiKey.DESCRIBE_TRANSACTIONS: (
        at(("transactional_ids", SCALAR)),
        at(("transaction_states", "transactional_id")),
    ),
    ApiKey.CONSUMER_GROUP_DESCRIBE: GROUPS,
    ApiKey.SHARE_GROUP_DESCRIBE: GROUPS,
    ApiKey.STREAMS_GROUP_DESCRIBE: GROUPS,
    ApiKey.SHARE_ACKNOWLEDGE: (
        at(("topics", "topic_id"), ("partitions", "partition_index")),
        at(("responses", "topic_id"), ("partitions", "partition_index")),
    ),
    ApiKey.INITIALIZE_SHARE_GROUP_STATE: (STATES, STATE_RESULTS),
    ApiKey.READ_SHARE_GROUP_STATE: (STATES, STATE_RESULTS),
    ApiKey.WRITE_SHARE_GROUP_STATE: (STATES, STATE_RESULTS),
    ApiKey.DELETE_SHARE_GROUP_STATE: (STATES, STATE_RESULTS),
    ApiKey.READ_SHARE_GROUP_STATE_SUMMARY: (STATES, STATE_RESULTS),
    ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: (at(("groups", "group_id")), at(("groups", "group_id"))),
    ApiKey.ALTER_SHARE_GROUP_OFFSETS: (
        at(("topics", "topic_name"), ("partitions", "partition_index")),
        at(("responses", "topic_name"), ("partitions", "partition_index")),
    ),
    ApiKey.DELETE_SHARE_GROUP_OFFSETS: (at(("topics", "topic_name")), at(("responses", "topic_name"))),
}
# Asked as a whole, or for what there is: Metadata and DescribeTopicPartitions page and create topics, a share session
# answers for more than was named, DescribeLogDirs leaves out what lies nowhere.
WITHOUT_ITEMS = frozenset(
    {
        ApiKey.METADATA,
        ApiKey.JOIN_GROUP,
        ApiKey.HEARTBEAT,
        ApiKey.SYNC_GROUP,
        ApiKey.LIST_GROUPS,
        ApiKey.SASL_HANDSHAKE,
        ApiKey.API_VERSIONS,
        ApiKey.INIT_PRODUCER_ID,
        ApiKey.ADD_OFFSETS_TO_TXN,
        ApiKey.END_TXN,
        ApiKey.DESCRIBE_ACLS,
        ApiKey.DESCRIBE_LOG_DIRS,
        ApiKey.SASL_AUTHENTICATE,
        ApiKey.LIST_PARTITION_REASSIGNMENTS,
        ApiKey.DESCRIBE_CLIENT_QUOTAS,
        ApiKey.DESCRIBE_QUORUM,
        ApiKey.DESCRIBE_CLUSTER,
        ApiKey.UNREGISTER_BROKER,
        ApiKey.LIST_TRANSACTIONS,
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        ApiKey.GET_TELEMETRY_SUBSCRIPTIONS,
        ApiKey.PUSH_TELEMETRY,
        ApiKey.LIST_CONFIG_RESOURCES,
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        ApiKey.SHARE_GROUP_HEARTBEAT,
        ApiKey.SHARE_FETCH,
        ApiKey.STREAMS_GROUP_HEARTBEAT,
    }
)
# Their error of the whole request stands for all items, as in Kafka.
FAIL_AS_A_WHOLE = frozenset(
    {
        ApiKey.OFFSET_FETCH,
        ApiKey.LEAVE_GROUP,
        ApiKey.OFFSET_DELETE,
        ApiKey.SHARE_ACKNOWLEDGE,
        ApiKey.ALTER_SHARE_GROUP_OFFSETS,
        ApiKey.DELETE_SHARE_GROUP_OFFSETS,
    }
)


# From this version on the answer has no results: all items share its error, or none has one.
WITHOUT_RESULTS_FROM = {ApiKey.UPDATE_FEATURES: 2}


def missing_or_surplus(api_key: int, version: int, request: Any, response: Any) -> tuple[set[Item], list[Item]]:
    """(items without a result, results that nobody asked for or that come too often); both empty when all is well."""
    if api_key in WITHOUT_ITEMS or version >= WITHOUT_RESULTS_FROM.get(api_key, version + 1):
        return set(), []
    if api_key in FAIL_AS_A_WHOLE and response.error_code != 0:
        return set(), []
    of_request, of_response = REQUESTED[api_key]
    asked, told = Counter(of_request(request)), Counter(of_response(response))
    return set(asked) - set(told), list((told - asked).elements())
