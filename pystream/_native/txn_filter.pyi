"""Which batches of a fetch answer belong to aborted transactions."""

from collections.abc import Iterable
from typing import final

@final
class TxnFilter:
    """Over the (producer id, first offset) that a broker lists as aborted in a fetch answer."""

    def __new__(cls, aborted: Iterable[tuple[int, int]]) -> TxnFilter: ...
    def __len__(self) -> int: ...
