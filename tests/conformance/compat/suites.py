"""Which tests of other clients' own suites run on pystream's faces, and why the others fail there.

A name stands for all its parameters. What is in none of the folders and files named here tests a library's inside.
"""

from __future__ import annotations

from typing import Final

LATER: Final = "needs an authorizer, which is part 4"
SECURITY: Final = "needs SASL or TLS, which is part 4"
LOGGER: Final = "asks for a line that librdkafka writes: pystream writes its own"
INSIDE: Final = "opens what is inside the real library"
OLDER: Final = "the suite is of 2.15; 2.16.1, which the face is like, deserializes keys first"

CONFLUENT_UNIT: Final = tuple(
    f"tests/test_{name}.py"
    for name in (
        "Admin",
        "Consumer",
        "DeserializingShareConsumer",
        "Messages",
        "Producer",
        "ShareConsumer",
        "ShareConsumer_callbacks",
        "Wakeable",
        "enums",
        "error",
        "kafka_error",
        "log",
        "message",
        "misc",
        "oauth_cb",
        "partitioners",
        "serializer_error",
        "threads",
        "topic_partition",
    )
)
CONFLUENT_UNIT_FAILS: Final = {
    "test_basic_api": "seek() in a partition that was not fetched yet raises in librdkafka; here it is done",
    "test_incremental_alter_configs_api": "a resource without changes is asked for, and not refused",
    "test_value_failure_short_circuits_key": OLDER,
    "test_from_list_builds_a_batch": INSIDE,
    "test_produce_batch_scalability_and_limits": "produce_batch() takes timestamps, which confluent_kafka refuses",
    "test_concurrent_thread_access_raises_conflict": "two threads spin: now and then the other one never gets in",
    "test_set_sasl_credentials_accepts_strings": SECURITY,
    "test_oauthbearer_token_refresh_cb": SECURITY,
    "test_oauth_cb_fires_across_client_types": SECURITY,
    "test_oauth_cb_principal_and_sasl_extensions": SECURITY,
    "test_oauth_cb_token_refresh_success_multiple_calls": SECURITY,
    "test_oauth_cb_token_refresh_failure_and_recovery": SECURITY,
    "test_oauth_cb_malformed_return_fails_construction": SECURITY,
    "test_mixed_callbacks_coexist_on_share_consumer": SECURITY,
    "test_log_cb_delivers_always_on_warning_without_debug": LOGGER,
    "test_producer_wakeable_flush_interruptibility_and_messages": "fails with the real library, too, without a broker",
}

CONFLUENT_FOLDERS: Final = tuple(
    f"tests/integration/{name}" for name in ("admin", "consumer", "producer", "serialization")
)
CONFLUENT_FAILS: Final = {
    "test_basic_operations": LATER,
    "test_consumer_topicpartition_metadata": "None and the empty text are one as metadata of a committed offset",
}
CONSUMER_PROTOCOL_FAILS: Final = {
    **CONFLUENT_FAILS,
    "test_consumer_memberid": "a member has its id once it joins, not before",
}
SHARE_FOLDER: Final = "tests/integration/share_consumer"
SHARE_SERDES: Final = f"{SHARE_FOLDER}/test_share_consumer_deserialization.py"  # of Schema Registry: part 5
SHARE_FAILS: Final = {
    "test_poll_returns_whole_batch_exceeding_max_poll_records": "a poll gives at most max.poll.records",
    "test_log_cb_share_facility_tags_present": LOGGER,
}

KAFKA_PYTHON_FOLDER: Final = "test/integration"
KAFKA_PYTHON_LEFT_OUT: Final = ("test_sasl_integration.py", "test_ssl_integration.py")
KAFKA_PYTHON_UNIT: Final = (
    "test/producer/test_kip679_config.py",
    "test/test_future.py",
    "test/test_serializer.py",
    "test/admin/test_admin_client_config.py",
)
KAFKA_PYTHON_UNIT_FAILS: Final = {
    "test_bare_construct_is_idempotent": INSIDE,
    "test_opt_out_disables_idempotence_but_keeps_acks_default": INSIDE,
    "test_acks_1_silently_disables": INSIDE,
    "test_acks_0_silently_disables": INSIDE,
    "test_retries_zero_silently_disables": INSIDE,
    "test_max_in_flight_too_high_silently_disables": INSIDE,
    "test_acks_all_string_accepted": INSIDE,
    "test_old_broker_silently_disables": "brokers before 0.11 are not spoken to",
    "test_old_broker_with_explicit_idempotence_raises": "brokers before 0.11 are not spoken to",
    "test_transactional_id_on_old_broker_raises": "brokers before 0.11 are not spoken to",
}
KAFKA_PYTHON_FAILS: Final = {
    "test_describe_configs_broker_resource_returns_configs": INSIDE,
    "test_describe_configs_mixed_resources_returns_configs": INSIDE,
    "test_describe_log_dirs": INSIDE,
    "test_alter_partition_reassignments": INSIDE,
    "test_describe_topic_partitions": "left out, see the README: describe_topics() tells it",
    "test_describe_topic_partitions_pagination": "left out, see the README: describe_topics() tells it",
    "test_consumer": INSIDE,
    "test_kafka_version_infer": "the broker's version is not guessed",
    "test_kafka_consumer_unsupported_encoding": INSIDE,
    "test_group": INSIDE,
    "test_heartbeat_thread": INSIDE,
}
