"""Clients that nobody holds any more, and nobody closed: told by a ResourceWarning, and ended by their loop.

    user ──▶ client ──▶ engine ◀── tasks of the loop         dropped: the client goes, and its engine is ended

The engine holds nothing that leads back to its client: no callback, no deserializer. So a client is collected when the
user has let go of it, in whatever thread and at whatever moment that is: nothing here waits, or takes a lock of ours.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pystream.client.cluster.cluster import Cluster


class Engine(Protocol):
    """What a client leaves behind."""

    cluster: Cluster
    is_dropped: bool  # nobody holds its client: it ends by itself

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        ...

    def unfinished(self) -> str:
        """What the user must know of it, behind a semicolon; may log it."""
        ...

    async def abandon(self) -> None:
        """End it as nobody is there any more: nothing counts as read that a close() would have counted."""
        ...


E = TypeVar("E", bound=Engine)


def watch(
    client: object,
    engine: E,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    afterwards: Callable[[], object] | None = None,
    at_exit: Callable[[E], object] | None = None,
) -> weakref.finalize[..., object]:
    """End `engine` when `client` is collected; `detach()` what it gives when the client is closed.

    `loop` is the engine's, where that is known from the beginning; then `afterwards` is called there. `at_exit(engine)`
    is called at the end of a program that holds the client still.
    """
    found = weakref.finalize(
        client, _gone, weakref.ref(client), type(client).__name__, engine, loop, afterwards, at_exit
    )
    found.atexit = at_exit is not None
    return found


def weakly(call: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an object that somebody else holds, for an engine that must not hold it."""
    reference = weakref.WeakMethod(call)

    def through(*arguments: Any) -> Any:
        found = reference()
        assert found is not None, "what is handed out is taken by the client, which holds it"
        return found(*arguments)

    return through


def _gone(
    client: weakref.ref[object],
    kind: str,
    engine: E,
    loop: asyncio.AbstractEventLoop | None,
    afterwards: Callable[[], object] | None,
    at_exit: Callable[[E], object] | None,
) -> None:
    if engine.cluster.is_forked:
        return  # the parent's
    if client() is not None:
        if at_exit is not None:
            at_exit(engine)
        return
    engine.is_dropped = True
    home = loop or engine.loop
    if home is None:
        return  # never used: it holds nothing
    config = engine.cluster.config
    name = config.client_id or getattr(config, "group_id", None)
    try:
        warnings.warn(
            f"unclosed {kind}{f' {name!r}' if name else ''}: close() it, or use `with`{engine.unfinished()}",
            ResourceWarning,
            stacklevel=3,
            source=engine,
        )
    finally:
        if not home.is_closed():
            home.call_soon_threadsafe(_begin, engine, afterwards)


def _begin(engine: Engine, afterwards: Callable[[], object] | None) -> None:
    engine.cluster.spawn("end what was dropped", _end(engine, afterwards))


async def _end(engine: Engine, afterwards: Callable[[], object] | None) -> None:
    try:
        await engine.abandon()
    finally:
        if afterwards is not None:
            afterwards()
