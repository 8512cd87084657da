"""Faults of the system calls under the logs, for the test kit: the door to the native table of calls."""

from pystream._native.io_table import fail_call, reset

__all__ = ["fail_call", "reset"]
