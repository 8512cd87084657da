"""Large blocks of memory that come back are kept for the next ones: fresh memory costs a page fault every 4 KiB."""

from typing import final

KEPT_LIMIT: int

@final
class Block:
    """Writable memory of a fixed size; what it holds at first is not said."""

    def __new__(cls, size: int) -> Block: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def kept_bytes() -> int:
    """What is kept now."""
