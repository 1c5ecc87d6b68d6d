"""What a user did wrong is one line and exit code 2; anything else keeps its traceback."""

from importlib import import_module

import pytest

from electra_jax.errors import DivergedError, UserError, nearest

# The package `cli` has a function of this name.
command_line = import_module("electra_jax.cli.main")


@pytest.mark.parametrize("kind", [UserError, DivergedError])
def test_a_user_s_error_is_one_line_and_exit_code_2(monkeypatch, capsys, kind):
    def verb(argv):
        raise kind("a.b=3: must be below 3")

    monkeypatch.setitem(command_line.VERBS, "prepare", (verb, ""))
    assert command_line.main(["prepare"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "electra-jax: a.b=3: must be below 3\n")


def test_a_bug_is_no_user_s_error(monkeypatch):
    def verb(argv):
        raise ValueError("a bug")

    monkeypatch.setitem(command_line.VERBS, "prepare", (verb, ""))
    with pytest.raises(ValueError, match="a bug"):
        command_line.main(["prepare"])


def test_a_run_that_diverged_can_be_told_from_other_errors_of_the_user():
    assert issubclass(DivergedError, UserError) and not issubclass(UserError, DivergedError)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("stps", ["steps"]),
        ("SST-2", ["sst2"]),
        ("learning_rat", ["learning_rate"]),
        ("bogus", []),  # shares two letters with pos
        ("news", []),
        ("", []),
    ],
)
def test_a_suggestion_is_made_only_where_it_is_near(name, found):
    known = ["steps", "sst2", "learning_rate", "pos", "ner", "cola"]
    assert nearest(name, known) == found


def test_several_suggestions_begin_with_the_nearest():
    assert nearest("tagin", ["tag", "tagging", "ner"], 3) == ["tagging", "tag"]
    assert nearest("MRPC2", ["MrPC"]) == ["MrPC"]
