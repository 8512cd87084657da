"""Bytes as they are written in an option: the escapes of kcat's -K, -D and -f."""

from __future__ import annotations

import re
from typing import Final

from pystream.common.errors import InvalidRequest

ESCAPES: Final = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\"}
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)


def unescaped(text: str) -> bytes:
    r"""`\t` -> a tab, `\x01` -> the byte 1; what no escape is stays. Raises InvalidRequest for a \ at the end."""
    found, place = b"", 0
    for match in _ESCAPE.finditer(text):
        found += text[place : match.start()].encode()
        word = match[1]
        found += bytes([int(word[1:], 16)]) if word[0] == "x" and len(word) > 1 else ESCAPES.get(word, word.encode())
        place = match.end()
    rest = text[place:]
    if rest.endswith("\\"):
        raise InvalidRequest(rf"{text!r} ends in the middle of an escape; \\ is a backslash")
    return found + rest.encode()
