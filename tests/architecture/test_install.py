"""`pip install .` from a clean checkout and from an sdist, and what then answers."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

import pystream
from tests.architecture.house import ROOT, files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # each compiles the whole core anew


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files git knows, without anything built."""
    copy = tmp_path_factory.mktemp("checkout")
    for path in files("*"):
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    return copy


def version_after_installing(package: Path, environment: Path) -> str:
    venv.create(environment, with_pip=True)
    subprocess.run([environment / "bin/pip", "install", "-q", str(package)], cwd=environment, check=True, timeout=1400)
    subprocess.run(
        [environment / "bin/python", "-c", "import pystream._native.crc32c, pystream.protocol"],
        cwd=environment,
        check=True,
    )
    answer = subprocess.run(
        [environment / "bin/pystream", "--version"], cwd=environment, capture_output=True, text=True, check=True
    )
    return answer.stdout


def test_a_clean_checkout_installs_and_answers(checkout: Path, tmp_path: Path):
    assert pystream.__version__ in version_after_installing(checkout, tmp_path / "venv")


def test_an_sdist_installs_and_answers(checkout: Path, tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, checkout], check=True, capture_output=True
    )
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert pystream.__version__ in version_after_installing(sdist, tmp_path / "venv")
