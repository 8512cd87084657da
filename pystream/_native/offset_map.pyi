"""Newest offset of every key, for compaction: a hash table of bounded memory, 24 bytes per slot."""

from typing import Self

from typing_extensions import Buffer

class KeyOffsets:
    """The table by itself: room for `keys` keys, or for as many as `memory_bytes` and the load factor allow."""

    def __new__(
        cls, *, keys: int, memory_bytes: int, load_factor: float = 0.9, secret: tuple[int, int] | None = None
    ) -> Self: ...
    @property
    def capacity(self) -> int:
        """Slots."""
    @property
    def most_keys(self) -> int:
        """Keys that it takes."""
    def __len__(self) -> int: ...
    def put(self, key: Buffer, offset: int) -> bool:
        """Raises the key's offset to `offset`; False when the key is new and the map is full."""
    def get(self, key: Buffer) -> int | None:
        """The highest offset put under the key."""

def siphash128(key: Buffer, secret: tuple[int, int]) -> tuple[int, int]:
    """SipHash-2-4 of 128 bits under a secret of two 64-bit words: the low and the high word."""
