"""All-tokens MLM: Replace MLM where nothing is copied and the selected count, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.three_steps import three_steps
from objectives.tiny import batch_sums, configured_objective, draws_of, init_params, losses, rows_of

from electra_jax.modeling.electra import gather_positions
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.all_tokens_mlm import AllTokensMLMObjective
from electra_jax.objectives.losses import copy_mixture_loss
from electra_jax.objectives.replace_mlm import ReplaceMLMObjective


class NothingCopied(AllTokensMLMObjective):
    """The probability of copying is 0, and the loss is the selected positions'."""

    weights = ReplaceMLMObjective.weights

    def predict_all(self, params, hidden, replaced, labels, rows):
        at, weights = rows.selection.positions, rows.selection.weights
        each, correct = self.predictions(params, gather_positions(hidden, at), rows.targets)
        hits = jnp.take_along_axis(labels, at, axis=1) == 0
        each = copy_mixture_loss(jnp.full(each.shape, -1e9), each, hits)
        total = jnp.sum(weights)
        accuracy = (jnp.sum(correct * weights), total)
        return (jnp.sum(each * weights), total), {"prediction_accuracy": accuracy}


def test_with_nothing_copied_it_is_replace_mlm_bit_for_bit():
    settings = ("objective.mask_prob=0.3",)
    given, baseline = (
        configured_objective(name, *settings) for name in ("all_tokens_mlm", "replace_mlm")
    )
    objective = NothingCopied(given.config, given.settings, given.masking)
    start = jax.jit(lambda: objective.init(jax.random.key(0))[0])()
    # Parameters begin by their names: the head that copies changes no other's draw.
    fewer = jax.jit(lambda: baseline.init(jax.random.key(0))[0])()
    jax.tree.map(np.testing.assert_array_equal, {n: start[n] for n in fewer}, fewer)
    batch = {"input_ids": rows_of([[16], [9], [16]], 16)}
    found, expected = (
        three_steps(objective, start, batch), three_steps(baseline, fewer, batch)
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, {n: found[n] for n in fewer}, expected)
    moved = jax.tree.map(lambda before, after: bool((before != after).any()), fewer, expected)
    still = {path for path, has in flatten(moved).items() if not has}
    assert still <= {path for path in flatten(moved) if path.endswith("key/bias")}


def test_every_token_counts_and_the_copying_head_is_scored_as_a_discriminator():
    objective = configured_objective("all_tokens_mlm", "objective.mask_prob=0.3")
    params = init_params(objective, jax.random.key(0))
    ids = rows_of([[16], [11]], 16)
    terms, metrics = batch_sums(objective, params, {"input_ids": ids}, draws_of(2), True)
    assert float(terms["prediction_loss"][1]) == 27
    assert float(objective.weights({"input_ids": ids})["prediction_loss"]) == 27
    row = losses(objective, {**terms, **metrics})
    assert row["loss"] == pytest.approx(row["generator_loss"] + row["prediction_loss"], rel=1e-5)
    copies = configured_objective("electra", "objective.mask_prob=0.3")
    same = {n: x for n, x in params.items() if n != "masked_lm_predictions"}
    usual, more = batch_sums(copies, same, {"input_ids": ids}, draws_of(2), True)
    for key in ("discriminator_loss", "discriminator_auc", "replaced_rate"):
        one, other = ({**x, **y}[key] for x, y in ((terms, metrics), (usual, more)))
        np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    # Surely copying: what is left is the surprise of the tokens that were replaced.
    sure = params["discriminator_predictions"]["dense_1"]
    sure["kernel"], sure["bias"] = jnp.zeros_like(sure["kernel"]), jnp.full((1,), -20.0)
    terms, metrics = batch_sums(objective, params, {"input_ids": ids}, draws_of(2), True)
    replaced = float(metrics["replaced_rate"][0])
    assert float(terms["prediction_loss"][0]) > 20 * replaced > 0
