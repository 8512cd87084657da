"""What a declared operation is called in pystream.admin.v1: by rule, and by a table where the rule reads badly.

    topics list           TopicService/ListTopics            ListTopicsRequest, ListTopicsResponse
    topics add-partitions TopicService/AddPartitions         AddPartitionsRequest, …
    groups describe       GroupService/DescribeGroups        and GroupService/WatchGroups, which goes on

The generator of the proto files and the server that answers them both read this: neither keeps a list of its own.
"""

from __future__ import annotations

from typing import Final

from pystream.client.operations.declaration import Kind, Operation

PACKAGE: Final = "pystream.admin.v1"
MESSAGES: Final = "pystream.client.grpc.messages"  # the Python package of the generated messages
PLAIN_NOUNS: Final = ("cluster",)  # that do not lose their s

METHODS: Final = {
    ("cluster", "brokers"): "ListBrokers",
    ("cluster", "features"): "ListFeatures",
    ("cluster", "quorum"): "DescribeQuorum",
    ("cluster", "log-dirs"): "DescribeLogDirs",
    ("cluster", "diff"): "DiffManifest",
    ("cluster", "apply"): "ApplyManifest",
    ("cluster", "doctor"): "DiagnoseCluster",
    ("topics", "trim"): "TrimTopic",
    ("quotas", "alter"): "AlterQuota",
    ("partitions", "producers"): "ListProducers",
    ("partitions", "reassignments"): "ListReassignments",
    ("share-groups", "offsets"): "ListShareGroupOffsets",
    ("share-groups", "reset-offsets"): "ResetShareGroupOffsets",
    ("share-groups", "delete-offsets"): "DeleteShareGroupOffsets",
    ("streams-groups", "offsets"): "ListStreamsGroupOffsets",
    ("streams-groups", "reset-offsets"): "ResetStreamsGroupOffsets",
    ("streams-groups", "delete-offsets"): "DeleteStreamsGroupOffsets",
}
WATCHED: Final = {
    ("topics", "list"): "WatchTopics",
    ("groups", "describe"): "WatchGroups",
    ("share-groups", "describe"): "WatchShareGroups",
    ("streams-groups", "describe"): "WatchStreamsGroups",
    ("cluster", "describe"): "WatchCluster",
}

PAGE_SIZE: Final = "page_size"
PAGE_TOKEN: Final = "page_token"
INTERVAL_MS: Final = "interval_ms"

INT32_FIELDS: Final = frozenset(
    (
        *("partitions", "partition", "replicas", "replication_factor", "total", "add", "leader", "leader_epoch"),
        *("in_sync", "offline", "eligible", "last_known_eligible", "coordinator", "controller", "brokers", "broker"),
        *("topics", "offline_partitions", "under_replicated_partitions", "port", "level", "node", "timeout_ms"),
        *("adding", "removing", "last_sequence", "coordinator_epoch"),
        *("supported_minimum", "supported_maximum", "producer_epoch", PAGE_SIZE, INTERVAL_MS),
    )
)


def service_name(noun: str) -> str:
    """topics -> TopicService."""
    singular = noun if noun in PLAIN_NOUNS or not noun.endswith("s") else noun[:-1]
    return f"{camel(singular)}Service"


def file_name(noun: str) -> str:
    """share-groups -> share_groups: of its .proto, and of Python's module."""
    return noun.replace("-", "_")


def method_name(operation: Operation) -> str:
    """topics list -> ListTopics; a verb of several words stands alone."""
    noun, verb = operation.noun, operation.verb
    if (noun, verb) in METHODS:
        return METHODS[noun, verb]
    return camel(verb) if "-" in verb else f"{camel(verb)}{camel(noun)}"


def watch_name(operation: Operation) -> str | None:
    """The method that goes on telling what the operation gives; None where there is none."""
    return WATCHED.get((operation.noun, operation.verb))


def is_paged(operation: Operation) -> bool:
    """Lists of names may be long: they come in pages."""
    return operation.verb == "list"


def integer_type(field: str) -> str:
    """Kafka's own width where it is 32 bits; JSON then shows a number and no text."""
    return "int32" if field in INT32_FIELDS else "int64"


def camel(text: str) -> str:
    """add-partitions, log_dirs -> AddPartitions, LogDirs."""
    return "".join(part.capitalize() for part in text.replace("_", "-").split("-"))


SCALARS: Final = {Kind.TEXT: "string", Kind.DOCUMENT: "string", Kind.NUMBER: "double", Kind.FLAG: "bool"}
