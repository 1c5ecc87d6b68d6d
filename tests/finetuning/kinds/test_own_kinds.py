"""Kinds of files outside the package, through every verb: a contrastive one, and one whose answers
are text."""

import json
import random
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetuning import tiny_task
from finetuning.tiny_task import BAD, GOOD, OVERRIDES, sentence, write_jsonl

from electra_jax.cli import main
from electra_jax.config.finetuning import LossSettings
from electra_jax.config_file import describe_config, get_config
from electra_jax.errors import UserError
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.task_table import get_task
from electra_jax.inference.predictor import Predictor
from electra_jax.interop.load import load_model_folder

OWN = Path(__file__).parent / "own"
CONFIG = "--config=configs/finetune.py"


def pairs(draw, count):
    """A query and a passage that share a good and a bad word; each pair of words once."""
    words = [(good, bad) for good in GOOD for bad in BAD]
    chosen = draw.sample(words, count) if count <= len(words) else draw.choices(words, k=count)
    return [
        {"query": " ".join(sentence(draw, two)), "passage": " ".join(sentence(draw, two))}
        for two in chosen
    ]


def excerpts(draw, count):
    """The good words of a text, in its order."""
    rows = []
    for _ in range(count):
        words = sentence(draw, [draw.choice(BAD), *draw.sample(GOOD, draw.randint(1, 2))])
        answer = " ".join(word for word in words if word in GOOD)
        rows.append({"text": " ".join(words), "answer": answer})
    return rows


def command(own, model, data, workdir, *overrides):
    return [
        "finetune", CONFIG, f"--config.task={own}", f"--config.init={model}",
        f"--config.data.path={data}", f"--workdir={workdir}", "--quiet", *OVERRIDES, *overrides,
    ]  # fmt: skip


class Trained:
    """A kind's file copied aside, trained by the command line."""

    def __init__(self, folder, model, file, name, make, steps, dev):
        self.file = str(shutil.copy(OWN / file, folder / file))
        self.kind = f"{self.file}:{name}"
        self.data = tiny_task.write_task(folder / "data", make, train=320, dev=dev)
        self.run = folder / "run"
        self.command = command(
            self.kind, model, self.data, self.run, f"--config.train.steps={steps}"
        )
        assert main(self.command) == 0
        self.model, self.dev = self.run / "model", self.data / "dev.jsonl"
        self.result = json.loads((self.run / "result.json").read_text())


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return tiny_task.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def contrastive(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("pairs")
    return Trained(folder, tiny_model, "pairs.py", "Pairs", pairs, 120, 24)


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("excerpt")
    return Trained(folder, tiny_model, "excerpt.py", "Excerpt", excerpts, 80, 32)


def test_a_contrastive_kind_learns_and_is_evaluated(contrastive, capsys):
    assert contrastive.result["failure"] is None
    score = contrastive.result["score"]
    assert contrastive.result["metric"] == "recall_at_1" and score > 4 * 100 / 24
    assert main(["evaluate", f"--model={contrastive.model}", f"--data={contrastive.dev}"]) == 0
    assert json.loads(capsys.readouterr().out)["recall_at_1"] == pytest.approx(score)


def test_a_contrastive_kind_predicts_vectors(contrastive, tmp_path):
    source = write_jsonl(tmp_path / "in.jsonl", pairs(random.Random(5), 6))
    output = tmp_path / "out.jsonl"
    verb = ["predict", f"--model={contrastive.model}", f"--input={source}", f"--output={output}"]
    assert main([*verb, "--quiet"]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    vectors = np.array([line["vectors"] for line in lines])
    assert vectors.shape == (6, 2, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-5)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    predictor = Predictor(contrastive.model)
    alone = predictor.predict([row["query"] for row in rows])
    np.testing.assert_allclose([a["vectors"][0] for a in alone], vectors[:, 0], atol=1e-5)


def test_the_exported_heads_are_the_kind_s_own(contrastive, tiny_model):
    loaded = load_model_folder(contrastive.model)
    assert loaded.kind == "own_heads" and set(loaded.params) == {"electra", "projection"}
    settings = json.loads((contrastive.model / "config.json").read_text())
    assert settings["model_type"] == "electra_jax"  # transformers refuses it
    stated = settings["task_settings"]
    assert stated["kind_file"]["path"] == contrastive.file
    assert not list(contrastive.model.glob("*.py"))


def test_the_report_shows_what_the_kind_gets_wrong(contrastive, excerpt, tmp_path):
    for trained, title in ((contrastive, "Not found"), (excerpt, "Other texts")):
        blocks = json.loads((trained.run / "report.json").read_text())
        assert title in [block["title"] for block in blocks]
    page = tmp_path / "page.html"
    assert main(["report", str(contrastive.run), str(excerpt.run), f"--output={page}"]) == 0
    assert "Not found" in (contrastive.run / "report.html").read_text()
    assert "recall_at_1" in page.read_text()


def test_answers_may_be_text(excerpt, capsys, tmp_path):
    assert excerpt.result["failure"] is None and excerpt.result["score"] > 50
    output = tmp_path / "out.jsonl"
    verb = ["evaluate", f"--model={excerpt.model}", f"--data={excerpt.dev}"]
    assert main([*verb, f"--predictions={output}", "--quiet"]) == 0
    score = json.loads(capsys.readouterr().out)["exact_match"]
    assert score == pytest.approx(excerpt.result["score"])
    gold = [json.loads(line)["answer"] for line in excerpt.dev.read_text().splitlines()]
    said = [json.loads(line)["text"] for line in output.read_text().splitlines()]
    assert 100 * np.mean([a == b for a, b in zip(gold, said, strict=True)]) == score
    assert load_model_folder(excerpt.model).kind == "token_classification"
    (answer,) = Predictor(excerpt.model).predict([{"text": "the bright film was dull"}])
    assert answer["text"] == "bright"


def test_the_same_command_resumes_and_another_file_does_not(contrastive, capsys):
    assert main(contrastive.command) == 0
    capsys.readouterr()
    source = Path(contrastive.file).read_text()
    try:
        Path(contrastive.file).write_text(source.replace("field(20.0,", "field(10.0,"))
        assert main(contrastive.command) == 2
        assert "data.files.kind" in capsys.readouterr().err
    finally:
        Path(contrastive.file).write_text(source)


def test_a_start_keeps_the_kind_s_own_head(contrastive, caplog, tmp_path):
    again = command(
        contrastive.kind, contrastive.model, contrastive.data, tmp_path / "run",
        "--config.train.steps=1", "--config.optimizer.learning_rate=0.0",
    )  # fmt: skip
    assert main(again) == 0
    assert "its head has these labels, and is kept" in caplog.text
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["score"] == pytest.approx(contrastive.result["score"])


def test_a_kind_has_fields_of_its_own(contrastive, tiny_model):
    chosen = {"task": contrastive.kind, "kind.scale": 5.0}
    config = get_config("finetune", {**chosen, "data.path": str(contrastive.data)})
    data = TaskData.load(config, load_model_folder(tiny_model).tokenizer, 64, "huggingface")
    assert data.kind.settings.scale == 5.0
    assert find_kind(contrastive.kind).settings.scale == 20.0  # another run's
    (row,) = [r for r in describe_config("finetune", chosen) if r.key.startswith("kind")]
    assert (row.key, row.value, row.default) == ("kind.scale", 5.0, 20.0)
    with pytest.raises(UserError, match=r"kind\.scale=0.0: must be above 0"):
        describe_config("finetune", {**chosen, "kind.scale": 0.0})
    with pytest.raises(UserError, match=r"did you mean kind\.scale"):
        get_config("finetune", {"task": contrastive.kind, "kind.scael": 5.0})
    with pytest.raises(UserError, match=r"kind\.scale: there is no 'kind'"):
        get_config("finetune:ner", {"kind.scale": 5.0})


def test_the_fields_of_a_kind_are_kept_with_the_run_and_the_model(contrastive, tmp_path):
    assert json.loads((contrastive.run / "config.json").read_text())["kind"] == {"scale": 20.0}
    folder = tmp_path / "model"
    shutil.copytree(contrastive.model, folder)
    settings = json.loads((folder / "config.json").read_text())
    assert settings["task_settings"]["kind_settings"] == {"scale": 20.0}
    settings["task_settings"]["kind_settings"]["scale"] = 7.0
    (folder / "config.json").write_text(json.dumps(settings))
    assert Predictor(folder).trained.network.kind.settings.scale == 7.0
    del settings["task_settings"]["kind_settings"]  # of a version without it
    (folder / "config.json").write_text(json.dumps(settings))
    assert Predictor(folder).trained.network.kind.settings.scale == 20.0


def test_a_file_that_is_gone_or_changed_must_be_named(contrastive, tmp_path):
    moved = tmp_path / "elsewhere.py"
    source = Path(contrastive.file).read_text()
    Path(contrastive.file).rename(moved)
    try:
        with pytest.raises(UserError, match=r"pairs\.py, which is not there: .*FILE\.py:Pairs"):
            Predictor(contrastive.model)
        named = Predictor(contrastive.model, task=f"{moved}:Pairs")
        assert len(named.predict(["the bright film"])) == 1
        Path(contrastive.file).write_text(source + "raise SystemError('must not run')\n")
        with pytest.raises(UserError, match="has changed since"):
            Predictor(contrastive.model)
    finally:
        Path(contrastive.file).write_text(source)


def test_code_within_a_model_folder_is_not_run_unasked(contrastive, tmp_path):
    folder = tmp_path / "downloaded"
    shutil.copytree(contrastive.model, folder)
    shutil.copy(contrastive.file, folder / "pairs.py")
    settings = json.loads((folder / "config.json").read_text())
    settings["task_settings"]["kind_file"]["path"] = str(folder / "pairs.py")
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="lies in the model folder, whose code is not run unasked"):
        Predictor(folder)
    assert Predictor(folder, task=f"{folder / 'pairs.py'}:Pairs").trained.task.name == "Pairs"


def test_a_model_of_another_kind_is_refused(contrastive):
    with pytest.raises(UserError, match=r"was trained for Pairs \(Pairs\), and sst2 is"):
        Predictor(contrastive.model, task="sst2")


def test_a_loss_over_the_whole_batch_is_not_accumulated(tiny_model, tmp_path, capsys):
    data = tiny_task.write_task(tmp_path / "data", pairs, train=24, dev=8)
    own = f"{OWN / 'pairs.py'}:Pairs"
    wrong = command(own, tiny_model, data, tmp_path / "run", "--config.train.accumulate=2")
    assert main(wrong) == 2
    error = capsys.readouterr().err
    assert "train.accumulate=2: the loss of Pairs compares the rows of a whole batch" in error


def test_rows_that_fill_up_a_batch_are_no_negatives():
    kind = find_kind(f"{OWN / 'pairs.py'}:Pairs")
    vectors = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    filled = np.concatenate([vectors, 10 * vectors[:1]])
    settings = LossSettings()
    alone = kind.row_losses({"vector": jnp.asarray(vectors)}, {"weight": jnp.ones(3)}, settings)
    weight = jnp.asarray([1.0, 1.0, 1.0, 0.0])
    more = jax.jit(lambda v: kind.row_losses({"vector": v}, {"weight": weight}, settings))(filled)
    np.testing.assert_allclose(more[:3], alone, rtol=1e-5)


def test_a_forgotten_member_is_named(tmp_path):
    file = tmp_path / "unfinished.py"
    source = (OWN / "excerpt.py").read_text().replace("def cut(", "def cut_off(")
    file.write_text(source.replace("def errors(", "def mistakes("))
    with pytest.raises(UserError, match="Excerpt lacks cut, errors"):
        get_task(f"{file}:Excerpt")


def test_what_a_file_of_one_s_own_cannot_be(tmp_path):
    source = (OWN / "excerpt.py").read_text()
    taken = source.replace("    metrics =", '    name = "tagging"\n    metrics =')
    (tmp_path / "taken.py").write_text(taken)
    with pytest.raises(UserError, match="'tagging', is one of the package's"):
        get_task(f"{tmp_path / 'taken.py'}:Excerpt")
    (tmp_path / "silent.py").write_text(source.replace('("exact_match",)', "()"))
    with pytest.raises(UserError, match="`metrics` name no score"):
        get_task(f"{tmp_path / 'silent.py'}:Excerpt")
