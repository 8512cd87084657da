"""How much memory the batches of one producer take, and its bound (buffer.memory)."""

from collections.abc import Callable
from typing import final

@final
class MemoryPool:
    """A count of bytes with a limit; `on_memory` is called when some came back after a request was refused."""

    def __new__(cls, limit_bytes: int, on_memory: Callable[[], object] | None = None) -> MemoryPool: ...
    @property
    def limit_bytes(self) -> int: ...
    @property
    def used_bytes(self) -> int: ...
