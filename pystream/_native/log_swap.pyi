"""Putting a cleaned segment in the place of those it was made from."""

def finish_swaps(directory: str, names: list[str], bases: list[int]) -> None:
    """Finishes swaps that a crash interrupted: `names` are the *.swap files of a partition's directory, `bases` the
    offsets of its .log files. Raises LogDamaged when a .log.swap is not whole batches, OSError.
    """
