"""Messages to arguments, rows to messages, errors to status and back, pages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pystream.client.grpc.messages import acls_pb2, topics_pb2
from pystream.client.grpc.status import NAMED, InvalidFields, brief_status_of, error_of, status_of
from pystream.client.operations.registry import find
from pystream.client.operations.topics import Partition, TopicDetail
from pystream.common import errors
from pystream.common.error_codes import TABLE
from pystream.services.admin.conversion import Rows, arguments_of, page_of

CREATE = find("topics", "create")


# --- requests ---------------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_none_or_the_default():
    found = arguments_of(CREATE, topics_pb2.CreateTopicsRequest(topics=["a"], config={"retention.ms": "1"}), 10)
    acl = acls_pb2.CreateAclsRequest(resource="topic", principal=["User:a"], operation=["read"])

    assert found == {
        "topics": ["a"],
        "partitions": None,
        "replication_factor": None,
        "config": {"retention.ms": "1"},
        "if_not_exists": False,
    }
    assert arguments_of(find("acls", "create"), acl, 10)["name"] == "*"


def test_all_fields_that_cannot_be_are_told_together():
    request = topics_pb2.CreateTopicsRequest(partitions=-1, replication_factor=0)

    with pytest.raises(InvalidFields) as refused:
        arguments_of(CREATE, request, 10)

    assert [field for field, _ in refused.value.violations] == ["topics", "partitions", "replication_factor"]


@pytest.mark.parametrize(
    ("request_", "noun", "verb", "field"),
    [
        (topics_pb2.CreateTopicsRequest(topics=["a"] * 11), "topics", "create", "topics"),
        (topics_pb2.CreateTopicsRequest(topics=["a", ""]), "topics", "create", "topics[1]"),
        (
            topics_pb2.CreateTopicsRequest(topics=["a"], config={str(n): "1" for n in range(11)}),
            "topics",
            "create",
            "config",
        ),
        (topics_pb2.TrimTopicRequest(topic="a", before="1", partition=[0, -1]), "topics", "trim", "partition[1]"),
        (acls_pb2.ListAclsRequest(resource="chair"), "acls", "list", "resource"),
    ],
)
def test_a_field_that_cannot_be_is_named(request_: object, noun: str, verb: str, field: str):
    with pytest.raises(InvalidFields) as refused:
        arguments_of(find(noun, verb), request_, 10)

    assert [name for name, _ in refused.value.violations] == [field]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_keeps_what_is_none_apart_from_what_is_nothing():
    row = TopicDetail(
        "a",
        "id",
        False,
        {"retention.ms": "1", "secret": None},
        [Partition(0, 1, 0, [1, 2], [1], [], None, 0, None, [2])],
    )

    message = Rows(TopicDetail, topics_pb2.TopicDetail)(row)

    assert message.configs["retention.ms"].value == "1"
    assert not message.configs["secret"].HasField("value")
    (partition,) = message.partitions
    assert not partition.HasField("start_offset")
    assert partition.HasField("end_offset")
    assert list(partition.replicas) == [1, 2]
    assert list(partition.last_known_eligible) == [2]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code in TABLE if code != 0])
def test_an_error_of_kafka_comes_back_as_itself(code: int):
    error = errors.error_class(code)("why")

    status = status_of(error)

    assert status.code != code_pb2.OK
    assert (type(error_of(status)), str(error_of(status))) == (type(error), "why")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownTopicOrPartition("x"), code_pb2.NOT_FOUND),
        (errors.TopicAlreadyExists("x"), code_pb2.ALREADY_EXISTS),
        (errors.TopicAuthorizationFailed("x"), code_pb2.PERMISSION_DENIED),
        (errors.InvalidPartitions("x"), code_pb2.INVALID_ARGUMENT),
        (errors.NonEmptyGroup("x"), code_pb2.FAILED_PRECONDITION),
        (errors.UnsupportedVersion("x"), code_pb2.UNIMPLEMENTED),
        (errors.NotLeaderOrFollower("x"), code_pb2.UNAVAILABLE),
        (errors.NoBrokersAvailable("x"), code_pb2.UNAVAILABLE),
        (errors.Busy("x"), code_pb2.RESOURCE_EXHAUSTED),
        (errors.NotFound("x"), code_pb2.NOT_FOUND),
        (errors.DeadlineExceeded("x"), code_pb2.DEADLINE_EXCEEDED),
        (errors.DeadlineExceeded("x", errors.NoBrokersAvailable("y")), code_pb2.UNAVAILABLE),
        (errors.DeadlineExceeded("x", errors.UnknownTopicOrPartition("y")), code_pb2.NOT_FOUND),
        (errors.UnknownServerError("x"), code_pb2.UNKNOWN),
        (errors.InvalidTimestamp("x"), code_pb2.INVALID_ARGUMENT),
        (errors.ElectionNotNeeded("x"), code_pb2.FAILED_PRECONDITION),
        (errors.FencedInstanceId("x"), code_pb2.FAILED_PRECONDITION),
        (errors.VoterNotFound("x"), code_pb2.NOT_FOUND),
        (errors.TransactionAbortable("x"), code_pb2.ABORTED),
    ],
)
def test_an_error_has_the_code_of_what_can_be_done_about_it(error: errors.PystreamError, code: int):
    status = status_of(error)

    assert status.code == code
    assert type(error_of(status)) is type(error)


def test_errors_that_are_told_apart_by_name_are_errors_of_kafka():
    names = [name for each in NAMED.values() for name in each]

    assert len(names) == len(set(names))
    assert set(names) <= {row.name for row in TABLE.values()}


def test_only_what_a_broker_does_not_know_itself_is_unknown():
    told = {row.name: status_of(errors.error_class(code)("x")).code for code, row in TABLE.items() if code != 0}

    assert [name for name, code in told.items() if code == code_pb2.UNKNOWN] == ["UNKNOWN_SERVER_ERROR"]


def test_details_name_the_error_as_kafka_does():
    info = error_details_pb2.ErrorInfo()

    assert status_of(errors.NonEmptyGroup("x")).details[0].Unpack(info)

    assert (info.reason, info.domain, info.metadata["code"]) == ("NON_EMPTY_GROUP", "kafka.apache.org", "68")


def test_violations_come_back():
    found = error_of(status_of(InvalidFields([("topics", "required"), ("partitions", "-1")])))

    assert isinstance(found, InvalidFields)
    assert found.violations == [("topics", "required"), ("partitions", "-1")]


def test_a_status_without_details_still_means_something():
    assert isinstance(error_of(status_pb2.Status(code=code_pb2.UNAVAILABLE, message="x")), errors.NoBrokersAvailable)
    assert isinstance(error_of(status_pb2.Status(code=code_pb2.DATA_LOSS, message="x")), errors.UnknownServerError)


def test_details_that_lie_are_taken_for_what_the_code_says():
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="x")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="X", domain="kafka.apache.org", metadata={"code": "zero"})
    )

    assert isinstance(error_of(status), errors.NotFound)


# --- pages ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    name: str


def all_pages(rows: list[Named], size: int) -> list[list[str]]:
    pages, token = [], ""
    while True:
        page, token = page_of(rows, "name", size, token)
        pages.append([row.name for row in page])
        if not token:
            return pages


def test_pages_hold_every_row_once():
    rows = [Named(name) for name in "dbbbca"]

    assert all_pages(rows, 2) == [["a", "b"], ["b", "b"], ["c", "d"]]
    assert all_pages(rows, 100) == [["a", "b", "b", "b", "c", "d"]]
    assert all_pages([], 2) == [[]]


def test_a_row_that_goes_between_two_pages_moves_no_other():
    rows = [Named(name) for name in "abcdef"]
    _, token = page_of(rows, "name", 3, "")

    page, _ = page_of([row for row in rows if row.name != "b"], "name", 3, token)

    assert [row.name for row in page] == ["d", "e", "f"]


@pytest.mark.parametrize("token", ["x", "bm9uc2Vuc2U=", "W10=", "WyJhIiwtMV0=", "a" * 10_000])
def test_a_token_that_is_none_is_a_violation(token: str):
    with pytest.raises(InvalidFields) as refused:
        page_of([Named("a")], "name", 1, token)

    assert refused.value.violations[0][0] == "page_token"


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidTopic("ł" * 100_000),
        errors.DeadlineExceeded("\U0001f600" * 10_000),
        InvalidFields([("ł" * 500, "\U0001f600" * 1_000)] * 10_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_status_in_the_trailers_fits_into_what_clients_take(error: errors.PystreamError):
    status = brief_status_of(error)

    in_base64 = len(status.SerializeToString()) * 4 / 3
    percent_encoded = 3 * len(status.message.encode())
    assert in_base64 + percent_encoded < 8_000
    assert type(error_of(status)) is type(error)
    assert status.code == status_of(error).code


def test_of_many_wrong_fields_the_first_are_named_in_the_trailers():
    found = error_of(brief_status_of(InvalidFields([(f"partitions[{place}]", "-1") for place in range(10_000)])))

    assert isinstance(found, InvalidFields)
    assert found.violations[0] == ("partitions[0]", "-1")
    assert found.violations[-1] == ("...", "9990 fields more")
    assert len(found.violations) == 11


def test_what_is_short_is_told_whole_in_the_trailers():
    for error in (errors.InvalidTopic("no: name"), InvalidFields([("topic", "required"), ("limit", "-1")])):
        assert brief_status_of(error) == status_of(error)
