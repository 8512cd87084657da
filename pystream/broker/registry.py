"""Which API keys are answered in Python, by which module, and what ApiVersions may list.

A handler is a module of `broker.handlers` with three names:

    REQUEST                                   the request class, of pystream.protocol.messages
    def handle(context, call, request)        -> response, or something to await that gives it
    def failed(request, code, message)        -> response that says so in every requested item: one result each, always

Modules are imported on the first request of their key: codecs of keys that nobody calls cost neither time nor memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pystream.broker.context import Call
from pystream.protocol.api_keys import ADVERTISED, ApiKey, name_of

HANDLER_MODULES: Mapping[int, str] = {
    ApiKey.METADATA: "metadata",
    ApiKey.OFFSET_COMMIT: "offset_commit",
    ApiKey.OFFSET_FETCH: "offset_fetch",
    ApiKey.FIND_COORDINATOR: "find_coordinator",
    ApiKey.JOIN_GROUP: "join_group",
    ApiKey.HEARTBEAT: "heartbeat",
    ApiKey.LEAVE_GROUP: "leave_group",
    ApiKey.SYNC_GROUP: "sync_group",
    ApiKey.DESCRIBE_GROUPS: "describe_groups",
    ApiKey.LIST_GROUPS: "list_groups",
    ApiKey.API_VERSIONS: "api_versions",
    ApiKey.CREATE_TOPICS: "create_topics",
    ApiKey.DELETE_TOPICS: "delete_topics",
    ApiKey.DELETE_RECORDS: "delete_records",
    ApiKey.INIT_PRODUCER_ID: "init_producer_id",
    ApiKey.ADD_PARTITIONS_TO_TXN: "add_partitions_to_txn",
    ApiKey.ADD_OFFSETS_TO_TXN: "add_offsets_to_txn",
    ApiKey.END_TXN: "end_txn",
    ApiKey.WRITE_TXN_MARKERS: "write_txn_markers",
    ApiKey.TXN_OFFSET_COMMIT: "txn_offset_commit",
    ApiKey.DESCRIBE_PRODUCERS: "describe_producers",
    ApiKey.DESCRIBE_TRANSACTIONS: "describe_transactions",
    ApiKey.LIST_TRANSACTIONS: "list_transactions",
    ApiKey.OFFSET_FOR_LEADER_EPOCH: "offset_for_leader_epoch",
    ApiKey.DESCRIBE_CONFIGS: "describe_configs",
    ApiKey.ALTER_CONFIGS: "alter_configs",
    ApiKey.ALTER_REPLICA_LOG_DIRS: "alter_replica_log_dirs",
    ApiKey.DESCRIBE_LOG_DIRS: "describe_log_dirs",
    ApiKey.CREATE_PARTITIONS: "create_partitions",
    ApiKey.DELETE_GROUPS: "delete_groups",
    ApiKey.INCREMENTAL_ALTER_CONFIGS: "incremental_alter_configs",
    ApiKey.OFFSET_DELETE: "offset_delete",
    ApiKey.DESCRIBE_CLUSTER: "describe_cluster",
    ApiKey.CONSUMER_GROUP_HEARTBEAT: "consumer_group_heartbeat",
    ApiKey.CONSUMER_GROUP_DESCRIBE: "consumer_group_describe",
    ApiKey.STREAMS_GROUP_HEARTBEAT: "streams_group_heartbeat",
    ApiKey.STREAMS_GROUP_DESCRIBE: "streams_group_describe",
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: "describe_topic_partitions",
    ApiKey.ELECT_LEADERS: "elect_leaders",
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: "alter_partition_reassignments",
    ApiKey.LIST_PARTITION_REASSIGNMENTS: "list_partition_reassignments",
    ApiKey.LIST_CONFIG_RESOURCES: "list_config_resources",
    ApiKey.DESCRIBE_QUORUM: "describe_quorum",
    ApiKey.UPDATE_FEATURES: "update_features",
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: "describe_user_scram_credentials",
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: "alter_user_scram_credentials",
    ApiKey.DESCRIBE_CLIENT_QUOTAS: "describe_client_quotas",
    ApiKey.ALTER_CLIENT_QUOTAS: "alter_client_quotas",
    ApiKey.UNREGISTER_BROKER: "unregister_broker",
    ApiKey.DESCRIBE_ACLS: "describe_acls",
    ApiKey.CREATE_ACLS: "create_acls",
    ApiKey.DELETE_ACLS: "delete_acls",
    ApiKey.SASL_HANDSHAKE: "sasl_handshake",
    ApiKey.SASL_AUTHENTICATE: "sasl_authenticate",
    ApiKey.GET_TELEMETRY_SUBSCRIPTIONS: "get_telemetry_subscriptions",
    ApiKey.PUSH_TELEMETRY: "push_telemetry",
    ApiKey.SHARE_GROUP_HEARTBEAT: "share_group_heartbeat",
    ApiKey.SHARE_GROUP_DESCRIBE: "share_group_describe",
    ApiKey.SHARE_FETCH: "share_fetch",
    ApiKey.SHARE_ACKNOWLEDGE: "share_acknowledge",
    ApiKey.INITIALIZE_SHARE_GROUP_STATE: "initialize_share_group_state",
    ApiKey.READ_SHARE_GROUP_STATE: "read_share_group_state",
    ApiKey.WRITE_SHARE_GROUP_STATE: "write_share_group_state",
    ApiKey.DELETE_SHARE_GROUP_STATE: "delete_share_group_state",
    ApiKey.READ_SHARE_GROUP_STATE_SUMMARY: "read_share_group_state_summary",
    ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: "describe_share_group_offsets",
    ApiKey.ALTER_SHARE_GROUP_OFFSETS: "alter_share_group_offsets",
    ApiKey.DELETE_SHARE_GROUP_OFFSETS: "delete_share_group_offsets",
}
# Answered by the data plane; Produce is listed from 0 though 0-2 are refused (KAFKA-18659).
PLANE_KEYS = (ApiKey.PRODUCE, ApiKey.FETCH, ApiKey.LIST_OFFSETS)


@dataclass(frozen=True, slots=True)
class Handler:
    """A module of `broker.handlers`, resolved. `name` is Kafka's name of the key."""

    name: str
    request_class: Any
    handle: Callable[[Any, Call, Any], Any | Awaitable[Any]]
    failed: Callable[[Any, int, str], Any]


class Registry:
    """Handlers by API key."""

    def __init__(self, modules: Mapping[int, str] = HANDLER_MODULES) -> None:
        self._modules = modules
        self._handlers: dict[int, Handler] = {}

    def find(self, api_key: int, api_version: int) -> Handler | None:
        """The handler of a key and version that ApiVersions lists; None for any other."""
        versions = ADVERTISED.get(api_key)
        if versions is None or api_key not in self._modules or not versions[0] <= api_version <= versions[1]:
            return None
        handler = self._handlers.get(api_key)
        if handler is None:
            handler = self._handlers[api_key] = _load(api_key, self._modules[api_key])
        return handler

    def advertised(self, *, without: Collection[int] = ()) -> list[tuple[int, int, int]]:
        """(key, lowest version, highest version) of every key that is answered, by key, but for those `without`."""
        answered = {*self._modules, *PLANE_KEYS}.difference(without)
        return [(key, *versions) for key, versions in sorted(ADVERTISED.items()) if key in answered]


def _load(api_key: int, name: str) -> Handler:
    module = import_module(f"pystream.broker.handlers.{name}")
    return Handler(name_of(api_key), module.REQUEST, module.handle, module.failed)
