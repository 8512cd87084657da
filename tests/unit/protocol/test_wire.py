"""Reader and Writer at the edges: what is announced is checked against what is there."""

from __future__ import annotations

import array

import pytest

from pystream._native.wire import Reader, Writer
from pystream.common.errors import LimitExceeded, MalformedInput, TruncatedInput

HUGE_COMPACT = b"\xff\xff\xff\xff\x0f"  # 2**32 - 1, so 2**32 - 2 elements
LENGTH_READERS = ["string", "nullable_string", "bytes", "nullable_bytes", "records", "nullable_records"]
COMPACT_LENGTH_READERS = [
    "compact_string", "compact_nullable_string", "compact_bytes", "compact_nullable_bytes", "compact_records",
    "compact_nullable_records",
]  # fmt: skip
COUNT_READERS = ["array_count", "nullable_array_count"]
COMPACT_COUNT_READERS = ["compact_array_count", "compact_nullable_array_count"]
ARRAYS = ["int8_array", "int16_array", "int32_array", "int64_array", "uuid_array", "string_array"]


def written(method: str, *arguments: object) -> bytes:
    writer = Writer()
    getattr(writer, method)(*arguments)
    return writer.getvalue()


@pytest.mark.parametrize(
    ("method", "value", "data"),
    [
        ("int8", -2, b"\xfe"),
        ("int16", -2, b"\xff\xfe"),
        ("int32", 0x01020304, b"\x01\x02\x03\x04"),
        ("int64", -2, b"\xff" * 7 + b"\xfe"),
        ("uint16", 0xFFFE, b"\xff\xfe"),
        ("uint32", 0xFFFFFFFE, b"\xff\xff\xff\xfe"),
        ("float64", 1.0, b"\x3f\xf0" + bytes(6)),
        ("boolean", True, b"\x01"),
        ("boolean", False, b"\x00"),
        ("uuid", bytes(range(16)), bytes(range(16))),
        ("unsigned_varint", 300, b"\xac\x02"),
        ("unsigned_varint", 2**32 - 1, HUGE_COMPACT),
        ("varint", -1, b"\x01"),
        ("varint", -(2**31), HUGE_COMPACT),
        ("varlong", -(2**63), b"\xff" * 9 + b"\x01"),
        ("string", "ä", b"\x00\x02\xc3\xa4"),
        ("nullable_string", None, b"\xff\xff"),
        ("compact_string", "", b"\x01"),
        ("compact_nullable_string", None, b"\x00"),
        ("bytes", b"ab", b"\x00\x00\x00\x02ab"),
        ("nullable_bytes", None, b"\xff\xff\xff\xff"),
        ("compact_bytes", b"ab", b"\x03ab"),
        ("compact_nullable_bytes", None, b"\x00"),
    ],
)
def test_a_value_has_kafkas_bytes_and_comes_back(method: str, value: object, data: bytes):
    assert written(method, value) == data
    reader = Reader(data)
    assert getattr(reader, method)() == value
    assert (reader.position, reader.remaining) == (len(data), 0)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("int8_array", [-128, 127]),
        ("int16_array", [-(2**15), 2**15 - 1]),
        ("int32_array", [-(2**31), 0, 2**31 - 1]),
        ("int64_array", [-(2**63), 2**63 - 1]),
        ("uuid_array", [bytes(16), bytes(range(16))]),
        ("string_array", ["", "ä", "x" * 300]),
        ("int32_array", []),
    ],
)
def test_an_array_comes_back_as_a_list(method: str, values: list[object], compact: bool):
    data = written(method, tuple(values), compact)
    assert getattr(Reader(data), method)(compact) == values
    assert getattr(Reader(data), f"nullable_{method}")(compact) == values


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("method", ARRAYS)
def test_a_null_array_is_none_where_null_is_allowed_and_malformed_elsewhere(method: str, compact: bool):
    data = written(method, None, compact)
    assert getattr(Reader(data), f"nullable_{method}")(compact) is None
    with pytest.raises(MalformedInput, match="must not be null"):
        getattr(Reader(data), method)(compact)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("string", b"\xff\xff"),
        ("compact_string", b"\x00"),
        ("bytes", b"\xff" * 4),
        ("compact_bytes", b"\x00"),
        ("records", b"\xff" * 4),
        ("compact_records", b"\x00"),
    ],
)
def test_null_where_none_is_allowed_is_malformed(method: str, data: bytes):
    with pytest.raises(MalformedInput, match="must not be null"):
        getattr(Reader(data), method)()


@pytest.mark.parametrize(
    "method", ["int8", "int16", "int32", "int64", "uint16", "uint32", "float64", "boolean", "uuid"]
)
def test_a_fixed_value_that_is_cut_is_truncated_and_the_position_stays(method: str):
    size = {"int8": 1, "boolean": 1, "int16": 2, "uint16": 2, "uuid": 16, "int32": 4, "uint32": 4}.get(method, 8)
    for short in range(size):
        reader = Reader(bytes(short))
        with pytest.raises(TruncatedInput, match="at position 0"):
            getattr(reader, method)()
        assert reader.position == 0


@pytest.mark.parametrize("method", LENGTH_READERS)
def test_a_negative_length_other_than_null_is_malformed(method: str):
    with pytest.raises(MalformedInput, match="malformed"):
        getattr(Reader(b"\xff\xfe\xff\xfe" + bytes(10)), method)()


@pytest.mark.parametrize("method", LENGTH_READERS)
def test_a_length_beyond_the_end_is_truncated(method: str):
    with pytest.raises(TruncatedInput):
        getattr(Reader(b"\x00\x09\x00\x00" + bytes(3)), method)()


@pytest.mark.parametrize("method", COMPACT_LENGTH_READERS)
def test_the_largest_compact_length_is_refused(method: str):
    reader = Reader(HUGE_COMPACT + bytes(100))
    with pytest.raises(MalformedInput):
        getattr(reader, method)()
    assert reader.position == 0


@pytest.mark.parametrize("method", COUNT_READERS)
@pytest.mark.parametrize("count", [b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xfe", b"\x00\x00\x00\x05"])
def test_a_count_of_more_than_the_bytes_left_or_below_null_is_malformed(method: str, count: bytes):
    with pytest.raises(MalformedInput):
        getattr(Reader(count + bytes(4)), method)(1)


@pytest.mark.parametrize("method", COMPACT_COUNT_READERS)
@pytest.mark.parametrize("count", [HUGE_COMPACT, b"\x80\x80\x80\x80\x08", b"\x06"])
def test_a_compact_count_of_more_than_the_bytes_left_is_malformed(method: str, count: bytes):
    with pytest.raises(MalformedInput):
        getattr(Reader(count + bytes(4)), method)(1)


def test_a_count_is_bounded_by_the_size_of_its_smallest_element():
    data = b"\x00\x00\x00\x02" + bytes(15)
    assert Reader(data).array_count(7) == 2
    with pytest.raises(TruncatedInput):
        Reader(data).array_count(8)
    with pytest.raises(MalformedInput):
        Reader(data).array_count(0)  # nothing would bound it


def test_elements_are_bounded_in_all():
    data = written("int8_array", [1, 2, 3], True) * 2
    reader = Reader(data, element_limit=5)
    assert reader.int8_array(True) == [1, 2, 3]
    with pytest.raises(MalformedInput, match="more than are allowed in all"):
        reader.int8_array(True)


@pytest.mark.parametrize("method", ["unsigned_varint", "varint"])
@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\x10", b"\xff\xff\xff\xff\xff\x00", b"\x80" * 5 + b"\x00"])
def test_a_varint_longer_than_five_bytes_or_32_bits_is_malformed(method: str, data: bytes):
    with pytest.raises(MalformedInput, match="malformed"):
        getattr(Reader(data), method)()


@pytest.mark.parametrize("data", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00"])
def test_a_varlong_longer_than_ten_bytes_or_64_bits_is_malformed(data: bytes):
    with pytest.raises(MalformedInput, match="malformed"):
        Reader(data).varlong()


@pytest.mark.parametrize("method", ["unsigned_varint", "varint", "varlong"])
def test_a_varint_that_is_cut_is_truncated(method: str):
    for size in range(4):
        with pytest.raises(TruncatedInput):
            getattr(Reader(b"\x80" * size), method)()


def test_a_string_that_is_not_utf_8_is_malformed():
    for text in (b"\xff", b"\xc3", b"\xed\xa0\x80"):  # no start byte, cut, half a surrogate pair
        with pytest.raises(MalformedInput, match="malformed"):
            Reader(bytes([0, len(text)]) + text).string()


def is_read(text: bytes) -> bool:
    try:
        return Reader(len(text).to_bytes(2, "big") + text).string() == text.decode()
    except MalformedInput:
        return False


def is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_what_is_utf_8_is_what_python_decodes():
    """Every pair of bytes, alone, behind and before ASCII; first and second bytes with the edges of two more."""
    edges = (0x00, 0x7F, 0x80, 0xBF, 0xC0)
    tails = [bytes((third,)) for third in edges] + [bytes((third, fourth)) for third in edges for fourth in edges]
    pairs = [bytes((first, second)) for first in range(256) for second in range(256)]
    longer = [pair + tail for pair in pairs if pair[0] >= 0xC0 and 0x70 <= pair[1] < 0xD0 for tail in tails]
    texts = pairs + longer + [text + b"eight or more" for text in pairs] + [b"eight or more" + text for text in pairs]
    assert [text for text in texts if is_read(text) != is_utf_8(text)] == []


def test_a_string_may_have_32767_bytes_and_no_more():
    longest = "x" * 32767
    data = written("compact_string", longest)
    assert Reader(data).compact_string() == longest
    with pytest.raises(MalformedInput):
        Reader(b"\x81\x80\x02" + bytes(32768)).compact_string()
    for method in ("string", "compact_string"):
        with pytest.raises(LimitExceeded):
            written(method, longest + "x")


@pytest.mark.parametrize(
    "tags",
    [
        b"\x02\x00\x00\x00\x00",  # 0 twice
        b"\x02\x01\x00\x00\x00",  # 1, then 0
        b"\x01\x00\x02\x00",  # size beyond the end
        HUGE_COMPACT + bytes(20),  # more than the bytes left hold
        b"\x01",  # no tag
        b"\x01\x05",  # no size
        b"\x01" + HUGE_COMPACT + HUGE_COMPACT,  # huge size
        b"",
    ],
)
def test_a_bad_section_of_tagged_fields_is_malformed(tags: bytes):
    for read in (lambda reader: reader.skip_tagged_fields(), lambda reader: reader.tagged_fields(0xFFFFFFFF)):
        with pytest.raises(MalformedInput):
            read(Reader(tags))


def test_unknown_tagged_fields_are_skipped_and_known_ones_given():
    data = b"\x03\x00\x01\xaa\x05\x02\xbb\xcc\xff\x7f\x00" + b"\x2a"
    reader = Reader(data)
    reader.skip_tagged_fields()
    assert reader.int8() == 42
    reader = Reader(data)
    found = reader.tagged_fields(1 << 5)
    assert found is not None
    assert found.keys() == {5}
    assert found[5].int16() == -0x4434
    assert reader.int8() == 42
    assert Reader(b"\x00").tagged_fields(0xFF) is None


def test_a_tagged_field_cannot_be_read_beyond_its_size():
    found = Reader(b"\x01\x00\x02\x01\x02\x03\x04").tagged_fields(1)
    assert found is not None
    with pytest.raises(TruncatedInput):
        found[0].int32()


def test_what_follows_a_message_is_malformed():
    reader = Reader(b"\x01\x02")
    reader.int8()
    with pytest.raises(MalformedInput, match="1 bytes too many"):
        reader.finish()


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: array.array("b", data), lambda data: memoryview(data)[::1]]
)
def test_any_bytes_like_input_is_read(kind):
    assert Reader(kind(b"\x00\x01\x00\x00\x00\x02")).int16() == 1


def test_input_that_is_not_contiguous_is_a_type_error():
    with pytest.raises(TypeError):
        Reader(memoryview(b"abcdef")[::2])


def test_records_are_a_view_that_keeps_the_buffer():
    frame = bytearray(b"\x00\x00\x00\x03abc")
    records = Reader(frame).records()
    frame[4:5] = b"X"
    assert records == b"Xbc"
    with pytest.raises(BufferError):
        frame.clear()
    records.release()
    frame.clear()


@pytest.mark.parametrize(
    ("method", "value"),
    [("int8", 128), ("int16", -32769), ("int32", 2**31), ("int64", 2**63), ("uint16", -1), ("unsigned_varint", -1)],
)
def test_a_value_out_of_range_is_refused(method: str, value: int):
    with pytest.raises(OverflowError):
        written(method, value)


@pytest.mark.parametrize("method", ["string", "compact_string", "bytes", "compact_bytes", "uuid", "int32"])
def test_none_where_null_is_not_allowed_is_refused(method: str):
    with pytest.raises(TypeError):
        written(method, None)


def test_an_identifier_has_sixteen_bytes():
    with pytest.raises(ValueError, match="expected 16"):
        written("uuid", bytes(15))


def test_output_never_grows_beyond_its_limit():
    writer = Writer(limit=10)
    writer.int64(1)
    writer.int32(2)
    writer.int8(3)  # would fit, but the output has failed
    with pytest.raises(LimitExceeded):
        writer.getvalue()
    writer.clear()
    writer.int8(3)
    assert writer.getvalue() == b"\x03"


def test_tagged_fields_get_their_sizes_in_front():
    writer = Writer()
    outer = writer.begin_tagged_fields()
    field = writer.begin_tag(outer, 2)
    writer.raw(b"x" * 200)
    inner = writer.begin_tagged_fields()
    nested = writer.begin_tag(inner, 0)
    writer.int8(7)
    writer.end_tag(nested)
    writer.end_tag(field)
    found = Reader(writer.getvalue()).tagged_fields(1 << 2)
    assert found is not None
    assert found[2].remaining == 204
    assert written("no_tagged_fields") == b"\x00"


def test_a_tag_wants_a_section_that_was_opened():
    with pytest.raises(ValueError, match="no section"):
        Writer().begin_tag(0, 1)
    with pytest.raises(ValueError, match="no tagged field begins"):
        Writer().end_tag(5)


def test_the_marker_of_a_nullable_struct():
    assert written("presence", True) == b"\x01"
    assert written("presence", False) == b"\xff"
    assert Reader(b"\x01").is_present()
    assert not Reader(b"\xff").is_present()
    with pytest.raises(TruncatedInput):
        Reader(b"").is_present()
