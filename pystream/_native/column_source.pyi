"""Columns that a producer sends: values lying in one buffer, as Arrow and NumPy have them, and lists of headers."""

from typing import final

from typing_extensions import Buffer

@final
class ColumnSource:
    """Values of equal kind in one buffer: Arrow's layouts, or rows of a fixed width (NumPy S, V, 2-D uint8).

    The buffers are held as long as the column.  Each row is checked when it is read, as another thread may write
    the buffers: one that lies outside `data` is a ValueError of append_columns().
    """

    @staticmethod
    def variable(
        data: Buffer, offsets: Buffer, validity: Buffer | None = None, *, start: int = 0, rows: int = -1
    ) -> ColumnSource:
        """Row i is data[offsets[i]:offsets[i+1]]; int32 or int64 offsets, as Arrow's binary, string and large_ kinds.

        `validity`: Arrow's bitmap, bit i of it set unless row i is null; `start` (Arrow's offset) and `rows` cut out.
        """
    @staticmethod
    def fixed(
        data: Buffer, width: int, validity: Buffer | None = None, *, strip: bool = False, start: int = 0, rows: int = -1
    ) -> ColumnSource:
        """Row i is data[i*width:][:width]; `strip` drops zeros at its end, as NumPy reads S."""
    def __len__(self) -> int: ...

@final
class HeaderColumn:
    """The headers of each row: lists of names and values, as Arrow's list and map layouts have them."""

    @staticmethod
    def listed(
        names: ColumnSource,
        values: ColumnSource,
        offsets: Buffer,
        validity: Buffer | None = None,
        *,
        start: int = 0,
        rows: int = -1,
    ) -> HeaderColumn:
        """Row i has the names and values from offsets[i] to before offsets[i+1]; none where its validity bit is not set.

        Otherwise as ColumnSource.variable().  A name that is null is a ValueError of append_columns().
        """
