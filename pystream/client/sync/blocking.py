"""One rule that turns a coroutine method of an asyncio client into a blocking method of its synchronous face.

class AdminClient(SyncFace[aio.AdminClient]):
    create_topics = blocking(aio.AdminClient.create_topics)   # same arguments, result and errors
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar
from weakref import finalize

from pystream.client import dropped
from pystream.client.dropped import watch
from pystream.client.sync.runner import Runner, acquire, release


class Engine(Protocol):
    """What every asyncio client has."""

    watched: finalize[..., object]

    @property
    def engine(self) -> dropped.Engine:
        """What it stands on, and leaves behind when it is dropped."""
        ...

    async def close(self) -> None:
        """Close it; harmless when closed."""
        ...


E_co = TypeVar("E_co", bound=Engine, covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class SyncFace(Generic[E_co]):
    """An asyncio client whose coroutines run in the background loop. Thread-safe."""

    def __init__(self, engine: Callable[[], E_co]) -> None:
        """`engine` makes the asyncio client."""
        made = engine()
        self._runner: Runner = acquire()
        self._engine = made
        self._closed = False
        made.watched.detach()
        self._watched = watch(self, made.engine, loop=self._runner.loop, afterwards=self._runner.release_here)

    def close(self) -> None:
        """Close the client, and the background thread with the last one. Harmless when closed."""
        if self._closed or self._engine.engine.is_dropped:
            return
        self._closed = True
        self._watched.detach()
        if self._runner.is_running:
            try:
                self._runner.run(self._engine.close())
            finally:
                release(self._runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def blocking(
    method: Callable[Concatenate[E_co, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncFace[E_co], P], R]:
    """`method`, run in the background loop while the calling thread waits; Ctrl-C ends the wait and cancels it."""

    @functools.wraps(method)
    def call(self: SyncFace[E_co], /, *arguments: P.args, **keywords: P.kwargs) -> R:
        return self._runner.run(method(self._engine, *arguments, **keywords))

    return call
