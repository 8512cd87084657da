"""Generated files are what their generators would write now."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture.house import ROOT, files


def test_generated_files_are_fresh():
    generators = [path.with_suffix("") for path in files("tools/codegen/*.py") if path.name in ("__main__.py",)]
    assert generators, "tools/codegen has no entry point"
    result = subprocess.run(
        [sys.executable, "-m", "tools.codegen", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
