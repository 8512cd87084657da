"""Appending to a producer's buffer, from any thread: the half of an Accumulator that is not its sender's."""

class Appender:
    """The base of Accumulator, where its methods are described."""
