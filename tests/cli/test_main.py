"""The table of verbs, `main` and its exit codes."""

import subprocess
import sys

import pytest
from cli.commands import fails
from tiny_run import environment

from electra_jax.cli import VERBS, main


def test_help_of_every_verb_has_an_example(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for verb in VERBS:
        assert verb in overview
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0
        assert f"electra-jax {verb}" in capsys.readouterr().out


def test_unknown_verb_names_the_nearest(capsys):
    assert "did you mean 'pretrain'" in fails(capsys, "pretrian")


def test_an_unknown_verb_near_to_none_names_them_all(capsys):
    errors = fails(capsys, "xyzzy")
    assert "did you mean" not in errors and all(verb in errors for verb in VERBS)


def test_no_verb_at_all_prints_the_overview_and_is_an_error(capsys):
    assert main([]) == 2
    assert "electra-jax VERB" in capsys.readouterr().out


def test_ctrl_c_is_130_without_a_traceback(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(VERBS, "report", (interrupted, ""))
    assert main(["report"]) == 130
    assert capsys.readouterr().err == "electra-jax: interrupted\n"


def test_a_reader_that_closes_the_pipe_early_is_no_traceback():
    script = "import sys; from electra_jax.cli import main; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == ""
