"""The file of a user's own kind, recorded with a model and found again, or refused."""

import pytest

from electra_jax.errors import UserError
from electra_jax.files import sha256_of
from electra_jax.finetuning.kinds.origin import file_of, origin, recorded_task


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("class Own: ...\n")
    return path


def test_a_kind_of_the_package_has_no_file():
    assert file_of("tagging") is None and origin("tagging") == {}
    assert recorded_task({"task": "ner", "kind": "tagging"}, "m") == "ner"


def test_path_class_and_digest_are_recorded(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded = origin("own.py:Own")
    assert recorded == {"kind_file": {"path": str(file), "class": "Own", "sha256": sha256_of(file)}}
    assert recorded_task({"task": "Own", **recorded}, "models/m") == f"{file}:Own"


@pytest.mark.parametrize("why", ["is not there", "has changed since", "lies in the model folder"])
def test_another_file_is_refused_with_the_remedy(file, tmp_path, why):
    stated, source = {"task": "Own", **origin(f"{file}:Own")}, tmp_path / "model"
    if why == "is not there":
        file.unlink()
    elif why == "has changed since":
        file.write_text("class Own: x = 1\n")
    else:
        source = tmp_path
    with pytest.raises(UserError, match=f"{why}.*--task=FILE.py:Own"):
        recorded_task(stated, str(source))
