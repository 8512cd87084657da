import builtins
from collections.abc import Sequence
from typing import Final

from typing_extensions import Buffer

ELEMENT_LIMIT: Final[int]

class Reader:
    """Reads Kafka's primitive types off any bytes-like object, front to back.

    Every malformed input raises MalformedInput (common.errors), before any memory is taken for what it announces.
    The object read from is held as long as the Reader or any `records` view lives, and must not change meanwhile.
    """

    def __new__(cls, data: Buffer, *, element_limit: int = ...) -> Reader: ...
    @property
    def position(self) -> int:
        """Bytes read so far."""

    @property
    def remaining(self) -> int:
        """Bytes left."""

    def finish(self) -> None:
        """Raise MalformedInput unless everything was read."""

    def int8(self) -> int:
        """-128 to 127."""

    def int16(self) -> int:
        """-32768 to 32767; also error codes."""

    def int32(self) -> int:
        """-2**31 to 2**31 - 1."""

    def int64(self) -> int:
        """-2**63 to 2**63 - 1."""

    def uint16(self) -> int:
        """0 to 65535."""

    def uint32(self) -> int:
        """0 to 2**32 - 1."""

    def float64(self) -> float:
        """IEEE 754 double."""

    def boolean(self) -> bool:
        """False for a zero byte, True for any other."""

    def uuid(self) -> builtins.bytes:
        """Sixteen bytes."""

    def unsigned_varint(self) -> int:
        """0 to 2**32 - 1, in at most 5 bytes."""

    def varint(self) -> int:
        """-2**31 to 2**31 - 1, zig-zag, in at most 5 bytes."""

    def varlong(self) -> int:
        """-2**63 to 2**63 - 1, zig-zag, in at most 10 bytes."""

    def string(self) -> str:
        """Text after an int16 length; null is malformed."""

    def nullable_string(self) -> str | None:
        """Text after an int16 length, or None."""

    def compact_string(self) -> str:
        """Text after a varint length; null is malformed."""

    def compact_nullable_string(self) -> str | None:
        """Text after a varint length, or None."""

    def bytes(self) -> builtins.bytes:
        """A copy of the bytes after an int32 length; null is malformed."""

    def nullable_bytes(self) -> builtins.bytes | None:
        """A copy of the bytes after an int32 length, or None."""

    def compact_bytes(self) -> builtins.bytes:
        """A copy of the bytes after a varint length; null is malformed."""

    def compact_nullable_bytes(self) -> builtins.bytes | None:
        """A copy of the bytes after a varint length, or None."""

    def records(self) -> memoryview:
        """View of the bytes after an int32 length; null is malformed."""

    def nullable_records(self) -> memoryview | None:
        """View of the bytes after an int32 length, or None."""

    def compact_records(self) -> memoryview:
        """View of the bytes after a varint length; null is malformed."""

    def compact_nullable_records(self) -> memoryview | None:
        """View of the bytes after a varint length, or None."""

    def array_count(self, smallest_element_size: int, /) -> int:
        """Number of elements, after an int32; bounded by the bytes left.  Null is malformed."""

    def nullable_array_count(self, smallest_element_size: int, /) -> int:
        """Number of elements, after an int32; bounded by the bytes left.  -1 for null."""

    def compact_array_count(self, smallest_element_size: int, /) -> int:
        """Number of elements, after a varint; bounded by the bytes left.  Null is malformed."""

    def compact_nullable_array_count(self, smallest_element_size: int, /) -> int:
        """Number of elements, after a varint; bounded by the bytes left.  -1 for null."""

    def int8_array(self, compact: bool, /) -> list[int]:
        """List of int8; null is malformed."""

    def nullable_int8_array(self, compact: bool, /) -> list[int] | None:
        """List of int8, or None."""

    def int16_array(self, compact: bool, /) -> list[int]:
        """List of int16; null is malformed."""

    def nullable_int16_array(self, compact: bool, /) -> list[int] | None:
        """List of int16, or None."""

    def int32_array(self, compact: bool, /) -> list[int]:
        """List of int32; null is malformed."""

    def nullable_int32_array(self, compact: bool, /) -> list[int] | None:
        """List of int32, or None."""

    def int64_array(self, compact: bool, /) -> list[int]:
        """List of int64; null is malformed."""

    def nullable_int64_array(self, compact: bool, /) -> list[int] | None:
        """List of int64, or None."""

    def uuid_array(self, compact: bool, /) -> list[builtins.bytes]:
        """List of 16-byte identifiers; null is malformed."""

    def nullable_uuid_array(self, compact: bool, /) -> list[builtins.bytes] | None:
        """List of 16-byte identifiers, or None."""

    def string_array(self, compact: bool, /) -> list[str]:
        """List of texts, none of which is null; null is malformed."""

    def nullable_string_array(self, compact: bool, /) -> list[str] | None:
        """List of texts, none of which is null, or None."""

    def is_present(self) -> bool:
        """Marker before a nullable struct: True when the struct follows.  Source: KIP-893."""

    def skip_tagged_fields(self) -> None:
        """Step over a section of tagged fields none of which is known."""

    def tagged_fields(self, known: int, /) -> dict[int, Reader] | None:
        """The tagged fields whose bit is set in `known`, as {tag: Reader of just that field}; None when there is none."""

class Writer:
    """Writes Kafka's primitive types one after the other.

    A value outside of its type's range raises OverflowError, None where null is not allowed TypeError: both are the caller's bug.
    Growing past `limit` bytes, a string above 32,767 bytes and lack of memory show in getvalue().
    """

    def __new__(cls, *, limit: int = ...) -> Writer: ...
    @property
    def size(self) -> int:
        """Bytes written so far."""

    def getvalue(self) -> builtins.bytes:
        """A copy of everything written.  Raises LimitExceeded or MemoryError when a write failed."""

    def clear(self) -> None:
        """Forget everything written, and any failure; keep the memory."""

    def int8(self, value: int, /) -> None:
        """-128 to 127."""

    def int16(self, value: int, /) -> None:
        """-32768 to 32767; also error codes."""

    def int32(self, value: int, /) -> None:
        """-2**31 to 2**31 - 1."""

    def int64(self, value: int, /) -> None:
        """-2**63 to 2**63 - 1."""

    def uint16(self, value: int, /) -> None:
        """0 to 65535."""

    def uint32(self, value: int, /) -> None:
        """0 to 2**32 - 1."""

    def float64(self, value: float, /) -> None:
        """IEEE 754 double."""

    def boolean(self, value: bool, /) -> None:
        """One byte, 0 or 1."""

    def uuid(self, value: builtins.bytes, /) -> None:
        """Sixteen bytes.  Raises ValueError for any other size."""

    def unsigned_varint(self, value: int, /) -> None:
        """0 to 2**32 - 1."""

    def varint(self, value: int, /) -> None:
        """-2**31 to 2**31 - 1, zig-zag."""

    def varlong(self, value: int, /) -> None:
        """-2**63 to 2**63 - 1, zig-zag."""

    def raw(self, value: Buffer, /) -> None:
        """The bytes as they are, without a length."""

    def string(self, value: str, /) -> None:
        """Text after an int16 length."""

    def nullable_string(self, value: str | None, /) -> None:
        """Text after an int16 length; None is -1."""

    def compact_string(self, value: str, /) -> None:
        """Text after a varint length."""

    def compact_nullable_string(self, value: str | None, /) -> None:
        """Text after a varint length; None is 0."""

    def bytes(self, value: Buffer, /) -> None:
        """Any bytes-like object after an int32 length."""

    def nullable_bytes(self, value: Buffer | None, /) -> None:
        """Any bytes-like object after an int32 length; None is -1."""

    def compact_bytes(self, value: Buffer, /) -> None:
        """Any bytes-like object after a varint length."""

    def compact_nullable_bytes(self, value: Buffer | None, /) -> None:
        """Any bytes-like object after a varint length; None is 0."""

    def array_count(self, count: int, /) -> None:
        """Number of elements as an int32; -1 is null."""

    def compact_array_count(self, count: int, /) -> None:
        """Number of elements as a varint; -1 is null."""

    def int8_array(self, values: Sequence[int] | None, compact: bool) -> None:
        """Integers after their count; None is null."""

    def int16_array(self, values: Sequence[int] | None, compact: bool) -> None:
        """Integers after their count; None is null."""

    def int32_array(self, values: Sequence[int] | None, compact: bool) -> None:
        """Integers after their count; None is null."""

    def int64_array(self, values: Sequence[int] | None, compact: bool) -> None:
        """Integers after their count; None is null."""

    def uuid_array(self, values: Sequence[builtins.bytes] | None, compact: bool) -> None:
        """16-byte identifiers after their count; None is null."""

    def string_array(self, values: Sequence[str] | None, compact: bool) -> None:
        """Texts after their count; None is null, but no element may be None."""

    def presence(self, present: bool, /) -> None:
        """Marker before a nullable struct: 1 when the struct follows, else -1.  Source: KIP-893."""

    def no_tagged_fields(self) -> None:
        """A section of tagged fields without any."""

    def begin_tagged_fields(self) -> int:
        """Open a section of at most 127 tagged fields; returns what begin_tag() asks for.  It is closed by writing on."""

    def begin_tag(self, section: int, tag: int) -> int:
        """Open the next tagged field of `section`, in ascending order of tags; returns what end_tag() asks for."""

    def end_tag(self, start: int, /) -> None:
        """Close the tagged field that began at `start`: its size is put in front of it."""
