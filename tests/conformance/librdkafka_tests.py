"""librdkafka's own broker tests (2.15 line, 106 of them): which the broker must pass now, and why each other one waits.

What a test needs was taken from the requests it sent to Apache Kafka 4.2 (TEST_DEBUG=protocol), not from its name. A
commit that a closing consumer sends by itself counts only where the test's time is too short to wait for it in vain.
"""

from __future__ import annotations

# by four-digit number, the unit in which the suite's runner starts tests
RUN = (
    *("0001", "0002", "0003", "0005", "0007", "0008", "0011", "0012", "0013", "0014", "0015", "0016", "0017", "0018"),
    *("0019", "0020", "0021", "0022", "0026", "0029", "0030", "0031", "0033", "0034", "0035", "0036", "0038", "0039"),
    *("0040", "0041", "0042", "0044", "0045", "0048", "0049", "0050", "0051", "0052", "0053", "0054", "0055", "0056"),
    *("0057", "0059", "0060", "0061", "0063", "0064", "0065", "0067", "0068", "0069", "0070", "0073", "0075", "0076"),
    *("0077", "0082", "0083", "0084", "0085", "0086", "0088", "0089", "0090", "0091", "0093", "0094", "0099", "0102"),
    *("0110", "0112", "0113", "0114", "0118", "0122", "0123", "0125", "0127", "0129", "0130", "0132", "0137", "0140"),
)

# these take under two seconds, and their files hold parts for a mock too: librdkafka.py takes that for a vacuous pass
SHORT_BY_NATURE = ("0031", "0034")

# what of RUN consumes in groups, and is run over the consumer protocol (KIP-848) too
CONSUMER_PROTOCOL = (
    *("0018", "0019", "0020", "0022", "0026", "0029", "0030", "0033", "0040", "0042", "0045", "0049", "0050", "0051"),
    *("0056", "0060", "0061", "0064", "0067", "0069", "0089", "0091", "0093", "0099", "0102", "0113", "0118", "0122"),
    *("0125", "0127", "0130", "0137", "0140"),
)

# tests for a broker that creates no topics by itself: the suite's scenario noautocreate
NO_AUTO_CREATE = {
    "0045": ("0045_subscribe_update_topic_remove", "0045_subscribe_update_non_exist_and_partchange"),
}

# the parts of 0081_admin that need no ACLs, as its SUBTESTS filter names them
ADMIN_PARTS = (
    "do_test_CreateTopics",
    "do_test_DeleteTopics",
    "do_test_CreatePartitions",
    "do_test_AlterConfigs",
    "do_test_DescribeConfigs",
    "do_test_DeleteRecords",
    "do_test_DescribeTopics",
    "do_test_DescribeCluster",
    "do_test_ListOffsets",
    "do_test_ListConsumerGroups",
    "do_test_DescribeConsumerGroups",
    "do_test_DeleteGroups",
    "do_test_ListConsumerGroupOffsets",
    "do_test_AlterConsumerGroupOffsets",
    "do_test_DeleteConsumerGroupOffsets",
    "do_test_DescribeConfigs_groups",
    "do_test_IncrementalAlterConfigs",
    "do_test_UserScramCredentials",
    "do_test_unclean_destroy",
)

# these create topics of three replicas and need no more than one: they are run with one (test_client_suites.py). Value:
# the suite's scenario
ONE_REPLICA = {"0098": "default", "0103": "default", "0107": "noautocreate", "0111": "noautocreate"}

ACLS = "creates ACLs and expects refusals"
SASL = "needs a listener with SASL"
THREE_REPLICAS = "creates topics of three replicas; run with one, see ONE_REPLICA"
MOCK = "talks to a mock inside the client, never to a broker"

LEFT_OUT = {
    "0028": "known issue of the suite, which leaves it out itself",
    "0047": "known issue of the suite, which leaves it out itself",
    "0081": "creates ACLs too, and ends at the first failure: its other parts are run by name",
    "0092": "message format 1, gone in Kafka 4.0",
    "0097": "needs the suite's own TLS set",
    "0098": THREE_REPLICAS,
    "0101": "needs three brokers in three racks",
    "0103": THREE_REPLICAS,
    "0107": THREE_REPLICAS,
    "0109": ACLS,
    "0111": THREE_REPLICAS,
    "0115": ACLS,
    "0119": ACLS,
    "0126": SASL,
    "0135": SASL,
    "0139": MOCK,
    "0142": SASL,
    "0150": MOCK,
}
