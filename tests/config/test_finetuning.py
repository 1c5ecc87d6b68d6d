"""The fields of fine-tuning: whole, and read as typed settings or refused by name."""

import pytest
from config.changed import changed

from electra_jax.config.fields import rows
from electra_jax.config.finetuning import FinetuneSettings, LossSettings, read_finetune
from electra_jax.config_file import get_config, load_config
from electra_jax.errors import UserError

CONFIG, _ = load_config(["--config=configs/finetune.py:sst2"])


def test_every_field_says_what_it_means_in_one_line():
    for row in rows(FinetuneSettings):
        assert 0 < len(row.meaning) <= 140 and "\n" not in row.meaning, row


def test_a_shipped_configuration_is_read_as_typed_settings():
    tuned = read_finetune(CONFIG)
    assert tuned.task == "sst2" and tuned.train.epochs == 3.0 and tuned.train.steps is None
    assert tuned.optimizer.no_decay == ("LayerNorm|layer_norm|_norm/|bias",)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.columns", ..., "data.columns is missing"),
        ("seeds", 0, "^seeds=0: must be at least 1"),
        ("model.question.joint", 1, "question.joint=1: must be of type"),
        ("loss.r_drop", -1.0, "loss.r_drop=-1.0: must not be negative"),
        ("optimizer.beta2", 1.0, "at least 0 and below 1"),
    ],
)
def test_what_is_missing_unknown_or_wrong_is_one_error(key, value, message):
    with pytest.raises(UserError, match=message):
        read_finetune(changed(CONFIG, key, value))


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, True),
        ({"answerable_weight": 0.1}, True),
        ({"reduction": "sum"}, False),
        ({"label_smoothing": 0.1}, False),
        ({"class_weights": (1.0, 2.0)}, False),
        ({"r_drop": 1.0}, False),
        ({"fgm": 0.5}, False),
    ],
)
def test_a_loss_is_plain_where_a_constant_answer_s_loss_compares_with_it(settings, plain):
    assert LossSettings(**settings).plain is plain


def test_a_configuration_of_the_other_verb_is_recognised():
    with pytest.raises(UserError, match=r"one of pretrain .*such as finetune:"):
        read_finetune(get_config("pretrain:tiny"))
