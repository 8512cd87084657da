"""Threads for calls that wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class StorageExecutor:
    """At most `threads` calls at a time, the others wait. Threads are made when needed."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")
        self._former: list[ThreadPoolExecutor] = []

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `work` on one of the threads. A cancelled wait does not stop a call that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def resize(self, threads: int) -> None:
        """Another number of threads for what comes; what runs or waits ends on those that there are."""
        if threads == self._threads:
            return
        self._pool.shutdown(wait=False)
        self._former.append(self._pool)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        for former in self._former:
            former.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
