"""Whatever arrives, a codec gives a value or MalformedInput: no other exception, no hang, no memory for promises."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from pystream.common.errors import MalformedInput
from tests.support.codec_values import Entity, entities, sample

EVERY_ENTITY = pytest.mark.parametrize("entity", entities(), ids=str)
FLIPS, FULL_FLIPS = 60, 1_000
NOISES, FULL_NOISES = 40, 1_000


@pytest.fixture
def rounds(full: bool) -> int:
    return 20 if full else 1


def decodes(entity: Entity, data: bytes) -> bool:
    """True for a value, which can then be written; False for MalformedInput. Anything else fails the test."""
    try:
        value = entity.ours.decode(data, entity.version)
    except MalformedInput:
        return False
    value.encode(entity.version)
    return True


@EVERY_ENTITY
def test_a_message_cut_anywhere_is_malformed(entity: Entity, rounds: int):
    for seed in range(rounds):
        data = sample(entity, seed)
        assert [size for size in range(len(data)) if decodes(entity, data[:size])] == []
        assert decodes(entity, data)


@EVERY_ENTITY
def test_a_byte_behind_the_message_is_malformed(entity: Entity):
    assert not decodes(entity, sample(entity, 1) + b"\x00")


@EVERY_ENTITY
def test_flipped_bits_give_a_value_or_the_one_exception(entity: Entity, full: bool):
    roll = random.Random(str(entity))
    for _ in range(FULL_FLIPS if full else FLIPS):
        data = bytearray(sample_of(entity, roll))
        for _ in range(roll.randint(1, 4)) if data else ():
            data[roll.randrange(len(data))] ^= 1 << roll.randrange(8)
        decodes(entity, bytes(data))


@EVERY_ENTITY
def test_noise_gives_a_value_or_the_one_exception(entity: Entity, full: bool):
    roll = random.Random(str(entity))
    for _ in range(FULL_NOISES if full else NOISES):
        size = roll.randrange(120)
        noise = roll.randbytes(size) if roll.random() < 0.5 else bytes(roll.choices((0, 1, 2, 3, 255), k=size))
        decodes(entity, noise)


def sample_of(entity: Entity, roll: random.Random) -> bytes:
    return SAMPLES.setdefault((entity, seed := roll.randrange(4)), sample(entity, seed))


SAMPLES: dict[tuple[Entity, int], bytes] = {}


@pytest.mark.unsanitized
def test_no_count_takes_memory_for_what_is_not_there():
    """Every byte in turn becomes the beginning of the largest count that its encoding has."""
    compact, legacy = b"\xff\xff\xff\xff\x0f", b"\x7f\xff\xff\xff"
    for entity in entities():
        data = sample(entity, 2)[:400]
        for at in range(0, len(data), 3):
            for count in (compact, legacy):
                decodes(entity, data[:at] + count + data[at + len(count) :])  # imports and warms up
    tracemalloc.start()
    try:
        for entity in entities():
            data = sample(entity, 2)[:400]
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            for at in range(0, len(data), 9):
                for count in (compact, legacy):
                    decodes(entity, data[:at] + count + data[at + len(count) :])
            assert tracemalloc.get_traced_memory()[1] - before < 1 << 20, f"{entity} took memory for a count"
    finally:
        tracemalloc.stop()
