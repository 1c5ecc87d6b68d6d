"""The table of verbs, `main` and its exit codes."""

import ast
import io
import os
import re
import subprocess
import sys
from pathlib import Path

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
        assert process.wait() == 141  # as by SIGPIPE
        assert process.stderr.read() == ""


def printed(monkeypatch, encoding, arguments):
    """What a verb writes to a standard output of an encoding that lacks some of its characters."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    stream.flush()
    assert code == 0
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("verb", [*VERBS, None])
def test_help_is_printed_in_any_encoding(monkeypatch, encoding, verb):
    text = printed(monkeypatch, encoding, [verb, "--help"] if verb else ["--help"])
    assert "electra-jax" in text


def test_a_locale_without_utf_8_is_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "electra_jax", "sweep", "--help"],
        capture_output=True,
        env={**environment(), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.returncode == 0 and done.stderr == b""
    assert rb"VALUE,VALUE\u2026" in done.stdout and done.stdout.isascii()


def _opens_text(call):
    """Whether a call opens a file as text."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("read_text", "write_text"):
        return True
    if name not in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        return False
    of_another = isinstance(function, ast.Attribute) and ast.unparse(function.value) != "path"
    return not of_another and not re.search(r"'[rwax+]+b\+?'", ast.unparse(call))


def test_every_text_file_is_opened_as_utf_8():
    root = Path(__file__).resolve().parents[2]
    files = [*(root / "electra_jax").rglob("*.py"), *(root / "configs").rglob("*.py")]
    wrong, seen = [], 0
    for file in files:
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and _opens_text(call):
                seen += 1
                if "utf-8" not in ast.unparse(call):
                    wrong.append(f"{os.path.relpath(file, root)}:{call.lineno}")
    assert wrong == [] and seen > 10
