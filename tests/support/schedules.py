"""Random schedules of a model: played by their numbers, in portions that spread over processes where there are some."""

from __future__ import annotations

from collections.abc import Callable

PORTIONS = 20


def play_portion(play: Callable[[int], None], portion: int, schedules: int, *, first: int = 0) -> None:
    """Play one of `PORTIONS` parts of `schedules` seeds, `first` being the first of all. A failure names its seed."""
    size = schedules // PORTIONS
    for seed in range(first + portion * size, first + (portion + 1) * size):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
