"""Every recorded pretraining variant: hidden states, logits, losses, metrics, gradients, steps.

Each case is computed by two compiled functions (values, gradients), called once for every batch.
"""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives.recorded import CASES, load_case
from objectives.tiny import quick_jit

from electra_jax.interop.formats.tf1 import read_bundle
from electra_jax.interop.mapping.tf1_networks import moments_from_tf1, tf1_from_tree, tree_from_tf1
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.losses import masked_lm_loss, replaced_token_loss
from electra_jax.objectives.metrics import auc, auc_counts
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.terms import masked_lm_sums
from electra_jax.training.optimizer import AdamState, build_optimizer
from electra_jax.training.schedules import learning_rate_schedule

# The recording's README allows 1e-4; float32 does better on these shapes.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
NO_GENERATOR, NO_DISCRIMINATOR = "uniform_generator", "mlm_baseline"


def _losses(objective, params, rows, sampled):
    """(terms, metrics) of the objective on recorded rows and samples."""
    if isinstance(objective, ElectraObjective):
        count = rows.masked_ids.shape[0]
        draws = Draws(jax.random.key(0), jnp.int32(0), jnp.arange(count, dtype=jnp.int32))
        return objective.loss_of(params, rows, draws, False, sampled)
    logits = objective.model.apply({"params": params}, rows.masked_inputs, rows.selection.positions)
    term, metrics = masked_lm_sums(logits, rows)
    return {"generator_loss": term}, metrics


def _total(objective, params, rows, sampled):
    """The training loss, as the train step forms it."""
    terms, _ = _losses(objective, params, rows, sampled)
    return sum(
        c * terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
        for name, c in objective.coefficients.items()
    )


def _values(objective, params, rows, sampled):
    """Everything that is compared without a gradient, by name."""
    apply, variables = objective.model.apply, {"params": params}
    terms, metrics = _losses(objective, params, rows, sampled)
    values = {"terms": terms, "metrics": metrics, "targets": rows.targets}
    slots = (rows.masked_inputs, rows.selection.positions)
    backbone = lambda m, i: m.electra(i)  # noqa: E731
    if not isinstance(objective, ElectraObjective):
        values["generator_logits"] = apply(variables, *slots)
        values["generator_hidden"] = apply(variables, rows.masked_inputs, method=backbone)
        return values
    values["generator_logits"] = apply(variables, *slots, method="generator_logits")
    if objective.config.generator is not None:
        values["generator_hidden"] = apply(variables, rows.masked_inputs, method="generator_hidden")
    inputs, labels = objective.corrupt(rows, sampled)
    values["corrupted"], values["labels"] = inputs.input_ids, labels
    values["discriminator_logits"], sown = apply(
        variables, inputs, method="discriminator_logits", mutable="intermediates"
    )
    values["embedded"] = sown["intermediates"]["electra"]["embedded"][0]
    values["discriminator_hidden"] = apply(variables, inputs, method=backbone)
    return values


def _compiled(case):
    """A case with its batches and its two compiled functions, `values` and `value_and_grad`."""
    batches = range(len(case.losses["batches"]))
    rows = [case.rows(b) for b in batches]
    sampled = [jnp.asarray(case.recorded(b, "sampled_ids")) for b in batches]
    values = quick_jit(lambda p, r, s: _values(case.objective, p, r, s))
    total = quick_jit(jax.value_and_grad(lambda p, r, s: _total(case.objective, p, r, s)))
    return SimpleNamespace(
        case=case,
        batches=batches,
        rows=rows,
        compute=lambda params, b: values(params, rows[b], sampled[b]),
        value_and_grad=lambda params, b: total(params, rows[b], sampled[b]),
    )


@pytest.fixture(scope="module", params=CASES)
def run(request, oracles):
    run = _compiled(load_case(oracles, request.param))
    run.values = [jax.device_get(run.compute(run.case.params, b)) for b in run.batches]
    return run


@pytest.fixture(scope="module")
def gradient(run):
    """(total loss, gradient) on batch 0."""
    return jax.device_get(run.value_and_grad(run.case.params, 0))


def test_generator_logits_and_losses_per_slot(run):
    case = run.case
    np.testing.assert_allclose(
        run.values[0]["generator_logits"], case.recorded(0, "gen_logits"), **CLOSE
    )
    for batch in run.batches:
        logits, targets = (run.values[batch][k] for k in ("generator_logits", "targets"))
        used = np.asarray(run.rows[batch].selection.weights) > 0
        losses = np.asarray(masked_lm_loss(logits, targets))
        np.testing.assert_allclose(
            losses[used], case.recorded(batch, "gen_per_slot_loss")[used], **CLOSE
        )
        predicted = np.argmax(logits, -1)
        np.testing.assert_array_equal(predicted[used], case.recorded(batch, "gen_preds")[used])


def test_generator_hidden_states(run):
    if run.case.name == NO_GENERATOR:
        pytest.skip("it has no network")
    tower = run.case.config["towers"][0]
    expected = run.case.recorded(0, f"{tower}_sequence_output")
    np.testing.assert_allclose(run.values[0]["generator_hidden"], expected, **CLOSE)


def test_corrupted_ids_and_labels_are_identical(run):
    if run.case.name == NO_DISCRIMINATOR:
        pytest.skip("it has no discriminator")
    for batch in run.batches:
        for ours, theirs in (("corrupted", "corrupted_input_ids"), ("labels", "is_fake_labels")):
            np.testing.assert_array_equal(run.values[batch][ours], run.case.recorded(batch, theirs))


def test_discriminator_hidden_states_and_logits(run):
    if run.case.name == NO_DISCRIMINATOR:
        pytest.skip("it has no discriminator")
    for batch in run.batches:
        np.testing.assert_allclose(
            run.values[batch]["discriminator_logits"],
            run.case.recorded(batch, "disc_logits"),
            **CLOSE,
        )
    for ours, theirs in (
        ("discriminator_hidden", "disc_sequence_output"),
        ("embedded", "disc_embedding_output"),
    ):
        np.testing.assert_allclose(run.values[0][ours], run.case.recorded(0, theirs), **CLOSE)


def test_losses(run):
    for batch, expected in enumerate(run.case.losses["batches"]):
        terms = run.values[batch]["terms"]
        total = 0.0
        for name, recorded in (
            ("generator_loss", "gen_loss"),
            ("discriminator_loss", "disc_loss"),
        ):
            if name in terms:
                loss = terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
                total += run.case.objective.coefficients[name] * loss
                np.testing.assert_allclose(loss, expected[recorded], rtol=1e-5)
        np.testing.assert_allclose(total, expected["total_loss"], rtol=1e-5)


def test_metrics(run):
    for batch, expected in enumerate(run.case.losses["batches"]):
        recorded = expected["metrics_this_batch_only"]
        row = run.case.objective.summarize(
            {**run.values[batch]["terms"], **run.values[batch]["metrics"]}
        )
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
        # The recorded AUC counts padding as negatives of probability 0, its loss is a
        # mean of means.
        logits = jnp.asarray(run.case.recorded(batch, "disc_logits"))
        labels = jnp.asarray(run.case.recorded(batch, "is_fake_labels"))
        valid = jnp.asarray(run.case.recorded(batch, "input_mask"))
        probabilities = jax.nn.sigmoid(logits) * valid
        with_padding = auc(*map(np.asarray, auc_counts(probabilities, labels, valid * 0 + 1)))
        np.testing.assert_allclose(with_padding, recorded["disc_auc"], rtol=1e-5)
        losses = replaced_token_loss(logits, labels) * valid
        means = losses.sum(1) / (valid.sum(1) + DENOMINATOR_EPSILON)
        np.testing.assert_allclose(means.mean(), recorded["disc_loss"], rtol=1e-5)


def test_gradients(run, gradient):
    case = run.case
    value, grads = gradient
    np.testing.assert_allclose(value, case.losses["batches"][0]["total_loss"], rtol=1e-5)
    ours = tf1_from_tree(case.objective.config, grads, kind=case.loaded.kind)
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
    run = _compiled(case)
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
    slots = moments_from_tf1(read_bundle(case.folder / "ckpt_with_slots"), case.loaded)
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

    @jax.jit
    def step(grads, state, params):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, optax.tree.norm(grads)

    first = params
    for batch, expected in enumerate(steps["steps"]):
        np.testing.assert_allclose(
            schedule(expected["step_before"]), expected["learning_rate"], rtol=1e-6
        )
        value, grads = run.value_and_grad(params, batch)
        np.testing.assert_allclose(value, expected["total_loss_before"], rtol=1e-4)
        params, state, norm = step(grads, state, params)
        np.testing.assert_allclose(norm, expected["grad_global_norm_before_clip"], rtol=1e-3)
        if batch == 0:
            _same_movement(case, first, params, after, "after_1_step/")
    _same_movement(case, first, params, after, "")
    found = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, AdamState))
    moments = next(x for x in found if isinstance(x, AdamState))
    for slot, tree in (("adam_m", moments.m), ("adam_v", moments.v)):
        ours = tf1_from_tree(case.objective.config, tree, kind=case.loaded.kind)
        names = [n for n in after.files if n.endswith(slot)]
        assert len(names) == 3
        for name in names:
            got, want = ours[name.removesuffix("/" + slot)], after[name]
            assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want), name


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


def test_the_tree_has_every_trainable_variable_of_the_recording(run):
    case = run.case
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
