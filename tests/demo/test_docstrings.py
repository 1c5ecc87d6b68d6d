"""The demo's text: docstrings of the installed packages, parsed and in a fair order."""

import json

import pytest

from electra_jax.demo import docstrings as module
from electra_jax.demo.docstrings import docstrings, source_files, write_docstrings
from electra_jax.errors import UserError


def test_docstrings_are_parsed_not_imported(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        '"""Of the module."""\nraise SystemExit("imported")\n\n'
        'class A:\n    """Of a class."""\n\n    def f(self):\n        """Of a method."""\n'
    )
    assert docstrings(str(file)) == ["Of the module.", "Of a class.", "Of a method."]
    file.write_text("def broken(:\n")
    assert docstrings(str(file)) == []


def test_source_files_come_in_an_order_that_any_budget_samples_fairly():
    files = source_files()
    assert files == source_files() and len(files) > 500
    packages = [name.split("/")[0] for name, _ in files]
    # The first tenth holds about a tenth of the largest package.
    largest = max(set(packages), key=packages.count)
    share = packages[: len(packages) // 10].count(largest) / packages.count(largest)
    assert 0.05 < share < 0.15


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Three installed modules: two long ones that share a docstring, and a short one."""
    shared, own = ("Shared by both. " * 20).strip(), ("Of its own. " * 30).strip()
    texts = {"a.py": [shared, own], "b.py": [shared, own[::-1]], "c.py": ["short"]}
    found = []
    for name, parts in texts.items():
        body = "".join(f'def f{i}():\n    """{part}"""\n\n' for i, part in enumerate(parts))
        (tmp_path / name).write_text(body)
        found.append((name, str(tmp_path / name)))
    monkeypatch.setattr(module, "source_files", lambda: found)
    return shared, own


def test_a_docstring_is_kept_once_and_short_modules_are_left_out(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHORTEST", 100)
    shared, own = sources
    total = sum(len(text) for _, text in module.documents(1))
    found = write_docstrings(tmp_path / "text.jsonl", total, workers=1)
    rows = [json.loads(line) for line in (tmp_path / "text.jsonl").read_text().splitlines()]
    assert found == {"documents": 2, "characters": total}
    assert [row["source"] for row in rows] == ["a.py", "b.py"]
    assert rows[0]["text"] == f"{shared}\n{own}" and shared not in rows[1]["text"]


def test_too_little_text_is_named_and_leaves_no_file(sources, tmp_path):
    with pytest.raises(UserError, match="characters of docstrings are installed here"):
        write_docstrings(tmp_path / "text.jsonl", 10**6, workers=1)
    assert not (tmp_path / "text.jsonl").exists()


def test_less_text_than_asked_for_is_said_with_counts(sources, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "TOO_LITTLE", 100)
    total = sum(len(text) for _, text in module.documents(1))
    write_docstrings(tmp_path / "text.jsonl", total, workers=1)
    assert caplog.text == ""
    found = write_docstrings(tmp_path / "text.jsonl", 2_000_000, workers=1)
    assert found["characters"] == total
    count = f"{total:,} characters of docstrings in {found['documents']} modules"
    assert f"{count}, not the 2,000,000 asked for" in caplog.text
