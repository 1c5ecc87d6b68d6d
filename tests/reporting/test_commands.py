"""The commands of a run: one line a start, whatever the disk and whatever else is in the file."""

import datetime
import os

import pytest

from electra_jax.reporting.commands import FILE, command_line, read_starts, record_start


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/electra-jax", "pretrain", "--w=a b"], "electra-jax pretrain '--w=a b'"),
        (["/x/electra_jax/__main__.py", "demo"], "python -m electra_jax demo"),
        (["C:/electra-jax.exe", "demo"], "electra-jax demo"),
        (["/x/pytest/__main__.py", "-q"], ""),
        (["train.py", "--key=secret"], ""),
    ],
)
def test_only_this_package_s_commands_are_kept(argv, command):
    assert command_line(argv) == command


def test_starts_are_read_as_they_were_written(tmp_path):
    record_start(tmp_path, ["electra-jax", "pretrain", "--workdir=é"])
    record_start(tmp_path, ["electra-jax", "pretrain", os.fsdecode(b"--workdir=\xff")])
    with open(tmp_path / FILE, "ab") as stream:
        stream.write(b'[1]\n{"time": "x"}\n\xff\n{"ti')
    first, second = read_starts(tmp_path)
    assert first.command == "electra-jax pretrain '--workdir=é'"
    assert second.command == "electra-jax pretrain '--workdir=?'"
    age = datetime.datetime.now().astimezone() - datetime.datetime.fromisoformat(first.time)
    assert 0 <= age.total_seconds() < 60


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    record_start(tmp_path / "missing", ["electra-jax"])
    assert read_starts(tmp_path / "missing") == []
