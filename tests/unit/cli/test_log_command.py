"""What `pystream log` says about directories that are not what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pystream.cli.failure import sentence
from pystream.cli.logs.log_command import logs


def test_a_directory_without_a_broker_is_not_reported_as_sound(tmp_path: Path) -> None:
    result = CliRunner().invoke(logs, ["verify", str(tmp_path)])

    assert result.exit_code == 2
    assert "is not the data directory of a broker" in result.stderr


def test_the_directory_of_the_platform_points_to_that_of_its_broker(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "meta.properties").touch()

    result = CliRunner().invoke(logs, ["verify", str(tmp_path)])

    assert result.exit_code == 2
    assert f"did you mean {tmp_path / 'broker'}?" in result.stderr


def test_importing_from_a_directory_without_partitions_fails_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()

    result = CliRunner().invoke(logs, ["import", str(tmp_path / "kafka"), "--data-dir", str(tmp_path / "data")])

    assert result.exit_code == 1
    assert "holds no partition of a topic" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(98, "cannot listen on 127.0.0.1:9092: Address already in use"), "cannot listen on 127.0.0.1:9092: "),
        (PermissionError(13, "Permission denied", "/data"), "/data: Permission denied"),
        (OSError("no number"), "no number"),
        (ValueError("plain"), "plain"),
    ],
)
def test_an_error_is_one_sentence_without_a_number(error: Exception, text: str) -> None:
    assert sentence(error).startswith(text)
    assert "Errno" not in sentence(error)
