"""What a manifest may say, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from pystream.client.admin.acls import AclOperation
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.users import QuotaEntity
from pystream.client.operations.desired.manifest import parse
from pystream.common.errors import InvalidRequest

WHOLE = """
topics:
  - name: orders
    partitions: 6
    replication_factor: 1
    configs: {retention.ms: 86400000, cleanup.policy: [compact, delete], preallocate: false, segment.ms: null}
  - {name: plain}
configs:
  - {type: brokers, configs: {log.cleaner.threads: 2}}
  - {type: groups, name: jobs, configs: {share.auto.offset.reset: earliest}}
acls:
  - {principal: "User:alice", operations: [read, describe], resource: topic, name: orders, pattern: prefixed}
  - {principal: "User:bob", operation: alter, resource: cluster}
quotas:
  - {entity: {user: alice, client-id: null}, quotas: {producer_byte_rate: 1048576, request_percentage: null}}
"""


def test_a_manifest_says_what_should_be():
    manifest = parse([WHOLE])

    assert manifest.topics is not None
    assert manifest.configs is not None
    assert manifest.acls is not None
    orders = manifest.topics["orders"]
    assert (orders.partitions, orders.replication_factor) == (6, 1)
    assert orders.configs == {
        "retention.ms": "86400000",
        "cleanup.policy": "compact,delete",
        "preallocate": "false",
        "segment.ms": None,
    }
    assert manifest.topics["plain"].partitions is None
    assert manifest.configs[ConfigResource(ConfigResourceType.BROKER, "")] == {"log.cleaner.threads": "2"}
    assert [each.operation for each in manifest.acls] == [
        *(AclOperation.READ, AclOperation.DESCRIBE, AclOperation.ALTER),
    ]
    assert manifest.acls[2].resource_name == "kafka-cluster"
    assert manifest.quotas == {
        QuotaEntity.of({"user": "alice", "client-id": None}): {
            "producer_byte_rate": 1048576.0,
            "request_percentage": None,
        }
    }


def test_several_files_make_one_and_absent_sections_are_not_looked_at():
    manifest = parse(["topics: [{name: a}]", '{"topics": [{"name": "b"}]}'])

    assert list(manifest.topics or ()) == ["a", "b"]
    assert (manifest.configs, manifest.acls, manifest.quotas) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected an object"),
        ("{}", "nothing is declared"),
        ("a: [", "line"),
        ("topics: {a: 1}\ntopics: []", "line 2: 'topics' comes twice"),
        ("topic: []", "did you mean topics"),
        ("topics: orders", "topics: expected a list, found 'orders'"),
        ("topics: [orders]", r"topics\[0\]: expected an object"),
        ("topics: [{}]", r"topics\[0\]\.name: expected a text, found nothing"),
        ("topics: [{name: a, partition: 2}]", "did you mean partitions"),
        ("topics: [{name: a, partitions: six}]", r"topics\[0\]\.partitions: expected a whole number"),
        ("topics: [{name: a, partitions: true}]", "whole number"),
        ("topics: [{name: a, partitions: 0}]", "above 0"),
        ("topics: [{name: a}, {name: a}]", "declared twice"),
        ("topics: [{name: a, configs: [1]}]", "an object of settings"),
        ("topics: [{name: a, configs: {x: {y: 1}}}]", r"configs\.x: expected a value"),
        ("configs: [{type: topics, configs: {a: b}}]", "name: is missing"),
        ("configs: [{type: users}]", "one of topics, brokers"),
        ("acls: [{principal: 'User:a', operation: reed, resource: topic, name: a}]", "one of all, read"),
        ("acls: [{principal: 'User:a', resource: topic, name: a}]", "operations"),
        ("acls: [{operation: read, resource: topic, name: a}]", "principal"),
        ("quotas: [{entity: {users: a}, quotas: {x: 1}}]", "did you mean user"),
        ("quotas: [{entity: {user: a}, quotas: {x: fast}}]", "a number, found 'fast'"),
        ("quotas: [{entity: {}, quotas: {x: 1}}]", "an object as"),
        ("topics: [{name: !!python/object/apply:os.system ['true']}]", "python"),
        ("topics: [{? [a] : b}]", "a key must be a text"),
        ("[" * 5_000, "no YAML|line"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, complaint: str):
    with pytest.raises(InvalidRequest, match=complaint):
        parse([text])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (5, "topics:\n  - name: a\n    partitions: 1\n  - name: b\n    partition: 3\n"),
        (4, "configs:\n  - type: brokers\n    configs:\n      log.cleaner.threads: {a: 1}\n"),
        (3, "acls:\n  - principal: 'User:a'\n    operations: [reed]\n    resource: topic\n    name: a\n"),
        (3, "topics:\n  - name: a\n  - partitions: 1\n"),
        (2, "topics: []\ntopcs: []\n"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line: int, text: str):
    with pytest.raises(InvalidRequest, match=f"^line {line}: "):
        parse([text])
    with pytest.raises(InvalidRequest, match=f"^file 2: line {line}: "):
        parse(["topics: []", text])
