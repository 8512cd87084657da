r"""What `consume` writes of a batch: bytes by kcat's format, JSON envelopes, or Arrow.

    %s value   %S its size, -1 for null   %R its size as 4 bytes, big-endian   %k key   %K its size
    %t topic   %p partition   %o offset   %T timestamp in ms   %h headers: name=value,name=value   %% a percent sign
    \n \r \t \0 \\ \x01   escapes

A format becomes one template of bytes for each batch, which Python fills row by row in C: topic and partition are part
of it, and columns that it does not name are never made into objects.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring
from struct import Struct
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from pystream.cli.records.text import unescaped
from pystream.common.errors import InvalidRequest

if TYPE_CHECKING:
    from pystream.client.consumer.record_batch import RecordBatch

LENGTH: Final = Struct(">i")
TIMESTAMP_TYPES: Final = ("create", "logappend")
CONSTANT: Final = ("t", "p")
NUMBERS: Final = ("o", "T", "S", "K")
TOKENS: Final = (*CONSTANT, *NUMBERS, "s", "k", "R", "h")
Column = Callable[["RecordBatch", int, int], Sequence[Any]]  # numbers, or bytes; of rows `start` to before `stop`


class Writer(Protocol):
    """Writes rows of a batch."""

    def write(self, batch: RecordBatch, start: int, stop: int) -> None:
        """Rows `start` to before `stop`: all of them, or with an error none."""

    def close(self) -> None:
        """What belongs at the end."""


@dataclass(frozen=True, slots=True)
class Format:
    """A line, taken apart: literal bytes, and the name of a column for each token: a letter of kcat's, or a word."""

    parts: tuple[bytes | str, ...]

    @classmethod
    def parse(cls, text: str) -> Format:
        """Raises InvalidRequest for a token that does not exist."""
        parts: list[bytes | str] = []
        pieces = text.split("%")
        parts.append(unescaped(pieces[0]))
        rest = iter(pieces[1:])
        for piece in rest:
            if piece == "":  # %%: split gives an empty piece between the two
                following = next(rest, None)
                if following is None:
                    raise InvalidRequest(f"{text!r} ends in a single %; %% is a percent sign")
                parts.append(b"%" + unescaped(following))
                continue
            if piece[0] not in TOKENS:
                raise InvalidRequest(f"%{piece[0]} is no token of a format: expected one of %{' %'.join(TOKENS)} %%")
            parts += [piece[0], unescaped(piece[1:])]
        return cls.of(parts)

    @classmethod
    def of(cls, parts: Iterable[bytes | str]) -> Format:
        return cls(tuple(part for part in parts if part))

    def template(self, topic: str, partition: int) -> bytes:
        """For the % operator of bytes, with the columns of `columns` in order."""
        made = b""
        for part in self.parts:
            if isinstance(part, bytes):
                made += part.replace(b"%", b"%%")
            elif part == "t":
                made += topic.encode().replace(b"%", b"%%")
            elif part == "p":
                made += b"%d" % partition
            else:
                made += b"%d" if part in NUMBERS else b"%b"
        return made

    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return [part for part in self.parts if isinstance(part, str) and part not in CONSTANT]


def columns(null: bytes = b"") -> dict[str, Column]:
    """Those that kcat has letters for, with what stands for null."""

    def numbers(name: str) -> Column:
        return lambda batch, start, stop: getattr(batch, name)[start:stop]

    def without_null(values: Sequence[bytes | None]) -> Sequence[bytes]:
        if None in values:
            return [null if value is None else value for value in values]
        return values  # type: ignore[return-value]  # there is no None in it

    return {
        "o": numbers("offsets"),
        "T": numbers("timestamps"),
        "S": numbers("value_sizes"),
        "K": numbers("key_sizes"),
        "R": lambda batch, start, stop: [LENGTH.pack(size) for size in batch.value_sizes[start:stop]],
        "s": lambda batch, start, stop: without_null(batch.values()[start:stop]),
        "k": lambda batch, start, stop: without_null(batch.keys()[start:stop]),
        "h": lambda batch, start, stop: [_pairs(batch.headers(row)) for row in range(start, stop)],
    }


def _pairs(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    return b",".join(b"%b=%b" % (name.encode(), b"NULL" if value is None else value) for name, value in headers)


class TextWriter:
    """Records by a format, whose columns are named in `known`."""

    def __init__(self, out: BinaryIO, form: Format, known: Mapping[str, Column]) -> None:
        self._out = out
        self._form = form
        self._names = form.columns()
        self._known = {name: known[name] for name in set(self._names)}

    def write(self, batch: RecordBatch, start: int, stop: int) -> None:
        template = self._form.template(batch.topic, batch.partition)
        if not self._names:
            self._out.write((template % ()) * (stop - start))
            return
        told = {name: column(batch, start, stop) for name, column in self._known.items()}
        lines = zip(*(told[name] for name in self._names), strict=True)
        self._out.write(b"".join(map(template.__mod__, lines)))

    def close(self) -> None:
        self._out.flush()


class EnvelopeWriter:
    """One JSON object a line, under kcat's names; bytes that are no UTF-8 come as key_base64 and payload_base64."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, batch: RecordBatch, start: int, stop: int) -> None:
        head = f'{{"topic": {encode_basestring(batch.topic)}, "partition": {batch.partition}, "offset": '
        self._out.write("".join([_envelope(head, message) for message in islice(batch, start, stop)]).encode())

    def close(self) -> None:
        self._out.flush()


def _envelope(head: str, message: Any) -> str:
    """One line, put together from the strings that json's C encoder makes: a dict for each costs three times that."""
    kind = TIMESTAMP_TYPES[message.timestamp_type]
    headers = f', "headers": {json.dumps(_headers(message.headers), ensure_ascii=False)}' if message.headers else ""
    key, payload = _field("key", message.key), _field("payload", message.value)
    return f'{head}{message.offset}, "tstype": "{kind}", "ts": {message.timestamp}{headers}, {key}, {payload}}}\n'


def _field(name: str, data: bytes | None) -> str:
    if data is None:
        return f'"{name}": null'
    try:
        return f'"{name}": {encode_basestring(data.decode())}'
    except UnicodeDecodeError:
        return f'"{name}_base64": "{base64.b64encode(data).decode()}"'


def _headers(headers: Iterable[tuple[str, bytes | None]]) -> list[str | None]:
    """Names and values in one list, as kcat has them."""
    return [
        text
        for name, value in headers
        for text in (name, None if value is None else value.decode("utf-8", "backslashreplace"))
    ]


class ArrowWriter:
    """An Arrow IPC stream: topic, partition, offset, timestamp, key, value."""

    def __init__(self, out: BinaryIO) -> None:
        try:
            import pyarrow
        except ImportError:
            raise InvalidRequest("--arrow needs pyarrow: pip install pyarrow") from None
        self._arrow = pyarrow
        self._out = out
        self._schema = pyarrow.schema(
            [
                ("topic", pyarrow.string()),
                ("partition", pyarrow.int32()),
                ("offset", pyarrow.int64()),
                ("timestamp", pyarrow.timestamp("ms")),
                ("key", pyarrow.large_binary()),
                ("value", pyarrow.large_binary()),
            ]
        )
        self._stream = pyarrow.ipc.new_stream(out, self._schema)

    def write(self, batch: RecordBatch, start: int, stop: int) -> None:
        arrow, rows = self._arrow, stop - start
        told = batch.to_arrow().slice(start, rows)
        constant = [
            arrow.repeat(arrow.scalar(batch.topic, arrow.string()), rows),
            arrow.repeat(arrow.scalar(batch.partition, arrow.int32()), rows),
        ]
        self._stream.write_batch(arrow.RecordBatch.from_arrays([*constant, *told.columns], schema=self._schema))

    def close(self) -> None:
        self._stream.close()
        self._out.flush()
