"""An event loop in a thread of its own, as a broker inside of a test's process needs one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

from pystream.common.errors import Closed

T = TypeVar("T")
END_SECONDS: Final = 30.0


class LoopThread:
    """Runs from its making until `stop`. A daemon: a test run that is broken off does not hang on it."""

    def __init__(self, name: str) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """What `work` gives, run in the loop while this thread waits. Raises what it raises; Ctrl-C ends it too.

        Raises TimeoutError when it goes on for so long; it is cancelled then. Raises Closed after `stop`.
        """
        if self.loop.is_closed():
            work.close()
            raise Closed(f"{self._thread.name} has ended: the broker that it was for is closed")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()  # harmless when it is done

    def stop(self) -> None:
        """Cancel what still runs in the loop, wait for it, and end the thread.

        Raises TimeoutError, and leaves the thread behind, when something does not end by being cancelled.
        """
        self.run(_cancel_all(), END_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
