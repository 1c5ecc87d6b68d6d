"""The README: its first example runs, its links lead somewhere, its pictures are small."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from finetuning import tiny_task
from tiny_run import environment

import electra_jax
from docs import hub_cache

ROOT = Path(__file__).resolve().parents[2]


README = (ROOT / "README.md").read_text(encoding="utf-8")
# What makes the five lines a test's size; all else is as they say.
SMALLER = {
    "train.steps": 2,
    "train.batch_size": 4,
    "train.eval_batch_size": 8,
    "train.restarts": 0,
    "train.tensorboard": False,
    "model.hidden_dropout_prob": 0.0,  # most of the compilation
    "model.attention_probs_dropout_prob": 0.0,
    "model.classifier_dropout": 0.0,
    "data.shapes": 1,
    "data.max_length": 16,
    "data.backend": "numpy",
}
RUN = """
import json, sys
import electra_jax

whole = electra_jax.get_config
electra_jax.get_config = lambda name, given: whole(name, {**given, **json.loads(sys.argv[1])})
exec(compile(sys.argv[2], "README.md", "exec"))
"""


def first_example() -> str:
    """The README's first block of Python."""
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]


def test_the_first_example_is_five_lines_and_names_the_released_checkpoint():
    assert len([line for line in first_example().splitlines() if line.strip()]) == 5
    assert f'"{hub_cache.NAME}"' in first_example()


def test_the_layout_is_that_of_the_released_checkpoint():
    assert sum(int(np.prod(shape)) for shape in hub_cache.shapes().values()) == hub_cache.PARAMETERS
    assert len(hub_cache.shapes()) == 203
    assert len(hub_cache.vocabulary(["film"])) == len(set(hub_cache.vocabulary(["film"]))) == 30522


@pytest.mark.apart
def test_the_first_example_fine_tunes_the_checkpoint_out_of_a_hub_cache(tmp_path):
    words = tiny_task.GOOD + tiny_task.BAD + tiny_task.OTHER
    hub_cache.write(tmp_path / "hub_home", words)
    tiny_task.write_task(tmp_path / "reviews", tiny_task.classification, train=12, dev=8)
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(SMALLER), first_example()],
        cwd=tmp_path,
        env={**environment(), "HF_HOME": str(tmp_path / "hub_home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "'label': 'good'" in done.stdout or "'label': 'bad'" in done.stdout
    settings = json.loads((tmp_path / "runs/reviews/model/config.json").read_text())
    assert settings["architectures"] == ["ElectraForSequenceClassification"]
    assert settings["num_hidden_layers"] == 12 and settings["vocab_size"] == 30522


def test_its_weights_are_read_from_the_file_that_was_first_released(tmp_path):
    torch = pytest.importorskip("torch")
    snapshot = hub_cache.write(tmp_path, ["film"], torch)
    model = electra_jax.load(snapshot)
    assert model.kind == "discriminator" and model.config.num_attention_heads == 4
    kernel = model.params["electra"]["encoder"]["layer"]["attention"]["self"]["query"]["kernel"]
    given = hub_cache.weights()["electra.encoder.layer.7.attention.self.query.weight"]
    np.testing.assert_array_equal(kernel[7], given.T)
