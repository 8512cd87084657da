"""The pinned table, header versions, and the index of the generated messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pystream.common.errors import UnsupportedVersion
from pystream.protocol.api_keys import (
    ADVERTISED,
    ApiKey,
    is_flexible,
    name_of,
    request_header_version,
    response_header_version,
)
from pystream.protocol.catalogue import request_class, response_class
from pystream.protocol.messages.index import INDEX

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| (\d+) \| (\w+) \| (\d+)-(\d+)(?: \[[ab]\])? \|", re.M)
NEVER_LISTED = {52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82}
NEWER_THAN_OFFERED = {ApiKey.INIT_PRODUCER_ID: 6, ApiKey.DESCRIBE_LOG_DIRS: 5}


def test_the_pinned_table_is_the_one_of_the_design():
    """The design lies beside the repository, not in it."""
    page = next((folder for parent in ROOT.parents if (folder := parent / "shared/design/broker.md").exists()), None)
    if page is None:
        pytest.skip("shared/design/broker.md is not beside this checkout")
    rows = {int(key): (name, (int(low), int(high))) for key, name, low, high in ROW.findall(page.read_text())}
    assert dict(ADVERTISED) == {key: versions for key, (_, versions) in rows.items()}
    assert {key: name_of(key) for key in rows} == {key: name for key, (name, _) in rows.items()}


def test_the_table_looks_like_one_release():
    """kafka-python tells Kafka 4.2 from others by these; librdkafka wants Produce from 0 (KAFKA-18659)."""
    assert len(ADVERTISED) == 77
    assert ADVERTISED[ApiKey.PRODUCE] == (0, 13)
    assert ADVERTISED[ApiKey.LIST_OFFSETS] == (1, 11)
    assert ADVERTISED[ApiKey.DESCRIBE_LOG_DIRS] == (1, 4)
    assert ADVERTISED[ApiKey.INIT_PRODUCER_ID] == (0, 5)
    assert ADVERTISED[ApiKey.JOIN_GROUP] == (0, 9)


def test_keys_of_the_controller_are_never_listed():
    assert {*INDEX} - {*ADVERTISED} - NEVER_LISTED == set()
    assert NEVER_LISTED & {*ADVERTISED} == set()


def test_there_is_a_codec_for_every_version_that_is_served():
    """Produce 0-2 are listed and refused: no codec."""
    for key, (low, high) in ADVERTISED.items():
        served = range(3 if key == ApiKey.PRODUCE else low, high + 1)
        assert set(served) <= set(request_class(key).READERS) & set(response_class(key).READERS), name_of(key)


def test_the_table_is_not_derived_from_the_schemas_which_have_newer_versions():
    for key, newer in NEWER_THAN_OFFERED.items():
        assert newer in request_class(key).READERS
        assert ADVERTISED[key][1] < newer


def test_every_key_of_kafka_has_its_messages():
    assert len(INDEX) == 89
    assert {int(key) for key in ApiKey} == set(INDEX)
    for key in ApiKey:
        assert vars(request_class(key))["API_KEY"] == vars(response_class(key))["API_KEY"] == key


def test_an_unknown_key_has_no_messages():
    with pytest.raises(UnsupportedVersion, match="API key 4,"):
        request_class(4)


@pytest.mark.parametrize(
    ("key", "version", "flexible", "request_header", "response_header"),
    [
        (ApiKey.METADATA, 8, False, 1, 0),
        (ApiKey.METADATA, 9, True, 2, 1),
        (ApiKey.API_VERSIONS, 2, False, 1, 0),
        (ApiKey.API_VERSIONS, 3, True, 2, 0),  # the response header of ApiVersions is always 0
        (ApiKey.API_VERSIONS, 99, True, 2, 0),
        (ApiKey.SASL_HANDSHAKE, 1, False, 1, 0),  # never flexible
        (ApiKey.PRODUCE, 0, False, 1, 0),
        (12345, 0, False, 1, 0),
    ],
)
def test_header_versions(key: int, version: int, flexible: bool, request_header: int, response_header: int):
    assert is_flexible(key, version) is flexible
    assert request_header_version(key, version) == request_header
    assert response_header_version(key, version) == response_header


def test_names():
    assert name_of(ApiKey.OFFSET_FOR_LEADER_EPOCH) == "OffsetForLeaderEpoch"
    assert name_of(4) == "4"


def test_a_message_is_loaded_on_first_use():
    question = (
        "import sys; import pystream.protocol.api_keys, pystream.protocol.headers, pystream.protocol.catalogue;"
        "from pystream.protocol.catalogue import request_class; request_class(3);"
        "prefix = 'pystream.protocol.messages.';"
        "print(*sorted(name.removeprefix(prefix) for name in sys.modules if name.startswith(prefix)))"
    )
    answer = subprocess.run([sys.executable, "-c", question], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["index", "metadata"]
