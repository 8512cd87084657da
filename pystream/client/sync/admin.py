"""The synchronous admin client: `pystream.client.aio.AdminClient`, with every operation blocking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pystream.client.admin.client import AdminClient as AsyncAdminClient
from pystream.client.sync.blocking import SyncFace, blocking


class AdminClient(SyncFace[AsyncAdminClient]):
    """Administers a cluster.

        with AdminClient({"bootstrap.servers": "127.0.0.1:9092"}) as admin:
            admin.create_topics([NewTopic("orders", num_partitions=6)]).checked()

    Settings as in `AdminConfig`, dotted or as keywords. Operations on many items give `Results`: each item's result or
    error. Other operations raise. Retriable errors are tried again for `timeout_ms` (default.api.timeout.ms).
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        super().__init__(lambda: AsyncAdminClient(settings, **keywords))

    metrics = blocking(AsyncAdminClient.metrics)

    create_topics = blocking(AsyncAdminClient.create_topics)
    list_topics = blocking(AsyncAdminClient.list_topics)
    describe_topics = blocking(AsyncAdminClient.describe_topics)
    describe_topics_by_id = blocking(AsyncAdminClient.describe_topics_by_id)
    delete_topics = blocking(AsyncAdminClient.delete_topics)
    delete_topics_by_id = blocking(AsyncAdminClient.delete_topics_by_id)
    create_partitions = blocking(AsyncAdminClient.create_partitions)

    list_offsets = blocking(AsyncAdminClient.list_offsets)
    delete_records = blocking(AsyncAdminClient.delete_records)
    describe_producers = blocking(AsyncAdminClient.describe_producers)
    elect_leaders = blocking(AsyncAdminClient.elect_leaders)
    alter_partition_reassignments = blocking(AsyncAdminClient.alter_partition_reassignments)
    list_partition_reassignments = blocking(AsyncAdminClient.list_partition_reassignments)

    describe_log_dirs = blocking(AsyncAdminClient.describe_log_dirs)
    describe_replica_log_dirs = blocking(AsyncAdminClient.describe_replica_log_dirs)
    alter_replica_log_dirs = blocking(AsyncAdminClient.alter_replica_log_dirs)

    describe_configs = blocking(AsyncAdminClient.describe_configs)
    incremental_alter_configs = blocking(AsyncAdminClient.incremental_alter_configs)
    alter_configs = blocking(AsyncAdminClient.alter_configs)
    list_config_resources = blocking(AsyncAdminClient.list_config_resources)
    list_client_metrics_resources = blocking(AsyncAdminClient.list_client_metrics_resources)

    describe_cluster = blocking(AsyncAdminClient.describe_cluster)
    describe_features = blocking(AsyncAdminClient.describe_features)
    update_features = blocking(AsyncAdminClient.update_features)
    describe_metadata_quorum = blocking(AsyncAdminClient.describe_metadata_quorum)
    add_raft_voter = blocking(AsyncAdminClient.add_raft_voter)
    remove_raft_voter = blocking(AsyncAdminClient.remove_raft_voter)
    unregister_broker = blocking(AsyncAdminClient.unregister_broker)
    client_instance_id = blocking(AsyncAdminClient.client_instance_id)

    list_groups = blocking(AsyncAdminClient.list_groups)
    list_consumer_groups = blocking(AsyncAdminClient.list_consumer_groups)
    list_share_groups = blocking(AsyncAdminClient.list_share_groups)
    list_streams_groups = blocking(AsyncAdminClient.list_streams_groups)
    describe_consumer_groups = blocking(AsyncAdminClient.describe_consumer_groups)
    describe_classic_groups = blocking(AsyncAdminClient.describe_classic_groups)
    describe_share_groups = blocking(AsyncAdminClient.describe_share_groups)
    describe_streams_groups = blocking(AsyncAdminClient.describe_streams_groups)
    delete_groups = blocking(AsyncAdminClient.delete_groups)
    delete_consumer_groups = blocking(AsyncAdminClient.delete_consumer_groups)
    delete_share_groups = blocking(AsyncAdminClient.delete_share_groups)
    delete_streams_groups = blocking(AsyncAdminClient.delete_streams_groups)
    remove_members_from_consumer_group = blocking(AsyncAdminClient.remove_members_from_consumer_group)

    list_consumer_group_offsets = blocking(AsyncAdminClient.list_consumer_group_offsets)
    alter_consumer_group_offsets = blocking(AsyncAdminClient.alter_consumer_group_offsets)
    delete_consumer_group_offsets = blocking(AsyncAdminClient.delete_consumer_group_offsets)
    list_streams_group_offsets = blocking(AsyncAdminClient.list_streams_group_offsets)
    alter_streams_group_offsets = blocking(AsyncAdminClient.alter_streams_group_offsets)
    delete_streams_group_offsets = blocking(AsyncAdminClient.delete_streams_group_offsets)
    list_share_group_offsets = blocking(AsyncAdminClient.list_share_group_offsets)
    alter_share_group_offsets = blocking(AsyncAdminClient.alter_share_group_offsets)
    delete_share_group_offsets = blocking(AsyncAdminClient.delete_share_group_offsets)

    list_transactions = blocking(AsyncAdminClient.list_transactions)
    describe_transactions = blocking(AsyncAdminClient.describe_transactions)
    abort_transaction = blocking(AsyncAdminClient.abort_transaction)
    fence_producers = blocking(AsyncAdminClient.fence_producers)
    force_terminate_transaction = blocking(AsyncAdminClient.force_terminate_transaction)

    describe_client_quotas = blocking(AsyncAdminClient.describe_client_quotas)
    alter_client_quotas = blocking(AsyncAdminClient.alter_client_quotas)
    describe_user_scram_credentials = blocking(AsyncAdminClient.describe_user_scram_credentials)
    alter_user_scram_credentials = blocking(AsyncAdminClient.alter_user_scram_credentials)

    describe_acls = blocking(AsyncAdminClient.describe_acls)
    create_acls = blocking(AsyncAdminClient.create_acls)
    delete_acls = blocking(AsyncAdminClient.delete_acls)

    create_delegation_token = blocking(AsyncAdminClient.create_delegation_token)
    renew_delegation_token = blocking(AsyncAdminClient.renew_delegation_token)
    expire_delegation_token = blocking(AsyncAdminClient.expire_delegation_token)
    describe_delegation_token = blocking(AsyncAdminClient.describe_delegation_token)
