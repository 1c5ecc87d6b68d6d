"""Shapes are checked where they enter; generator fractions and durations resolve as documented."""

import dataclasses
import json

import pytest

from electra_jax.config.model import (
    SIZES,
    ElectraConfig,
    PairConfig,
    duration,
    generator_of,
    named_size,
)
from electra_jax.errors import UserError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "gpt"}, r"model\.block='gpt'.*bert, modern"),
        ({"remat": "some"}, r"model\.remat='some'.*none, full, dots"),
        ({"hidden_act": "swish"}, r"model\.hidden_act='swish'.*gelu, gelu_new, relu"),
        ({"masked_lm_act": "swish"}, r"model\.masked_lm_act='swish'.*gelu"),
        ({"dtype": "float16"}, r"train\.dtype='float16'.*bfloat16"),
        ({"attention": "flash"}, r"model\.attention='flash'.*xla, cudnn"),
        ({"hidden_size": 250}, r"model\.hidden_size=250.*num_attention_heads=4"),
        ({"num_attention_heads": 0}, r"num_attention_heads=0"),
        ({"num_hidden_layers": 0}, r"num_hidden_layers=0: must be at least 1"),
        ({"vocab_size": 0}, r"vocab_size=0: must be at least 1"),
        ({"block": "modern"}, r"embedding_size=128.*hidden_size=256"),
        (
            {"block": "modern", "hidden_size": 12, "embedding_size": 12},
            r"even head size.*is 3",
        ),
        ({"attention": "cudnn"}, r"attention_probs_dropout_prob=0"),
    ],
)
def test_a_wrong_shape_is_one_message_with_the_field_and_the_remedy(changes, message):
    with pytest.raises(UserError, match=message):
        ElectraConfig(**changes)


def test_a_changed_copy_is_checked_too():
    with pytest.raises(UserError, match="hidden_size=255"):
        ElectraConfig().replace(hidden_size=255)


@pytest.mark.parametrize(
    ("generator", "sharing", "message"),
    [
        ({"vocab_size": 7}, "embeddings", "vocabulary 7 differs from the discriminator's 30522"),
        ({"embedding_size": 64}, "embeddings", "sharing='none'"),
        ({"num_hidden_layers": 3}, "all", "needs the same shape"),
        ({}, "some", "choose one of embeddings, none, all"),
    ],
)
def test_a_pair_that_cannot_share_is_refused(generator, sharing, message):
    shape = ElectraConfig()
    with pytest.raises(UserError, match=message):
        PairConfig(shape, shape.replace(**generator), sharing)


def test_an_unknown_size_names_the_known_ones():
    with pytest.raises(UserError) as error:
        named_size("smal")
    assert all(size in str(error.value) for size in SIZES)


def test_generator_fractions_round_as_the_reference(oracles):
    table = json.loads((oracles / "tables/model_sizes_and_variables.json").read_text())
    assert len(table["generator_rounding"]) >= 20
    for row in table["generator_rounding"]:
        width, fraction = row["hidden_size"], row["fraction"]
        shape = ElectraConfig(
            hidden_size=width,
            num_hidden_layers=row["num_hidden_layers"],
            num_attention_heads=1,
            intermediate_size=4 * width,
        )
        recorded = row["generator"]
        if recorded["hidden_size"] % recorded["num_attention_heads"]:
            # The reference's attention refuses such a width too, but only when it is built.
            with pytest.raises(UserError, match=f"hidden_size={recorded['hidden_size']}"):
                generator_of(shape, hidden_size=fraction, layers=fraction)
            continue
        ours = dataclasses.asdict(generator_of(shape, hidden_size=fraction, layers=fraction))
        assert {k: ours[k] for k in recorded} == recorded, row


def test_generator_fractions_round_half_to_even():
    # Widths 2.5 → 2 and 3.5 → 4; 7 layers · 0.5 = 3.5 → 4; never less than one layer.
    for width, expected in ((10, 2), (14, 4)):
        shape = ElectraConfig(hidden_size=width, num_attention_heads=1, num_hidden_layers=7)
        assert generator_of(shape, hidden_size=0.25).hidden_size == expected
        assert generator_of(shape, hidden_size=1.0, layers=0.5).num_hidden_layers == 4
    assert generator_of(ElectraConfig(), layers=0.01).num_hidden_layers == 1


def test_an_untied_generator_embeds_in_its_own_width():
    assert generator_of(ElectraConfig(), sharing="none").embedding_size == 64
    assert generator_of(ElectraConfig()).embedding_size == 128
    assert generator_of(ElectraConfig(), sharing="all") == ElectraConfig()


SIZE = {"batch_size": 32, "seq_len": 128}


@pytest.mark.parametrize(
    ("settings", "name", "more", "steps"),
    [
        ({"steps": 1000, "epochs": None, "tokens": None}, "", {}, 1000),
        ({"tokens": 1_000_000}, "", {}, 245),  # 244.14 batches of 4,096 tokens, rounded up
        ({"epochs": 2.5}, "", {"examples": 1000}, 78),
        ({"epochs": 0.001}, "", {"examples": 1000}, 1),
        ({"warmup_fraction": 0.1}, "warmup", {"total_steps": 333}, 33),
        ({"warmup_fraction": 1}, "warmup", {"total_steps": 333}, 333),
        ({"warmup_steps": 0}, "warmup", {}, 0),
        ({"steps": 7}, "warmup", {}, None),  # another duration's field
        ({}, "", {}, None),
    ],
)
def test_a_duration_in_any_unit_becomes_steps(settings, name, more, steps):
    assert duration(settings, name, **SIZE, **more) == steps


@pytest.mark.parametrize(
    ("settings", "name", "message"),
    [
        ({"steps": 5, "epochs": 1}, "", "steps and epochs are both set"),
        (
            {"warmup_steps": 5, "warmup_fraction": 0.1},
            "warmup",
            "warmup_steps and warmup_fraction",
        ),
        ({"steps": -1}, "", "steps=-1: must not be negative"),
        ({"warmup_fraction": 1.5}, "warmup", "warmup_fraction=1.5: must be between 0 and 1"),
        ({"epochs": 1}, "", "the number of examples is not known"),
    ],
)
def test_a_duration_that_cannot_be_meant_is_refused(settings, name, message):
    with pytest.raises(UserError, match=message):
        duration(settings, name, total_steps=100, **SIZE)
