from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import cramjam
import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pystream._native.compression import Codec, compress, decompress, is_available, level_of, limit_for
from pystream.common import errors
from tests.support.record_strategies import damage

COMPRESSING = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
TEXT = b" ".join(b"%d sheep and %d wolves" % (i, i * i % 97) for i in range(4000))
SAMPLES = {
    "one byte": b"a",
    "text": TEXT,
    "noise": random.Random(5).randbytes(100_000),
    "zeros": bytes(1_000_000),
    "exactly one snappy block": TEXT[:32768],
    "one byte more than a snappy block": TEXT[:32769],
}
XERIAL = bytes.fromhex("82534e4150505900") + struct.pack(">ii", 1, 1)

OTHERS_READ = {
    Codec.GZIP: gzip.decompress,
    Codec.LZ4: lz4.frame.decompress,
    Codec.ZSTD: lambda data: zstandard.ZstdDecompressor().decompress(data),
}
OTHERS_WRITE = {
    "gzip": (Codec.GZIP, gzip.compress),
    "raw snappy": (Codec.SNAPPY, snappy.compress),
    "lz4": (Codec.LZ4, lz4.frame.compress),
    "lz4 with content size": (Codec.LZ4, partial(lz4.frame.compress, store_size=True, content_checksum=True)),
    "lz4 of dependent blocks": (Codec.LZ4, partial(lz4.frame.compress, block_linked=True, block_checksum=True)),
    "lz4 of 4 MiB blocks": (Codec.LZ4, partial(lz4.frame.compress, block_size=lz4.frame.BLOCKSIZE_MAX4MB)),
    "zstd": (Codec.ZSTD, zstandard.ZstdCompressor(level=3).compress),
    "zstd of unknown size": (Codec.ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress),
    "zstd with checksum": (Codec.ZSTD, zstandard.ZstdCompressor(write_checksum=True).compress),
}


def xerial(*parts: bytes) -> bytes:
    blocks = [snappy.compress(part) for part in parts]
    return XERIAL + b"".join(struct.pack(">i", len(block)) + block for block in blocks)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("codec", Codec)
def test_what_is_compressed_comes_back(codec, sample):
    assert decompress(compress(sample, codec), codec) == sample


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("codec", OTHERS_READ)
def test_other_libraries_read_what_we_write(codec, sample):
    assert OTHERS_READ[codec](compress(sample, codec)) == sample


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("name", OTHERS_WRITE)
def test_what_other_libraries_write_is_read(name, sample):
    codec, write = OTHERS_WRITE[name]
    assert decompress(write(sample), codec) == sample


def test_snappy_is_framed_as_the_java_client_does_it():
    data = compress(TEXT[:40_000], Codec.SNAPPY)
    assert data[:16] == XERIAL
    (first,) = struct.unpack_from(">i", data, 16)
    (second,) = struct.unpack_from(">i", data, 20 + first)
    assert snappy.uncompress(data[20 : 20 + first]) == TEXT[:32768]
    assert snappy.uncompress(data[24 + first :]) == TEXT[32768:40_000]
    assert len(data) == 24 + first + second


def test_lz4_frames_are_what_the_java_client_can_read():
    info = lz4.frame.get_frame_info(compress(TEXT, Codec.LZ4))
    assert (info["block_linked"], info["block_size"], info["content_checksum"]) == (False, 65536, False)
    assert (info["content_size"], info["block_checksum"]) == (0, False)


def test_concatenated_streams_are_one():
    assert decompress(gzip.compress(b"one") + gzip.compress(b"two"), Codec.GZIP) == b"onetwo"
    assert decompress(lz4.frame.compress(b"one") + lz4.frame.compress(b"two"), Codec.LZ4) == b"onetwo"
    one, two = (zstandard.ZstdCompressor().compress(part) for part in (b"one", b"two"))
    assert decompress(one + two, Codec.ZSTD) == b"onetwo"
    assert decompress(xerial(b"one", b"two"), Codec.SNAPPY) == b"onetwo"
    assert decompress(xerial(b"one") + xerial(b"two"), Codec.SNAPPY) == b"onetwo"


@pytest.mark.parametrize("codec", COMPRESSING)
def test_the_limit_is_exact(codec):
    data = compress(TEXT, codec)
    assert decompress(data, codec, limit=len(TEXT)) == TEXT
    for limit in (len(TEXT) - 1, 1, 0):
        with pytest.raises(errors.LimitExceeded):
            decompress(data, codec, limit=limit)


def test_the_limit_counts_concatenated_streams_together():
    members = gzip.compress(bytes(1000)) * 100
    assert len(decompress(members, Codec.GZIP, limit=100_000)) == 100_000
    with pytest.raises(errors.LimitExceeded):
        decompress(members, Codec.GZIP, limit=99_999)
    with pytest.raises(errors.LimitExceeded):
        decompress(xerial(*[bytes(1000)] * 100), Codec.SNAPPY, limit=99_999)


@pytest.mark.unsanitized
@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_bomb_takes_no_more_memory_than_the_limit(codec):
    """Peak memory of a fresh process that meets a bomb of 256 MiB with a limit of 1 MiB."""
    bomb = {
        Codec.GZIP: lambda: gzip.compress(bytes(256 << 20), 1),
        Codec.SNAPPY: lambda: xerial(*[bytes(1 << 20)] * 256),
        Codec.LZ4: lambda: lz4.frame.compress(bytes(256 << 20)),
        Codec.ZSTD: lambda: zstandard.ZstdCompressor(write_content_size=False).compress(bytes(256 << 20)),
    }[codec]()
    script = (
        "import resource, sys\n"
        "from pystream._native.compression import decompress\n"
        "from pystream.common.errors import LimitExceeded\n"
        "bomb = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    decompress(bomb, int(sys.argv[1]), limit=1 << 20)\n"
        "except LimitExceeded:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(int(codec))], input=bomb, capture_output=True, check=True, timeout=60
    )
    assert int(done.stdout) < 16 << 10  # KiB


def test_sizes_that_the_input_claims_are_not_believed():
    header = bytearray(lz4.frame.compress(b"x", store_size=True))
    assert header[4] & 0x08
    liar = struct.pack("<Q", 1 << 60)
    with pytest.raises((errors.MalformedInput, errors.LimitExceeded)):
        decompress(bytes(header[:6]) + liar + bytes(header[14:]), Codec.LZ4)
    with pytest.raises(errors.LimitExceeded):  # zstd: a frame of 8 content size bytes
        decompress(bytes.fromhex("28b52ffd") + b"\xe0" + liar + bytes(8), Codec.ZSTD)
    with pytest.raises(errors.MalformedInput):  # snappy: 4 GiB in 6 bytes
        decompress(b"\xff\xff\xff\xff\x0f\x00", Codec.SNAPPY)
    with pytest.raises(errors.MalformedInput):  # a block longer than what is left
        decompress(XERIAL + struct.pack(">i", 1 << 30) + b"\x00", Codec.SNAPPY)
    with pytest.raises(errors.MalformedInput):  # a negative block length
        decompress(XERIAL + struct.pack(">i", -1) + b"\x00", Codec.SNAPPY)


def test_a_zstd_window_above_8_mib_is_refused():
    def frame(window_log: int) -> bytes:
        parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=False)
        writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return writer.compress(b"small") + writer.flush()

    assert decompress(frame(23), Codec.ZSTD) == b"small"
    with pytest.raises(errors.LimitExceeded):
        decompress(frame(24), Codec.ZSTD)


def test_our_highest_levels_keep_to_a_window_that_we_read():
    data = random.Random(22).randbytes(1 << 20) * 10
    assert decompress(compress(data, Codec.ZSTD, level=22), Codec.ZSTD) == data


@pytest.mark.parametrize("codec", COMPRESSING)
def test_every_truncation_is_refused(codec):
    data = compress(b"some records, some records, some more records " * 9, codec)
    ends_whole = {16} if codec == Codec.SNAPPY else set()  # the framing's head with no block behind it
    for size in range(len(data)):
        if size not in ends_whole:
            with pytest.raises(errors.MalformedInput):
                decompress(data[:size], codec)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_garbage_behind_the_end_is_refused(codec):
    with pytest.raises(errors.MalformedInput):
        decompress(compress(b"records" * 20, codec) + b"\x07garbage", codec)


@given(st.sampled_from(COMPRESSING), st.binary(min_size=1, max_size=300), st.data())
def test_damaged_input_is_refused_or_read_within_the_limit(codec, honest, data):
    damaged = data.draw(damage(compress(honest * 5, codec)))
    try:
        found = decompress(damaged, codec, limit=10_000)
    except (errors.MalformedInput, errors.LimitExceeded):
        return
    assert len(found) <= 10_000


@given(st.binary(max_size=200))
def test_raw_snappy_is_read_or_refused_as_by_another_library(data):
    try:
        expected = bytes(cramjam.snappy.decompress_raw(data)) if data else None
    except cramjam.DecompressionError:
        expected = None
    try:
        assert decompress(data, Codec.SNAPPY) == expected
    except errors.MalformedInput:
        assert not expected


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_refusal_leaves_nothing_behind_in_the_threads_context(codec):
    data = compress(TEXT, codec)
    for cut in (10, 100, len(data) - 1):
        with pytest.raises(errors.MalformedInput):
            decompress(data[:cut], codec)
        assert decompress(data, codec) == TEXT


def test_an_lz4_frame_that_breaks_off_before_its_content_size_does_not_spoil_the_next():
    """liblz4 1.9.4 keeps what the broken frame still owed, even over LZ4F_resetDecompressionContext()."""
    broken = lz4.frame.compress(TEXT, store_size=True)[:200]
    with pytest.raises(errors.MalformedInput):
        decompress(broken, Codec.LZ4)
    assert decompress(compress(TEXT, Codec.LZ4), Codec.LZ4) == TEXT
    with pytest.raises(errors.LimitExceeded):
        decompress(lz4.frame.compress(TEXT, store_size=True), Codec.LZ4, limit=100)
    assert decompress(compress(TEXT, Codec.LZ4), Codec.LZ4) == TEXT


def test_threads_have_contexts_of_their_own():
    samples = [random.Random(seed).randbytes(500) * 200 for seed in range(4)]
    failures: list[int] = []

    def run(index: int) -> None:
        for codec in COMPRESSING * 10:
            if decompress(compress(samples[index], codec), codec) != samples[index]:
                failures.append(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(samples))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("codec", COMPRESSING)
def test_empty_input_is_no_stream(codec):
    with pytest.raises(errors.MalformedInput):
        decompress(b"", codec)


def test_no_codec_copies_within_the_limit():
    assert decompress(b"abc", Codec.NONE, limit=3) == b"abc"
    with pytest.raises(errors.LimitExceeded):
        decompress(b"abc", Codec.NONE, limit=2)


@pytest.mark.parametrize("codec", [5, 7, -1])
def test_an_unknown_codec_is_refused(codec):
    assert not is_available(codec)
    with pytest.raises(errors.UnsupportedCompressionType, match=str(codec)):
        decompress(b"abc", codec)
    with pytest.raises(errors.UnsupportedCompressionType, match=str(codec)):
        compress(b"abc", codec)


LEVELS = [(Codec.GZIP, 1, 9), (Codec.LZ4, 1, 17), (Codec.ZSTD, -131072, 22)]


@pytest.mark.parametrize(("codec", "lowest", "highest"), LEVELS)
def test_levels_reach_from_lowest_to_highest(codec, lowest, highest):
    sizes = []
    for level in (lowest, highest):
        data = compress(TEXT, codec, level=level)
        assert decompress(data, codec) == TEXT
        sizes.append(len(data))
    assert sizes[1] < sizes[0]
    for level in (lowest - 3, highest + 1):
        with pytest.raises(ValueError, match=str(level)):
            compress(TEXT, codec, level=level)


@pytest.mark.parametrize(("codec", "default"), [(Codec.GZIP, -1), (Codec.LZ4, 9), (Codec.ZSTD, 3)])
def test_kafkas_default_levels_are_the_defaults(codec, default):
    assert compress(TEXT, codec, level=default) == compress(TEXT, codec)


def test_snappy_has_no_levels():
    with pytest.raises(ValueError, match="no levels"):
        level_of(Codec.SNAPPY, 1)


def test_the_default_limit_grows_with_the_input_up_to_100_mib_and_the_topics_cap():
    assert limit_for(1) == 16 << 20
    assert limit_for(20_000) == 20_000_000
    assert limit_for(1 << 30) == 100 << 20
    assert limit_for(1 << 30, 5000) == 5000


def test_a_negative_limit_is_the_callers_mistake():
    with pytest.raises(ValueError, match="negative"):
        decompress(b"abc", Codec.NONE, limit=-1)


HIDE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
void *dlopen(const char *name, int flags) {
    static void *(*real)(const char *, int);
    if (!real) real = dlsym(RTLD_NEXT, "dlopen");
    return name && strstr(name, getenv("HIDDEN_LIBRARY")) ? 0 : real(name, flags);
}
"""
PACKAGES = [
    (Codec.GZIP, "libz.", "zlib1g"),
    (Codec.SNAPPY, "libsnappy.", "libsnappy1v5"),
    (Codec.LZ4, "liblz4.", "liblz4-1"),
    (Codec.ZSTD, "libzstd.", "libzstd1"),
]


@pytest.mark.unsanitized
@pytest.mark.parametrize(("codec", "library", "package"), PACKAGES)
def test_without_its_library_one_codec_fails_and_names_the_package(codec, library, package, tmp_path: Path):
    """A dlopen() put before the C library's own pretends that the library is not installed."""
    (tmp_path / "hide.c").write_text(HIDE)
    hide = tmp_path / "hide.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(hide), str(tmp_path / "hide.c"), "-ldl"], check=True)
    script = (
        "import sys\n"
        "from pystream._native.compression import Codec, compress, decompress, is_available\n"
        "from pystream.common.errors import UnsupportedCompressionType\n"
        "print([int(codec) for codec in Codec if not is_available(codec)])\n"
        "for work in (compress, decompress):\n"
        "    try:\n"
        "        work(b'records', int(sys.argv[1]))\n"
        "    except UnsupportedCompressionType as error:\n"
        "        print(error)\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(hide), "HIDDEN_LIBRARY": library}
    done = subprocess.run(
        [sys.executable, "-c", script, str(int(codec))], env=environment, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    missing, *messages = done.stdout.splitlines()
    assert missing == str([int(codec)])
    assert len(messages) == 2
    assert all(message.endswith(f"apt-get install {package}") for message in messages)
