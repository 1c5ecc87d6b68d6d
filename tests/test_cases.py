"""The script that runs users' cases: its verdicts, on cases made of shell commands."""

import subprocess

import cases
import pytest


@pytest.fixture
def case(tmp_path):
    def make(name, *commands, **files):
        folder = tmp_path / "given" / name
        folder.mkdir(parents=True)
        (folder / "cmd.txt").write_text("# a comment\n" + "\n".join(commands) + "\n\n")
        for file, content in files.items():
            (folder / file).write_text(content)
        return folder

    return make


def run(folder, tmp_path):
    return cases.verdict(folder, cases.run_case(folder, tmp_path / "scratch"))


def test_a_case_runs_in_a_copy_of_its_folder_with_the_program_and_the_configurations(
    case, tmp_path
):
    folder = case(
        "07-x", "cat words | grep -q river && rm words", "ls configs", "electra-jax --help"
    )
    (folder / "words").write_text("a river")
    assert run(folder, tmp_path) == ("right", [])
    assert (folder / "words").exists()


@pytest.mark.parametrize(
    ("name", "command", "word", "why"),
    [
        ("07-x", "exit 3", "WRONG", "exit 3: nothing"),
        ("07-x", "false | cat", "WRONG", "exit 1: nothing"),
        ("08-x", "echo no >&2; exit 2", "right", None),
        ("07-x", "printf 'Traceback\\nValueError: x' >&2", "WRONG", "traceback: ValueError: x"),
        ("09-x", "true", "WRONG", "no result: FileNotFoundError"),
        ("99-x", "echo done", "to be judged", "exit 0: done"),
    ],
)
def test_verdicts(case, tmp_path, name, command, word, why):
    commands = [command] * 2
    found, reasons = run(case(name, *commands), tmp_path)
    assert found == word
    assert (reasons == []) if why is None else reasons[0].startswith(why)


def test_checks_see_what_is_wrong(tmp_path):
    """Each of the checks that read standard output, given what was seen before it was mended."""

    def ran(*outputs, code=0):
        done = [subprocess.CompletedProcess("", code, out, "") for out in outputs]
        return cases.Ran(tmp_path, done)

    one = '{"words": ["Ann", "Bob"]}\n'
    assert list(cases.running_text(ran(one, '{"words": ["Ann"]}\n'))) == [
        "2 of 6 words are read",
        "1 of 2 words are read",
    ]
    assert not list(cases.running_text(ran("", "", code=2)))
    assert list(cases.cased_vocabulary(ran('"do_lower_case": true')))
    assert not list(cases.cased_vocabulary(ran('"do_lower_case": false')))
    assert list(cases.standard_input(ran("", one))) == ["0 answers", "no rows"]
