"""Every message of Kafka in every version: our bytes are kio's, and what is read from them is what was written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystream.protocol.message import equal
from tests.support.codec_values import Entity, Values, defaults, entities, oracle_bytes, oracle_value, to_ours

EVERY_ENTITY = pytest.mark.parametrize("entity", entities(), ids=str)
SEEDS = st.integers(min_value=0, max_value=2**64 - 1)
EXAMPLES, FULL_EXAMPLES = 6, 60


@pytest.fixture(scope="module")
def examples(full: bool) -> int:
    return FULL_EXAMPLES if full else EXAMPLES


def test_there_are_625_entities_and_we_have_them_all():
    found = entities()
    assert len(found) == 625
    served = {(entity.ours, version) for entity in found for version in entity.ours.READERS}
    assert served == {(entity.ours, entity.version) for entity in found}


@EVERY_ENTITY
def test_our_bytes_and_kios_are_the_same_both_ways(entity: Entity, examples: int):
    @settings(max_examples=examples, database=None)
    @given(seed=SEEDS)
    def agree(seed: int) -> None:
        theirs = Values(seed).entity(entity.oracle)
        data = oracle_bytes(theirs)
        ours = to_ours(theirs, entity.ours)
        assert ours.encode(entity.version) == data
        assert entity.ours.decode(data, entity.version) == ours
        assert oracle_value(entity.oracle, ours.encode(entity.version)) == theirs

    agree()


@EVERY_ENTITY
def test_the_defaults_are_those_of_kafkas_schema(entity: Entity):
    assert [row for row in defaults(entity.oracle, entity.ours) if not equal(row[1], row[2])] == []


@EVERY_ENTITY
def test_a_message_that_was_told_nothing_is_read_back_by_both(entity: Entity):
    data = entity.ours().encode(entity.version)
    assert entity.ours.decode(data, entity.version) == entity.ours()
    assert oracle_bytes(oracle_value(entity.oracle, data)) == data
