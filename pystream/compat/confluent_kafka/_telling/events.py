"""Callbacks wait here until the application polls: confluent_kafka calls them in the application's own thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from pystream.client.admin.routes import ask_metadata
from pystream.client.cluster.cluster import Cluster
from pystream.common import error_codes
from pystream.common.errors import PystreamError
from pystream.common.logging import get_logger
from pystream.compat.confluent_kafka._codes import text_of
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.compat.confluent_kafka._values import Message
from pystream.protocol.messages.metadata import MetadataRequestTopic

NO_TIMESTAMP: Final = (0, -1)
TELLING: Final = frozenset(
    {
        error_codes.UNKNOWN_TOPIC_OR_PARTITION,
        error_codes.INVALID_TOPIC_EXCEPTION,
        error_codes.TOPIC_AUTHORIZATION_FAILED,
    }
)

logger = get_logger(__name__)


class LastRaised:
    """Steps that are all taken, whatever the ones before raise; the last exception counts, as in confluent_kafka.

    with every: first()
    with every: second()
    every.end()
    """

    def __init__(self) -> None:
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """KeyboardInterrupt and the like go on at once."""
        if not isinstance(error, Exception):
            return False
        self._error = error
        return True

    def end(self) -> None:
        """Raise what was raised last, if anything was."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame, and those of the client's methods: no circle for gc to break


class Events:
    """A queue of calls. Any thread puts, the application's serve."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, call: Callable[[], object]) -> None:
        """Have `call` called by the next serve()."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def serve(self) -> int:
        """Call what is there; how many. Raises what a callback raises, which is done with then."""
        served = 0
        for call in self._due():
            served += 1
            call()
        return served

    def serve_all(self) -> int:
        """As serve(), but a callback that raises keeps no other from being called; the last exception comes out."""
        served, every = 0, LastRaised()
        for call in self._due():
            served += 1
            with every:
                call()
        every.end()
        return served

    def _due(self) -> Iterator[Callable[[], object]]:
        """What is there now, taken one by one; what comes meanwhile has to wait."""
        for _ in range(len(self._calls)):
            try:
                yield self._calls.popleft()
            except IndexError:  # another thread has served it
                return

    def wait(self, until: Callable[[], bool], ends_at: float | None) -> bool:
        """Return True when something can be served or `until()` holds, False at `ends_at`."""
        with self._changed:
            self._waiting += 1
            try:
                while not self._calls and not until():
                    left = None if ends_at is None else ends_at - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._changed.wait(left)
                return True
            finally:
                self._waiting -= 1


def never() -> bool:
    """Nothing to wait for but events."""
    return False


async def report_missing_topics(cluster: Cluster, topics: list[str], tell: Callable[[Message], object]) -> None:
    """Tell, once, which of these topics cannot be read."""
    wanted = [MetadataRequestTopic(name=topic) for topic in topics]
    try:
        response = await cluster.retrying("look for topics", lambda _: ask_metadata(cluster, wanted))
    except PystreamError as error:
        logger.debug("topics not looked for", error=error)
        return
    for told in response.topics:
        if told.error_code in TELLING:
            reason = f"Subscribed topic not available: {told.name}: {text_of(told.error_code)}"
            tell(error_event(KafkaError(told.error_code, reason), told.name, 0))


def error_event(
    error: KafkaError,
    topic: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
    leader_epoch: int | None = None,
) -> Message:
    """In the place of a message; its value is what the error says."""
    value = error.str().encode()
    return Message(topic, partition, offset, None, value, None, error, NO_TIMESTAMP, None, leader_epoch)
