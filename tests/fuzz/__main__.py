"""Fuzzes one target with atheris; tools/check/fuzz builds the native modules for it and calls this.

python -m tests.fuzz TARGET FOLDER [libFuzzer options]     starts from the seeds and tests/data/fuzz/TARGET.hex
python -m tests.fuzz --save TARGET FOLDER                  keeps what a run (merged by libFuzzer) left in FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tests.fuzz import corpus


def fill(name: str, folder: Path) -> None:
    """Write the inputs to start from as files, as libFuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in [*corpus.load(name).seeds(), *corpus.read(name)]:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def main(arguments: list[str]) -> None:
    if arguments[0] == "--save":
        name, folder = arguments[1], Path(arguments[2])
        print(f"{name}: kept {corpus.save(name, [path.read_bytes() for path in folder.iterdir()])} inputs")
        return
    import atheris

    name, folder, options = arguments[0], Path(arguments[1]), arguments[2:]
    with atheris.instrument_imports(include=["pystream"]):
        target = corpus.load(name)
    fill(name, folder)
    itself = f"{sys.executable} -m tests.fuzz {name}"  # how libFuzzer starts processes of its own, to merge
    atheris.Setup([itself, str(folder), *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
