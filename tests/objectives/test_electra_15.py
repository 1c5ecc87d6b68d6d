"""ELECTRA 15 %: ELECTRA's networks and draws, judged at the selected positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import configured_objective, draws_of, forward, init_params, losses, rows_of

from electra_jax.objectives.losses import replaced_token_loss


@pytest.mark.parametrize(
    ("masking", "selected"),
    representative((("without_replacement", 10), ("reference", 9)), ("without_replacement", 10)),
)
def test_it_is_electra_but_for_the_positions_that_count(masking, selected):
    settings = ("objective.mask_prob=0.3", f"objective.masking={masking}")
    whole, objective = (configured_objective(n, *settings) for n in ("electra", "electra_15"))
    params = init_params(whole, jax.random.key(0))
    ids = rows_of([[16], [11], [5]], 16)
    usual, found = (forward(o, params, ids, draws_of(3)) for o in (whole, objective))
    for name in ("generator_logits", "sampled", "labels", "discriminator_logits"):
        np.testing.assert_array_equal(usual[name], found[name])
    at, weights = found["rows"].selection.positions, found["rows"].selection.weights
    each = replaced_token_loss(found["discriminator_logits"], found["labels"])
    expected = jnp.sum(jnp.take_along_axis(each, at, axis=1) * weights)
    total, weight = found["sums"]["discriminator_loss"]
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    assert float(weight) == float(jnp.sum(weights)) == selected
    # With replacement a row has room for four entries.
    denominators = objective.weights({"input_ids": ids}, jnp.zeros((), jnp.int32))
    assert {name: float(x) for name, x in denominators.items()} == {
        "generator_loss": selected, "discriminator_loss": selected,
    }  # fmt: skip


def test_skill_is_against_the_rate_among_the_selected():
    objective = configured_objective("electra_15", "objective.mask_prob=0.3")
    params = init_params(objective, jax.random.key(0))
    found = forward(objective, params, rows_of([[16], [16]], 16), draws_of(2))
    row = losses(objective, found["sums"])
    missed = 1 - row["sampled_accuracy"]
    assert row["selected_replaced_rate"] == pytest.approx(missed)
    assert row["replaced_rate"] == pytest.approx(missed * 10 / 32)
    entropy = -missed * np.log(missed) - (1 - missed) * np.log1p(-missed) if missed < 1 else 0
    if entropy:
        assert row["rtd_skill"] == pytest.approx(1 - row["discriminator_loss"] / entropy)
    assert float(found["sums"]["tokens"][0]) == 32
