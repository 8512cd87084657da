"""Every operation of the admin client, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio

import pytest

from pystream.client.admin.acls import AclBinding, AclFilter, AclOperation, ResourceType
from pystream.client.admin.configs import AlterConfig, AlterOperation, ConfigResource, ConfigResourceType
from pystream.client.admin.group_offsets import OffsetAndMetadata
from pystream.client.admin.groups import GroupType
from pystream.client.admin.log_dirs import Replica
from pystream.client.admin.partitions import EARLIEST, LATEST, MAX_TIMESTAMP, ElectionType
from pystream.client.admin.quorum import FeatureUpdate
from pystream.client.admin.topics import NewPartitions, NewTopic
from pystream.client.admin.transactions import AbortTransaction
from pystream.client.admin.users import Match, QuotaEntity, ScramDeletion, ScramMechanism, ScramUpsertion
from pystream.client.aio import AdminClient
from pystream.common.config import ConfigSource
from pystream.common.errors import (
    DelegationTokenAuthDisabled,
    DelegationTokenRequestNotAllowed,
    ElectionNotNeeded,
    FeatureUpdateFailed,
    GroupIdNotFound,
    GroupSubscribedToTopic,
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidUpdateVersion,
    KafkaError,
    NoReassignmentInProgress,
    OffsetOutOfRange,
    SecurityDisabled,
    TopicAlreadyExists,
    TransactionalIdNotFound,
    UnknownTopicId,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from pystream.common.model import TopicPartition, random_uuid
from pystream.protocol.api_keys import ApiKey
from tests.conformance.sdk.conftest import EVENTUALLY_SECONDS, RunningCluster, eventually

BROKER = 1


def test_topics_are_created_listed_described_and_deleted(cluster: RunningCluster):
    name = cluster.fresh("topics")

    async def work(admin: AdminClient) -> None:
        configs = {"retention.ms": "12345"}
        created = (await admin.create_topics([NewTopic(name, 3, 1, configs)])).result(name)
        assert (created.num_partitions, created.replication_factor) == (3, 1)
        assert created.configs is not None
        assert created.configs["retention.ms"] == "12345"
        listing = (await eventually(admin.list_topics, lambda found: name in found))[name]
        assert listing.topic_id == created.topic_id
        described = (await admin.describe_topics([name], include_authorized_operations=True)).result(name)
        assert [(each.partition, each.leader, each.replicas) for each in described.partitions] == [
            (partition, BROKER, (BROKER,)) for partition in range(3)
        ]
        assert described.authorized_operations is not None
        assert AclOperation.DELETE in described.authorized_operations
        by_id = (await admin.describe_topics_by_id([created.topic_id])).result(created.topic_id)
        assert by_id.name == name
        (await admin.delete_topics([name])).checked()
        gone = await eventually(lambda: admin.describe_topics([name]), lambda results: bool(results.failed))
        assert isinstance(gone[name], UnknownTopicOrPartition)

    cluster.with_admin(work)


def test_one_item_that_fails_leaves_its_neighbours_alone(cluster: RunningCluster):
    name, other = cluster.fresh("twice"), cluster.fresh("bad")

    async def work(admin: AdminClient) -> None:
        (await admin.create_topics([NewTopic(name, 1, 1)])).checked()
        topics = [NewTopic(name, 1, 1), NewTopic(other, 1, 1, {"retention.ms": "soon"}), NewTopic(f"{other}-ok", 1, 1)]
        results = await admin.create_topics(topics)
        assert isinstance(results[name], TopicAlreadyExists)
        assert isinstance(results[other], InvalidConfig)
        assert list(results.succeeded) == [f"{other}-ok"]
        with pytest.raises(TopicAlreadyExists, match=name):
            results.checked()

    cluster.with_admin(work)


def test_validate_only_creates_nothing(cluster: RunningCluster):
    name = cluster.fresh("dry")

    async def work(admin: AdminClient) -> None:
        (await admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)).checked()
        assert name not in await admin.list_topics()

    cluster.with_admin(work)


def test_topics_are_deleted_by_their_ids(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin)
        topic_id = (await admin.describe_topics([name])).result(name).topic_id
        nobody = random_uuid()
        results = await admin.delete_topics_by_id([topic_id, nobody])
        assert list(results.succeeded) == [topic_id]
        assert isinstance(results[nobody], UnknownTopicId)
        gone = await eventually(lambda: admin.describe_topics_by_id([topic_id]), lambda results: bool(results.failed))
        assert isinstance(gone[topic_id], UnknownTopicId)

    cluster.with_admin(work)


def test_partitions_are_added_and_never_taken_away(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin, partitions=2)
        (await admin.create_partitions({name: 4})).checked()
        fewer = await admin.create_partitions({name: NewPartitions(3)})
        assert isinstance(fewer[name], InvalidPartitions)
        wrong = await admin.create_partitions({name: NewPartitions(5, [[BROKER + 77]])}, validate_only=True)
        assert isinstance(wrong[name], InvalidReplicaAssignment)
        await eventually(
            lambda: admin.describe_topics([name]), lambda results: len(results.result(name).partitions) == 4
        )

    cluster.with_admin(work)


def test_configs_are_described_and_changed_one_by_one(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin, cleanup_policy="delete", retention_ms="1000")
        topic = ConfigResource(ConfigResourceType.TOPIC, name)
        changes = [
            AlterConfig("cleanup.policy", "compact", AlterOperation.APPEND),
            AlterConfig("max.message.bytes", "2000"),
            AlterConfig("retention.ms", None, AlterOperation.DELETE),
        ]
        (await admin.incremental_alter_configs({topic: changes})).checked()
        described = await eventually(
            lambda: admin.describe_configs([topic], include_synonyms=True),
            lambda results: results.result(topic)["max.message.bytes"].value == "2000",
        )
        found = described.result(topic)
        assert found["cleanup.policy"].value == "delete,compact"
        assert found["max.message.bytes"].source is ConfigSource.DYNAMIC_TOPIC_CONFIG
        assert found["max.message.bytes"].synonyms[0].name == "max.message.bytes"
        assert found["retention.ms"].source is not ConfigSource.DYNAMIC_TOPIC_CONFIG
        refused = await admin.incremental_alter_configs({topic: {"max.message.bytes": "many"}}, validate_only=True)
        assert isinstance(refused[topic], InvalidConfig)

    cluster.with_admin(work)


def test_alter_configs_replaces_everything(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin, retention_ms="1000")
        topic = ConfigResource(ConfigResourceType.TOPIC, name)
        (await admin.alter_configs({topic: {"segment.ms": "5000"}})).checked()
        names = ["segment.ms", "retention.ms"]
        described = await eventually(
            lambda: admin.describe_configs([topic], names=names),
            lambda results: results.result(topic)["segment.ms"].value == "5000",
        )
        found = described.result(topic)
        assert {key: entry.source is ConfigSource.DYNAMIC_TOPIC_CONFIG for key, entry in found.items()} == {
            "segment.ms": True,
            "retention.ms": False,
        }

    cluster.with_admin(work)


def test_a_broker_is_asked_for_its_own_configs(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        broker = ConfigResource(ConfigResourceType.BROKER, str(BROKER))
        default = ConfigResource(ConfigResourceType.BROKER, "")
        (await admin.incremental_alter_configs({broker: {"log.cleaner.threads": "2"}})).checked()
        results = await eventually(
            lambda: admin.describe_configs([broker, default]),
            lambda results: results.result(broker)["log.cleaner.threads"].value == "2",
        )
        assert list(results.succeeded) == [broker, default]
        assert results.result(broker)["log.cleaner.threads"].source is ConfigSource.DYNAMIC_BROKER_CONFIG
        (await admin.incremental_alter_configs({broker: {"log.cleaner.threads": None}})).checked()
        nameless = ConfigResource(ConfigResourceType.BROKER, "one")
        results = await admin.describe_configs([nameless, default])
        assert isinstance(results[nameless], InvalidConfig)
        assert list(results.succeeded) == [default]

    cluster.with_admin(work)


def test_client_metrics_and_groups_are_config_resources(cluster: RunningCluster):
    metrics = ConfigResource(ConfigResourceType.CLIENT_METRICS, cluster.fresh("metrics"))
    group = ConfigResource(ConfigResourceType.GROUP, cluster.fresh("group"))

    async def work(admin: AdminClient) -> None:
        changes = {metrics: {"interval.ms": "5000"}, group: {"consumer.session.timeout.ms": "50000"}}
        (await admin.incremental_alter_configs(changes)).checked()
        await eventually(admin.list_client_metrics_resources, lambda found: metrics.name in found)
        kinds = [ConfigResourceType.GROUP]
        await eventually(lambda: admin.list_config_resources(kinds), lambda found: group in found)
        found = (await admin.describe_configs([metrics, group])).checked()
        assert found[metrics]["interval.ms"].value == "5000"
        assert found[group]["consumer.session.timeout.ms"].value == "50000"
        (await admin.incremental_alter_configs({metrics: {"interval.ms": None}})).checked()

    cluster.with_admin(work)


def test_the_cluster_is_described(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        found = await admin.describe_cluster(include_authorized_operations=True, include_fenced_brokers=True)
        assert [(node.node_id, f"{node.host}:{node.port}") for node in found.nodes] == [(BROKER, cluster.bootstrap)]
        assert found.fenced == frozenset()
        assert found.authorized_operations is not None
        assert AclOperation.CREATE in found.authorized_operations
        assert found.cluster_id == (await admin.cluster.refresh()).cluster_id

    cluster.with_admin(work)


def test_features_are_described_and_wrong_levels_refused(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        features = await admin.describe_features(broker_id=BROKER)
        assert features.finalized["metadata.version"].maximum > 0
        assert features.finalized_epoch is not None
        refusals = (FeatureUpdateFailed, InvalidUpdateVersion)
        with pytest.raises(refusals):
            (await admin.update_features({"no.such.feature": FeatureUpdate(3)}, validate_only=True)).checked()

    cluster.with_admin(work)


def test_the_quorum_is_described(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        quorum = await admin.describe_metadata_quorum()
        assert quorum.leader_id == BROKER
        assert [voter.replica_id for voter in quorum.voters] == [BROKER]

    cluster.with_admin(work)


def test_an_unknown_broker_cannot_be_unregistered(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        with pytest.raises(KafkaError):
            await admin.unregister_broker(77)

    cluster.with_admin(work)


def test_a_client_has_an_instance_id_that_stays(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        connection = await admin.cluster.any_broker()
        if not connection.supports(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS):  # nobody there takes clients' metrics
            with pytest.raises(UnsupportedVersion, match="GetTelemetrySubscriptions"):
                await admin.client_instance_id()
            return
        first = await admin.client_instance_id()
        assert first == await admin.client_instance_id()
        assert len(first) == 16
        assert any(first)

    cluster.with_admin(work)


def test_offsets_of_empty_partitions(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin, partitions=2)
        partitions = [TopicPartition(name, 0), TopicPartition(name, 1), TopicPartition(name, 2)]
        results = await admin.list_offsets(
            {partitions[0]: EARLIEST, partitions[1]: LATEST, partitions[2]: LATEST}, timeout_ms=5_000
        )
        assert [results.result(each).offset for each in partitions[:2]] == [0, 0]
        assert isinstance(results[partitions[2]], UnknownTopicOrPartition)
        latest = (await admin.list_offsets({partitions[0]: MAX_TIMESTAMP})).result(partitions[0])
        assert (latest.offset, latest.timestamp) == (-1, -1)

    cluster.with_admin(work)


def test_records_are_deleted_up_to_an_offset(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin)
        partition = TopicPartition(name, 0)
        assert (await admin.delete_records({partition: 0})).checked() == {partition: 0}
        beyond = await admin.delete_records({partition: 5})
        assert isinstance(beyond[partition], OffsetOutOfRange)

    cluster.with_admin(work)


def test_partitions_without_producers_have_none(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        assert (await admin.describe_producers([partition])).checked() == {partition: ()}
        assert (await admin.describe_producers([partition], broker_id=BROKER)).checked() == {partition: ()}

    cluster.with_admin(work)


def test_a_leader_that_leads_already_needs_no_election(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        nowhere = TopicPartition(cluster.fresh("nowhere"), 0)
        results = await admin.elect_leaders(ElectionType.PREFERRED, [partition, nowhere])
        assert results[partition] is False
        assert isinstance(results[nowhere], UnknownTopicOrPartition)
        assert not isinstance(results[partition], ElectionNotNeeded)

    cluster.with_admin(work)


def test_reassignments_are_listed_and_wrong_ones_refused(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        assert await admin.list_partition_reassignments([partition]) == {}
        assert await admin.list_partition_reassignments() == {}
        wrong = await admin.alter_partition_reassignments({partition: [BROKER, 77]})
        assert isinstance(wrong[partition], InvalidReplicaAssignment)
        cancelled = await admin.alter_partition_reassignments({partition: None})
        assert isinstance(cancelled[partition], NoReassignmentInProgress)
        (await admin.alter_partition_reassignments({partition: [BROKER]})).checked()

    cluster.with_admin(work)


def test_log_directories_show_replicas(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        found = []
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while not found:  # Kafka makes a replica's directory a moment after the topic
                dirs = (await admin.describe_log_dirs()).result(BROKER)
                found = [each for each in dirs.values() if partition in each.replicas]
        (home,) = found  # in one directory
        assert home.error is None
        assert home.total_bytes > home.usable_bytes > 0
        only = (await admin.describe_log_dirs([BROKER], partitions=[partition])).result(BROKER)
        assert {tp for each in only.values() for tp in each.replicas} == {partition}
        replica = Replica(*partition, BROKER)
        places = (await admin.describe_replica_log_dirs([replica])).result(replica)
        assert (places.current_path, places.future_path) == (home.path, None)
        moved = await admin.alter_replica_log_dirs({replica: "/no/such/directory"})
        assert isinstance(moved[replica], KafkaError)

    cluster.with_admin(work)


def test_offsets_make_a_group_that_can_be_listed_described_and_deleted(cluster: RunningCluster):
    group_id = cluster.fresh("billing")

    async def work(admin: AdminClient) -> None:
        name = await cluster.new_topic(admin, partitions=2)
        first, second = TopicPartition(name, 0), TopicPartition(name, 1)
        offsets = {first: OffsetAndMetadata(7, "seven"), second: 9}
        (await admin.alter_consumer_group_offsets(group_id, offsets)).checked()
        committed = (await admin.list_consumer_group_offsets([group_id])).result(group_id)
        assert {tp: (each.offset, each.metadata) for tp, each in committed.items()} == {
            first: (7, "seven"),
            second: (9, ""),
        }
        one = (await admin.list_consumer_group_offsets({group_id: [second]}, require_stable=True)).result(group_id)
        assert {tp: each.offset for tp, each in one.items()} == {second: 9}
        (listing,) = [each for each in await admin.list_consumer_groups() if each.group_id == group_id]
        assert (listing.type, listing.state) == (GroupType.CLASSIC, "Empty")
        described = (await admin.describe_consumer_groups([group_id])).result(group_id)
        assert described.is_simple
        assert (described.coordinator_id, described.members) == (BROKER, ())
        assert (await admin.describe_classic_groups([group_id])).result(group_id).state == "Empty"
        (await admin.delete_consumer_group_offsets(group_id, [first])).checked()
        assert list((await admin.list_consumer_group_offsets([group_id])).result(group_id)) == [second]
        (await admin.delete_groups([group_id])).checked()
        assert isinstance((await admin.describe_consumer_groups([group_id]))[group_id], GroupIdNotFound)
        assert isinstance((await admin.delete_groups([group_id]))[group_id], GroupIdNotFound)
        assert GroupSubscribedToTopic.code == 86

    cluster.with_admin(work)


def test_groups_that_are_not_there(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        nobody = cluster.fresh("nobody")
        for described in (
            await admin.describe_consumer_groups([nobody]),
            await admin.describe_share_groups([nobody]),
            await admin.describe_streams_groups([nobody]),
            await admin.remove_members_from_consumer_group(nobody, ["instance"]),
        ):
            assert all(isinstance(error, KafkaError) for error in described.values())
        assert nobody not in [each.group_id for each in await admin.list_groups()]
        assert await admin.list_share_groups(states=["Stable"]) == []
        assert await admin.list_streams_groups() == []
        assert (await admin.list_consumer_group_offsets([nobody])).result(nobody) == {}

    cluster.with_admin(work)


def test_share_group_offsets_are_altered_listed_and_deleted(cluster: RunningCluster):
    group_id = cluster.fresh("jobs")

    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        (await admin.alter_share_group_offsets(group_id, {partition: 0})).checked()
        offsets = await eventually(
            lambda: admin.list_share_group_offsets({group_id: [partition]}), lambda found: bool(found.result(group_id))
        )
        assert offsets.result(group_id)[partition].start_offset == 0
        (listing,) = [each for each in await admin.list_share_groups() if each.group_id == group_id]
        assert (listing.type, listing.state) == (GroupType.SHARE, "Empty")
        assert (await admin.describe_share_groups([group_id])).result(group_id).members == ()
        (await admin.delete_share_group_offsets(group_id, [partition.topic])).checked()
        assert (await admin.list_share_group_offsets([group_id])).result(group_id) == {}
        (await admin.delete_share_groups([group_id])).checked()
        assert isinstance((await admin.describe_share_groups([group_id]))[group_id], GroupIdNotFound)

    cluster.with_admin(work)


def test_quotas_are_set_found_and_removed(cluster: RunningCluster):
    user = cluster.fresh("alice")

    async def work(admin: AdminClient) -> None:
        entity = QuotaEntity.of({"user": user})
        quotas: dict[str, float | None] = {"producer_byte_rate": 1024.0, "request_percentage": 50.0}
        (await admin.alter_client_quotas({entity: quotas})).checked()
        found = await eventually(lambda: admin.describe_client_quotas({"user": user}), lambda found: bool(found))
        assert found == {entity: quotas}
        assert entity in await admin.describe_client_quotas({"user": Match.ANY}, strict=True)
        changes = {entity: {"producer_byte_rate": None, "request_percentage": None}}
        (await admin.alter_client_quotas(changes)).checked()
        await eventually(admin.describe_client_quotas, lambda found: entity not in found)
        refused = await admin.alter_client_quotas({entity: {"no_such_quota": 1.0}}, validate_only=True)
        assert isinstance(refused[entity], KafkaError)

    cluster.with_admin(work)


def test_scram_credentials_are_set_found_and_removed(cluster: RunningCluster):
    user = cluster.fresh("bob")

    async def work(admin: AdminClient) -> None:
        mechanism = ScramMechanism.SCRAM_SHA_512
        (await admin.alter_user_scram_credentials([ScramUpsertion(user, mechanism, "secret", 8192)])).checked()
        found = await eventually(
            lambda: admin.describe_user_scram_credentials([user]), lambda results: bool(results.succeeded)
        )
        (credential,) = found.result(user)
        assert (credential.mechanism, credential.iterations) == (mechanism, 8192)
        assert user in await admin.describe_user_scram_credentials()
        (await admin.alter_user_scram_credentials([ScramDeletion(user, mechanism)])).checked()
        gone = await eventually(
            lambda: admin.describe_user_scram_credentials([user]), lambda results: bool(results.failed)
        )
        assert isinstance(gone[user], KafkaError)
        weak = await admin.alter_user_scram_credentials([ScramUpsertion(user, mechanism, "secret", 1)])
        assert isinstance(weak[user], KafkaError)

    cluster.with_admin(work)


def test_transactions_that_are_fenced_are_listed_and_described(cluster: RunningCluster):
    transactional_id = cluster.fresh("transfer")

    async def work(admin: AdminClient) -> None:
        first = (await admin.fence_producers([transactional_id])).result(transactional_id)
        second = (await admin.fence_producers([transactional_id])).result(transactional_id)
        assert second.producer_epoch == first.producer_epoch + 1
        (listing,) = await admin.list_transactions(producer_ids=[first.producer_id])
        assert (listing.transactional_id, listing.state) == (transactional_id, "Empty")
        found = await admin.list_transactions(transactional_id_pattern=f"{transactional_id}.*", states=["Empty"])
        assert found == [listing]
        nobody = cluster.fresh("nobody")
        results = await admin.describe_transactions([transactional_id, nobody])
        described = results.result(transactional_id)
        assert (described.state, described.coordinator_id, described.partitions) == ("Empty", BROKER, frozenset())
        assert isinstance(results[nobody], TransactionalIdNotFound)
        await admin.force_terminate_transaction(transactional_id)

    cluster.with_admin(work)


def test_an_abort_marker_is_written_for_a_transaction_that_hangs(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        partition = TopicPartition(await cluster.new_topic(admin), 0)
        await admin.abort_transaction(AbortTransaction(partition, 4711, 3, 0))
        assert (await admin.list_offsets({partition: LATEST})).result(partition).offset == 1

    cluster.with_admin(work)


def test_acls_are_created_found_and_deleted_where_there_is_an_authorizer(cluster: RunningCluster):
    name = cluster.fresh("secret")
    acl = AclBinding(
        resource_type=ResourceType.TOPIC, resource_name=name, principal="User:alice", operation=AclOperation.READ
    )
    by_name = AclFilter(resource_type=ResourceType.TOPIC, resource_name=name)

    async def work(admin: AdminClient) -> None:
        try:
            await admin.describe_acls()
        except SecurityDisabled:
            assert not cluster.is_kafka
            assert isinstance((await admin.create_acls([acl]))[acl], SecurityDisabled)
            assert isinstance((await admin.delete_acls([by_name]))[by_name], SecurityDisabled)
            return
        (await admin.create_acls([acl])).checked()
        assert await eventually(lambda: admin.describe_acls(by_name), bool) == [acl]
        assert (await admin.delete_acls([by_name])).result(by_name).deleted == (acl,)

    cluster.with_admin(work)


def test_delegation_tokens_need_authentication(cluster: RunningCluster):
    refusals = (DelegationTokenAuthDisabled, DelegationTokenRequestNotAllowed, KafkaError)

    async def work(admin: AdminClient) -> None:
        for call in (
            admin.create_delegation_token(),
            admin.renew_delegation_token(b"hmac"),
            admin.expire_delegation_token(b"hmac"),
            admin.describe_delegation_token(),
        ):
            with pytest.raises(refusals):
                await call

    cluster.with_admin(work)


def test_raft_voters_are_refused_on_a_static_quorum(cluster: RunningCluster):
    async def work(admin: AdminClient) -> None:
        with pytest.raises(KafkaError):
            await admin.remove_raft_voter(77, random_uuid(), timeout_ms=5_000)
        with pytest.raises(KafkaError):
            await admin.add_raft_voter(77, random_uuid(), [], timeout_ms=5_000)

    cluster.with_admin(work)
