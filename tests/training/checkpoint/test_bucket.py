"""A work folder in a bucket, for which a folder stands in: the code differs, the bytes do not."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.training.checkpoint import checkpoints as module
from electra_jax.training.checkpoint.bucket import Bucket, folder_of, is_bucket
from electra_jax.training.checkpoint.checkpoints import Checkpoints


def test_urls_are_told_from_paths():
    assert is_bucket("gs://b/run") and not is_bucket("/runs/a")
    assert str(folder_of("gs://b/run") / "checkpoints") == "gs://b/run/checkpoints"


def test_what_was_stored_is_fetched_and_only_changes_are_copied(tmp_path):
    here = Bucket(tmp_path / "bucket", tmp_path / "here")
    here.fetch()  # nothing is there yet
    (here.local / "tensorboard" / "train").mkdir(parents=True)
    (here.local / "metrics.jsonl").write_text("one\n")
    (here.local / "tensorboard" / "train" / "events").write_bytes(b"\x00\xff")
    (here.local / ".lock").write_text("of this machine")
    here.store()
    (here.url / "tensorboard" / "train" / "events").unlink()
    with open(here.local / "metrics.jsonl", "a") as file:
        file.write("two\n")
    here.store()
    stored = {
        p.relative_to(tmp_path / "bucket").as_posix() for p in (tmp_path / "bucket").rglob("*")
    }
    assert stored == {"metrics.jsonl", "tensorboard", "tensorboard/train"}
    (tmp_path / "bucket" / "checkpoints" / "3").mkdir(parents=True)
    there = Bucket(tmp_path / "bucket")
    there.fetch()
    assert (there.local / "metrics.jsonl").read_text() == "one\ntwo\n"
    assert not (there.local / "checkpoints").exists()


def test_the_configuration_of_a_run_is_read_from_the_bucket(tmp_path):
    here = Bucket(tmp_path / "bucket", tmp_path / "here")
    assert here.recorded_config() is None
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/config.json").write_text('{"size": "s"}')
    assert here.recorded_config() == {"size": "s"}
    assert not here.local.exists()


def test_a_bucket_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    here = Bucket(tmp_path / "file" / "run", tmp_path / "here")
    here.local.mkdir()
    (here.local / "metrics.jsonl").write_text("one\n")
    with pytest.raises(UserError, match=f"cannot write the workdir {tmp_path}/file/run: "):
        here.store()


def test_checkpoints_in_a_bucket_are_kept_found_and_skipped_when_torn(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(module, "is_bucket", lambda path: True)
    state = {"x": jnp.arange(2000.0)}
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {"x": state["x"] * step}, {"step": step})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
    files = [p for p in (tmp_path / "c" / "3").rglob("*") if p.is_file()]
    assert "files.json" not in {p.name for p in files}
    document = next(p for p in files if "METADATA" in p.name.upper())
    os.truncate(document, 3)
    step, back, meta = Checkpoints(tmp_path / "c").restore(jax.eval_shape(lambda: state))
    assert (step, meta) == (2, {"step": 2}) and "c/3 is skipped" in caplog.text
    np.testing.assert_array_equal(back["x"], state["x"] * 2)
