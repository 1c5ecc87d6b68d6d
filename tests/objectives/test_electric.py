"""Electric: what the noise model sees, where gradients go, the odds of noise, one q in both places,
and that it trains like any objective."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from devices import run_with_devices
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
from tiny_run import OVERRIDES, make_rows, metric_rows

from electra_jax.config.model import ElectricConfig
from electra_jax.config.training import NO_DECAY
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import RunShape
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electric import ElectricObjective, ElectricSettings
from electra_jax.objectives.losses import masked_lm_loss
from electra_jax.objectives.table import build_objective
from electra_jax.pretraining.run import Pretraining
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.step import init_state, make_train_step

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


def _step(objective, accumulate):
    schedule = learning_rate_schedule(1e-3, 100, 0, decay="constant")
    settings = {"name": "adam_reference", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6,
                "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0}  # fmt: skip
    shapes, _ = jax.eval_shape(objective.init, jax.random.key(0))
    optimizer = build_optimizer(shapes, schedule, settings)
    state = quick_jit(lambda: init_state(objective, optimizer, 0))()
    return state, quick_jit(make_train_step(objective, optimizer, 0, accumulate))


@pytest.mark.slow
def test_accumulation_changes_nothing_but_rounding():
    objective = electric(seq_len=16, max_segments=3, model={"initializer_range": 0.1})
    ids = rows_of([[16], [9, 7], [14], [3, 4, 3], [16], [7], [12], [5, 11]], 16)
    slots = objective.masking.max_predictions
    batch = {"input_ids": ids, "sampled_ids": jnp.full((8, slots), 50).at[:, ::3].set(60)}
    moved = []
    for accumulate in (1, 4):
        state, step = _step(objective, accumulate)
        after, sums = step(state, batch)
        moved.append(jax.tree.map(jnp.subtract, after.params, state.params))
        moved.append(losses(objective, sums))
    assert moved[1] == pytest.approx(moved[3], rel=1e-5, nan_ok=True)
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, moved[0], moved[2]))
    assert float(difference) <= 1e-5 * float(optax.tree.norm(moved[0]))


SHARDED = """
import sys
import flax.linen as nn, jax, jax.numpy as jnp
from objectives.test_electric import _step, electric
from objectives.tiny import losses, quick_jit, rows_of
from electra_jax.training.sharding import (
    LOGICAL_AXES, batch_sharding, make_mesh, replicated, state_shardings)

objective = electric(seq_len=16, model={
    "vocab_size": 64, "initializer_range": 0.1, "num_hidden_layers": 1, "intermediate_size": 32,
    "embedding_size": 16, "max_position_embeddings": 16})
ids = rows_of([[16], [11], [16], [5], [16], [16], [9], [13]], 16, vocab=64)
sampled = jnp.full((8, objective.masking.max_predictions), 50)
fresh, step = _step(objective, 1)
for sizes in ((1, 1, 1), (8, 1, 1), (2, 2, 2)):
    devices = jax.devices()[: sizes[0] * sizes[1] * sizes[2]]
    mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), sizes)), devices)
    shardings = state_shardings(mesh, jax.eval_shape(lambda: fresh))
    with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXES):
        jitted = quick_jit(step.__wrapped__, out_shardings=(shardings, replicated(mesh)))
        state = jax.device_put(fresh, shardings)
        batch = jax.device_put({"input_ids": ids, "sampled_ids": sampled}, batch_sharding(mesh))
        for _ in range(3):
            state, sums = jitted(state, batch)
    row = losses(objective, jax.device_get(sums))
    print(row["cloze_loss"], row["discriminator_loss"], row["energy"])
"""


@pytest.mark.slow
def test_every_mesh_computes_the_same_losses():
    lines = run_with_devices(8, SHARDED).splitlines()
    numbers = np.array([[float(x) for x in line.split()] for line in lines])
    assert numbers.shape == (3, 3) and np.isfinite(numbers).all()
    np.testing.assert_allclose(numbers[1:], numbers[[0, 0]], rtol=2e-5)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


class Killed(Exception):
    """The end of a process."""


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_and_exports_what_it_trained(rows, tmp_path):
    given = [*OVERRIDES, f"--config.data.path={rows}", "--config.objective.name=electric",
             "--config.train.steps=6", "--config.train.log_every=2",
             "--config.train.eval_every=6"]  # fmt: skip

    def train(name, killed_after=None):
        run = Pretraining.build(load_config(given)[0], tmp_path / name, quiet=True)
        if killed_after is None:
            return jax.device_get(run.train().params)
        batches = run.run.batches

        def dying(first):
            for number, batch in enumerate(batches(first)):
                if number == killed_after:
                    raise Killed
                yield batch

        run.run.batches = dying
        with pytest.raises(Killed):
            run.train()
        return None

    whole = train("whole")
    train("killed", killed_after=5)
    again = train("killed")
    for name, value in flatten(whole).items():
        np.testing.assert_array_equal(value, flatten(again)[name], err_msg=name)
    last = metric_rows(tmp_path / "whole")[-1]
    assert {"eval_energy", "eval_cloze_loss", "eval_discriminator_loss"} <= last.keys()
    loaded = load_model_folder(tmp_path / "whole")
    assert isinstance(loaded.config, ElectricConfig)
    for name, value in flatten(loaded.params).items():
        np.testing.assert_array_equal(value, flatten(whole)[name], err_msg=name)


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
