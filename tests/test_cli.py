"""Bad input: one clear message that names what and where, exit code 2, nothing half written."""

import fcntl
import json
import os

import numpy as np
import pytest
from tiny_run import OVERRIDES, make_rows, write_text

from electra_jax.cli import main
from electra_jax.config_file import load_config
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


def _fails(capsys, *arguments):
    """The message of a command that must end with exit code 2 and no traceback."""
    code = main([str(a) for a in arguments])
    errors = capsys.readouterr().err
    assert code == 2, errors
    assert "electra-jax: " in errors and "Traceback" not in errors
    return errors


def _pretrain(capsys, rows, workdir, *overrides):
    arguments = [f"--workdir={workdir}", *OVERRIDES, f"--config.data.path={rows}", *overrides]
    return _fails(capsys, "pretrain", *arguments)


def test_help_of_every_verb_has_an_example(capsys):
    from electra_jax.cli import VERBS

    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for verb in VERBS:
        assert verb in overview
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0
        assert f"electra-jax {verb}" in capsys.readouterr().out


def test_unknown_verb_names_the_nearest(capsys):
    assert "did you mean 'pretrain'" in _fails(capsys, "pretrian")


def test_unknown_key_names_the_nearest(capsys, rows, tmp_path):
    errors = _pretrain(capsys, rows, tmp_path / "w", "--config.optimizer.learning_rat=1")
    assert "learning_rat" in errors and "config.optimizer.learning_rate" in errors
    assert not (tmp_path / "w").exists()


def test_wrong_type_names_the_key(capsys, rows, tmp_path):
    errors = _pretrain(capsys, rows, tmp_path / "w", "--config.train.steps=many")
    assert "train.steps" in errors


def test_missing_config_names_what_ships(capsys, tmp_path):
    errors = _fails(capsys, "pretrain", f"--workdir={tmp_path}", "--config=nowhere.py")
    assert "nowhere.py" in errors and "pretrain.py" in errors


def test_config_lists_every_field_with_what_was_given_marked(capsys):
    overrides = ("--config.train.tokens=1e9", "--config.optimizer.beta2=0.98")
    assert main(["config", "configs/pretrain.py:small", *overrides]) == 0
    text = capsys.readouterr().out
    assert "* marks 3 that differ" in text and max(map(len, text.splitlines())) <= 100
    assert "*   steps = None   (default: 1000000)\n        Length of the run. [int" in text
    assert "*   tokens = 1000000000.0   (default: None)" in text
    assert main(["config", "configs/finetune.py:sst2", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    config, _ = load_config(["--config=configs/finetune.py:sst2"])
    assert {k: rows[k]["value"] for k in ("task", "train.epochs")} == {
        "task": "sst2", "train.epochs": 3.0
    }  # fmt: skip
    assert {key.split(".")[0] for key in rows} == set(config)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.py"], "nowhere.py"),
        (["configs/pretrain.py:smal"], "choose one of tiny, small"),
        (["configs/pretrain.py", "--config.train.stepz=1"], "did you mean config.train.steps?"),
        (["configs/pretrain.py", "--config.train.batch_size=0"], "train.batch_size=0"),
        (["configs/pretrain.py", "more"], "more"),
        ([], "FILE[:ARG]"),
    ],
)
def test_config_of_what_is_not_there(capsys, arguments, named):
    assert named in _fails(capsys, "config", *arguments)


def test_help_of_training_points_to_the_fields(capsys):
    for verb in ("pretrain", "finetune"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert f"electra-jax config configs/{verb}.py:" in capsys.readouterr().out


def test_one_unit_of_a_duration_replaces_the_default():
    config, _ = load_config(["--config=configs/pretrain.py:small", "--config.train.tokens=1e6"])
    assert config["train"]["tokens"] == 1e6 and config["train"]["steps"] is None


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("--config.train.batch_size=7", "mesh"),
        ("--config.train.batch_size=4096", "rows"),
        ("--config.train.accumulate=3", "train.accumulate"),
        ("--config.objective.masking=often", "objective.masking"),
        ("--config.objective.mask_prob=1.5", "objective.mask_prob"),
        ("--config.optimizer.name=sgd", "optimizer.name"),
        ("--config.optimizer.schedule=sawtooth", "optimizer.schedule"),
        ("--config.optimizer.freeze=('.',)", "optimizer.freeze"),
        ("--config.model.num_attention_heads=3", "model.hidden_size"),
        ("--config.model.max_position_embeddings=8", "model.max_position_embeddings"),
        ("--config.model.vocab_size=99", "model.vocab_size"),
        ("--config.mesh.fsdp=3", "mesh"),
        ("--config.train.steps=0", "train.steps"),
        ("--config.data.path=nowhere", "nowhere"),
        ("--config.optimizer.learning_rate=-1.0", "optimizer.learning_rate=-1.0"),
        ("--config.optimizer.beta1=2.0", "optimizer.beta1"),
        ("--config.optimizer.freeze=('layer_0',)", "in no parameter's name"),
        ("--config.init_vocabulary=some", "init_vocabulary"),
        ("--config.model.hidden_dropout_prob=2.0", "model.hidden_dropout_prob"),
        ("--config.train.dtype=fp16", "train.dtype"),
    ],
)
def test_a_wrong_setting_is_named(capsys, rows, tmp_path, override, named):
    if override == "--config.train.batch_size=7":
        override = "--config.train.batch_size=7 --config.train.accumulate=2"
        named = "train.batch_size"
    errors = _pretrain(capsys, rows, tmp_path / "w", *override.split(" "))
    assert named in errors
    assert not (tmp_path / "w" / "checkpoints").exists()


def test_a_refused_configuration_does_not_block_the_corrected_one(capsys, rows, tmp_path):
    workdir, quick = tmp_path / "w", ("--config.train.steps=2", "--config.train.eval_every=0")
    _pretrain(capsys, rows, workdir, *quick, "--config.optimizer.name=adam")
    arguments = [f"--workdir={workdir}", f"--config.data.path={rows}", *OVERRIDES, *quick]
    assert main(["pretrain", *arguments, "--quiet"]) == 0


def test_the_rows_are_no_workdir(capsys, rows):
    before = sorted(rows.iterdir())
    assert "a folder of its own" in _pretrain(capsys, rows, rows)
    assert sorted(rows.iterdir()) == before


def test_the_arguments_of_wandb_are_a_dict():
    for file in ("pretrain.py:small", "finetune.py:sst2"):
        given = "--config.train.wandb={'project': 'electra', 'tags': ['a']}"
        config, _ = load_config([f"--config=configs/{file}", given])
        assert config["train"]["wandb"] == {"project": "electra", "tags": ["a"]}


def test_only_the_wrong_override_is_named(capsys, rows, tmp_path):
    errors = _pretrain(capsys, rows, tmp_path, "--config.train.steps=abc")
    assert errors.startswith("electra-jax: --config.train.steps=abc: ")


def test_rows_changed_under_a_run_are_refused(capsys, rows, tmp_path):
    workdir = tmp_path / "w"
    quick = ("--config.train.steps=3", "--config.train.eval_every=0")
    arguments = [f"--workdir={workdir}", *OVERRIDES, *quick, "--quiet"]
    assert main(["pretrain", *arguments, f"--config.data.path={rows}"]) == 0
    capsys.readouterr()
    (tmp_path / "other").mkdir()
    text = write_text(tmp_path / "other" / "text.txt", documents=80)
    assert main(["prepare", f"--input={text}", f"--tokenizer={rows / 'tokenizer'}",
                 f"--output={tmp_path / 'rows'}", "--seq_len=16", "--workers=1"]) == 0  # fmt: skip
    capsys.readouterr()
    errors = _pretrain(capsys, tmp_path / "rows", workdir, *quick)
    assert "data.fingerprint" in errors and str(workdir) in errors

    errors = _pretrain(capsys, rows, workdir, *quick, "--config.optimizer.learning_rate=0.5")
    assert "optimizer.learning_rate: 0.002 → 0.5" in errors


def test_a_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(capsys, rows, tmp_path):
    errors = _pretrain(
        capsys, rows, tmp_path / "w", "--config.optimizer.learning_rate=1e30",
        "--config.train.checkpoint_every=1", "--config.optimizer.clip_norm=0.0",
    )  # fmt: skip
    assert "not finite at step" in errors and "optimizer.learning_rate" in errors
    kept = sorted(int(p.name) for p in (tmp_path / "w" / "checkpoints").iterdir())
    named = int(errors.split("not finite at step ")[1].split(":")[0])
    assert kept and max(kept) < named


def test_two_runs_in_one_folder(capsys, rows, tmp_path):
    with open(tmp_path / ".lock", "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert "another run uses" in _pretrain(capsys, rows, tmp_path)


def test_an_unwritable_workdir_is_named(capsys, rows, tmp_path):
    (tmp_path / "file").write_text("")
    errors = _pretrain(capsys, rows, tmp_path / "file" / "w")
    assert str(tmp_path / "file" / "w") in errors


def test_rows_of_another_tokenizer_than_the_model_to_start_from(capsys, rows, tmp_path):
    quick = ("--config.train.steps=2", "--config.train.eval_every=0")
    arguments = [f"--workdir={tmp_path / 'first'}", *OVERRIDES, *quick, "--quiet"]
    assert main(["pretrain", *arguments, f"--config.data.path={rows}"]) == 0
    text = write_text(tmp_path / "text.txt", documents=80)
    assert main(["vocab", f"--input={text}", "--size=90", f"--output={tmp_path / 'tok'}"]) == 0
    assert main(["prepare", f"--input={text}", f"--tokenizer={tmp_path / 'tok'}",
                 f"--output={tmp_path / 'rows'}", "--seq_len=16", "--workers=1"]) == 0  # fmt: skip
    capsys.readouterr()
    model = tmp_path / "first" / "model"
    errors = _pretrain(capsys, tmp_path / "rows", tmp_path / "w", f"--config.init={model}")
    assert "tokenizer" in errors


def test_text_options_reach_the_vocabulary_and_the_rows(capsys, tmp_path):
    text = write_text(tmp_path / "text.txt", documents=80)
    vocab = ["vocab", f"--input={text}", "--type=bpe", "--size=330", "--byte_fallback",
             "--character_coverage=1.0", f"--limit_bytes={text.stat().st_size // 2}"]  # fmt: skip
    assert main([*vocab, f"--output={tmp_path / 'tok'}"]) == 0
    assert load_tokenizer(tmp_path / "tok").id_of("<0x41>") is not None
    prepare = ["prepare", f"--input={text}", f"--tokenizer={tmp_path / 'tok'}", "--workers=1",
               "--seq_len=64"]  # fmt: skip
    assert main([*prepare, f"--output={tmp_path / 'a'}", "--max_segments=1"]) == 0
    assert main([*prepare, f"--output={tmp_path / 'b'}", "--split_sentences"]) == 0
    one, split = (json.loads((tmp_path / x / "rows.json").read_text()) for x in "ab")
    assert one["statistics"]["max_segments"] == 1 < split["statistics"]["max_segments"]
    assert one["settings"]["split_sentences"] is False and split["settings"]["split_sentences"]
    for flags in ("--character_coverage=2",), ("--limit_bytes=0",):
        errors = _fails(capsys, *vocab, *flags, f"--output={tmp_path / 'v'}")
        assert flags[0].split("=")[0].lstrip("-") in errors
    assert "--type=unigram or bpe" in _fails(
        capsys, "vocab", f"--input={text}", "--byte_fallback", f"--output={tmp_path / 'v'}"
    )


@pytest.mark.parametrize(
    ("content", "name", "named"),
    [
        (b"", "empty.txt", "empty.txt"),
        (b"  \n \n", "blank.txt", "whitespace"),
        (b"good\n\nbad \xff\xfe here\n", "binary.txt", "binary.txt"),
        (b'{"text": "fine"}\nnot json\n', "lines.jsonl", "lines.jsonl:2"),
        (b'{"text": "fine"}\n{"body": "x"}\n', "field.jsonl", "field.jsonl:2"),
        (b"x" * (50 << 20) + b"\n", "long.txt", "long.txt"),
    ],
)
def test_bad_text_is_named(capsys, tmp_path, rows, content, name, named):
    file = tmp_path / name
    file.write_bytes(content)
    for verb in (
        ("vocab", "--size=100"),
        ("prepare", f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"),
    ):
        output = tmp_path / f"out-{verb[0]}"
        errors = _fails(capsys, verb[0], f"--input={file}", f"--output={output}", *verb[1:])
        assert named in errors
        assert not (output / "rows.json").exists() and not (output / "tokenizer.json").exists()


def test_a_glob_without_a_match_is_named(capsys, tmp_path):
    errors = _fails(capsys, "vocab", f"--input={tmp_path}/*.txt", f"--output={tmp_path}/v")
    assert "*.txt" in errors


def test_text_in_another_script_than_the_tokenizer_s_is_noticed(capsys, rows, tmp_path):
    (tmp_path / "a.txt").write_text("कुछ शब्द यहाँ लिखे हैं\n\nऔर कुछ वहाँ\n" * 20, "utf-8")
    paths = [f"--input={tmp_path / 'a.txt'}", f"--output={tmp_path / 'out'}"]
    with_ = [f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"]
    assert main(["prepare", *paths, *with_]) == 0
    assert "of the tokens are [UNK]" in capsys.readouterr().err


def test_a_vocabulary_larger_than_the_text_supports(capsys, tmp_path):
    text = write_text(tmp_path / "text.txt")
    errors = _fails(capsys, "vocab", f"--input={text}", "--size=30000", f"--output={tmp_path}/v")
    assert "30000" in errors.replace(",", "")


def test_a_length_too_small_for_a_row(capsys, rows, tmp_path):
    text = write_text(tmp_path / "text.txt")
    errors = _fails(
        capsys, "prepare", f"--input={text}", f"--tokenizer={rows / 'tokenizer'}",
        f"--output={tmp_path}/r", "--seq_len=2",
    )  # fmt: skip
    assert "seq_len" in errors


def test_metrics_are_valid_json_even_where_a_figure_is_not_a_number(tmp_path):
    from electra_jax.training.metrics_log import MetricsLog

    log = MetricsLog(tmp_path, resume_step=0, tensorboard=False)
    log.write({"step": 1, "loss": float("nan"), "array": np.float32(2)})
    log.close()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["step"] == 1 and row["array"] == 2 and os.path.getsize(log.path) > 0
