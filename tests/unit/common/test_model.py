from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.common import model
from pystream.common.errors import InvalidTopic, MalformedInput


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_survives_its_text(raw: bytes) -> None:
    text = model.uuid_text(raw)

    assert len(text) == 22
    assert model.uuid_bytes(text) == raw


@pytest.mark.parametrize("text", ["", "abc", "=" * 22, "a" * 21, "a" * 23, "é" * 22, "++++++++++++++++++++++"])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput):
        model.uuid_bytes(text)


def test_random_uuids_differ_and_never_look_like_a_flag() -> None:
    texts = {model.uuid_text(model.random_uuid()) for _ in range(2_000)}

    assert len(texts) == 2_000
    assert not any(text.startswith("-") for text in texts)


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 249, "__consumer_offsets", "..."])
def test_topic_names_that_kafka_allows_are_allowed(name: str) -> None:
    model.validate_topic_name(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "the empty string is not allowed"),
        (".", "'.' is not allowed"),
        ("..", "'..' is not allowed"),
        ("x" * 250, f"the length of '{'x' * 250}' is longer than the max allowed length 249"),
        ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
        ("a\n", "'a\n' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
        ("ä", "'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
    ],
)
def test_other_names_are_refused_in_kafkas_words(name: str, complaint: str) -> None:
    with pytest.raises(InvalidTopic) as refusal:
        model.validate_topic_name(name)

    assert str(refusal.value) == f"Topic name is invalid: {complaint}"


def test_dots_and_underscores_collide() -> None:
    assert model.collision_key("a.b_c") == model.collision_key("a_b.c")
    assert model.collision_key("a.b") != model.collision_key("a-b")


def test_an_endpoint_of_ipv6_is_written_in_brackets() -> None:
    assert str(model.Endpoint("PLAINTEXT", "::1", 9092)) == "PLAINTEXT://[::1]:9092"
