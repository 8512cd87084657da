from __future__ import annotations

import pytest

from pystream.common import error_codes, errors


def test_the_table_holds_every_number_from_minus_one_without_gaps() -> None:
    assert sorted(error_codes.TABLE) == list(range(-1, 134))


@pytest.mark.parametrize(
    ("code", "name", "retriable"),
    [
        (-1, "UNKNOWN_SERVER_ERROR", False),
        (1, "OFFSET_OUT_OF_RANGE", False),
        (3, "UNKNOWN_TOPIC_OR_PARTITION", True),
        (6, "NOT_LEADER_OR_FOLLOWER", True),
        (36, "TOPIC_ALREADY_EXISTS", False),
        (56, "KAFKA_STORAGE_ERROR", True),
        (100, "UNKNOWN_TOPIC_ID", True),
        (120, "TRANSACTION_ABORTABLE", False),
        (133, "SHARE_SESSION_LIMIT_REACHED", True),
    ],
)
def test_codes_have_kafkas_names_and_retriability(code: int, name: str, retriable: bool) -> None:
    row = error_codes.TABLE[code]

    assert (row.name, row.retriable) == (name, retriable)
    assert getattr(error_codes, name) == code


def test_every_code_but_success_has_one_class_that_carries_its_row() -> None:
    for code, row in error_codes.TABLE.items():
        if code == error_codes.NONE:
            continue
        error = errors.error_class(code)("")
        assert (error.code, error.name, error.retriable, str(error)) == (code, row.name, row.retriable, row.message)


def test_success_has_no_exception() -> None:
    with pytest.raises(ValueError, match="success"):
        errors.error_class(error_codes.NONE)


def test_a_number_from_a_later_kafka_is_an_unknown_server_error() -> None:
    assert errors.error_class(9_999) is errors.UnknownServerError


def test_a_narrower_error_keeps_the_code_of_its_parent() -> None:
    assert errors.CorruptRecordBatch("x").code == error_codes.CORRUPT_MESSAGE
    assert errors.NoSpace.retriable


def test_a_message_replaces_kafkas_sentence() -> None:
    assert errors.message_of(errors.InvalidTopic("'a b' is no name")) == "'a b' is no name"


def test_errors_without_a_code_do_not_show_their_text_to_clients() -> None:
    error = OSError("/var/secret/path is full")

    assert errors.code_of(error) == error_codes.UNKNOWN_SERVER_ERROR
    assert "secret" not in errors.message_of(error)
