"""Metrics that somebody else serves in Prometheus' text format: fetched over HTTP, and read.

    # HELP kafka_log_size Bytes of a log.
    # TYPE kafka_log_size gauge
    kafka_log_size{topic="orders",partition="0"} 4711

Read as well: lines without a TYPE (untyped), time stamps and exemplars (left out), OpenMetrics' suffixes and # EOF.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pystream.common.errors import ConnectFailed, DeadlineExceeded, LimitExceeded, MalformedInput, NetworkFailure
from pystream.common.metrics import Family, Sample

UNTYPED: Final = "untyped"
SUFFIXES: Final = ("_bucket", "_sum", "_count", "_total", "_created", "_info")
OK: Final = 200
HTTP_PORT: Final = 80
READ_BYTES: Final = 1 << 16
LINES_AT_ONCE: Final = 1_000  # then others have their turn
LONGEST_SHOWN: Final = 80

_SAMPLE: Final = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*",?)*)\})?[ \t]+(\S+)'
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


def parsed_url(url: str) -> SplitResult:
    """Raises ValueError for what is no http://HOST:PORT/PATH."""
    found = urlsplit(url)
    if found.scheme != "http" or not found.hostname or found.port == 0 or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"{url!r} is no http://HOST:PORT/PATH")
    return found


async def fetched(url: str, *, timeout_ms: int, most_bytes: int) -> str:
    """What a server answers to GET. Raises NetworkFailure, DeadlineExceeded, LimitExceeded."""
    parts = parsed_url(url)
    request = f"GET {parts.path or '/'}{'?' * bool(parts.query)}{parts.query} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            answer = await _answered(parts, request.encode(), most_bytes)
    except TimeoutError:
        raise DeadlineExceeded(f"{url} has not answered within {timeout_ms} ms") from None
    except OSError as error:
        raise ConnectFailed(f"{url}: {error.strerror or error}") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].split()
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].isdigit():
        raise NetworkFailure(f"{url} does not speak HTTP")
    if int(status[1]) != OK:
        raise NetworkFailure(f"{url} answers {int(status[1])}")
    return body.decode(errors="replace")


async def _answered(parts: SplitResult, request: bytes, most_bytes: int) -> bytes:
    """All of it, head and body. HTTP/1.0: the end of the connection is the end of the answer."""
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or HTTP_PORT)
    try:
        writer.write(request)
        answer = bytearray()
        while chunk := await reader.read(READ_BYTES):
            answer += chunk
            if len(answer) > most_bytes:
                raise LimitExceeded(f"{parts.geturl()} answers with more than {most_bytes} bytes")
        return bytes(answer)
    finally:
        writer.transport.abort()


async def families(text: str, wanted: Callable[[str], object]) -> AsyncIterator[Family]:
    """The metrics whose names are wanted. Raises MalformedInput for a line that is none."""
    family: Family | None = None
    samples: list[Sample] = []
    helps: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if number % LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
        if line.startswith("#"):
            _, _, said = line.partition(" ")
            kind, _, rest = said.partition(" ")
            name, _, told = rest.partition(" ")
            if kind == "HELP":
                helps[name] = _unescaped(told)
            elif kind == "TYPE":
                if family is not None and wanted(family.name):
                    yield family
                samples = []
                family = Family(name, told.strip(), helps.pop(name, ""), samples)
            continue
        if not line.strip():
            continue
        match = _SAMPLE.match(line)
        if match is None:
            raise MalformedInput(f"line {number} is no metric: {line[:LONGEST_SHOWN]!r}")
        name = match[1]
        if family is None or not _is_of(name, family.name):
            if family is not None and wanted(family.name):
                yield family
            samples = []
            family = Family(name, UNTYPED, helps.pop(name, ""), samples)
        if wanted(family.name):
            samples.append(_sample(match, name[len(family.name) :], number))
    if family is not None and wanted(family.name):
        yield family


def _is_of(name: str, family: str) -> bool:
    return name.startswith(family) and (name == family or name[len(family) :] in SUFFIXES)


def _sample(match: re.Match[str], suffix: str, number: int) -> Sample:
    try:
        value = float(match[3])
    except ValueError:
        raise MalformedInput(f"line {number}: {match[3][:LONGEST_SHOWN]!r} is no number") from None
    labels = tuple((label[1], _unescaped(label[2])) for label in _LABEL.finditer(match[2] or ""))
    return Sample(labels, value, suffix)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
