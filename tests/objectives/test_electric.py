"""Electric: where gradients go, the odds of noise, one q in both places, what is exported."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    FIRST_WORD,
    SPECIAL,
    VOCAB,
    batch_sums,
    draws_of,
    init_params,
    losses,
    quick_jit,
    rows_of,
    tiny_objective,
)

from electra_jax.config.model import ElectricConfig
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import RunShape
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electric import ElectricObjective, ElectricSettings
from electra_jax.objectives.losses import masked_lm_loss
from electra_jax.objectives.table import build_objective

LENGTHS = [[32], [25], [14], [7]]


def electric(
    block="bert", *, seq_len=32, max_segments=1, sharing="embeddings", model=None, **settings
):
    pair = tiny_objective(block, seq_len=seq_len, sharing=sharing, model=model).config
    config = ElectricConfig(pair.discriminator, pair.generator, pair.sharing)
    given = ElectricSettings(**{"mask_prob": 0.25, **settings})
    return ElectricObjective(config, given, Masking(given, SPECIAL, seq_len, max_segments))


@pytest.fixture(scope="module")
def objective():
    return electric()


@pytest.fixture(scope="module")
def params(objective):
    return init_params(objective, jax.random.key(0))


def test_each_loss_reaches_its_own_network_and_the_shared_embeddings(objective, params):
    batch, draws = {"input_ids": rows_of(LENGTHS, 32)}, draws_of(4)
    for name, reached in (
        ("cloze_loss", {"generator_ltr", "generator_rtl", "cloze_predictions"}),
        ("discriminator_loss", {"electra", "discriminator_predictions"}),
    ):
        gradient = quick_jit(
            jax.grad(lambda p, name=name: objective.loss(p, {}, batch, draws, True)[0][name][0])
        )(params)
        flat = {
            k: float(jnp.abs(v).max()) for k, v in flatten(gradient).items() if "key/bias" not in k
        }
        shared = {k for k in flat if k.startswith("electra/embeddings/")}
        own = {k for k in flat if k.split("/")[0] in reached} | shared
        assert all(flat[k] > 0 for k in own), name
        assert all(flat[k] == 0 for k in flat.keys() - own), name


def test_the_odds_of_noise_are_those_of_each_document():
    packed = electric(max_segments=3, mask_prob=0.2)
    ids = rows_of([[12, 7, 3]], 32)
    structure = packed.masking.structure({"input_ids": ids})
    counted, odds = (np.asarray(x) for x in packed.noise_odds(structure, None))
    # 12 tokens: round(2.4) = 2 of 10 candidates; 7: 1 of 5; 3: its only candidate, so no contrast.
    words = np.asarray(ids)[0] >= FIRST_WORD
    np.testing.assert_array_equal(counted[0], words & (np.arange(32) < 19))
    np.testing.assert_allclose(odds[0, counted[0]], np.log([2 / 8] * 10 + [1 / 4] * 5), rtol=1e-6)
    weights = packed.weights({"input_ids": ids})
    assert {k: float(v) for k, v in weights.items()} == {"cloze_loss": 16, "discriminator_loss": 15}
    original = electric(max_segments=3, mask_prob=0.2, nce="reference")
    counted, odds = (np.asarray(x) for x in original.noise_odds(structure, None))
    np.testing.assert_array_equal(counted, np.asarray(structure.valid))
    assert odds.shape == (1, 1) and odds.item() == pytest.approx(np.log(0.2 / 0.8), rel=1e-6)


@pytest.mark.parametrize("nce", ["exact", "reference"])
def test_weights_are_those_of_the_terms(nce, params):
    objective = electric(nce=nce)
    batch = {"input_ids": rows_of([*LENGTHS, [3]], 32)}
    terms, metrics = batch_sums(objective, params, batch, draws_of(5), True)
    weights = objective.weights(batch, jnp.int32(0))
    assert {k: float(v) for k, v in weights.items()} == {k: float(v[1]) for k, v in terms.items()}
    assert float(metrics["tokens"][0]) == 32 + 25 + 14 + 7 + 3
    row = losses(objective, {**terms, **metrics})
    assert row["loss"] == pytest.approx(row["cloze_loss"] + 50 * row["discriminator_loss"], 1e-4)
    assert {metric.key for metric in objective.metrics} - {"mask_prob"} <= row.keys()


def test_the_noise_is_judged_by_the_distribution_it_was_sampled_from(params):
    ids = rows_of(LENGTHS, 32)
    for settings, tempered in (
        ({"temperature": 2.0}, 2.0),
        ({"temperature": 2.0, "nce": "reference"}, 1.0),
        ({"sample_with_dropout": False}, 1.0),
    ):
        objective = electric(**settings)

        @quick_jit
        def compute(params, objective=objective):
            draws = draws_of(4)
            rows = objective.masking.mask({"input_ids": ids}, draws)
            states = objective.noise_states(params, rows, draws.noise("generator_dropout"))
            quiet = objective.noise_states(params, rows, None)
            sampler = states if objective.settings.sample_with_dropout else quiet
            sampled = jnp.full_like(rows.targets, 50)
            corrupted = objective.corrupt(rows, sampled)[0].input_ids
            found = objective.vocabulary_terms(
                params, states, sampler, rows, corrupted, draws, True
            )
            logits, noise = (objective.cloze_logits(params, x) for x in (states, sampler))
            return found, logits, noise, corrupted, rows.structure.inputs.input_ids

        (cloze, log_q), logits, noise, corrupted, original = compute(params)
        np.testing.assert_allclose(cloze, masked_lm_loss(logits, original), rtol=1e-5)
        np.testing.assert_allclose(
            log_q, -masked_lm_loss(noise / tempered, corrupted), rtol=1e-5, atol=1e-5
        )


def test_a_hit_counts_as_noise(objective, params):
    """Samples that are all the original: ELECTRA would have nothing to find."""
    ids = rows_of(LENGTHS, 32)
    rows = objective.masking.mask({"input_ids": ids}, draws_of(4))
    batch = {"input_ids": ids, "sampled_ids": rows.targets}
    _, metrics = batch_sums(objective, params, batch, draws_of(4), True)
    assert float(metrics["sampled_accuracy"][0]) == float(rows.selection.weights.sum())
    assert float(metrics["replaced_rate"][0]) == float(rows.selection.weights.sum())


def test_more_padding_changes_no_loss(params):
    row = {}
    for seq_len in (32, 41):
        objective = electric(seq_len=seq_len)
        batch = {"input_ids": rows_of(LENGTHS, seq_len)}
        terms, metrics = batch_sums(objective, params, batch, draws_of(4), True)
        row[seq_len] = losses(objective, {**terms, **metrics})
    assert row[32] == pytest.approx(row[41], rel=1e-5, nan_ok=True)


def test_what_is_exported_is_the_whole_model(objective, params, tmp_path):
    for name, (kind, config, tree, settings) in objective.networks(params).items():
        save_model_folder(tmp_path / name, kind, config, tree, None, settings)
    loaded = load_model_folder(tmp_path)
    assert isinstance(loaded.config, ElectricConfig) and loaded.settings["objective"] == "electric"
    for name, value in flatten(loaded.params).items():
        np.testing.assert_array_equal(value, flatten(params)[name], err_msg=name)
    assert flatten(loaded.params).keys() == flatten(params).keys()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.generator.kind=uniform",), r"set model\.generator\.kind='network'"),
        (("model.sharing=all",), r"model\.sharing='all': .* choose one of embeddings, none"),
        (("model.tie_word_embeddings=False",), r"model\.tie_word_embeddings=False"),
        (("objective.masking=reference",), r"objective\.nce='reference'"),
        (("objective.disallow_correct=True",), r"objective\.disallow_correct=True"),
        (("init_generator=somewhere",), "init_generator: Electric's noise model"),
        (("objective.nce=both",), r"objective\.nce='both': .*exact, reference"),
    ],
)
def test_settings_that_contradict_each_other_are_one_error(overrides, message):
    arguments = ["--config.objective.name=electric", *(f"--config.{x}" for x in overrides)]
    with pytest.raises(UserError, match=message):
        config, _ = load_config(["--config=configs/pretrain.py:small", *arguments])
        build_objective(RunShape(config, "rows", VOCAB, SPECIAL, 32, 1, 100, 256))


def test_the_original_s_quirks_allow_its_masking():
    settings = ElectricSettings(masking="reference", disallow_correct=True, nce="reference")
    assert dataclasses.asdict(settings)["nce"] == "reference"
