"""Fast construction does what __init__ says, for every generated class."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from importlib import import_module
from pkgutil import iter_modules

import pytest

from pystream._native.construct import Layout, fast_init, new
from pystream.protocol import messages
from pystream.protocol.message import Struct

MODULES = [import_module(f"{messages.__name__}.{module.name}") for module in iter_modules(messages.__path__)]
CLASSES = [
    found
    for module in MODULES
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Struct) and found.__module__ == module.__name__ and found.__slots__
]


@fast_init
class Point:
    __slots__ = ("label", "x", "y")

    def __init__(self, *, x: object = 1, y: object = 2, label: object = None) -> None:
        self.x = x
        self.y = y
        self.label = label


def fields(point: Point) -> tuple[object, object, object]:
    return point.x, point.y, point.label


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}")
def test_calling_a_generated_class_gives_what_its_init_says(cls: type[Struct]):
    slow = new(cls)
    slow.__init__()  # type: ignore[misc]
    assert cls() == slow
    told = {name: object() for name in cls.__slots__}
    slow.__init__(**told)  # type: ignore[misc]
    fast = cls(**told)
    assert [getattr(fast, name) for name in cls.__slots__] == [getattr(slow, name) for name in cls.__slots__]


def test_arguments_may_come_in_any_order_and_from_a_dict():
    assert fields(Point()) == (1, 2, None)
    assert fields(Point(label="l", x=7)) == (7, 2, "l")
    name = "".join(["la", "bel"])  # equal to the slot's name, not the same object
    assert fields(Point(**{name: 3, "y": 4})) == (1, 4, 3)


@pytest.mark.parametrize("wrong", [lambda: Point(1), lambda: Point(z=1), lambda: Point(x=1, z=1)])
def test_what_init_does_not_take_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        wrong()


def test_a_subclass_runs_its_own_init():
    class Named(Point):
        __slots__ = ("name",)

        def __init__(self, name: str) -> None:
            super().__init__(x=9)
            self.name = name

    assert (Named("n").name, Named("n").x) == ("n", 9)


def test_values_are_counted_and_freed():
    value = [object()]
    before = sys.getrefcount(value)
    points = [Point(x=value, label=value) for _ in range(100)]
    assert sys.getrefcount(value) == before + 200
    for _ in range(100):
        with pytest.raises(TypeError):
            Point(x=value, z=value)
    points.clear()
    gc.collect()
    assert sys.getrefcount(value) == before


def test_cycles_are_collected():
    class Watched(list):  # type: ignore[type-arg]
        pass

    held = Watched()
    point = Point(x=held)
    held.append(point)
    seen = weakref.ref(held)
    del held, point
    gc.collect()
    assert seen() is None


def test_copies_and_pickles_are_equal():
    response = CLASSES[0]()
    assert copy.deepcopy(response) == response
    assert pickle.loads(pickle.dumps(response)) == response


def test_new_leaves_the_slots_unset_and_wants_a_plain_class():
    point = new(Point)
    with pytest.raises(AttributeError):
        point.x  # noqa: B018
    for builtin in (int, tuple, dict):
        with pytest.raises(TypeError):
            new(builtin)


def test_slots_and_arguments_must_be_the_same():
    class Odd:
        __slots__ = ("a",)

        def __init__(self, *, b: int = 0) -> None:
            self.a = b

    with pytest.raises(TypeError, match="differ"):
        fast_init(Odd)
    with pytest.raises(TypeError, match="is not a slot"):
        Layout(make_fake(), {"a": 1})


def make_fake() -> type:
    """A class that calls a property a slot."""
    fake = type("Fake", (), {"a": property(lambda self: 1)})
    fake.__slots__ = ("a",)  # type: ignore[attr-defined]
    return fake
