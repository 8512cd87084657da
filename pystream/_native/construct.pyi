from typing import TypeVar

_T = TypeVar("_T")

class Layout:
    """Where the slots of one class are, in the order of __slots__, and what they hold when nothing is said."""

    def __new__(cls, owner: type, defaults: dict[str, object], /) -> Layout: ...

def fast_init(cls: type[_T], /) -> type[_T]:
    """Class decorator: calls of the class fill its slots without running __init__, which stays what it says.

    For a class whose __init__ takes keyword arguments named as its __slots__, each with a default, and only assigns them.
    Raises TypeError for slots that differ from the arguments.
    """

def new(cls: type[_T], /) -> _T:
    """An instance whose slots are not set: a third of the time of object.__new__.  Raises TypeError for what is not a plain class."""
