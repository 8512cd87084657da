"""What an administrator asks of the cluster as a whole: elections, reassignments, quorum, features, users, rules."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from pystream.common.error_codes import (
    BROKER_ID_NOT_REGISTERED,
    DUPLICATE_RESOURCE,
    ELECTION_NOT_NEEDED,
    ILLEGAL_SASL_STATE,
    INVALID_REPLICA_ASSIGNMENT,
    INVALID_REQUEST,
    INVALID_UPDATE_VERSION,
    NO_REASSIGNMENT_IN_PROGRESS,
    NONE,
    RESOURCE_NOT_FOUND,
    SECURITY_DISABLED,
    UNACCEPTABLE_CREDENTIAL,
    UNKNOWN_TOPIC_OR_PARTITION,
    UNSUPPORTED_SASL_MECHANISM,
    UNSUPPORTED_VERSION,
)
from pystream.protocol.messages import (
    alter_partition_reassignments as reassign,
)
from pystream.protocol.messages import (
    alter_user_scram_credentials as alter_scram,
)
from pystream.protocol.messages import (
    describe_quorum as quorum,
)
from pystream.protocol.messages import (
    describe_user_scram_credentials as describe_scram,
)
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.create_acls import AclCreation, CreateAclsRequest
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.delete_acls import DeleteAclsFilter, DeleteAclsRequest
from pystream.protocol.messages.describe_acls import DescribeAclsRequest
from pystream.protocol.messages.elect_leaders import ElectLeadersRequest, TopicPartitions
from pystream.protocol.messages.list_config_resources import ListConfigResourcesRequest
from pystream.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)
from pystream.protocol.messages.sasl_authenticate import SaslAuthenticateRequest
from pystream.protocol.messages.sasl_handshake import SaslHandshakeRequest
from pystream.protocol.messages.unregister_broker import UnregisterBrokerRequest
from pystream.protocol.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from tests.support.cold_rig import NODE_ID, ColdRig, run_cold

UPGRADE, SAFE_DOWNGRADE = 1, 2
SHA_256, SHA_512 = 1, 2


async def create(rig: ColdRig, *names: str, partitions: int = 2) -> None:
    topics = [CreatableTopic(name=name, num_partitions=partitions, replication_factor=1) for name in names]
    response = await rig.call(CreateTopicsRequest(topics=topics), 7)
    assert [topic.error_code for topic in response.topics] == [NONE] * len(names)


@pytest.mark.parametrize("version", range(3))
def test_no_election_is_needed_where_the_only_replica_leads(version: int):
    async def scenario(rig: ColdRig):
        await create(rig, "t")
        asked = [TopicPartitions(topic="t", partitions=[0, 1, 7]), TopicPartitions(topic="none", partitions=[0])]
        named = await rig.call(ElectLeadersRequest(topic_partitions=asked), version)
        everything = await rig.call(ElectLeadersRequest(topic_partitions=None), version)
        return named, everything

    named, everything = run_cold(scenario)

    codes = [(r.topic, [p.error_code for p in r.partition_result]) for r in named.replica_election_results]
    unknown = UNKNOWN_TOPIC_OR_PARTITION
    assert codes == [("t", [ELECTION_NOT_NEEDED, ELECTION_NOT_NEEDED, unknown]), ("none", [unknown])]
    assert everything.replica_election_results == []


def test_an_unknown_type_of_election_is_refused_for_each_partition():
    async def scenario(rig: ColdRig):
        asked = [TopicPartitions(topic="t", partitions=[0, 1])]
        return await rig.call(ElectLeadersRequest(topic_partitions=asked, election_type=7), 2)

    response = run_cold(scenario)

    assert response.error_code == INVALID_REQUEST
    assert [p.error_code for p in response.replica_election_results[0].partition_result] == [INVALID_REQUEST] * 2


@pytest.mark.parametrize("version", range(2))
def test_replicas_stay_where_the_brokers_are(version: int):
    cases = {
        (NODE_ID,): NONE,
        (): INVALID_REPLICA_ASSIGNMENT,
        (NODE_ID, NODE_ID): INVALID_REPLICA_ASSIGNMENT,
        (-1,): INVALID_REPLICA_ASSIGNMENT,
        (NODE_ID + 1,): INVALID_REPLICA_ASSIGNMENT,
        None: NO_REASSIGNMENT_IN_PROGRESS,
    }

    async def scenario(rig: ColdRig):
        await create(rig, "t", partitions=len(cases))
        partitions = [
            reassign.ReassignablePartition(partition_index=index, replicas=None if replicas is None else list(replicas))
            for index, replicas in enumerate(cases)
        ]
        partitions.append(reassign.ReassignablePartition(partition_index=99, replicas=[NODE_ID]))
        topics = [reassign.ReassignableTopic(name="t", partitions=partitions)]
        return await rig.call(reassign.AlterPartitionReassignmentsRequest(topics=topics), version)

    response = run_cold(scenario)

    codes = [partition.error_code for partition in response.responses[0].partitions]
    assert codes == [*cases.values(), UNKNOWN_TOPIC_OR_PARTITION]


def test_nothing_is_being_reassigned():
    async def scenario(rig: ColdRig):
        await create(rig, "t")
        asked = [ListPartitionReassignmentsTopics(name="t", partition_indexes=[0, 5])]
        return [await rig.call(ListPartitionReassignmentsRequest(topics=topics), 0) for topics in (asked, None)]

    assert [(response.error_code, response.topics) for response in run_cold(scenario)] == [(NONE, [])] * 2


@pytest.mark.parametrize("version", range(3))
def test_the_metadata_store_is_described_as_a_quorum_of_one(version: int):
    async def scenario(rig: ColdRig):
        partitions = [quorum.DescribeQuorumRequestPartitionData(partition_index=index) for index in (0, 1)]
        topics = [
            quorum.DescribeQuorumRequestTopicData(topic_name=name, partitions=partitions)
            for name in ("__cluster_metadata", "t")
        ]
        revision = rig.context.image().revision
        return revision, await rig.call(quorum.DescribeQuorumRequest(topics=topics), version)

    revision, response = run_cold(scenario)

    metadata, other = (topic.partitions for topic in response.topics)
    assert (metadata[0].error_code, metadata[0].leader_id, metadata[0].high_watermark) == (NONE, NODE_ID, revision)
    assert [voter.replica_id for voter in metadata[0].current_voters] == [NODE_ID]
    assert [p.error_code for p in (metadata[1], *other)] == [UNKNOWN_TOPIC_OR_PARTITION] * 3
    assert version < 2 or [(node.node_id, len(node.listeners)) for node in response.nodes] == [(NODE_ID, 1)]


def test_only_a_broker_that_is_gone_could_be_unregistered():
    async def scenario(rig: ColdRig):
        return [(await rig.call(UnregisterBrokerRequest(broker_id=broker), 0)).error_code for broker in (NODE_ID, 77)]

    assert run_cold(scenario) == [INVALID_REQUEST, BROKER_ID_NOT_REGISTERED]


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize(
    ("feature", "level", "kind", "code"),
    [
        ("metadata.version", 29, UPGRADE, NONE),
        ("metadata.version", 28, UPGRADE, INVALID_UPDATE_VERSION),
        ("metadata.version", 28, SAFE_DOWNGRADE, INVALID_UPDATE_VERSION),
        ("metadata.version", 99, UPGRADE, INVALID_UPDATE_VERSION),
        ("metadata.version", -1, UPGRADE, INVALID_UPDATE_VERSION),
        ("no.such.feature", 1, UPGRADE, INVALID_UPDATE_VERSION),
    ],
)
def test_features_are_updated_within_what_is_supported(version: int, feature: str, level: int, kind: int, code: int):
    async def scenario(rig: ColdRig):
        update = FeatureUpdateKey(
            feature=feature, max_version_level=level, upgrade_type=kind, allow_downgrade=kind != UPGRADE
        )
        response = await rig.call(UpdateFeaturesRequest(feature_updates=[update]), version)
        return response, await rig.call(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 4)

    response, versions = run_cold(scenario)

    assert response.error_code == code
    assert version > 1 or [(result.feature, result.error_code) for result in response.results] == [(feature, code)]
    assert {f.name: f.max_version_level for f in versions.finalized_features}["metadata.version"] == 29


def test_an_unknown_upgrade_type_and_a_feature_named_twice_change_nothing():
    async def scenario(rig: ColdRig):
        same = FeatureUpdateKey(feature="metadata.version", max_version_level=29)
        odd = FeatureUpdateKey(feature="metadata.version", max_version_level=29, upgrade_type=9)
        twice = await rig.call(UpdateFeaturesRequest(feature_updates=[same, same]), 2)
        return twice.error_code, (await rig.call(UpdateFeaturesRequest(feature_updates=[odd]), 2)).error_code

    assert run_cold(scenario) == (INVALID_REQUEST, INVALID_UPDATE_VERSION)


def upsertion(name: str, mechanism: int = SHA_256, iterations: int = 4_096) -> alter_scram.ScramCredentialUpsertion:
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", iterations) if iterations > 0 else b"x"
    return alter_scram.ScramCredentialUpsertion(
        name=name, mechanism=mechanism, iterations=iterations, salt=b"salt", salted_password=salted
    )


def test_credentials_are_stored_as_proofs_described_without_them_and_deleted():
    async def scenario(rig: ColdRig):
        upsertions = [upsertion("ann"), upsertion("ann", SHA_512, 8_192), upsertion("bob")]
        altered = await rig.call(alter_scram.AlterUserScramCredentialsRequest(upsertions=upsertions), 0)
        stored = rig.context.image().scram_users["ann"][SHA_256]
        everybody = await rig.call(describe_scram.DescribeUserScramCredentialsRequest(users=None), 0)
        deletion = alter_scram.ScramCredentialDeletion(name="bob", mechanism=SHA_256)
        deleted = await rig.call(alter_scram.AlterUserScramCredentialsRequest(deletions=[deletion]), 0)
        users = [describe_scram.UserName(name=name) for name in ("ann", "bob")]
        named = await rig.call(describe_scram.DescribeUserScramCredentialsRequest(users=users), 0)
        return altered, stored, everybody, deleted, named

    altered, stored, everybody, deleted, named = run_cold(scenario)

    assert [(result.user, result.error_code) for result in altered.results] == [("ann", NONE), ("bob", NONE)]
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 4_096)
    assert stored.stored_key == hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert stored.server_key == hmac.digest(salted, b"Server Key", "sha256")
    infos = {r.user: [(i.mechanism, i.iterations) for i in r.credential_infos] for r in everybody.results}
    assert infos == {"ann": [(SHA_256, 4_096), (SHA_512, 8_192)], "bob": [(SHA_256, 4_096)]}
    assert [result.error_code for result in deleted.results] == [NONE]
    assert [(result.user, result.error_code) for result in named.results] == [
        ("ann", NONE),
        ("bob", RESOURCE_NOT_FOUND),
    ]


def test_credentials_that_cannot_be_are_refused_and_the_other_users_are_served():
    async def scenario(rig: ColdRig):
        request = alter_scram.AlterUserScramCredentialsRequest(
            deletions=[
                alter_scram.ScramCredentialDeletion(name="gone", mechanism=SHA_256),
                alter_scram.ScramCredentialDeletion(name="twice", mechanism=SHA_256),
            ],
            upsertions=[
                upsertion("twice"),
                upsertion(""),
                upsertion("odd", mechanism=9),
                upsertion("few", iterations=4_095),
                upsertion("many", iterations=16_385),
                upsertion("good"),
            ],
        )
        altered = await rig.call(request, 0)
        twice = [describe_scram.UserName(name="good"), describe_scram.UserName(name="good")]
        return altered, await rig.call(describe_scram.DescribeUserScramCredentialsRequest(users=twice), 0)

    altered, described = run_cold(scenario)

    assert {result.user: result.error_code for result in altered.results} == {
        "gone": RESOURCE_NOT_FOUND,
        "twice": DUPLICATE_RESOURCE,
        "": UNACCEPTABLE_CREDENTIAL,
        "odd": UNSUPPORTED_SASL_MECHANISM,
        "few": UNACCEPTABLE_CREDENTIAL,
        "many": UNACCEPTABLE_CREDENTIAL,
        "good": NONE,
    }
    assert [(result.user, result.error_code) for result in described.results] == [("good", DUPLICATE_RESOURCE)]


@pytest.mark.parametrize("version", range(1, 4))
def test_there_is_no_authorizer(version: int):
    async def scenario(rig: ColdRig):
        rule = AclCreation(
            resource_type=2, resource_name="t", principal="User:a", host="*", operation=3, permission_type=3
        )
        pattern = DeleteAclsFilter(resource_type_filter=1, operation=1, permission_type=1)
        created = await rig.call(CreateAclsRequest(creations=[rule, rule]), version)
        deleted = await rig.call(DeleteAclsRequest(filters=[pattern, pattern]), version)
        listed = await rig.call(DescribeAclsRequest(resource_type_filter=1, operation=1, permission_type=1), version)
        return [*created.results, *deleted.filter_results, listed]

    assert [result.error_code for result in run_cold(scenario)] == [SECURITY_DISABLED] * 5


def test_nobody_logs_in_on_a_plaintext_listener():
    async def scenario(rig: ColdRig):
        shaken = [await rig.call(SaslHandshakeRequest(mechanism="PLAIN"), version) for version in range(2)]
        return shaken + [await rig.call(SaslAuthenticateRequest(auth_bytes=b"x"), version) for version in range(3)]

    assert [response.error_code for response in run_cold(scenario)] == [ILLEGAL_SASL_STATE] * 5


def test_resources_with_settings_are_listed():
    from tests.unit.broker.test_group_settings import CLIENT_METRICS, GROUP, alter

    async def scenario(rig: ColdRig):
        await create(rig, "t")
        await alter(rig, GROUP, "g", {"consumer.session.timeout.ms": "50000"})
        await alter(rig, CLIENT_METRICS, "m", {"interval.ms": "1000"})
        old = await rig.call(ListConfigResourcesRequest(), 0)
        everything = await rig.call(ListConfigResourcesRequest(), 1)
        some = await rig.call(ListConfigResourcesRequest(resource_types=[2, 32, 2]), 1)
        return old, everything, some, await rig.call(ListConfigResourcesRequest(resource_types=[2, 99]), 1)

    old, everything, some, unknown = run_cold(scenario)

    assert [resource.resource_name for resource in old.config_resources] == ["m"]
    found = {(resource.resource_type, resource.resource_name) for resource in everything.config_resources}
    assert found == {(2, "t"), (4, str(NODE_ID)), (8, str(NODE_ID)), (16, "m"), (32, "g")}
    assert [resource.resource_name for resource in some.config_resources] == ["t", "g"]
    assert (unknown.error_code, unknown.config_resources) == (UNSUPPORTED_VERSION, [])
