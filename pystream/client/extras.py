"""Packages that only some need: imported when they are needed, with a message that says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pystream.common.errors import MissingExtra


def need(module: str, *, extra: str, what: str) -> Any:
    """The module. Raises MissingExtra, which names the extra of pystream that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs {module.partition('.')[0]}, which is not installed: pip install 'pystream[{extra}]'"
        ) from error
