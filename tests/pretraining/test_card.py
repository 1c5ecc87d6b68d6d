"""The facts of a pretraining run: its rows, its settings, its last held-out figures."""

import json

import pytest
import tiny_run

from electra_jax.config_file import get_config
from electra_jax.data.rows import Rows
from electra_jax.objectives.presentation import Metric
from electra_jax.pretraining.card import model_facts

METRICS = (Metric("rtd_skill", "Skill"), Metric("generator_loss", "Generator"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return Rows.open(tiny_run.make_rows(tmp_path_factory.mktemp("rows")))


def _facts(rows, workdir, metrics_rows=(), **overrides):
    lines = "".join(json.dumps(row) + "\n" for row in metrics_rows)
    (workdir / "metrics.jsonl").write_text(lines)
    config = get_config("pretrain:tiny", {"train.batch_size": 8, **overrides})
    return model_facts(config, rows, METRICS, workdir, 24)


def test_the_facts_of_a_run(rows, tmp_path):
    facts = _facts(rows, tmp_path)
    assert facts.data["tokens"] == f"{rows.tokens:,}"
    assert facts.data["rows"] == f"{rows.count:,} of 16 tokens"
    assert 0 < int(facts.data["documents"]) <= 60
    assert facts.data["unknown tokens"].endswith("%")
    assert facts.training["objective"] == "electra" and facts.training["steps"] == "24"
    assert facts.training["batch"] == "8 rows, 128 tokens"
    assert facts.training["tokens seen"] == "3,072, padding included"
    assert facts.training["learning rate"] == "0.002" and facts.base == ""
    assert not facts.scores


def test_scores_are_the_objective_s_figures_of_the_last_evaluation(rows, tmp_path):
    facts = _facts(
        rows,
        tmp_path,
        [
            {"step": 12, "eval_rtd_skill": 0.1, "eval_generator_loss": 3.5},
            {"step": 24, "eval_rtd_skill": 0.2, "eval_loss": 9.0, "eval_generator_loss": None},
            {"step": 24, "rtd_skill": 0.9},
        ],
        **{"optimizer.learning_rate": "linear(0.1, 0.01)", "init": "organisation/start"},
    )
    assert facts.scores == {"rtd_skill": 0.2}
    assert facts.training["learning rate"] == "linear(0.1, 0.01)"
    assert facts.base == "organisation/start"
