"""Lines as records: how kafka-console-producer reads what is typed (Kafka's LineMessageReader).

h1:v1,h2:v2 TAB key TAB value         parse.headers=true, parse.key=true
key TAB value                         parse.key=true
value
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from pystream.common.errors import MalformedInput

Header = tuple[str, bytes | None]
NULLABLE: Final = ("key.separator", "headers.separator", "headers.delimiter", "headers.key.separator")


class Line(NamedTuple):
    """A record to be."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class LineReader:
    """How a line is taken apart."""

    parse_key: bool = False
    key_separator: str = "\t"
    parse_headers: bool = False
    headers_delimiter: str = "\t"
    headers_separator: str = ","
    headers_key_separator: str = ":"
    ignore_error: bool = False
    null_marker: str | None = None

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> LineReader:
        """From Kafka's properties. Raises MalformedInput where two separators are the same."""

        def yes(name: str) -> bool:
            return properties.get(name, "").strip().lower() == "true"

        reader = cls(
            parse_key=yes("parse.key"),
            key_separator=properties.get("key.separator", "\t"),
            parse_headers=yes("parse.headers"),
            headers_delimiter=properties.get("headers.delimiter", "\t"),
            headers_separator=properties.get("headers.separator", ","),
            headers_key_separator=properties.get("headers.key.separator", ":"),
            ignore_error=yes("ignore.error"),
            null_marker=properties.get("null.marker"),
        )
        reader._check()
        return reader

    def _check(self) -> None:
        separators = {
            "headers.delimiter": self.headers_delimiter,
            "headers.separator": self.headers_separator,
            "headers.key.separator": self.headers_key_separator,
        }
        for one, other in (
            ("headers.delimiter", "headers.separator"),
            ("headers.delimiter", "headers.key.separator"),
            ("headers.separator", "headers.key.separator"),
        ):
            if separators[one] == separators[other]:
                raise MalformedInput(f"{one} and {other} may not be equal")
        separators["key.separator"] = self.key_separator
        for name in NULLABLE:
            if separators[name] == self.null_marker:
                raise MalformedInput(f"null.marker and {name} may not be equal")

    def read(self, source: BinaryIO) -> Iterator[Line]:
        """A record for each line; bytes that are no UTF-8 stay what they are. Raises MalformedInput."""
        text = io.TextIOWrapper(source, encoding="utf-8", errors="surrogateescape", newline=None)
        for number, line in enumerate(text, 1):
            yield self.parse(line.removesuffix("\n"), number)

    def parse(self, line: str, number: int) -> Line:
        """One line, without its end."""
        headers, start = None, 0
        if self.parse_headers:
            headers, start = self._part(line, start, self.headers_delimiter, "headers delimiter", number)
        key = None
        if self.parse_key:
            key, start = self._part(line, start, self.key_separator, "key separator", number)
        found = () if headers is None or headers == self.null_marker else tuple(self._headers(headers, number))
        return Line(self._bytes(key), self._bytes(line[start:]), found)

    def _part(self, line: str, start: int, separator: str, name: str, number: int) -> tuple[str | None, int]:
        end = line.find(separator, start)
        if end >= 0:
            return line[start:end], end + len(separator)
        if self.ignore_error:
            return None, start
        raise MalformedInput(f"No {name} found on line number {number}: '{line}'")

    def _headers(self, text: str, number: int) -> Iterator[Header]:
        for pair in _split(self.headers_separator, text):
            name, separator, value = pair.partition(self.headers_key_separator)
            if not separator:
                if not self.ignore_error:
                    raise MalformedInput(f"No header key separator found in pair '{pair}' on line number {number}")
                yield pair, None
            elif name == self.null_marker:
                raise MalformedInput(
                    f"Header keys should not be equal to the null marker '{self.null_marker}' as they can't be null"
                )
            else:
                yield name, self._bytes(value)

    def _bytes(self, text: str | None) -> bytes | None:
        if text is None or text == self.null_marker:
            return None
        return text.encode("utf-8", "surrogateescape")


def _split(separator: str, text: str) -> list[str]:
    """By a regular expression, as there, without empty parts at the end."""
    parts = re.split(separator, text)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts
