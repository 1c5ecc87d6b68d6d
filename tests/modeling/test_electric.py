"""Electric's noise model: one side of a token in each tower, never the token itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.test_electric import electric
from objectives.tiny import FIRST_WORD, init_params, quick_jit, rows_of

from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.electric import one_sided


def test_a_tower_s_mask_is_a_triangle_and_padding_that_sees_nothing_sees_everything():
    inputs = Inputs(jnp.zeros((1, 4), jnp.int32), padding_mask(jnp.asarray([[1, 1, 1, 0]])))
    before, after = (np.asarray(one_sided(inputs, x).mask[0, 0], int) for x in (False, True))
    np.testing.assert_array_equal(before, [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(after, [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize(("block", "lengths"), [("bert", [[12]]), ("modern", [[5, 7]])])
def test_the_noise_model_never_sees_the_token_that_it_predicts(block, lengths):
    objective = electric(block, seq_len=12, max_segments=len(lengths[0]))
    params = init_params(objective, jax.random.key(0))
    ids = np.asarray(rows_of(lengths, 12))
    changed = np.repeat(ids, 12, axis=0)
    place = np.arange(12)
    changed[place, place] = FIRST_WORD + (changed[place, place] - FIRST_WORD + 1) % 50

    @quick_jit
    def logits(ids):
        inputs = objective.masking.structure({"input_ids": jnp.asarray(ids)}).inputs
        states = objective.model.apply({"params": params}, inputs, method="generator_hidden")
        return objective.cloze_logits(params, states)

    before = np.asarray(logits(np.repeat(ids, 12, axis=0)))
    after = np.asarray(logits(changed))
    words = [t for t in place if ids[0, t] >= FIRST_WORD]
    assert len(words) == 12 - 2 * len(lengths[0])
    for t in words:
        np.testing.assert_array_equal(after[t, t], before[t, t])
        near = [n for n in (t - 1, t + 1) if n in words]
        assert all((after[t, n] != before[t, n]).any() for n in near)
