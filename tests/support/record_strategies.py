"""Hypothesis strategies for records and batches, and the golden batches of tests/data/batches."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from tests.model.record_model import ModelRecord

GOLDEN_CLIENTS = ("java-4.2.0", "librdkafka-2.16.0")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def golden(client: str) -> dict[str, bytes]:
    """The batches of one client by name; the head of the file says how they were made."""
    path = Path(__file__).parents[1] / "data" / "batches" / f"{client}.txt"
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: bytes.fromhex(digits) for name, digits in lines}


def golden_records() -> list[ModelRecord]:
    """What every golden batch but the commit marker holds."""
    return [
        ModelRecord(
            offset=i,
            timestamp=1_700_000_000_000 + 1000 * i - (5000 if i == 4 else 0),
            key=None if i % 3 == 0 else b"key-%d" % i,
            value=None if i == 7 else b"value %d of a golden batch; " % i * 4,
            headers=(("trace", b"%d" % i), ("empty", b""), ("null", None)) if i % 4 == 1 else (),
        )
        for i in range(12)
    ]


def fields() -> st.SearchStrategy[bytes | None]:
    return st.none() | st.binary(max_size=40)


@st.composite
def records(draw: st.DrawFn, *, maximum: int = 12, dense: bool = True) -> list[ModelRecord]:
    """Records with rising offsets; `dense` numbers them without gaps."""
    offset = draw(st.integers(0, 1 << 40))
    base_timestamp = draw(st.integers(-1, 1 << 42))
    found = []
    for _ in range(draw(st.integers(1, maximum))):
        headers = draw(st.lists(st.tuples(st.text(max_size=6), fields()), max_size=3))
        timestamp = max(-1, base_timestamp + draw(st.integers(-5000, 5000)))
        found.append(ModelRecord(offset, timestamp, draw(fields()), draw(fields()), tuple(headers)))
        offset += 1 if dense else draw(st.integers(1, 50))
    return found


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with some bytes changed, cut off, put in or put behind."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(("flip", "set", "cut", "insert", "append")))
        place = draw(st.integers(0, max(0, len(damaged) - 1)))
        if kind == "append":
            damaged += draw(st.binary(min_size=1, max_size=8))
        elif kind == "insert":
            damaged[place:place] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "cut":
            del damaged[place:]
        elif damaged and kind == "flip":
            damaged[place] ^= 1 << draw(st.integers(0, 7))
        elif damaged:
            damaged[place] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
    return bytes(damaged)
