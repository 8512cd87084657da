"""What the demo calls a success: every payment once, in order on its card, byte for byte."""

from __future__ import annotations

import pytest

from pystream.demos.payments import generator
from pystream.demos.payments.stream import DemoFailed, Received, Traffic

PAYMENTS = list(generator.generate(cards=4, per_card=3))
LINES = [generator.line(payment) for payment in PAYMENTS]
KEYS = [payment["card_id"].encode() for payment in PAYMENTS]


@pytest.fixture
def digest() -> str:
    received = Received()
    for key, line in zip(KEYS, LINES, strict=True):
        received.add(key, line)
    return received.digest()


def test_all_payments_in_any_order_of_the_cards_pass(digest: str):
    received = Received()
    for key, line in sorted(zip(KEYS, LINES, strict=True), key=lambda pair: pair[0]):
        received.add(key, line)
    received.check(events=len(LINES), digest=digest)


def test_a_missing_payment_is_told(digest: str):
    received = Received()
    for key, line in list(zip(KEYS, LINES, strict=True))[1:]:
        received.add(key, line)
    with pytest.raises(DemoFailed, match=f"{len(LINES) - 1} of {len(LINES)}"):
        received.check(events=len(LINES), digest=digest)


def test_a_payment_that_came_twice_is_told(digest: str):
    received = Received()
    for key, line in [*zip(KEYS, LINES, strict=True), (KEYS[-1], LINES[-1])]:
        received.add(key, line)
    with pytest.raises(DemoFailed, match="1 of them twice"):
        received.check(events=len(LINES), digest=digest)


def test_payments_of_one_card_in_the_wrong_order_are_told(digest: str):
    received = Received()
    for key, line in reversed(list(zip(KEYS, LINES, strict=True))):
        received.add(key, line)
    with pytest.raises(DemoFailed, match="out of order"):
        received.check(events=len(LINES), digest=digest)


def test_a_changed_byte_is_told(digest: str):
    received = Received()
    for key, line in zip(KEYS, LINES, strict=True):
        received.add(key, line.replace(b'"lon":', b'"lom":') if line is LINES[2] else line)
    with pytest.raises(DemoFailed, match="SHA-256"):
        received.check(events=len(LINES), digest=digest)


def test_a_rate_is_told_per_second():
    assert str(Traffic(records=2000, size_bytes=3_000_000, seconds=2.0)) == (
        "2,000 records in 2.00 s: 1,000 records/s, 1.5 MB/s"
    )
