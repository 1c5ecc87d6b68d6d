"""Model folders and adapters of fine-tuned networks, and what `trained_task` reads of them."""

import dataclasses
import json
import random

import pytest
from finetuning import tiny_task
from finetuning.tiny_task import CONFIG, configuration, write_jsonl

from electra_jax.config.finetuning import QuestionSettings
from electra_jax.errors import UserError
from electra_jax.finetuning import run as run_module
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import CodecSettings
from electra_jax.finetuning.export import task_settings, trained_task
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.restarts import finetune
from electra_jax.finetuning.task import SETTINGS_KEY
from electra_jax.finetuning.task_table import TASKS
from electra_jax.inference.predictor import Predictor
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel

pytestmark = pytest.mark.apart


def exported(name, tokenizer_folder, labels=(), **settings):
    """A loaded model with the settings that a run of the task exports, and without weights."""
    task, given = TASKS[name], CodecSettings(**settings)
    network = Network(CONFIG, task.kind, max(1, len(labels)), task=name)
    loaded = LoadedModel(
        kind=network.saved_as, config=CONFIG, params={}, source="m",
        tokenizer_folder=tokenizer_folder,
    )  # fmt: skip
    codec = make_codec(task, loaded.tokenizer, given, labels)
    extra = task_settings(task, codec, given, network, {"text": "body", "text_pair": None}, {})
    loaded.settings.update(json.loads(json.dumps(extra)))
    return loaded


def test_settings_come_back_as_they_were_exported(tiny_model):
    loaded = exported("multilabel", tiny_model, ("x", "y", "z"), max_length=48, threshold=0.3)
    assert loaded.settings["id2label"] == {"0": "x", "1": "y", "2": "z"}
    assert loaded.settings["problem_type"] == "multi_label_classification"
    trained = trained_task(loaded)
    labels = ("x", "y", "z")
    assert trained.task == dataclasses.replace(TASKS["multilabel"], labels=labels)
    assert trained.codec.labels == labels
    assert trained.settings == CodecSettings(max_length=48, threshold=0.3)
    assert trained.network.outputs == 3 and trained.network.question == QuestionSettings()
    assert trained.columns == {"text": "body"}


def test_a_field_that_an_older_folder_lacks_has_its_default(tiny_model):
    loaded = exported("regression", tiny_model, target_range=(1.0, 5.0))
    del loaded.settings[SETTINGS_KEY]["codec"]["threshold"]
    loaded.settings[SETTINGS_KEY]["codec"]["of_a_later_version"] = 1
    assert trained_task(loaded).settings == CodecSettings(target_range=(1.0, 5.0))


def test_another_task_must_have_the_same_kind_and_labels(tiny_model):
    loaded = exported("sst2", tiny_model, ("0", "1"))
    assert trained_task(loaded, "wnli").task.name == "wnli"
    with pytest.raises(UserError, match=r"trained for sst2 \(classification\), and ner is tagging"):
        trained_task(loaded, "ner")
    with pytest.raises(UserError, match="has the labels 0, 1, and rte has entailment"):
        trained_task(loaded, "rte")


def test_only_questions_without_answers_have_a_null_threshold(tiny_model):
    squad2 = exported("squad2", tiny_model, max_length=64, max_query_length=8)
    assert trained_task(squad2, null_threshold=-3.0).codec.null_threshold == -3.0
    with pytest.raises(UserError, match=r"null_threshold=0\.5: sst2 always has an answer"):
        trained_task(exported("sst2", tiny_model, ("0", "1")), null_threshold=0.5)


@pytest.mark.parametrize(
    "tune",
    [
        ("method=lora", "rank=2", "embedding_rank=0"),
        ("method=lora", "rank=2", "embedding_rank=2"),
        ("method=bitfit",),
    ],
    ids=["lora", "lora with embeddings", "bitfit"],
)
def test_a_small_tree_is_saved_and_loads_onto_its_base(
    tune, tiny_model, tiny_data, tmp_path, monkeypatch
):
    flags = [f"--config.tune.{setting}" for setting in tune]
    config = configuration("classification", tiny_model, tiny_data, *flags)
    config["optimizer"]["learning_rate"] = 0.01

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end, pytest.raises(KeyboardInterrupt):
        at_the_end.setattr(run_module, "write_result", killed)
        finetune(config, tmp_path / "run", quiet=True)
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    model = tmp_path / "run/model"
    assert not (model / "model.safetensors").exists()
    base = (tiny_model / "model.safetensors").stat().st_size
    assert (model / "adapter.safetensors").stat().st_size < base / 2
    assert result.trained_without_head < 0.15 * result.parameters
    scores = Predictor(model).evaluate(str(tiny_data / "dev.jsonl"), None, tmp_path / "again.jsonl")
    assert scores == pytest.approx(result.scores, abs=1e-3)
    lines = [
        [json.loads(x)["probabilities"] for x in file.read_text().splitlines()]
        for file in (tmp_path / "again.jsonl", tmp_path / "run/predictions.jsonl")
    ]
    assert len(lines[0]) == 48
    for one, other in zip(*lines, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_an_adapter_refuses_another_base(tiny_model, tiny_data, tmp_path):
    base = tiny_task.save_encoder(tmp_path / "base", tiny_model)
    config = configuration("classification", base, tiny_data)
    config["tune"]["method"] = "bitfit"
    finetune(config, tmp_path / "run", quiet=True)
    load_model_folder(tmp_path / "run/model")
    tiny_task.save_encoder(base, tiny_model, seed=1)
    with pytest.raises(UserError, match="other weights"):
        load_model_folder(tmp_path / "run/model")
    moved = tmp_path / "moved"
    tiny_task.save_encoder(moved, tiny_model)
    base.rename(tmp_path / "elsewhere")
    adapter = tmp_path / "run/model/adapter_config.json"
    with pytest.raises(
        UserError, match=r"trained onto the base .*base, .*\"base\" into .*adapter_c"
    ):
        load_model_folder(tmp_path / "run/model")
    adapter.write_text(json.dumps({**json.loads(adapter.read_text()), "base": str(moved)}))
    load_model_folder(tmp_path / "run/model")


def test_a_model_remembers_the_columns_that_training_was_given(tiny_model, tmp_path):
    rows = tiny_task.classification(random.Random(0), 40)
    rows = [{"text": "x", "body": r["text"], "stars": r["label"]} for r in rows]
    (tmp_path / "data").mkdir()
    for name in ("train", "dev"):
        write_jsonl(tmp_path / f"data/{name}.jsonl", rows)
    named = ("--config.data.columns.text=body", "--config.data.columns.label=stars")
    config = configuration("classification", tiny_model, tmp_path / "data", *named)
    config["train"]["steps"] = 4
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    predictor = Predictor(tmp_path / "run/model")
    assert predictor.evaluate(str(tmp_path / "data/dev.jsonl")) == pytest.approx(result.scores)
    unlabelled = write_jsonl(tmp_path / "new.jsonl", [{"body": "a film"}])
    assert predictor.predict_file(str(unlabelled), tmp_path / "out.jsonl", quiet=True) == 1
    other = write_jsonl(tmp_path / "other.jsonl", [{"review": "a film"}])
    with pytest.raises(UserError, match=r"looked for body.*--columns text="):
        predictor.predict_file(str(other), tmp_path / "out.jsonl", quiet=True)
    columns = {"text": "review"}
    assert predictor.predict_file(str(other), tmp_path / "out.jsonl", columns, quiet=True) == 1
