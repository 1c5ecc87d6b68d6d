"""Every verb's parser: wrong arguments are `UserError`s, options are never abbreviated."""

import pytest

from electra_jax.cli import VERBS, main
from electra_jax.cli.parser import Parser, verb_parser
from electra_jax.errors import UserError


@pytest.fixture
def parser():
    found = verb_parser("cook", "Boils water.", "electra-jax cook --pot=a")
    found.add_argument("--pot", required=True, metavar="DIR")
    found.add_argument("--minutes", type=int, default=3)
    return found


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "required: --pot"),
        (["--pot=a", "--minutes=x"], "--minutes: invalid int value: 'x'"),
        (["--pot=a", "--minute=4"], "unrecognized arguments: --minute=4"),
        (["--pot=a", "b"], "unrecognized arguments: b"),
    ],
)
def test_wrong_arguments_are_user_errors_with_the_usage(parser, arguments, named):
    with pytest.raises(UserError) as raised:
        parser.parse_args(arguments)
    message, usage = str(raised.value).split("\n", 1)
    assert named in message
    assert usage.startswith("usage: electra-jax cook") and "--pot DIR" in usage


def test_help_keeps_the_lines_of_the_description_and_ends_with_the_example(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "Boils water." in text
    assert text.endswith("example:\n  electra-jax cook --pot=a\n")


def test_every_verb_s_help_has_every_default(monkeypatch, capsys):
    parsers = []
    keep = Parser.format_help
    monkeypatch.setattr(Parser, "format_help", lambda p: parsers.append(p) or keep(p))
    for verb in VERBS:
        with pytest.raises(SystemExit):
            main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert [p.prog for p in parsers] == [f"electra-jax {verb}" for verb in VERBS]
    shown = 0
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action.default, str | int | float) and type(action.default) is not bool:
                if action.default == "==SUPPRESS==":
                    continue
                option = parser.prog, action.option_strings[0], action.default
                own = " ".join(keep(parser).split()).split(f" {action.option_strings[0]} ")[-1]
                assert f"default: {action.default}" in own, option
                shown += 1
    assert shown >= 10
    assert "tokens, specials included (default: 30522)" in text
    assert "None)" not in text and "False)" not in text
