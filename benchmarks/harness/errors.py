"""The one exception of the harness: what was asked cannot be measured, and why."""

from __future__ import annotations


class HarnessError(Exception):
    """A target does not start, a workload fails, a tool is missing. The run goes on with the next one."""
