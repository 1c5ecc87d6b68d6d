"""`pretrain`, `finetune` and `sweep` on the command line: bad input is one clear message that names
what and where, exit code 2, nothing half written."""

import fcntl

import pytest
from cli.commands import fails, pretrain_fails
from tiny_run import OVERRIDES, write_text

from electra_jax.cli import main


def test_unknown_key_names_the_nearest(capsys, rows, tmp_path):
    errors = pretrain_fails(capsys, rows, tmp_path / "w", "--config.optimizer.learning_rat=1")
    assert "learning_rat" in errors and "config.optimizer.learning_rate" in errors
    assert not (tmp_path / "w").exists()


def test_wrong_type_names_the_key(capsys, rows, tmp_path):
    errors = pretrain_fails(capsys, rows, tmp_path / "w", "--config.train.steps=many")
    assert "train.steps" in errors


def test_missing_config_names_what_ships(capsys, tmp_path):
    errors = fails(capsys, "pretrain", f"--workdir={tmp_path}", "--config=nowhere.py")
    assert "nowhere.py" in errors and "pretrain.py" in errors


def test_help_of_training_points_to_the_fields(capsys):
    for verb in ("pretrain", "finetune"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert f"electra-jax config configs/{verb}.py:" in capsys.readouterr().out


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
    errors = pretrain_fails(capsys, rows, tmp_path / "w", *override.split(" "))
    assert named in errors
    assert not (tmp_path / "w" / "checkpoints").exists()


def test_a_refused_configuration_does_not_block_the_corrected_one(capsys, rows, tmp_path):
    workdir, quick = tmp_path / "w", ("--config.train.steps=2", "--config.train.eval_every=0")
    pretrain_fails(capsys, rows, workdir, *quick, "--config.optimizer.name=adam")
    arguments = [f"--workdir={workdir}", f"--config.data.path={rows}", *OVERRIDES, *quick]
    assert main(["pretrain", *arguments, "--quiet"]) == 0


def test_the_rows_are_no_workdir(capsys, rows):
    before = sorted(rows.iterdir())
    assert "a folder of its own" in pretrain_fails(capsys, rows, rows)
    assert sorted(rows.iterdir()) == before


def test_only_the_wrong_override_is_named(capsys, rows, tmp_path):
    errors = pretrain_fails(capsys, rows, tmp_path, "--config.train.steps=abc")
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
    errors = pretrain_fails(capsys, tmp_path / "rows", workdir, *quick)
    assert "data.fingerprint" in errors and str(workdir) in errors

    errors = pretrain_fails(capsys, rows, workdir, *quick, "--config.optimizer.learning_rate=0.5")
    assert "optimizer.learning_rate: 0.002 → 0.5" in errors


def test_a_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(capsys, rows, tmp_path):
    errors = pretrain_fails(
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
        assert "another run uses" in pretrain_fails(capsys, rows, tmp_path)


def test_an_unwritable_workdir_is_named(capsys, rows, tmp_path):
    (tmp_path / "file").write_text("")
    errors = pretrain_fails(capsys, rows, tmp_path / "file" / "w")
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
    errors = pretrain_fails(capsys, tmp_path / "rows", tmp_path / "w", f"--config.init={model}")
    assert "tokenizer" in errors


def test_planning_options_go_with_a_dry_run(capsys, rows, tmp_path):
    assert "go with --dry_run" in pretrain_fails(capsys, rows, tmp_path / "w", "--devices=4")
    arguments = [*OVERRIDES, f"--config.data.path={rows}"]
    assert "--workdir=DIR" in fails(capsys, "pretrain", *arguments)
    assert main(["pretrain", *arguments, "--dry_run", "--devices=4"]) == 0
    printed = capsys.readouterr().out
    assert "data 4 × fsdp 1" in printed and not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--config=FILE"),
        (["--config=a.py", "--config=b.py"], "give one --config=FILE"),
        (["--config=configs/pretrain.py:tiny", "--config.train.seed"], "--config.a.b=value"),
        (["--config=configs/pretrain.py:tiny", "--vary.train.seed="], "nothing varies"),
        (["--config=configs/pretrain.py:tiny", "--vary.train.seed=1,1"], "seed=1 is given twice"),
    ],
)
def test_a_sweep_names_what_it_lacks(capsys, tmp_path, arguments, named):
    assert named in fails(capsys, "sweep", f"--workdir={tmp_path}", *arguments)
    assert list(tmp_path.iterdir()) == []
