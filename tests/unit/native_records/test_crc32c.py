from __future__ import annotations

import random
import threading

import crc32c as other_crc32c
import pytest

from pystream._native.crc32c import crc32c, crc32c_with, implementations

# RFC 3720, appendix B.4; the last is the check value of the usual catalogues.
RFC_3720 = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),
]


@pytest.mark.parametrize("implementation", implementations())
@pytest.mark.parametrize(("data", "expected"), RFC_3720)
def test_the_values_of_rfc_3720_come_out(implementation, data, expected):
    assert crc32c_with(implementation, data) == expected


@pytest.mark.parametrize("implementation", implementations())
def test_every_length_and_alignment_around_the_block_sizes_agrees_with_another_library(implementation):
    data = random.Random(3720).randbytes(40_000)
    lengths = [*range(70), *range(500, 540), *range(12_270, 12_300), *range(24_560, 24_590), 39_990]
    for length in lengths:
        start = length % 9
        part = memoryview(data)[start : start + length]
        assert crc32c_with(implementation, part, length) == other_crc32c.crc32c(part, length), length


def test_a_checksum_can_be_continued():
    data = random.Random(1).randbytes(5000)
    assert crc32c(data[1234:], crc32c(data[:1234])) == crc32c(data)


def test_the_empty_input_leaves_the_value_alone():
    assert crc32c(b"", 0x12345678) == 0x12345678


def test_the_table_is_always_there_and_an_unknown_name_is_refused():
    assert implementations()[-1] == "table"
    with pytest.raises(LookupError, match="abacus"):
        crc32c_with("abacus", b"")


def test_threads_do_not_disturb_one_another():
    parts = [random.Random(seed).randbytes(200_000) for seed in range(4)]
    expected = [crc32c_with("table", part) for part in parts]
    found: list[list[int]] = [[] for _ in parts]

    def run(index: int) -> None:
        found[index] = [crc32c(parts[index]) for _ in range(50)]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[value] * 50 for value in expected]
