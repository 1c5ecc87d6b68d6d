"""FLOPs per token against published totals, under both conventions."""

import json

import pytest

from electra_jax.config.model import ElectraConfig, PairConfig, named_size
from electra_jax.flops import (
    discriminator_flops_per_token,
    masked_lm_flops_per_token,
    reference_train_flops_per_token,
    train_flops_per_token,
)

# Millions of FLOPs a token: (size, length, masked share) → (discriminator forward, training).
MODEL = {
    ("small", 128, 0.15): (20.64, 70.2),
    ("small_pp", 512, 0.15): (25.36, 155.4),
    ("base", 128, 0.15): (175.8, 610.9),
    ("base", 512, 0.15): (189.9, 668.3),
    ("large", 128, 0.25): (618.7, 2027.5),
    ("large", 512, 0.25): (656.4, 2169.8),
}

# The paper's totals: steps, batch, length → training FLOPs under the reference's convention.
PUBLISHED = {
    "small": (1_000_000, 128, 128, 1.293743798272e18),
    "base": (766_000, 256, 512, 6.424541834277683e19),
    "large": (400_000, 2048, 512, 7.117606040895488e20),
    "large_1_75m": (1_750_000, 2048, 512, 3.113952642891776e21),
}


@pytest.mark.parametrize("size,length,share", MODEL)
def test_model_flops_are_those_of_the_named_sizes(size, length, share):
    pair = named_size(size)
    discriminator, training = MODEL[size, length, share]
    forward = discriminator_flops_per_token(pair.discriminator, length)
    assert forward / 1e6 == pytest.approx(discriminator, abs=0.06)
    total = train_flops_per_token(pair, length, share)
    assert total / 1e6 == pytest.approx(training, abs=0.06)


@pytest.mark.parametrize("size", PUBLISHED)
def test_reference_convention_gives_the_published_totals(size):
    steps, batch, length, total = PUBLISHED[size]
    per_token = reference_train_flops_per_token(named_size(size), length)
    assert per_token * steps * batch * length == pytest.approx(total, rel=1e-9)


def test_untied_embeddings_in_the_reference_convention(oracles):
    cases = json.loads((oracles / "tables" / "flops.json").read_text())["electra"]
    assert len(cases) == 3
    for case in cases:
        a = case["args"]
        e, s = a.get("e", a["h_d"]), a.get("s", 512)
        discriminator = _bert(a["h_d"], a["l_d"], e)
        generator = _bert(a["h_g"], a["l_g"], e if a["tied_embeddings"] else a["h_g"])
        pair = PairConfig(
            discriminator, generator, "embeddings" if a["tied_embeddings"] else "none"
        )
        total = reference_train_flops_per_token(pair, s) * a["batch_size"] * s * a["train_steps"]
        assert total == pytest.approx(case["train_flops"], rel=1e-9)


def _bert(hidden: int, layers: int, embedding: int) -> ElectraConfig:
    return ElectraConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        embedding_size=embedding,
        intermediate_size=4 * hidden,
        num_attention_heads=max(1, hidden // 64),
    )


def test_a_pair_without_a_generator_trains_a_discriminator_alone():
    pair = named_size("small")
    alone = PairConfig(pair.discriminator, None)
    assert train_flops_per_token(alone, 128) == 3 * discriminator_flops_per_token(
        pair.discriminator, 128
    )


def test_modern_blocks_count_three_matrices_in_the_feed_forward():
    config = named_size("tiny").discriminator
    h, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    expected = layers * (8 * h * h + 4 * 64 * h + 6 * h * f)
    assert masked_lm_flops_per_token(config, 64, 0.0) == expected


def test_packed_rows_count_the_pieces_they_attend_within():
    pair = named_size("base")
    whole, halves = (train_flops_per_token(pair, 512, context=c) for c in (512, 256))
    networks = (pair.discriminator, pair.generator)
    assert whole - halves == 3 * sum(
        c.num_hidden_layers * 4 * 256 * c.hidden_size for c in networks
    )
