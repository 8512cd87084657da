"""Java for the tests: Kafka's jars from Maven Central and our Java programs, all in a cache outside the repository.

The cache is $XDG_CACHE_HOME/pystream-tests (~/.cache/pystream-tests): one folder per content of the inputs.
Without Java, javac or Maven, or when Maven cannot fetch, the test that asked is skipped and says why.

    python -m tests.conformance.java     all of it at once: tools/test does so before any test's time begins to run
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "java"
POM = HERE / "pom.xml"
STREAMS_POM = HERE / "streams.xml"
STREAMS = frozenset({"WordCount"})  # programs that use Kafka Streams
HEAP = "-Xmx512m"
FETCH_SECONDS = 240  # less than a test may take in all
COMPILE_SECONDS = 120


def command() -> list[str]:
    """The Java program with its common flags: serial collection and the first compiler only, these runs are short."""
    return [_tool("java"), HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]


def class_path() -> str:
    """A class path of all of Kafka's jars: broker, clients and tools."""
    return f"{jars()}/*"


@functools.cache
def jars() -> Path:
    """The folder of Kafka's jars, fetched when it is not there."""
    return _cached("kafka", (POM,), functools.partial(_fetch, POM))


@functools.cache
def compiled(program: str = "RoundTrip") -> Path:
    """The folder of a program's classes, compiled when it is not there. Programs are the .java files of this folder."""
    source = HERE / f"{program}.java"
    return _cached(program.lower(), (POM, source), functools.partial(_compile, source, class_path))


def streams_class_path() -> str:
    """A class path of the jars of Kafka Streams."""
    return f"{_cached('kafka-streams', (STREAMS_POM,), functools.partial(_fetch, STREAMS_POM))}/*"


@functools.cache
def compiled_streams(program: str) -> Path:
    """The same for a program that uses Kafka Streams."""
    source = HERE / f"{program}.java"
    return _cached(program.lower(), (STREAMS_POM, source), functools.partial(_compile, source, streams_class_path))


def prepare() -> str:
    """Fetch and compile everything that is not there; what keeps it from that."""
    try:
        jars()
        for program in sorted(source.stem for source in HERE.glob("*.java")):
            (compiled_streams if program in STREAMS else compiled)(program)
    except (pytest.skip.Exception, subprocess.SubprocessError) as why:
        return str(why)
    return "all of it is there"


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _cached(name: str, inputs: tuple[Path, ...], make: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystream-tests"
    folder = cache / f"{name}-{digest}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache / f"{folder.name}.lock") as waited:
            if not folder.exists():
                if waited:
                    pytest.skip(f"another process could not make {folder.name}")
                work = Path(tempfile.mkdtemp(prefix=name, dir=cache))
                make(work)
                work.rename(folder)
    return folder


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[bool]:
    """Whether another process had to be waited for. Maven fetches once, not once for each worker."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = False
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waited = True
        yield waited


def _fetch(pom: Path, folder: Path) -> None:
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime")
    command = [_tool("mvn"), "-q", "-B", "-f", str(pom), *goal]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        shutil.rmtree(folder)
        pytest.skip(f"Maven could not fetch Kafka's jars in {FETCH_SECONDS} s")
    if done.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"Maven could not fetch Kafka's jars: {(done.stdout + done.stderr)[-300:]}")


def _compile(source: Path, path: Callable[[], str], folder: Path) -> None:
    arguments = ["--release", "17", "-cp", path(), "-d", str(folder), str(source)]
    subprocess.run([_tool("javac"), *arguments], check=True, timeout=COMPILE_SECONDS)


if __name__ == "__main__":
    print(prepare())
