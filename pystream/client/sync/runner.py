"""The loop behind the synchronous face: one thread per process, started on first use, stopped with the last client.

    runner = acquire()                       # a client does so when it is made
    result = runner.run(engine.something())  # any thread; Ctrl-C is heard at once
    runner.call_soon(engine.wake)            # a nudge without an answer
    release(runner)                          # when the client is closed

Ctrl-C: a thread that waits holds a lock that signals interrupt; the coroutine it waited for is then cancelled.
Fork: threads do not survive it. A runner from before it raises ClientForked; `acquire` in the child makes a new one.
The thread is a daemon: a program that ends without closing its clients ends all the same.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from pystream.common.errors import ClientError, ClientForked, Closed, PystreamError

T = TypeVar("T")
STOP_SECONDS: Final = 5.0  # for what still runs in the loop when the last client is closed
SLICE_SECONDS: Final = 0.1  # a wait looks up this often, for systems where a signal does not end it
FORKED: Final = "this client was made before the process was forked; make a new one in the child"


class Runner:
    """An event loop in a thread. Thread-safe."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self.clients = 0
        self._process_id = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="pystream-client", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """False after `stop`, and in a forked child."""
        return self._process_id == os.getpid() and not self.loop.is_closed() and self._thread.is_alive()

    def check(self) -> None:
        """Raises ClientForked in a child, Closed after the end."""
        if self._process_id != os.getpid():
            raise ClientForked(FORKED)
        if not self._thread.is_alive():
            raise Closed("the client is closed; make a new one")

    def check_may_wait(self) -> None:
        """The same, and ClientError in the loop's own thread (a callback), which would wait for itself."""
        self.check()
        if threading.current_thread() is self._thread:
            raise ClientError("a callback of the client must not wait for the client itself")

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float | None = None) -> T:
        """What `work` gives, run in the loop while this thread waits. Raises what it raises.

        TimeoutError after `timeout_s`. Then, and when a signal's handler raises here (KeyboardInterrupt), `work` is
        cancelled. Raises ClientError in the loop's own thread (a callback), which would wait for itself.
        """
        call = _Call(self.loop, work)
        try:
            self.check_may_wait()
            self.loop.call_soon_threadsafe(call.begin)
        except (PystreamError, RuntimeError):  # the latter of a loop that was closed a moment ago
            work.close()
            raise
        except BaseException:  # a signal: whether the loop has it already is not known
            call.abandon()
            raise
        try:
            return _result(call.answer, timeout_s)
        except BaseException:
            call.abandon()
            raise

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call in the loop, soon, without waiting. Raises as `check`."""
        self.check()
        self.loop.call_soon_threadsafe(callback, *arguments)

    def hold_up(self, lock: threading.Lock, timeout_s: float | None) -> bool:
        """Wait until the loop releases a lock that is held; False after `timeout_s`. Raises as `run`."""
        self.check_may_wait()
        ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = SLICE_SECONDS if ends_at is None else ends_at - time.monotonic()
            if lock.acquire(timeout=max(min(left_s, SLICE_SECONDS), 0)):
                return True
            self.check()
            if left_s <= 0:
                return False

    def stop(self) -> None:
        """Cancel what runs, end the thread and close the loop; waits at most STOP_SECONDS. Harmless when stopped."""
        if not self.is_running or threading.current_thread() is self._thread:
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_SECONDS)

    def release_here(self) -> None:
        """As `release`, in the loop: for a client that is not there to do it. Waits for nothing."""
        if _is_last(self):
            self.loop.call_soon(self.loop.stop)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=STOP_SECONDS / 2))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


class _Call(Generic[T]):
    """A coroutine on its way into the loop and its answer on the way back. Whoever waits may give up at any moment."""

    __slots__ = ("_loop", "_task", "_work", "answer")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """In the loop."""
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._ended)

    def abandon(self) -> None:
        """Cancel the coroutine; by who handed it over, or was kept from that."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """In the loop, behind `begin` if that ever came there."""
        if self._task is None:
            self._work.close()
        else:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.answer.set_exception(concurrent.futures.CancelledError())
            return
        error = task.exception()
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which takes a third less of a producer's time; asyncio's where there is none (Windows)."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


_lock = threading.Lock()
_shared: list[Runner] = []  # the runner of this process, when there is one


def acquire() -> Runner:
    """The runner of this process, started if need be; give it back with `release`."""
    global _lock
    if _shared and _shared[0]._process_id != os.getpid():  # the child of a fork: the lock may have been held there
        _lock = threading.Lock()
        _shared.clear()
    with _lock:
        if not _shared or not _shared[0].is_running:
            _shared[:] = [Runner()]
        _shared[0].clients += 1
        return _shared[0]


def release(runner: Runner) -> None:
    """Give back what `acquire` gave; the last one stops it."""
    if runner._process_id == os.getpid() and _is_last(runner):
        runner.stop()


def _is_last(runner: Runner) -> bool:
    """One client less: was it the last?"""
    with _lock:
        runner.clients -= 1
        if runner.clients > 0:
            return False
        if _shared and _shared[0] is runner:
            _shared.clear()
        return True


def _result(future: concurrent.futures.Future[T], timeout_s: float | None) -> T:
    """Wait in slices: where signals do not interrupt a lock, their handlers run between two of them."""
    left = timeout_s
    while True:
        wait = SLICE_SECONDS if left is None else min(SLICE_SECONDS, left)
        try:
            return future.result(wait)
        except concurrent.futures.TimeoutError:
            if future.done():
                return future.result()
            if left is not None:
                left -= wait
                if left <= 0:
                    raise TimeoutError(f"not done within {timeout_s} s") from None
