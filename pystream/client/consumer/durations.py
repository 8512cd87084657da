"""ISO 8601 durations, as `auto.offset.reset=by_duration:PT1H` takes them. Source: KIP-1106, java.time.Duration."""

from __future__ import annotations

import re
from typing import Final

from pystream.common.errors import InvalidConfig

_DURATION: Final = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d{1,9})?)S)?)?", re.I
)


def duration_ms(text: str) -> int:
    """Milliseconds of days, hours, minutes and seconds. Raises InvalidConfig."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()) or text[-1] in "Tt":
        raise InvalidConfig(
            f"auto.offset.reset=by_duration:{text}: expected an ISO 8601 duration such as PT1H or P1DT12H"
        )
    days, hours, minutes = (int(found[name] or 0) for name in ("days", "hours", "minutes"))
    return ((days * 24 + hours) * 60 + minutes) * 60_000 + round(float(found["seconds"] or 0) * 1000)
