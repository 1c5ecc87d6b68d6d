"""What README and docs/ show is there: commands, extras, links, pictures, one address."""

import re
import subprocess
import sys

import pytest
from docs.pages import PAGES, ROOT, blocks, commands, text

import electra_jax
from electra_jax import cli

COMMANDS = commands()
VERB = {"vocab": "train_vocabulary"}
LAUNCHERS = ("launch/node.sh", "launch/slurm.sh", "launch/tpu_vm.sh", "launch/speedrun.sh")


def named(first):
    """The commands that begin with a word, named for pytest."""
    chosen = [(page, words) for page, words in COMMANDS if words[0] == first]
    return [pytest.param(words, id=f"{page}: {' '.join(words[1:3])}") for page, words in chosen]


class Called(Exception):
    """Raised by the stand-in of a verb's function."""


@pytest.mark.parametrize("words", named("electra-jax"))
def test_the_command_line_takes_every_command_that_is_shown(words, monkeypatch):
    """Options are parsed and configurations resolved with their overrides, before a stand-in."""

    def stand_in(*_, **__):
        raise Called

    name = VERB.get(words[1], words[1])
    if name == "config":
        assert cli.main(words[1:]) == 0
        return
    monkeypatch.setattr(electra_jax, name, stand_in)
    monkeypatch.setattr("electra_jax.pretraining.dry_run.dry_run", stand_in)
    with pytest.raises(Called):
        cli.main(words[1:])


@pytest.mark.parametrize("script", LAUNCHERS)
def test_every_launcher_takes_the_commands_that_are_shown(script):
    shown = [words for _, words in COMMANDS if words[0] == script]
    for words in shown:
        done = subprocess.run(
            ["bash", str(ROOT / script), "--dry_run", *words[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        overrides = [word for word in words if word.startswith("--config")]
        assert all(override in done.stdout for override in overrides)


def test_nothing_else_is_run_than_what_the_tests_above_know():
    known = {"electra-jax", *LAUNCHERS, "git", "cd", "make"}
    assert {words[0] for _, words in COMMANDS} <= known


def test_targets_and_extras_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    everything = "\n".join(map(text, PAGES))
    for extras, target in re.findall(r"`make (?:EXTRAS=([\w,]+) )?(\w+)`", everything):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for extra in filter(None, extras.split(",")):
            assert f'"{extra}": [' in setup, extra
    for names in re.findall(r"pip install '\.\[([\w,]+)\]'", everything):
        for name in names.split(","):
            assert f'"{name}": [' in setup, name


def test_every_relative_link_and_picture_of_the_readme_is_there():
    shown = re.sub(r"```.*?```", "", text(ROOT / "README.md"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", shown) if "://" not in link]
    links += re.findall(r'<img src="([^"]+)"', shown)
    headings = {
        re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", shown, re.MULTILINE)
    }
    assert len(links) > 15
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        assert path or anchor in headings, link
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 150_000, picture


def test_the_readme_is_short():
    assert len(text(ROOT / "README.md").splitlines()) <= 200


def test_the_repository_has_one_address():
    """setup.py has it; wherever a page, a notebook or a launcher names a repository, it is that."""
    address = re.search(r'^REPOSITORY = "(.+)"$', (ROOT / "setup.py").read_text("utf-8"), re.M)[1]
    name = address.removeprefix("https://github.com/")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", name)
    files = [*PAGES, *(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "launch").iterdir()]
    files += [path for path in ROOT.iterdir() if path.suffix in (".md", ".cff", ".toml")]
    files += [ROOT / "docs/conf.py", *(ROOT / "electra_jax").rglob("*.py")]
    found = 0
    own = re.compile(r"github(?:\.com)?[/:]([\w.-]+/electra[_-]jax)\b")
    for file in sorted({path for path in files if path.is_file()}):
        for other in own.findall(file.read_text(encoding="utf-8")):
            assert other == name, f"{file.relative_to(ROOT)} names {other}, setup.py {name}"
            found += 1
    assert found >= 4
    assert f"colab.research.google.com/github/{name}/blob/main/notebooks/" in text(
        ROOT / "README.md"
    )


def test_the_reference_has_every_field_verb_and_public_name(tmp_path):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    reference.write(tmp_path)
    for target, page in (("pretrain:small", "pretraining"), ("finetune:squad2", "finetuning")):
        written = (tmp_path / f"configuration-{page}.md").read_text(encoding="utf-8")
        for field in electra_jax.describe_config(target):
            if not field.key.startswith("data.columns"):
                assert f"\n`{field.key}` = " in written, field.key
    verbs = (tmp_path / "command-line.md").read_text(encoding="utf-8")
    assert all(f"\nusage: electra-jax {verb}" in verbs for verb in cli.VERBS)
    names = (tmp_path / "python.rst").read_text(encoding="utf-8")
    for name in electra_jax.__all__:
        assert re.search(rf"^\.\. auto\w+:: electra_jax\.{name}$", names, re.MULTILINE), name
    tasks = (tmp_path / "tasks.md").read_text(encoding="utf-8")
    assert "`squad2`" in tasks and "#1 String" in tasks


@pytest.mark.parametrize(
    "paragraph, example",
    [
        ('get_config("pretrain:small", {"train.steps": 10_000})', True),
        ('submission({"cola": "a.jsonl", …}, "glue.zip")', True),
        ('predict("m", ["a"])     # → the answers', True),
        ("The rows depend on all arguments but `workers`.", False),
        ("name", False),
    ],
)
def test_examples_in_docstrings_are_told_from_prose(paragraph, example):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    assert reference.is_python(paragraph) is example


def test_commands_fit_the_pages():
    wide = [
        f"{page.name}: {line}"
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if len(line) > 80
    ]
    assert not wide
