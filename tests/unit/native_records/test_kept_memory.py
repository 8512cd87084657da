"""Large blocks of memory, used again."""

from __future__ import annotations

import pytest

from pystream._native.kept_memory import KEPT_LIMIT, Block, kept_bytes


def test_a_block_is_writable_memory_of_its_size():
    for size in (0, 1, 70_000, 1 << 20):
        block = Block(size)
        view = memoryview(block)
        view[:] = b"x" * size
        assert (len(block), view.nbytes, view.readonly, bytes(block)) == (size, size, False, b"x" * size)


def test_a_large_block_that_came_back_is_taken_again():
    del_me = Block(300_000)
    memoryview(del_me)[:4] = b"mine"
    before = kept_bytes()
    del del_me
    assert kept_bytes() - before == 327_680  # the next quarter between two powers of two
    again = Block(310_000)
    assert (kept_bytes(), bytes(memoryview(again)[:4])) == (before, b"mine")


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    blocks = [Block(1 << 20) for _ in range(40)]
    blocks.clear()
    assert 0 < kept_bytes() <= KEPT_LIMIT
    large = Block(KEPT_LIMIT)
    before = kept_bytes()
    del large
    assert kept_bytes() == before


def test_a_size_below_zero_is_refused():
    with pytest.raises(ValueError, match="-1"):
        Block(-1)
