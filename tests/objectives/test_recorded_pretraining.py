"""Every recorded pretraining variant: hidden states, logits, losses, metrics, gradients, resumed steps."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives.recorded import CASES, load_case

from electra_jax.interop.names import flatten
from electra_jax.interop.pair import slots_from_tf1, tf1_from_tree, tree_from_tf1
from electra_jax.interop.tf1 import read_bundle
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.draws import Draws
from electra_jax.objectives.electra import ElectraObjective, masked_lm_sums
from electra_jax.objectives.losses import masked_lm_loss, replaced_token_loss
from electra_jax.objectives.metrics import auc, auc_counts
from electra_jax.training.optimizer import AdamState, build_optimizer
from electra_jax.training.schedules import learning_rate_schedule

# The recording's README allows 1e-4; float32 does better on these shapes.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.fixture(scope="module", params=CASES)
def case(request, oracles):
    return load_case(oracles, request.param)


def _batches(case):
    return range(len(case.losses["batches"]))


def _losses(case, batch, params=None):
    """(terms, metrics) of the objective on recorded rows and samples."""
    params = case.params if params is None else params
    rows = case.rows(batch)
    if isinstance(case.objective, ElectraObjective):
        sampled = jnp.asarray(case.recorded(batch, "sampled_ids"))
        return case.objective.loss_of(params, rows, _draws(rows), False, sampled)
    logits = case.objective.model.apply(
        {"params": params}, rows.masked_inputs, rows.selection.positions
    )
    term, metrics = masked_lm_sums(logits, rows)
    return {"generator_loss": term}, metrics


def _draws(rows):
    count = rows.masked_ids.shape[0]
    return Draws(jax.random.key(0), jnp.int32(0), jnp.arange(count, dtype=jnp.int32))


def _total(case, batch):
    def total(params):
        terms, _ = _losses(case, batch, params)
        return sum(
            c * terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
            for name, c in case.objective.coefficients.items()
        )

    return total


def _generator_logits(case, batch):
    rows = case.rows(batch)
    apply = case.objective.model.apply
    args = (rows.masked_inputs, rows.selection.positions)
    if isinstance(case.objective, ElectraObjective):
        return apply({"params": case.params}, *args, method="generator_logits")
    return apply({"params": case.params}, *args)


def test_generator_logits_and_losses_per_slot(case):
    np.testing.assert_allclose(
        _generator_logits(case, 0), case.recorded(0, "gen_logits"), **CLOSE
    )
    for batch in _batches(case):
        rows = case.rows(batch)
        logits = _generator_logits(case, batch)
        used = np.asarray(rows.selection.weights) > 0
        losses = np.asarray(masked_lm_loss(logits, rows.targets))
        np.testing.assert_allclose(
            losses[used], case.recorded(batch, "gen_per_slot_loss")[used], **CLOSE
        )
        predicted = np.asarray(jnp.argmax(logits, -1))
        np.testing.assert_array_equal(predicted[used], case.recorded(batch, "gen_preds")[used])


def test_generator_hidden_states(case):
    if case.name == "uniform_generator":
        pytest.skip("it has no network")
    rows = case.rows(0)
    apply = case.objective.model.apply
    if isinstance(case.objective, ElectraObjective):
        hidden = apply({"params": case.params}, rows.masked_inputs, method="generator_hidden")
    else:
        hidden = apply(
            {"params": case.params}, rows.masked_inputs, method=lambda m, i: m.electra(i)
        )
    tower = case.config["towers"][0]
    expected = case.recorded(0, f"{tower}_sequence_output")
    np.testing.assert_allclose(hidden, expected, **CLOSE)


def test_corrupted_ids_and_labels_are_identical(case):
    if case.name == "mlm_baseline":
        pytest.skip("it has no discriminator")
    for batch in _batches(case):
        sampled = jnp.asarray(case.recorded(batch, "sampled_ids"))
        inputs, labels = case.objective.corrupt(case.rows(batch), sampled)
        np.testing.assert_array_equal(
            inputs.input_ids, case.recorded(batch, "corrupted_input_ids")
        )
        np.testing.assert_array_equal(labels, case.recorded(batch, "is_fake_labels"))


def test_discriminator_hidden_states_and_logits(case):
    if case.name == "mlm_baseline":
        pytest.skip("it has no discriminator")
    for batch in _batches(case):
        sampled = jnp.asarray(case.recorded(batch, "sampled_ids"))
        inputs, _ = case.objective.corrupt(case.rows(batch), sampled)
        logits, sown = case.objective.model.apply(
            {"params": case.params}, inputs, method="discriminator_logits", mutable="intermediates"
        )
        np.testing.assert_allclose(logits, case.recorded(batch, "disc_logits"), **CLOSE)
        if batch == 0:
            hidden = case.objective.model.apply(
                {"params": case.params}, inputs, method=lambda m, i: m.electra(i)
            )
            np.testing.assert_allclose(hidden, case.recorded(0, "disc_sequence_output"), **CLOSE)
            embedded = sown["intermediates"]["electra"]["embedded"][0]
            np.testing.assert_allclose(
                embedded, case.recorded(0, "disc_embedding_output"), **CLOSE
            )


def test_losses(case):
    for batch, expected in enumerate(case.losses["batches"]):
        terms, _ = _losses(case, batch)
        for name, recorded in (
            ("generator_loss", "gen_loss"),
            ("discriminator_loss", "disc_loss"),
        ):
            if name in terms:
                got = terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
                np.testing.assert_allclose(got, expected[recorded], rtol=1e-5)
        np.testing.assert_allclose(_total(case, batch)(case.params), expected["total_loss"], rtol=1e-5)


def test_metrics(case):
    for batch, expected in enumerate(case.losses["batches"]):
        recorded = expected["metrics_this_batch_only"]
        terms, metrics = _losses(case, batch)
        row = case.objective.summarize({**terms, **metrics})
        names = {
            "masked_lm_accuracy": "masked_lm_accuracy",
            "generator_loss": "masked_lm_loss",
            "sampled_accuracy": "sampled_masked_lm_accuracy",
            "discriminator_accuracy": "disc_accuracy",
            "discriminator_precision": "disc_precision",
            "discriminator_recall": "disc_recall",
        }
        for ours, theirs in names.items():
            if ours in row and theirs in recorded:
                np.testing.assert_allclose(row[ours], recorded[theirs], rtol=2e-5, err_msg=ours)
        if "disc_auc" not in recorded:
            continue
        # The recorded AUC counts padding as negatives of probability 0, its loss is a mean of means.
        logits = jnp.asarray(case.recorded(batch, "disc_logits"))
        labels = jnp.asarray(case.recorded(batch, "is_fake_labels"))
        valid = jnp.asarray(case.recorded(batch, "input_mask"))
        probabilities = jax.nn.sigmoid(logits) * valid
        with_padding = auc(*map(np.asarray, auc_counts(probabilities, labels, valid * 0 + 1)))
        np.testing.assert_allclose(with_padding, recorded["disc_auc"], rtol=1e-5)
        losses = replaced_token_loss(logits, labels) * valid
        means = losses.sum(1) / (valid.sum(1) + DENOMINATOR_EPSILON)
        np.testing.assert_allclose(means.mean(), recorded["disc_loss"], rtol=1e-5)


def test_gradients(case):
    grads = jax.jit(jax.grad(_total(case, 0)))(case.params)
    config = case.objective.config
    ours = tf1_from_tree(config, grads, kind=case.loaded.kind)
    expected = np.load(case.folder / "grads_b0.npz")
    assert len(expected.files) >= 15
    for name in expected.files:
        want = expected[name]
        if name.endswith("key/bias"):  # zero in exact arithmetic
            assert np.abs(ours[name]).max() < 1e-3
            continue
        error = np.linalg.norm(ours[name] - want) / max(np.linalg.norm(want), 1e-12)
        assert error < 2e-5, (name, error)
    norm = float(optax.tree.norm(grads))
    dense = case.losses["batches"][0]["grad_global_norm_dense"]
    np.testing.assert_allclose(norm, dense, rtol=1e-5)


def test_resumed_steps_move_the_parameters_as_the_reference_did(oracles):
    case = load_case(oracles, "default", "ckpt_with_slots")
    steps = json.loads((case.folder / "resume_steps.json").read_text())
    after = np.load(case.folder / "resume_after_3_steps.npz")
    hyper = steps["optimizer"]
    start = steps["start_step"]
    schedule = learning_rate_schedule(
        hyper["learning_rate"], hyper["num_train_steps"], hyper["warmup_steps"]
    )
    settings = {
        "name": "adam_reference",
        "beta1": hyper["beta_1"],
        "beta2": hyper["beta_2"],
        "epsilon": hyper["epsilon"],
        "weight_decay": hyper["weight_decay_rate"],
        "no_decay": ("LayerNorm|layer_norm|_norm/|bias",),
        "clip_norm": hyper["clip_norm"],
    }
    params = jax.tree.map(jnp.asarray, case.params)
    optimizer = build_optimizer(params, schedule, settings)
    slots = slots_from_tf1(read_bundle(case.folder / "ckpt_with_slots"), case.loaded)
    state = optimizer.init(params)
    moments = AdamState(slots["adam_m"], slots["adam_v"])

    def put(part):
        if isinstance(part, AdamState):
            return jax.tree.map(jnp.asarray, moments)
        if isinstance(part, optax.ScaleByScheduleState):
            return part._replace(count=jnp.int32(start))
        return part

    kinds = (AdamState, optax.ScaleByScheduleState)
    state = jax.tree.map(put, state, is_leaf=lambda x: isinstance(x, kinds))

    first = params
    for batch, expected in enumerate(steps["steps"]):
        np.testing.assert_allclose(
            schedule(expected["step_before"]), expected["learning_rate"], rtol=1e-6
        )
        value, grads = jax.value_and_grad(_total(case, batch))(params)
        np.testing.assert_allclose(value, expected["total_loss_before"], rtol=1e-4)
        np.testing.assert_allclose(
            optax.tree.norm(grads), expected["grad_global_norm_before_clip"], rtol=1e-3
        )
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        if batch == 0:
            _same_movement(case, first, params, after, "after_1_step/")
    _same_movement(case, first, params, after, "")


def _same_movement(case, before, after, recorded, prefix):
    """‖Δ − Δref‖ ≤ 1e-3 · ‖Δref‖ per tensor; a key bias has no gradient but rounding noise."""
    config = case.objective.config
    old, new = (tf1_from_tree(config, t, kind=case.loaded.kind) for t in (before, after))
    names = [
        n.removeprefix(prefix)
        for n in recorded.files
        if n.startswith(prefix) and (prefix or "after_1_step/" not in n)
    ]
    names = [n for n in names if n in new and not n.endswith("key/bias")]
    assert len(names) >= (6 if prefix else 60) - 3
    for name in names:
        want = recorded[prefix + name] - old[name]
        got = new[name] - old[name]
        assert np.linalg.norm(want) > 0, name
        assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want), name


def test_the_tree_has_every_trainable_variable_of_the_recording(case):
    names = set(case.config["trainable_variables"])
    ours = tf1_from_tree(case.objective.config, case.params, kind=case.loaded.kind)
    assert {n: list(ours[n].shape) for n in names} == case.config["trainable_variables"]
    again = tree_from_tf1(
        ours,
        where="written",
        num_attention_heads=case.config["discriminator_or_main_bert_config"]["num_attention_heads"],
        generator_num_attention_heads=case.config.get("generator_num_attention_heads"),
    )
    for name, value in flatten(again.params).items():
        np.testing.assert_array_equal(value, flatten(case.params)[name])
