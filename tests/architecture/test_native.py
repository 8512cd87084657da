"""Bodies and faces of the compiled core: floors of the cimports, a face for every body, stale translations."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, files, text

# architecture, section 3. A new module is entered here, on purpose.
GROUND = {"status", "buffer", "wire", "construct", "crc32c", "hash", "kept_memory"}
RECORDS = {"batch", "record_reader", "record_columns", "record_builder", "compression"}
CLIENT = {
    "memory_pool", "delivery", "send_queue", "column_source", "row_writer", "appender", "accumulator", "txn_filter",
    "message_batch",
}  # fmt: skip
LOG = {
    "io_table", "offset_index", "leader_epochs", "txn_index", "producer_state", "log_state", "log_memory", "segment",
    "log_write", "log_flush", "log_read", "log_time", "log_replay", "log_maintain", "log_scan", "log_recovery",
    "log_scrub", "local_log",
    "flusher", "offset_map", "clean_transactions", "clean_batch", "log_swap", "log_cleaner",
}  # fmt: skip
PLANE = {
    "access", "quota", "quota_table", "accept_rate", "partition",
    "partition_table", "purgatory", "connection", "produce", "fetch_session", "fetch",
    "fetch_answer", "plane_table",
    "list_offsets", "control_queue", "listener", "turn", "event_loop", "data_plane",
    "counters", "loop_state",  # declarations only: structs that several of the above work on
}  # fmt: skip
DECLARATIONS = {"atomics", "posix"}  # likewise: what the C compiler and the system offer
FLOORS = [GROUND | DECLARATIONS, RECORDS, CLIENT, LOG, PLANE]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

CIMPORT = re.compile(
    r"^\s*(?:from\s+pystream\._native\.(\w+)\s+cimport|cimport\s+pystream\._native\.(\w+)|from\s+pystream\._native\s+cimport\s+(\w+))",
    re.M,
)
BODIES = files("native/*.pyx")


def cimports(module: str) -> set[str]:
    """Native modules that a module's body or face cimports, itself left out."""
    found = set()
    for path in (Path(f"native/{module}.pyx"), Path(f"pystream/_native/{module}.pxd")):
        if (ROOT / path).exists():
            found |= {name for groups in CIMPORT.findall(text(path)) for name in groups if name}
    return found - {module}


def test_every_native_module_stands_on_a_floor():
    faces = {path.stem for path in files("pystream/_native/*.pxd")}
    assert sorted({path.stem for path in BODIES} - FLOOR_OF.keys()) == []
    assert sorted(faces - FLOOR_OF.keys()) == []


def test_no_native_module_cimports_from_a_floor_above():
    upward = {
        f"{body.stem} -> {name}"
        for body in BODIES
        for name in cimports(body.stem)
        if FLOOR_OF[name] > FLOOR_OF[body.stem]
    }
    assert sorted(upward) == []


def test_broker_and_client_modules_do_not_know_each_other():
    assert sorted(module for module in LOG | PLANE if cimports(module) & CLIENT) == []


def test_cimports_run_in_no_circle():
    below = {body.stem: cimports(body.stem) for body in BODIES}
    while leaves := {module for module, names in below.items() if not names & below.keys()}:
        below = {module: names for module, names in below.items() if module not in leaves}
    assert below == {}


def test_native_modules_cimport_and_never_include():
    old = re.compile(r"^\s*(include\s+[\"']|DEF\s|IF\s)", re.M)
    assert [str(path) for path in files("native/*.pyx", "pystream/_native/*.pxd") if old.search(text(path))] == []


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.stem)
def test_every_body_has_its_faces(body: Path):
    faces = [ROOT / "pystream/_native" / f"{body.stem}.{suffix}" for suffix in ("pxd", "pyi")]
    assert [face.name for face in faces if not face.exists()] == []


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.stem)
def test_every_name_python_sees_has_a_docstring(body: Path):
    module = importlib.import_module(f"pystream._native.{body.stem}")
    assert module.__doc__, f"{body} has no docstring"
    mute = []
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__ or not callable(value):
            continue
        mute += [name] if not (value.__doc__ or "").strip() else []
    assert mute == []


@pytest.fixture
def miniature(tmp_path: Path) -> Path:
    """Our own setup.py over two tiny modules: `reader` cimports a struct that `owner` declares in its face."""
    (tmp_path / "native").mkdir()
    faces = tmp_path / "pystream" / "_native"
    faces.mkdir(parents=True)
    for package in (faces.parent, faces):
        (package / "__init__.py").write_text("__version__ = '0'\n")
    (tmp_path / "setup.py").write_text(text(Path("setup.py")))
    (faces / "owner.pxd").write_text(
        "cdef struct Pair:\n    int first\n    int second\n\ncdef int second_of(Pair *pair) noexcept\n"
    )
    (tmp_path / "native/owner.pyx").write_text("cdef int second_of(Pair *pair) noexcept:\n    return pair.second\n")
    (tmp_path / "native/reader.pyx").write_text(
        "from pystream._native.owner cimport Pair, second_of\n\n"
        "def answer():\n    cdef Pair pair\n    pair.first = 1\n    pair.second = 42\n    return second_of(&pair)\n"
    )
    return tmp_path


def build_and_ask(checkout: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "CFLAGS": "-O0 -w"}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
    )
    question = "from pystream._native.reader import answer; print(answer())"
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=checkout, env=environment, check=True, capture_output=True
    )
    return int(answer.stdout)


def test_two_layouts_of_one_struct_never_meet(miniature: Path):
    """Cython overlooks a change in a module's own .pxd in another folder; setup.py drops the stale translation.

    The face gains a field in front. A body translated before would read `second` where `first` now lies.
    """
    assert build_and_ask(miniature) == 42
    face = miniature / "pystream/_native/owner.pxd"
    changed = face.read_text().replace("    int first\n", "    int before\n    int first\n")
    face.write_text(changed)
    assert build_and_ask(miniature) == 42
