"""Warnings are shown where the other messages are, in a notebook and elsewhere."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from electra_jax.messages import message_stream

WARN = """
import logging, sys, types
shell = types.SimpleNamespace(kernel=1)
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
{before}
import electra_jax
from electra_jax.messages import show_warnings
show_warnings()
logging.getLogger("electra_jax.x").warning("texts cut: %d", 3)
logging.getLogger("electra_jax.x").info("nothing to see")
logging.getLogger("other").warning("of another package")
"""


def run(before):
    done = subprocess.run(
        [sys.executable, "-c", WARN.format(before=before)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("shell", "shown"), [(None, "err"), (object(), "err"), (SimpleNamespace(kernel=1), "out")]
)
def test_the_stream_is_standard_output_in_a_notebook_alone(monkeypatch, capsys, shell, shown):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    print("x", file=message_stream())
    assert getattr(capsys.readouterr(), shown) == "x\n"


def test_a_warning_is_shown_once_and_not_as_an_error():
    assert run("") == ("texts cut: 3\n", "of another package\n")


def test_a_program_s_own_logging_is_left_alone():
    out, err = run("logging.basicConfig(format='mine %(message)s')")
    assert (out, err.splitlines()) == ("", ["mine texts cut: 3", "mine of another package"])
