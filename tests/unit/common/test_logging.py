from __future__ import annotations

import asyncio
import io
import json
import logging as standard
from collections.abc import Iterator
from contextvars import copy_context

import pytest

from pystream.common import logging
from pystream.common.clock import ManualClock
from pystream.common.errors import InvalidConfig
from pystream.common.model import TopicPartition


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = standard.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_text_line_has_the_event_and_its_fields(stream: io.StringIO) -> None:
    logging.configure(format="text", stream=stream)

    logging.get_logger("t").info("segment rolled", partition=TopicPartition("orders", 3), reason="size limit")

    assert stream.getvalue().endswith(' INFO    segment rolled  partition=orders-3 reason="size limit"\n')


def test_a_json_line_has_one_member_for_each_field(stream: io.StringIO) -> None:
    logging.configure(format="json", stream=stream)

    logging.get_logger("t").warning("disk filling", free_bytes=12, ratio=0.5, topic_id=b"\x01\x02", time="mine")

    line = json.loads(stream.getvalue())
    assert line["event"] == "disk filling"
    assert (line["level"], line["logger"], line["free_bytes"], line["ratio"]) == ("warning", "t", 12, 0.5)
    assert (line["topic_id"], line["field_time"]) == ("0102", "mine")


def test_a_formatter_of_the_application_writes_the_fields_too(stream: io.StringIO) -> None:
    handler = standard.StreamHandler(stream)
    handler.setFormatter(standard.Formatter("%(levelname)s:%(name)s:%(message)s"))
    standard.getLogger().handlers[:] = [handler]

    logging.get_logger("t").warning("group left", group="a b", client="x\nfake")

    assert stream.getvalue() == 'WARNING:t:group left  group="a b" client="x\\nfake"\n'


@pytest.mark.parametrize("format", ["text", "json"])
def test_what_a_client_calls_itself_cannot_break_out_of_its_line(stream: io.StringIO, format: str) -> None:
    logging.configure(format=format, stream=stream)

    logging.get_logger("t").info("client", name='x\n2026 ERROR fake\x1b[31m\u202e"\ud800', other="a\\")

    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isprintable()


def test_a_long_value_is_cut(stream: io.StringIO) -> None:
    logging.configure(format="text", stream=stream)

    logging.get_logger("t").info("client", name="x" * 100_000)

    assert len(stream.getvalue()) < 1_200
    assert "(100000 characters)" in stream.getvalue()


def test_an_exception_brings_its_traceback(stream: io.StringIO) -> None:
    logging.configure(format="text", stream=stream)
    try:
        raise KeyError("lost")
    except KeyError as error:
        logging.get_logger("t").exception("task failed", error, task="watch")

    assert "task failed  task=watch error='lost'" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    logging.configure(level="warning", stream=stream)
    logger = logging.get_logger("t")

    logger.info("hidden")
    logger.debug("hidden")

    assert not logger.is_debug()
    assert stream.getvalue() == ""


def test_lines_that_outsiders_cause_are_limited_and_counted(stream: io.StringIO) -> None:
    logging.configure(stream=stream)
    clock = ManualClock()
    logger = logging.get_logger("t", clock)

    for _ in range(100):
        logger.limited("malformed frame", peer="127.0.0.1")
    clock.advance(ms=logging.LIMIT_INTERVAL_MS)
    logger.limited("malformed frame", peer="127.0.0.1")
    logger.limited("malformed frame", peer="127.0.0.1")

    lines = stream.getvalue().splitlines()
    assert len(lines) == logging.LIMITED_LINES_PER_INTERVAL + 2
    assert lines[-2].endswith("suppressed=90")
    assert "suppressed" not in lines[-1]


@pytest.mark.parametrize(("level", "format"), [("loud", "text"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, format: str) -> None:
    with pytest.raises(InvalidConfig, match="is none of"):
        logging.configure(level=level, format=format)


def test_a_listener_gets_the_lines_of_its_context_and_of_the_tasks_begun_there(stream: io.StringIO) -> None:
    logging.configure(level="info", format="text", stream=stream)
    logger = logging.get_logger("here")
    heard: list[tuple[int, str, str]] = []

    def listener(level: int, source: str, line: logging.LogLine) -> bool:
        heard.append((level, source, str(line)))
        return line.event != "for both"

    async def work() -> None:
        logger.debug("in a task", attempt=1)

    def run() -> bool:
        logging.listen(listener)
        logger.warning("for both")
        logger.error("taken", code=7)
        asyncio.run(work())
        return logger.is_debug()

    assert copy_context().run(run)
    assert heard == [
        (standard.WARNING, "here", "for both"),
        (standard.ERROR, "here", "taken  code=7"),
        (standard.DEBUG, "here", "in a task  attempt=1"),
    ]
    logger.info("elsewhere")
    assert not logger.is_debug()
    assert [line.split()[3:] for line in stream.getvalue().splitlines()] == [["for", "both"], ["elsewhere"]]
