"""Prometheus' text format as others write it, and servers that do not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.common.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidConfig,
    LimitExceeded,
    MalformedInput,
    NetworkFailure,
)
from pystream.common.metrics import Family, Registry, Sample
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.exposition import families, fetched

EVERYTHING: Callable[[str], object] = bool


def read(text: str, wanted: Callable[[str], object] = EVERYTHING) -> list[Family]:
    async def gathered() -> list[Family]:
        return [family async for family in families(text, wanted)]

    return asyncio.run(gathered())


def as_lists(found: list[Family]) -> list[tuple[str, str, str, list[Sample]]]:
    return [(each.name, each.type, each.help, list(each.samples)) for each in found]


def test_what_our_registry_writes_is_read():
    registry = Registry()
    registry.counter("a_total", 'Of \\ and "\n.', labels=("what",)).labels('a "b" \\ \n c,d} 1').add(3)
    registry.gauge("empty", "No samples.", labels=("none",))
    registry.gauge("g", "One.").labels().set(-0.25)
    registry.histogram("h_ms", "Three.", bounds=(1, 10)).labels().observe(5)

    found = as_lists(read(registry.exposition()))

    assert found == as_lists(list(registry.families()))


def test_what_others_write_is_read():
    text = (
        "no_type 1\n"
        'no_type_labels{a="1",} 2 1700000000000\n'
        "\n"
        "# some comment\n"
        "# HELP java_lang_Memory used\n"
        "# TYPE java_lang_Memory gauge\n"
        'java_lang_Memory{name="heap",} 1.5E8\n'
        "# TYPE calls counter\n"
        'calls_total 7 # {trace_id="x"} 1.0\n'
        "calls_created 1.7e9\n"
        "# TYPE s summary\n"
        's{quantile="0.5"} NaN\n'
        "s_sum +Inf\n"
        "s_count 0\n"
        "other 1\n"
        "# EOF\n"
    )

    found = read(text)

    assert [(each.name, each.type, [sample.suffix for sample in each.samples]) for each in found] == [
        ("no_type", "untyped", [""]),
        ("no_type_labels", "untyped", [""]),
        ("java_lang_Memory", "gauge", [""]),
        ("calls", "counter", ["_total", "_created"]),
        ("s", "summary", ["", "_sum", "_count"]),
        ("other", "untyped", [""]),
    ]
    assert list(found[2].samples) == [Sample((("name", "heap"),), 1.5e8)]
    assert found[2].help == "used"
    quantile, total, _ = found[4].samples
    assert math.isnan(quantile.value)
    assert total.value == math.inf


def test_only_what_is_wanted_is_kept():
    assert [each.name for each in read("a 1\nb 2\n# TYPE c gauge\nc 3\n", lambda name: name in "ac")] == ["a", "c"]


@pytest.mark.parametrize("line", ["<html>", "name", "name one", 'name{a="b} 1', "name{a=b} 1", "1name 1"])
def test_a_line_that_is_no_metric_is_malformed(line: str):
    with pytest.raises(MalformedInput, match="line 2"):
        read(f"fine 1\n{line}\n")


@given(st.text())
def test_any_text_is_metrics_or_malformed(text: str):
    try:
        read(text)
    except MalformedInput:
        return


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_and_value_come_back(label: str, value: float):
    registry = Registry()
    registry.gauge("g", "G.", labels=("what",)).labels(label).set(value)

    (found,) = read(registry.exposition())

    assert list(found.samples) == [Sample((("what", label),), value)]


# --- HTTP -------------------------------------------------------------------------------------------------------------


def answered(answer: bytes, *, then_waits: bool = False, timeout_ms: int = 30_000) -> tuple[str, bytes]:
    """What `fetched` makes of a server's answer, and what it has asked."""

    async def run() -> tuple[str, bytes]:
        asked: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if then_waits:
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics?a=b"
            text = await fetched(url, timeout_ms=timeout_ms, most_bytes=1_000)
        return text, asked[0]

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_an_answer_is_fetched():
    text, asked = answered(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n")

    assert text == "a 1\n"
    assert asked.startswith(b"GET /metrics?a=b HTTP/1.0\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", NetworkFailure),
        (b"\x00\x00\x00\x01junk", NetworkFailure),
        (b"", NetworkFailure),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000, LimitExceeded),
    ],
)
def test_an_answer_that_is_none_is_an_error(answer: bytes, error: type[Exception]):
    with pytest.raises(error, match="http://127"):
        answered(answer)


def test_a_server_that_does_not_end_its_answer_is_given_up():
    with pytest.raises(DeadlineExceeded, match="http://127"):
        answered(b"HTTP/1.0 200 OK\r\n\r\na 1\n", then_waits=True, timeout_ms=50)


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(ConnectFailed, match="http://127"):
        asyncio.run(fetched("http://127.0.0.1:1/", timeout_ms=30_000, most_bytes=1_000))


@pytest.mark.parametrize(
    "source", ["https://h/metrics", "h:9404", "http://", "http://h:99999/", "http://h:0/", "http://h/ x", "http://h\r/"]
)
def test_a_source_that_is_no_address_is_refused(source: str):
    with pytest.raises(InvalidConfig, match=r"metrics\.sources"):
        AdminServerConfig.from_settings({"metrics.sources": f"http://127.0.0.1:9404/metrics,{source}"})
