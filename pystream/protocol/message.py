"""What the generated messages are built on: comparison, a readable form, and the choice of a codec by version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from pystream._native.wire import Reader, Writer
from pystream.common.errors import UnsupportedVersion

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

Records = bytes | bytearray | memoryview  # read as a memoryview, written from any of them

ZERO_UUID: Final = bytes(16)


def required(value: T | None, name: str) -> T:
    """`value`, which some versions may leave out, in a version that may not."""
    if value is None:
        raise TypeError(f"{name} must not be None in this version")
    return value


class Struct:
    """A part of a message. Fields hold plain ints, strings, bytes, sequences and structs."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(equal(getattr(self, name), getattr(other, name)) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def equal(left: object, right: object) -> bool:
    """Equality of two field values, to which a list and a tuple of the same elements are the same array."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


class Message(Struct):
    """A request, response, header or record. Missing keyword arguments take the defaults of Kafka's schema; when a
    version is read, so do the fields that it lacks.

    READERS and WRITERS hold one function for each version; versions whose bytes are the same share it.
    Raises UnsupportedVersion for a version that is not there.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()
    API_KEY: ClassVar[int]  # of requests and responses only
    READERS: ClassVar[Mapping[int, Callable[[Reader], Any]]]
    WRITERS: ClassVar[Mapping[int, Callable[[Writer, Any], None]]]

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:
        """The message that `reader` stands at; what follows it is left to the caller. Raises MalformedInput."""
        try:
            read = cls.READERS[version]
        except KeyError:
            raise unsupported(cls, version) from None
        message: Self = read(reader)
        return message

    def write(self, writer: Writer, version: int) -> None:
        """Append the bytes of `version`; fields that it lacks are left out.

        A value out of its type's range raises OverflowError, one of another type TypeError.
        """
        try:
            write = self.WRITERS[version]
        except KeyError:
            raise unsupported(type(self), version) from None
        write(writer, self)

    @classmethod
    def decode(cls, data: Buffer, version: int) -> Self:
        """The message that `data` is, to its last byte. Records are views into `data`. Raises MalformedInput."""
        reader = Reader(data)
        message = cls.read(reader, version)
        reader.finish()
        return message

    def encode(self, version: int) -> bytes:
        """The bytes of `version`."""
        writer = Writer()
        self.write(writer, version)
        return writer.getvalue()


def unsupported(cls: type[Message], version: int) -> UnsupportedVersion:
    return UnsupportedVersion(f"{cls.__name__}: version {version}, expected {min(cls.READERS)} to {max(cls.READERS)}")
