"""Coverage-guided fuzzing of the generated codecs with atheris: any bytes give a value or MalformedInput.

    python tests/fuzz/fuzz_codecs.py --make-corpus CORPUS      right messages of each kind to begin with (needs kio)
    python tests/fuzz/fuzz_codecs.py CORPUS -runs=5000000      -max_total_time=600 and the other switches of libFuzzer

An input is two bytes that choose one of the 625 messages and versions, then the message. A value that was read is
written and read again: it must be equal, and its bytes stable. A crash, another exception, a time-out (-timeout=5) or
more memory than -rss_limit_mb stops the run and leaves the input in a file; give that file as the only argument to see
it again.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["pystream.protocol"]):
    from pystream.common.errors import MalformedInput
    from pystream.protocol import messages
    from pystream.protocol.message import Message

    MODULES = [import_module(f"{messages.__name__}.{module.name}") for module in iter_modules(messages.__path__)]

CLASSES = {
    (found.__module__, found.__name__): found
    for module in MODULES
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Message) and found is not Message
}
TARGETS = [(CLASSES[name], version) for name in sorted(CLASSES) for version in sorted(CLASSES[name].READERS)]


def one_input(data: bytes) -> None:
    """What libFuzzer calls; returning says that nothing is wrong."""
    if len(data) < 2:
        return
    target, version = TARGETS[int.from_bytes(data[:2], "big") % len(TARGETS)]
    try:
        value = target.decode(data[2:], version)
    except MalformedInput:
        return
    written = value.encode(version)
    again = target.decode(written, version)
    if again.encode(version) != written:
        raise AssertionError(f"{target.__name__} {version}: bytes are not stable")
    if again != value and "nan" not in repr(value):
        raise AssertionError(f"{target.__name__} {version}: {value!r} comes back as {again!r}")


def make_corpus(folder: Path) -> None:
    """Write two messages of each kind as files."""
    from tests.support.codec_values import entities, sample

    folder.mkdir(parents=True, exist_ok=True)
    position = {target: index for index, target in enumerate(TARGETS)}
    for entity in entities():
        prefix = position[entity.ours, entity.version].to_bytes(2, "big")
        for seed in range(2):
            (folder / f"{entity}-{seed}").write_bytes(prefix + sample(entity, seed))


def main() -> None:
    if len(TARGETS) != 625:
        raise SystemExit(f"{len(TARGETS)} messages and versions, expected 625")
    if sys.argv[1:2] == ["--make-corpus"]:
        make_corpus(Path(sys.argv[2]))
        return
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
