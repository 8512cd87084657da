"""The pytest plugin as a user's own suite meets it, in a pytest of its own; the README's example is one such suite."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pystream.testing

SECONDS = 300  # three processes import pytest, on a machine that may be busy
README = Path(pystream.testing.__file__).with_name("README.md")
ROOT = Path(pystream.testing.__file__).parents[2]


def run_suite(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(textwrap.dedent(code))
    installed = any(point.value == "pystream.testing.plugin" for point in entry_points(group="pytest11"))
    plugin = () if installed else ("-p", "pystream.testing.plugin")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments, "test_suite.py"]
    code_of_suite = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {command[2:]!r}; "
    return subprocess.run(
        [sys.executable, "-c", code_of_suite + "runpy.run_module('pytest', run_name='__main__')"],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def test_the_example_of_the_readme_passes(tmp_path: Path):
    blocks = README.read_text().split("\n\n    ", 1)[1]
    lines = ["    " + blocks.partition("\n")[0]]
    for line in blocks.splitlines()[1:]:
        if line and not line.startswith("    "):
            break
        lines.append(line)
    result = run_suite(tmp_path, "\n".join(lines))
    assert "2 passed" in result.stdout, result.stdout + result.stderr


def test_fixtures_and_marker_shape_the_broker(tmp_path: Path):
    result = run_suite(
        tmp_path,
        """
        import pystream, pytest
        from pystream.testing import EmbeddedBroker, ProcessBroker

        seen = []

        @pytest.fixture(scope="session")
        def pystream_options():
            return {"num_partitions": 3}

        def test_a_broker_of_its_own(pystream_broker):
            seen.append(pystream_broker.bootstrap)
            assert isinstance(pystream_broker, EmbeddedBroker)
            assert pystream_broker.settings["num.partitions"] == "3"
            assert pystream_broker.faults

        @pytest.mark.pystream(process=True, num_partitions=5)
        def test_one_by_the_marker(pystream_broker):
            assert isinstance(pystream_broker, ProcessBroker)
            assert pystream_broker.settings["num.partitions"] == "5"

        def test_another_of_its_own(pystream_broker):
            with pystream.AdminClient(bootstrap_servers=pystream_broker.bootstrap) as admin:
                assert list(admin.list_topics()) == []

        def test_the_shared_one(pystream_session_broker):
            pystream_session_broker.create_topic("shared")
            seen.append(pystream_session_broker.bootstrap)

        def test_the_shared_one_again(pystream_session_broker):
            with pystream.AdminClient(bootstrap_servers=pystream_session_broker.bootstrap) as admin:
                assert list(admin.list_topics()) == ["shared"]
            assert seen[-1] == pystream_session_broker.bootstrap
        """,
        "--strict-markers",
    )
    assert "5 passed" in result.stdout, result.stdout + result.stderr


def test_the_marker_takes_settings_by_kafkas_names_and_refuses_slips(tmp_path: Path):
    result = run_suite(
        tmp_path,
        """
        import pytest

        @pytest.mark.pystream({"num.partitions": 4}, faults=False)
        class TestNames:
            def test_they_are_the_brokers(self, pystream_broker):
                assert pystream_broker.settings["num.partitions"] == "4"

            @pytest.mark.pystream({"num.partitions": 5})
            def test_the_nearest_wins(self, pystream_broker):
                assert pystream_broker.settings["num.partitions"] == "5"

        @pytest.fixture(scope="session")
        def pystream_options():
            return {"num_partitions": 3}

        @pytest.mark.pystream({"num.partitions": 4})
        def test_a_marker_wins_over_options_of_another_spelling(pystream_broker):
            assert pystream_broker.settings["num.partitions"] == "4"

        @pytest.mark.pystream(num_partitons=3)
        def test_a_slip(pystream_broker):
            pass

        @pytest.mark.pystream("process")
        def test_what_is_no_setting(pystream_broker):
            pass
        """,
    )
    assert "3 passed, 2 errors" in result.stdout, result.stdout + result.stderr
    assert "did you mean num.partitions?" in result.stdout
    assert "takes settings by name, and options, not 'process'" in result.stdout


def test_each_worker_of_xdist_has_brokers_of_its_own(tmp_path: Path):
    result = run_suite(
        tmp_path,
        """
        import os, pytest
        from pathlib import Path

        SEEN = Path(__file__).parent

        @pytest.mark.parametrize("number", range(8))
        def test_a_session(number, pystream_session_broker, worker_id):
            seen = SEEN / f"seen-{worker_id}"
            seen.touch()
            assert seen.read_text() in ("", pystream_session_broker.bootstrap)
            seen.write_text(pystream_session_broker.bootstrap)
            pystream_session_broker.create_topic(f"t-{number}")

        @pytest.mark.pystream(process=True)
        @pytest.mark.parametrize("number", range(4))
        def test_processes(number, pystream_broker):
            assert pystream_broker.create_topic("t")
        """,
        "-n", "2", "-p", "xdist",
    )  # fmt: skip
    assert "12 passed" in result.stdout, result.stdout + result.stderr
    addresses = [seen.read_text() for seen in tmp_path.glob("seen-*")]
    assert len(addresses) == len(set(addresses)) == 2


def test_a_suite_that_uses_none_of_it_loads_none_of_it(tmp_path: Path):
    result = run_suite(
        tmp_path,
        """
        import sys

        def test_what_is_loaded():
            loaded = {name for name in sys.modules if name.split(".")[0] in ("pystream", "uvloop", "sqlite3", "numpy")}
            assert loaded <= {"pystream", "pystream.testing", "pystream.testing.plugin"}
        """,
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr
