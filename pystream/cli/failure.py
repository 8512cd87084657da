"""What a command says about an error that is the machine's or the user's: one sentence, without error numbers."""

from __future__ import annotations


def sentence(error: Exception) -> str:
    """ "/data: Permission denied" for an OSError, the message itself for any other."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
