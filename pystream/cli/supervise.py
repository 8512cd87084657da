"""Watches over child processes: starts them, learns when they are ready, restarts what dies, stops all in order.

A child gets two pipes: it writes one line of JSON to `--ready-fd` when it is ready, and reads end-of-file from
`--lifeline-fd` when its supervisor has died, however that happened; it then stops by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FIRST_RESTART_DELAY_SECONDS = 0.5
LONGEST_RESTART_DELAY_SECONDS = 30.0


@dataclass(slots=True)
class RestartPolicy:
    """At most `most_restarts` within `window_seconds`; each waits twice as long as the one before it.

    A child that ran for a whole window without dying starts from the first delay again.
    """

    most_restarts: int = 5
    window_seconds: float = 120.0
    _deaths: deque[float] = field(default_factory=deque)

    def delay_after_death(self, now_seconds: float) -> float | None:
        """Seconds to wait before the next start; None when it has died too often."""
        while self._deaths and now_seconds - self._deaths[0] > self.window_seconds:
            self._deaths.popleft()
        self._deaths.append(now_seconds)
        deaths = len(self._deaths)
        if deaths > self.most_restarts:
            return None
        return float(min(FIRST_RESTART_DELAY_SECONDS * 2 ** (deaths - 1), LONGEST_RESTART_DELAY_SECONDS))


@dataclass(frozen=True, slots=True)
class Component:
    """One child: its name, and its command (after `python -m`) without the two pipe options."""

    name: str
    command: tuple[str, ...]
    ready_patience_seconds: float = 60.0  # then it is said that there is a wait: recovery of large logs takes its time
    stop_timeout_seconds: float = 60.0


class ChildFailed(Exception):
    """A component did not start, or died too often."""


class Child:
    """One component's process, over all its restarts."""

    def __init__(self, component: Component, lifeline_fd: int, report: Callable[[str], None]) -> None:
        self.component = component
        self.ready: dict[str, Any] = {}
        self._report = report
        self._lifeline_fd = lifeline_fd
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start and wait for the line that says ready, as long as it lives. Raises ChildFailed."""
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self.component.command,
                *("--ready-fd", str(writing), "--lifeline-fd", str(self._lifeline_fd)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(writing, self._lifeline_fd),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        line = await self._ready_line(reading)
        if not line:
            await self.stop()
            raise ChildFailed(f"{self.component.name} did not start; its own message is above")
        self.ready = json.loads(line)

    async def _ready_line(self, reading: int) -> bytes:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        waited, patience = 0.0, self.component.ready_patience_seconds
        try:
            while True:
                try:
                    return await asyncio.wait_for(reader.readline(), patience)
                except TimeoutError:
                    waited += patience
                    self._report(f"{self.component.name} is not ready after {waited:g} s; still waiting for it")
        finally:
            transport.close()

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        assert self._process is not None, "started before"
        return await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL when it takes too long; the exit code. Harmless when it has ended."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self.component.stop_timeout_seconds)
            except TimeoutError:
                process.kill()
        return await process.wait()


class ProcessSupervisor:
    """Runs components until asked to stop; the order given is the order of starting, its reverse that of stopping."""

    def __init__(self, components: list[Component], *, report: Callable[[str], None]) -> None:
        reading, self._lifeline_writing = os.pipe()
        self._lifeline_reading = reading
        self.children = [Child(component, reading, report) for component in components]
        self._report = report
        self._stopping = asyncio.Event()

    def request_stop(self) -> None:
        """Ask run() to stop everything; safe from a signal handler of the loop."""
        self._stopping.set()

    async def start(self) -> bool:
        """Start all, one after the other; False when asked to stop before all were ready, and all are stopped.

        Raises ChildFailed after stopping what had started.
        """
        starting = asyncio.create_task(self._start_all())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            is_up = not starting.cancelled() and starting.exception() is None
            if not is_up:
                await self.stop()
        if not starting.cancelled():
            starting.result()
        return is_up

    async def _start_all(self) -> None:
        for child in self.children:
            await child.start()

    async def run(self) -> None:
        """Watch until request_stop(), then stop all. Raises ChildFailed when a component died too often."""
        watchers = [asyncio.create_task(self._watch(child)) for child in self.children]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([stopping, *watchers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopping, *watchers):
                task.cancel()
            await asyncio.gather(stopping, *watchers, return_exceptions=True)
            await self.stop()
        for task in done - {stopping}:
            task.result()

    async def stop(self) -> None:
        for child in reversed(self.children):
            await child.stop()
        for descriptor in (self._lifeline_reading, self._lifeline_writing):
            if descriptor >= 0:
                os.close(descriptor)
        self._lifeline_reading = self._lifeline_writing = -1

    async def _watch(self, child: Child) -> None:
        policy = RestartPolicy()
        clock = asyncio.get_running_loop()
        name = child.component.name
        while True:
            code = await child.wait()
            delay = policy.delay_after_death(clock.time())
            if delay is None:
                raise ChildFailed(
                    f"{name} died {policy.most_restarts + 1} times in {policy.window_seconds:.0f} s; giving up"
                )
            self._report(f"{name} {_end(code)}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)
            try:
                await child.start()
            except ChildFailed as error:
                self._report(str(error))
            else:
                self._report(f"{name} is up again, process {child.pid}")


def _end(code: int) -> str:
    """How a process ended, by its exit code: below zero it was a signal."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
