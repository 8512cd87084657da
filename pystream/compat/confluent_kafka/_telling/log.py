"""What one client logs, as librdkafka has it: lines with a level of syslog and a facility, given out by poll().

    logger.log(40, "%s [%s] %s", "FAIL", "pystream#producer-1", "broker cannot be reached  broker=-1 error=...")

With `logger` they go there and nowhere else, up to `log_level`; `debug` asks for all of them, of whatever kind. Without
it they go to pystream's own logger, and `log_level`, where given, keeps back what is beyond it.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any, Final

import pystream
from pystream.common.logging import LogLine
from pystream.compat.confluent_kafka._telling.events import Events

MOST_LINES: Final = 10_000  # that wait for poll(); those behind are counted
ERROR: Final = 3
INFO: Final = 6
DEBUG: Final = 7
PYTHON_LEVELS: Final = (50, 50, 50, 40, 30, 20, 20, 10)  # of syslog's levels
SYSLOG_LEVELS: Final = {logging.DEBUG: DEBUG, logging.INFO: INFO, logging.WARNING: 4, logging.ERROR: ERROR}
FACILITIES: Final = {  # events that librdkafka has a level and a facility for
    "broker cannot be reached": (ERROR, "FAIL"),
    "polls stopped, the group is left": (4, "MAXPOLL"),
    "transaction broken": (4, "TXNERR"),
}
_numbers: Final = itertools.count(1)  # of the clients of this process, as librdkafka counts them


def client_name(client_id: str | None, kind: str) -> str:
    """The name of one more client."""
    return f"{client_id or 'pystream'}#{kind}-{next(_numbers)}"


class ClientLog:
    """Hears what is logged on behalf of one client; from any thread."""

    def __init__(self, name: str, events: Events, logger: Any, level: int, debug: str) -> None:
        """`logger`: None, or what has log(level, format, *arguments); what that raises comes out of poll()."""
        self._name = name
        self._events = events
        self._logger = logger
        self._level = DEBUG if debug else level if level >= 0 else INFO
        self._waiting = 0
        self._left_out = 0
        if logger is not None and debug:
            self.write(DEBUG, "INIT", f"pystream {pystream.__version__} {name} initialized (debug {debug})")

    def hear(self, level: int, source: str, line: LogLine) -> bool:
        """A line of the SDK's; False when it is to go to pystream's own logger."""
        rank, facility = FACILITIES.get(line.event, (SYSLOG_LEVELS[level], source.rpartition(".")[2].upper()))
        if rank <= self._level and self._logger is None:
            return False
        self.write(rank, facility, str(line))
        return True

    def write(self, rank: int, facility: str, text: str) -> None:
        """Have the logger get a line, by the next poll()."""
        if rank > self._level:
            return
        if self._waiting >= MOST_LINES:
            self._left_out += 1
            return
        if self._left_out:
            text, self._left_out = f"{text} ({self._left_out} lines before this one were left out)", 0
        self._waiting += 1

        def call() -> None:
            self._waiting -= 1
            self._logger.log(PYTHON_LEVELS[rank], "%s [%s] %s", facility, self._name, text)

        self._events.put(call)
