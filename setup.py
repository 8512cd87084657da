"""Builds native/*.pyx as pystream._native.<name>; everything else stands in pyproject.toml.

PYSTREAM_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer
PYSTREAM_ANNOTATE=1   Cython's annotated HTML beside the translated C
PYSTREAM_TRACE=1      line tracing, for coverage of the native modules
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
NATIVE = Path("native")
FACES = Path("pystream/_native")

# Modules that link a C kernel of native/c/.
KERNELS = {
    "crc32c": ["native/c/crc32c.c"],
    "compression": ["native/c/codecs.c"],
}


def switch(name: str) -> bool:
    return os.environ.get(f"PYSTREAM_{name}", "") not in ("", "0")


def compile_arguments() -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """(compiler flags, linker flags, macros) of every extension module."""
    macros = [("CYTHON_TRACE_NOGIL", "1")] if switch("TRACE") else []
    if switch("SANITIZE"):
        # Cython's own code adds 0 to NULL, which clang counts as an overflow of the pointer.
        checks = ["-fsanitize=address,undefined", "-fno-sanitize=pointer-overflow", "-fno-sanitize-recover=undefined"]
        return [*checks, "-fno-omit-frame-pointer", "-O1", "-g"], checks, macros
    return ["-O2", "-g0", "-fno-strict-aliasing", "-Wno-unused-function"], [], macros


def drop_stale_translations() -> None:
    """Cython overlooks a change in a module's own .pxd when it lies in another folder: translate anew then.

    Two layouts of one struct would otherwise meet in one process.
    """
    for body in (ROOT / NATIVE).glob("*.pyx"):
        face = ROOT / FACES / f"{body.stem}.pxd"
        translated = body.with_suffix(".c")
        if translated.exists() and face.exists() and face.stat().st_mtime > translated.stat().st_mtime:
            translated.unlink()


def extensions() -> list[Extension]:
    flags, link_flags, macros = compile_arguments()
    headers = [str(path) for path in sorted(NATIVE.glob("c/*.h"))]
    bodies = {f"pystream._native.{body.stem}": body for body in sorted(NATIVE.glob("*.pyx"))}
    if switch("SANITIZE"):
        bodies |= {f"tests.fuzz.{body.stem}": body for body in sorted(Path("tests/fuzz").glob("*.pyx"))}
    return [
        Extension(
            name,
            [str(body), *KERNELS.get(body.stem, [])],
            include_dirs=["native/c"],
            depends=headers,
            extra_compile_args=flags,
            extra_link_args=[*link_flags, "-ldl", "-lpthread"],
            define_macros=macros,
        )
        for name, body in bodies.items()
    ]


os.chdir(ROOT)
drop_stale_translations()
setup(
    ext_modules=cythonize(
        extensions(),
        include_path=["."],
        annotate=switch("ANNOTATE"),
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": True,
            "cdivision": True,
            "embedsignature": True,
            "linetrace": switch("TRACE"),
        },
    ),
)
