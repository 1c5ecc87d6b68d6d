"""The demo's parts: its text, what it says of a run, and the whole flow on tiny settings."""

import json

import numpy as np
import pytest

from electra_jax.config_file import load_config
from electra_jax.demo.analysis import (
    Corruptions,
    sentence_text,
    sentence_tokens,
    showcase,
    token_only_skill,
)
from electra_jax.demo.docstrings import docstrings, source_files
from electra_jax.demo.run import demo
from electra_jax.objectives.metrics import binary_entropy


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


def _seen(replaced_rate_by_id, rng, rows=400, length=32):
    ids = rng.integers(0, len(replaced_rate_by_id), (rows, length))
    fake = rng.random(ids.shape) < np.asarray(replaced_rate_by_id)[ids]
    probability = np.where(fake, 0.7, 0.1)
    return Corruptions(ids, ids, fake, np.ones_like(fake), probability)


def test_the_token_only_classifier_finds_what_ids_tell_and_nothing_else():
    rng = np.random.default_rng(0)
    assert token_only_skill(_seen([0.15] * 10, rng), 10) == pytest.approx(0, abs=2e-3)
    rates = np.array([0.0, 0.3])
    mean = rates.mean()
    expected = 1 - np.mean([binary_entropy(r) for r in rates]) / binary_entropy(mean)
    assert token_only_skill(_seen(rates, rng), 2) == pytest.approx(expected, abs=0.01)
    assert token_only_skill(_seen([0.0, 1.0], rng), 2) == pytest.approx(1)


def test_a_sentence_shows_every_token_its_probability_and_what_was_replaced():
    original = np.array([[5, 6, 7, 8, 0]])
    corrupted = np.array([[5, 9, 7, 8, 0]])
    valid = np.array([[True, True, True, True, False]])
    seen = Corruptions(
        original, corrupted, (original != corrupted), valid, np.array([[0.02, 0.91, 0.1, 0.3, 0.5]])
    )
    names = {5: "the", 6: "cat", 7: "sat", 8: "down", 9: "<dog>"}
    text = sentence_text(seen, 0, lambda ids: [names[i] for i in ids])
    lines = [line.split() for line in text.splitlines()]
    assert lines == [["the", "<dog>", "sat", "down"], ["2", "91", "10", "30"], ["[cat]"]]
    assert sentence_tokens(seen, 0, lambda ids: [names[i] for i in ids]) == [
        {"text": "the", "probability": 0.02},
        {"text": "<dog>", "probability": 0.91, "replaced": True, "original": "cat"},
        {"text": "sat", "probability": 0.1},
        {"text": "down", "probability": 0.3},
    ]
    assert showcase(seen) == 0


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
    assert "pretraining took" in printed and "only a token's id" in printed and "[CLS]" in printed
    assert 0 < figures["token_only_skill"] < 1
    assert figures["eval_generator_loss"] > 0 and figures["unigram_entropy"] > 3
    report = (tmp_path / "run" / "report.html").read_text()
    assert "A held-out row, corrupted by the generator" in report
    assert 'class="token replaced"' in report
    assert json.loads((tmp_path / "run" / "figures.json").read_text()) == figures
    # Once more: every finished stage is skipped, and the figures are the same.
    assert demo(tmp_path, config, characters=400_000) == figures
