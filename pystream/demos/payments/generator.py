"""Card payments of one day with injected fraud, as JSON lines; the same bytes on every CPython.

    python -m pystream.demos.payments.generator > payments.jsonl
    python -m pystream.demos.payments.generator --malformed > payments_bad.jsonl     # plus 7 broken lines

Every card pays 100 times at its home city, at least 415 s apart. A quiet stretch at the end of each card's day carries
what fraud rules must (or must not) find:

    cards   0..39   a payment under 1.00, then one over 500.00 within 60 s
    cards  40..69   eight small payments in 70 s
    cards  70..94   the next payment comes from another continent five minutes later
    cards  95..124  decoys: small then large, but more than 60 s apart

Only random.Random.random() is drawn from, whose sequence Python promises to keep.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypedDict

FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000
CARDS = 1000
PAYMENTS_PER_CARD = 100
SEED = 42

# What `generate()` and `with_malformed(generate())` give with the defaults above.
EVENTS = 100_430
DIGEST = "dfe3551b284a0350cbfa3cee064886f8eb25c53bad1d0dce1eb830a5002ed6c8"
MALFORMED_EVENTS = 100_437
MALFORMED_DIGEST = "bd0b51799a3d53b635aa2d21becc25294fb462a689656b34df003822b89686d8"

EARTH_RADIUS_KM = 6371

Place = tuple[float, float]  # latitude, longitude

CITIES: list[Place] = [
    (40.71, -74.01), (34.05, -118.24), (41.88, -87.63), (51.51, -0.13),
    (48.86, 2.35), (52.52, 13.40), (35.68, 139.69), (1.35, 103.82),
    (-33.87, 151.21), (19.43, -99.13), (28.61, 77.21), (30.04, 31.24),
]  # fmt: skip

# Six that cannot be read as a payment, and one (bad0003) that breaks the contract `amount > 0`.
MALFORMED = [
    b'{"txn_id":"bad0001","ts":1767225600000,"card_id":"c0001","amount":12.5',
    b'{"txn_id":"bad0002","ts":"yesterday","card_id":"c0002","amount":12.5,"lat":0.0,"lon":0.0}',
    b'{"txn_id":"bad0003","ts":1767225600000,"card_id":"c0003","amount":-5.0,"lat":0.0,"lon":0.0}',
    b'{"txn_id":"bad0004","ts":1767225600000,"amount":7.0,"lat":0.0,"lon":0.0}',
    b'{"txn_id":"bad0005","ts":1767225600000,"card_id":"c0005","amount":"NaN","lat":0.0,"lon":0.0}',
    b'["not","an","object"]',
    b"\xff\xfe\x00binary",
]


class Payment(TypedDict):
    """One event; `ts` is event time in milliseconds, `amount` has two decimals."""

    txn_id: str
    ts: int
    card_id: str
    amount: float
    lat: float
    lon: float


class Row(NamedTuple):
    """A payment before it has its number."""

    ts: int
    card: int
    amount: float
    place: Place


def distance_km(start: Place, end: Place) -> float:
    """Great-circle distance on a sphere."""
    radians = math.pi / 180
    haversine = (
        math.sin((end[0] - start[0]) * radians / 2) ** 2
        + math.cos(start[0] * radians) * math.cos(end[0] * radians) * math.sin((end[1] - start[1]) * radians / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(haversine))


def end_of_day(card: int, base_ms: int, home: Place, draw: Callable[[], float]) -> list[Row]:
    """What the rules must or must not find on this card; nothing from card 125 on."""
    if card < 40:
        gap_ms = 20_000 + int(draw() * 30_000)
        return [Row(base_ms, card, 0.50, home), Row(base_ms + gap_ms, card, round(501 + draw() * 400, 2), home)]
    if card < 70:
        return [Row(base_ms + k * 10_000, card, round(5 + draw() * 20, 2), home) for k in range(8)]
    if card < 95:
        far = max(CITIES, key=lambda city: distance_km(home, city))
        return [
            Row(base_ms, card, round(20 + draw() * 50, 2), home),
            Row(base_ms + 300_000, card, round(20 + draw() * 50, 2), far),
        ]
    if card < 125:
        gap_ms = 61_000 + int(draw() * 60_000)
        return [Row(base_ms, card, 0.50, home), Row(base_ms + gap_ms, card, round(501 + draw() * 400, 2), home)]
    return []


def generate(*, cards: int = CARDS, per_card: int = PAYMENTS_PER_CARD, seed: int = SEED) -> Iterator[Payment]:
    """The payments of all cards in order of time, numbered from t0000000."""
    draw = random.Random(seed).random
    slot_ms = DAY_MS // (per_card + 4)
    rows: list[Row] = []
    for card in range(cards):
        home = CITIES[int(draw() * len(CITIES))]
        for number in range(per_card):
            ts = FIRST_MS + number * slot_ms + int(draw() * slot_ms / 2)
            rows.append(Row(ts, card, round(1 + draw() * 449, 2), home))
        base_ms = FIRST_MS + per_card * slot_ms + int(draw() * slot_ms / 4)
        rows += end_of_day(card, base_ms, home, draw)
    rows.sort(key=lambda row: row[:3])
    for number, row in enumerate(rows):
        yield Payment(
            txn_id=f"t{number:07d}",
            ts=row.ts,
            card_id=f"c{row.card:04d}",
            amount=row.amount,
            lat=row.place[0],
            lon=row.place[1],
        )


def line(payment: Payment) -> bytes:
    """Compact ASCII JSON, keys in the order of Payment, without a line end."""
    return json.dumps(payment, separators=(",", ":"), ensure_ascii=True).encode()


def with_malformed(lines: Iterable[bytes], *, every: int = 10_000) -> Iterator[bytes]:
    """Put one broken line after each full block of `every` lines, seven in all."""
    broken = iter(MALFORMED)
    for number, one in enumerate(lines, 1):
        yield one
        if number % every == 0 and (bad := next(broken, None)) is not None:
            yield bad


def main() -> None:
    """Write the lines to stdout; their count and digest to stderr."""
    parser = argparse.ArgumentParser(description="Card payments of one day with injected fraud, as JSON lines.")
    parser.add_argument("--cards", type=int, default=CARDS)
    parser.add_argument("--per-card", type=int, default=PAYMENTS_PER_CARD)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--malformed", action="store_true", help="with seven broken lines")
    options = parser.parse_args()
    lines: Iterable[bytes] = map(line, generate(cards=options.cards, per_card=options.per_card, seed=options.seed))
    if options.malformed:
        lines = with_malformed(lines)
    digest, count = hashlib.sha256(), 0
    for one in lines:
        digest.update(one + b"\n")
        sys.stdout.buffer.write(one + b"\n")
        count += 1
    sys.stdout.buffer.flush()
    print(f"payments lines={count} sha256={digest.hexdigest()}", file=sys.stderr)


if __name__ == "__main__":
    main()
