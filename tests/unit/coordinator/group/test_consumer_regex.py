"""Regular expressions that subscribe: RE2 syntax, whole names, and no time or memory without bound."""

from __future__ import annotations

import time

import pytest

from pystream.common.errors import InvalidRegularExpression
from pystream.coordinator.group.consumer.regex import MAXIMUM_LENGTH, check_regex, topics_named_by

NAMES = ["orders", "orders.eu", "orders-us", "payments", "Orders"]


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("orders", {"orders"}),
        ("orders.*", {"orders", "orders.eu", "orders-us"}),
        (r"orders\..+", {"orders.eu"}),
        ("(?i)orders", {"orders", "Orders"}),
        ("orders|payments", {"orders", "payments"}),
        ("[^p].*", {"orders", "orders.eu", "orders-us", "Orders"}),
        (r"\Qorders.eu\E", {"orders.eu"}),
        ("order", set()),
        ("", set()),
    ],
)
def test_a_whole_name_has_to_match(expression, named):
    check_regex(expression)
    assert topics_named_by(expression, NAMES) == named


@pytest.mark.parametrize("expression", ["(", "a**", "[z-a]", r"(a)\1", "(?=a)b", "a{2000}", "x" * (MAXIMUM_LENGTH + 1)])
def test_what_re2_does_not_take_is_refused_and_names_nothing(expression):
    with pytest.raises(InvalidRegularExpression):
        check_regex(expression)
    assert topics_named_by(expression, NAMES) == frozenset()


def test_an_expression_that_is_too_large_for_its_memory_is_refused():
    with pytest.raises(InvalidRegularExpression, match="not a valid regular expression"):
        check_regex(r"((\pL{100}){100}){10}")


def test_expressions_that_others_take_for_ever_over_take_no_time():
    began = time.monotonic()
    assert topics_named_by("(a+)+b", ["a" * 249] * 1_000) == frozenset()
    assert time.monotonic() - began < 10
