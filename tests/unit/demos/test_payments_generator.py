"""The payments of the demo are the same bytes everywhere; count and digest are those of the scenario's table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from pystream.demos.payments import generator


def digest_of(lines: Iterable[bytes]) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    for line in lines:
        digest.update(line + b"\n")
        count += 1
    return count, digest.hexdigest()


def test_the_day_of_payments_has_its_known_digest():
    lines = map(generator.line, generator.generate())
    assert digest_of(lines) == (generator.EVENTS, generator.DIGEST)


def test_the_malformed_copy_has_its_known_digest():
    lines = generator.with_malformed(map(generator.line, generator.generate()))
    assert digest_of(lines) == (generator.MALFORMED_EVENTS, generator.MALFORMED_DIGEST)


def test_another_seed_gives_other_payments_of_the_same_shape():
    first, second = (list(generator.generate(cards=3, per_card=5, seed=seed)) for seed in (1, 2))
    assert first != second
    assert [payment["txn_id"] for payment in first] == [payment["txn_id"] for payment in second]


def test_payments_come_in_order_of_time_and_survive_json():
    payments = list(generator.generate(cards=130, per_card=2))
    assert [json.loads(generator.line(payment)) for payment in payments] == payments
    assert payments == sorted(payments, key=lambda payment: payment["ts"])
