"""Compiles the C programs of `native/` at first use, and again when a source has changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.harness.cache import cache_folder
from benchmarks.harness.errors import HarnessError

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror")


def program(name: str) -> Path:
    """The compiled `native/<name>.c`, named by the digest of all sources of the folder.

    Raises HarnessError with the compiler's words when it does not compile.
    """
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.name.encode() + source.read_bytes())
    target = cache_folder("bin") / f"{name}-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise HarnessError("no C compiler: set CC or install gcc")
    unfinished = target.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, *FLAGS, "-o", str(unfinished), str(SOURCES / f"{name}.c")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        raise HarnessError(f"{name}.c does not compile:\n{done.stderr}")
    unfinished.replace(target)
    return target
