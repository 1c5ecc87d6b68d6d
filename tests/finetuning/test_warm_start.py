"""What of the model that a run starts from is kept."""

import json
import shutil

import numpy as np
import pytest
from finetuning import tiny_task
from finetuning.tiny_task import configuration, write_jsonl, write_task

from electra_jax.cli import main
from electra_jax.errors import UserError
from electra_jax.finetuning.restarts import finetune
from electra_jax.finetuning.run import FineTuning
from electra_jax.finetuning.warm_start import adapter_base, load_start
from electra_jax.interop.load import load_model_folder
from electra_jax.modeling.trees import flatten
from electra_jax.training.step import run_key

pytestmark = pytest.mark.apart


def same(a, b):
    one, other = flatten(a), flatten(b)
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def test_a_start_must_be_named():
    with pytest.raises(UserError, match=r"init is not set: --config\.init=MODEL"):
        load_start(None)


def test_case_can_be_stated_for_a_vocabulary_without_settings(tiny_model, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (bare / name).unlink()
    for cased in (True, False, None):
        assert load_start(str(bare), cased).tokenizer.do_lower_case == (not cased)
    assert load_start(str(tiny_model), False).tokenizer_folder == tiny_model
    with pytest.raises(UserError, match="ignores case by its own settings"):
        load_start(str(tiny_model), True)


def test_cased_on_the_command_line_reaches_the_start(tiny_model, tiny_data, tmp_path, capsys):
    arguments = ["finetune", "--cased", "--config=configs/finetune.py:classification"]
    paths = [f"--config.init={tiny_model}", f"--config.data.path={tiny_data}"]
    assert main([*arguments, *paths, f"--workdir={tmp_path / 'w'}"]) == 2
    assert "ignores case by its own settings, against --cased" in capsys.readouterr().err


def test_a_head_of_the_same_labels_is_kept_and_another_is_not(
    tiny_model, tiny_data, tmp_path, caplog
):
    config = configuration("classification", tiny_model, tiny_data)
    finetune(config, tmp_path / "first", quiet=True)
    trained = tmp_path / "first/model"
    again = FineTuning.build(
        configuration("classification", trained, tiny_data), tmp_path / "a", quiet=True
    )
    head = load_model_folder(trained).params["classifier"]
    params, _ = again.run.initial(*again.objective.init(run_key(0, "init")))
    assert same(params["classifier"], head)
    rows = [{"text": "a dull day", "label": name} for name in ("x", "y", "z")] * 10
    other = tmp_path / "other"
    other.mkdir()
    write_jsonl(other / "train.jsonl", rows)
    fresh = FineTuning.build(
        configuration("classification", trained, other), tmp_path / "b", quiet=True
    )
    params, _ = fresh.run.initial(*fresh.objective.init(run_key(0, "init")))
    assert np.shape(params["classifier"]["out_proj"]["bias"]) == (3,)
    assert "its head is of another task or other labels, and begins anew" in caplog.text
    # Two labels are transformers' default, which it leaves out.
    settings = json.loads((trained / "config.json").read_text())
    del settings["id2label"], settings["label2id"]
    (trained / "config.json").write_text(json.dumps(settings))
    write_jsonl(other / "train.jsonl", [{"text": "a day", "score": i} for i in range(30)])
    number = FineTuning.build(
        configuration("regression", trained, other), tmp_path / "c", quiet=True
    )
    params, _ = number.run.initial(*number.objective.init(run_key(0, "init")))
    assert np.shape(params["classifier"]["out_proj"]["bias"]) == (1,)
    assert same(params["electra"], load_model_folder(trained).params["electra"])


def test_a_regression_s_head_is_kept_whatever_the_range_of_targets(tiny_model, tmp_path, caplog):
    data = write_task(tmp_path / "data", tiny_task.regression)
    config = configuration("regression", tiny_model, data)
    (first,) = finetune(config, tmp_path / "first", quiet=True)
    still = ("--config.optimizer.learning_rate=0.0", "--config.train.steps=1")
    few = "--config.data.train_examples=3"  # whose targets span another range
    for number, flags in enumerate((still, (*still, few))):
        config = configuration("regression", tmp_path / "first/model", data, *flags)
        (same_model,) = finetune(config, tmp_path / str(number), quiet=True)
        assert same_model.scores == pytest.approx(first.scores, abs=1e-3)
    assert caplog.text.count("its head has these labels, and is kept") == 2


def test_an_adapter_on_a_hub_model_names_it(tiny_model):
    start = load_model_folder(tiny_model)
    assert adapter_base(str(tiny_model), start) == start.source
    assert adapter_base("google/electra-small-discriminator", start).startswith("google/")
