from __future__ import annotations

import random

import pytest
import xxhash

from pystream._native.hash import murmur2, partition_for_key, xxhash64
from tests.support.record_oracles import kafka_python_murmur2

# UtilsTest.testMurmur2 of Apache Kafka.
KAFKA_UTILS_TEST = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("key", "expected"), KAFKA_UTILS_TEST)
def test_murmur2_gives_the_values_of_kafkas_own_test(key, expected):
    assert murmur2(key) == expected


def test_murmur2_agrees_with_kafka_python():
    source = random.Random(2)
    for size in range(200):
        key = source.randbytes(size)
        assert murmur2(key) & 0xFFFFFFFF == kafka_python_murmur2(key) & 0xFFFFFFFF


def test_a_key_with_a_negative_hash_still_has_a_partition():
    assert murmur2(b"21") < 0
    assert partition_for_key(b"21", 7) == (murmur2(b"21") & 0x7FFFFFFF) % 7


@pytest.mark.parametrize("partitions", [0, -1])
def test_a_topic_without_partitions_is_refused(partitions):
    with pytest.raises(ValueError, match="at least one partition"):
        partition_for_key(b"key", partitions)


def test_xxhash64_agrees_with_the_reference_library():
    source = random.Random(64)
    for size in [*range(140), 1000, 16_383, 16_384, 100_001]:
        data, seed = source.randbytes(size), source.getrandbits(64)
        assert xxhash64(data, seed) == xxhash.xxh64_intdigest(data, seed), size
