"""Child processes: started, watched through /proc, and ended by their own pid. Linux only.

A child dies with the harness (PR_SET_PDEATHSIG), so that nothing is left running whatever happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.errors import HarnessError

PR_SET_PDEATHSIG = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LOG_TAIL_BYTES = 2000
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of a process with all its threads and its living descendants, in steps of a clock tick."""

    user: float
    system: float

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(self.user - earlier.user, self.system - earlier.system)


class Child:
    """A process of ours; its output goes to `log`, whose tail stands in every error about it."""

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, pipes: bool = False
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check_alive(self) -> None:
        """Raises HarnessError with the end of the log when the process has ended."""
        if self.process.poll() is not None:
            raise HarnessError(f"{self.process.args!r:.200} ended with {self.process.returncode}: {self.log_tail()}")

    def log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return ""

    def stop(self, timeout_s: float = 15) -> None:
        """SIGTERM, then SIGKILL after `timeout_s`; waits for the end. Harmless when it has ended already."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout_s)

    def pids(self) -> list[int]:
        """The process and its living descendants."""
        return [self.pid, *descendants(self.pid)]

    def cpu_time(self) -> CpuTime:
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                user, system = user + int(fields[11]), system + int(fields[12])
        return CpuTime(user / TICKS_PER_S, system / TICKS_PER_S)

    def memory_bytes(self) -> int:
        """Resident set of the process and its descendants (VmRSS)."""
        return sum(_status_kib(pid, "VmRSS") for pid in self.pids()) * 1024


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _status_kib(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def process_cpu_clock(pid: int) -> int:
    """The clock id of another process's CPU time, for `time.clock_gettime` (the kernel's CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2
