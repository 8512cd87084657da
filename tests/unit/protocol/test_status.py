"""Status codes of the compiled core become Kafka's error codes and our exceptions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pystream._native.status import error_code_of, exception_of
from pystream.common import errors
from pystream.common.error_codes import TABLE

FACE = Path(__file__).resolve().parents[3] / "pystream/_native/status.pxd"
STATUSES = {name: int(value) for name, value in re.findall(r"^    ([A-Z_]+) = (\d+)", FACE.read_text(), re.M)}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("OK", 0),
        ("OFFSET_OUT_OF_RANGE", 1),
        ("CORRUPT_BATCH", 2),
        ("TRUNCATED", 2),
        ("MALFORMED", 2),
        ("UNKNOWN_TOPIC_OR_PARTITION", 3),
        ("NOT_LEADER", 6),
        ("REQUEST_TIMED_OUT", 7),
        ("BATCH_TOO_LARGE", 10),
        ("NOT_ENOUGH_REPLICAS", 19),
        ("INVALID_REQUIRED_ACKS", 21),
        ("TOPIC_AUTHORIZATION_FAILED", 29),
        ("INVALID_TIMESTAMP", 32),
        ("UNSUPPORTED_VERSION", 35),
        ("INVALID_REQUEST", 42),
        ("OUT_OF_ORDER_SEQUENCE", 45),
        ("DUPLICATE_SEQUENCE", 46),
        ("INVALID_PRODUCER_EPOCH", 47),
        ("INVALID_TXN_STATE", 48),
        ("STORAGE_ERROR", 56),
        ("LOG_OFFLINE", 56),
        ("NO_SPACE", 56),
        ("DAMAGED", 56),
        ("UNKNOWN_PRODUCER_ID", 59),
        ("FENCED_LEADER_EPOCH", 74),
        ("UNKNOWN_LEADER_EPOCH", 75),
        ("UNSUPPORTED_COMPRESSION", 76),
        ("INVALID_RECORD", 87),
        ("UNSUPPORTED_MAGIC", 87),
        ("UNKNOWN_TOPIC_ID", 100),
        ("OUT_OF_MEMORY", -1),
    ],
)
def test_a_status_has_kafkas_error_code(status: str, code: int):
    assert error_code_of(STATUSES[status]) == code


def test_every_status_has_a_code_that_kafka_has_and_an_exception():
    for name, status in STATUSES.items():
        assert error_code_of(status) in TABLE
        if name != "OK":
            error = exception_of(status, 7, "log of t-0")
            assert isinstance(error, errors.PystreamError | MemoryError)
            assert "log of t-0" in str(error)
            assert "position 7" in str(error)
            assert "status" not in str(error), f"{name} has no words"


def test_the_code_of_an_exception_is_the_code_of_its_status():
    for status in STATUSES.values():
        error = exception_of(status, 0, "x") if status else None
        if isinstance(error, errors.KafkaError):
            assert error.code == error_code_of(status)


def test_a_status_that_nobody_knows_is_an_unknown_server_error():
    assert error_code_of(999) == -1
    assert isinstance(exception_of(999, 0, "x"), errors.UnknownServerError)


def test_malformed_input_is_one_type():
    for name in ("TRUNCATED", "MALFORMED"):
        assert isinstance(exception_of(STATUSES[name], 0, "x"), errors.MalformedInput)
