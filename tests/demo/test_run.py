"""The whole demo on tiny settings."""

import json

from electra_jax.config_file import load_config
from electra_jax.demo.run import demo


def test_the_whole_demo_on_tiny_settings(tmp_path, capsys):
    config, _ = load_config(
        [
            "--config=configs/pretrain.py:tiny",
            "--config.train.steps=4",
            "--config.optimizer.warmup_steps=2",
            "--config.train.eval_every=2",
            "--config.train.log_every=2",
        ]
    )
    figures = demo(tmp_path, config, characters=400_000)
    printed = capsys.readouterr().out
    assert (
        "pretraining took" in printed and "only a token's id" in printed and "[CLS]" not in printed
    )
    assert 0 < figures["token_only_skill"] < 1
    assert figures["eval_generator_loss"] > 0 and figures["unigram_entropy"] > 3
    report = (tmp_path / "run" / "report.html").read_text()
    assert "A held-out row, corrupted by the generator" in report
    assert 'class="token replaced"' in report
    assert json.loads((tmp_path / "run" / "figures.json").read_text()) == figures
    # Once more: every finished stage is skipped, and the figures are the same.
    assert demo(tmp_path, config, characters=400_000) == figures
