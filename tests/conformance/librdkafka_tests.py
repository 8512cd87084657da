"""librdkafka's own broker tests (2.15 line, 106 of them): which the broker must pass now, and why each other one waits.

What a test needs was taken from the requests it sent to Apache Kafka 4.2 (TEST_DEBUG=protocol), not from its name. A
commit that a closing consumer sends by itself counts only where the test's time is too short to wait for it in vain.
"""

from __future__ import annotations

# by four-digit number, the unit in which the suite's runner starts tests
RUN = (
    *("0001", "0002", "0003", "0005", "0007", "0008", "0011", "0012", "0013", "0015", "0016", "0017", "0021"),
    *("0031", "0034", "0035", "0036", "0038", "0039", "0041", "0044", "0048", "0053", "0054", "0055", "0057", "0059"),
    *(
        "0061",
        "0063",
        "0065",
        "0068",
        "0070",
        "0073",
        "0075",
        "0086",
        "0088",
        "0110",
        "0112",
        "0114",
        "0123",
        "0129",
        "0137",
    ),
)

# these take under two seconds, and their files hold parts for a mock too: librdkafka.py takes that for a vacuous pass
SHORT_BY_NATURE = ("0031", "0034")

# the parts of 0081_admin that concern this broker, as its SUBTESTS filter names them; IncrementalAlterConfigs alters a
# group's settings too
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
)

GROUPS = "joins a group or subscribes"
COMMITTED = "starts from, stores or reads committed offsets"
ACLS = "creates ACLs and expects refusals"
SASL = "needs a listener with SASL"
THREE_BROKERS = "creates a topic of three replicas"
MOCK = "talks to a mock inside the client, never to a broker"

LEFT_OUT = {
    "0014": COMMITTED,
    "0018": GROUPS,
    "0019": GROUPS,
    "0020": GROUPS,
    "0022": GROUPS,
    "0026": GROUPS,
    "0028": "known issue of the suite, which leaves it out itself",
    "0029": GROUPS,
    "0030": COMMITTED,
    "0033": GROUPS,
    "0040": GROUPS,
    "0042": GROUPS,
    "0045": GROUPS,
    "0047": "known issue of the suite, which leaves it out itself",
    "0049": GROUPS,
    "0050": GROUPS,
    "0051": COMMITTED,
    "0052": GROUPS,
    "0056": GROUPS,
    "0060": GROUPS,
    "0064": GROUPS,
    "0067": COMMITTED,
    "0069": GROUPS,
    "0076": GROUPS,
    "0077": GROUPS,
    "0081": "one test of groups, ACLs and SCRAM as well: the parts that need none of them are run by name",
    "0082": GROUPS,
    "0083": GROUPS,
    "0084": GROUPS,
    "0085": COMMITTED,
    "0089": GROUPS,
    "0090": COMMITTED,
    "0091": GROUPS,
    "0092": "message format 1, gone in Kafka 4.0",
    "0093": GROUPS,
    "0094": GROUPS,
    "0097": "needs the suite's own TLS set",
    "0098": THREE_BROKERS,
    "0099": COMMITTED,
    "0101": THREE_BROKERS,
    "0102": GROUPS,
    "0103": THREE_BROKERS,
    "0107": GROUPS,
    "0109": ACLS,
    "0111": THREE_BROKERS,
    "0113": GROUPS,
    "0115": ACLS,
    "0118": GROUPS,
    "0119": ACLS,
    "0122": GROUPS,
    "0125": GROUPS,
    "0126": SASL,
    "0127": COMMITTED,
    "0130": COMMITTED,
    "0132": GROUPS,
    "0135": SASL,
    "0139": MOCK,
    "0140": COMMITTED,
    "0142": SASL,
    "0150": MOCK,
}
