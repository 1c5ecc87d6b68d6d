"""Every shipped configuration has the keys and values that were recorded before its fields were
declared in electra_jax/config/."""

import json
from pathlib import Path

import pytest

from electra_jax.config.model import SIZES
from electra_jax.config.resolved import flatten_config
from electra_jax.config_file import load_config
from electra_jax.finetuning.task_table import TASKS

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
# Fields that were added since, by file; each declares what its absence means.
ADDED = {
    "finetune": {
        "data.backend",
        "data.header",
        "data.missing_labels",
        "init_cased",
        "model.pooling",
        "optimizer.decay_floor",
        "optimizer.muon_factor",
        "optimizer.muon_momentum",
        "train.checkpoint_minutes",
    },
    "pretrain": {
        "model.discriminator_head",
        *(
            f"optimizer.{network}_{setting}"
            for network in ("discriminator", "generator")
            for setting in ("clip_norm", "factor", "weight_decay")
        ),
        "objective.eval_mask_prob",
        "objective.generator_dropout",
        "objective.hidden_prob",
        "objective.masked_share",
        "objective.ngrams",
        "objective.replaced_share",
        "objective.whole_words",
        "objective.z_loss",
        "objective.zero_head",
        "optimizer.decay_floor",
        "optimizer.muon_factor",
        "optimizer.muon_momentum",
        "optimizer.order",
        "train.checkpoint_minutes",
        "train.minutes",
        "watch.minimum_skill",
    },
}


def expected(file, argument):
    table = RECORDED[file]
    if argument == table["first"]:
        return table["values"]
    other = table["others"][argument]
    kept = {k: v for k, v in table["values"].items() if k not in other.get("without", ())}
    return {**kept, **other["values"]}


def test_all_sizes_and_tasks_are_recorded():
    for file, names in (("pretrain", SIZES), ("finetune", TASKS)):
        assert {RECORDED[file]["first"], *RECORDED[file]["others"]} <= set(names)


@pytest.mark.parametrize(
    ("file", "argument"),
    [(f, a) for f in RECORDED for a in (RECORDED[f]["first"], *RECORDED[f]["others"])],
)
def test_a_shipped_configuration_is_as_recorded(file, argument):
    config, _ = load_config([f"--config=configs/{file}.py:{argument}"])
    found = flatten_config(config)
    # As text: 1, 1.0 and True are not the same value.
    shown = {k: json.dumps(v) for k, v in found.items() if k not in ADDED.get(file, ())}
    assert shown == {k: json.dumps(v) for k, v in expected(file, argument).items()}
