"""Settings from a file, the environment and flags."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pystream.cli.settings import gather


def collect(tmp_path: Path, *, text: str = "", environment: dict[str, str] | None = None, **rest) -> dict[str, str]:
    file = tmp_path / "server.properties"
    file.write_text(text)
    return gather(config_file=file, environment=environment or {}, assignments=rest.pop("assignments", ()), **rest)


def test_a_flag_beats_the_environment_and_that_beats_the_file(tmp_path: Path):
    text = "num.partitions=1\nnum.io.threads=1\nlog.dirs=file\nlog.level=debug\n"
    environment = {"PYSTREAM_NUM_PARTITIONS": "2", "PYSTREAM_NUM_IO_THREADS": "2", "PYSTREAM_LOG_DIRS": "environment"}

    settings = collect(
        tmp_path, text=text, environment=environment, assignments=("num.partitions=3",), data_dir=Path("flag")
    )

    assert settings == {"num.partitions": "3", "num.io.threads": "2", "log.dirs": "flag", "log.level": "debug"}


def test_the_environment_spells_dots_as_underscores(tmp_path: Path):
    settings = collect(tmp_path, environment={"PYSTREAM_LOG_RETENTION_MS": "5", "PYSTREAM_SANITIZE": "1", "HOME": "x"})

    assert settings == {"log.retention.ms": "5"}


def test_listeners_are_joined(tmp_path: Path):
    assert collect(tmp_path, listeners=("A://h:1", "B://h:2")) == {"listeners": "A://h:1,B://h:2"}


@pytest.mark.parametrize("assignment", ["num.partitions", "=3", ""])
def test_a_setting_without_key_or_value_is_a_usage_error(tmp_path: Path, assignment: str):
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        collect(tmp_path, assignments=(assignment,))


def test_a_value_may_hold_equals_signs(tmp_path: Path):
    assert collect(tmp_path, assignments=("a=b=c",)) == {"a": "b=c"}


def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(tmp_path: Path):
    file = tmp_path / "server.properties"
    file.write_bytes(b"\xef\xbb\xbfnode.id=7\r\nnum.partitions=3\r\n")

    settings = gather(config_file=file, environment={}, assignments=())

    assert settings == {"node.id": "7", "num.partitions": "3"}


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    with pytest.raises(click.UsageError, match="cannot read"):
        gather(config_file=tmp_path / "missing", environment={}, assignments=())
