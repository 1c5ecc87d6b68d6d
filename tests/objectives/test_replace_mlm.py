"""Replace MLM: masked-LM pretraining where the generator leaves [MASK] as it is, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
from objectives.three_steps import three_steps
from objectives.tiny import configured_objective, rows_of

from electra_jax.config.model import PairConfig
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.replace_mlm import ReplaceMLMObjective

QUIET = ("model.hidden_dropout_prob=0", "objective.mask_prob=0.3")


class LeavesMasks(ReplaceMLMObjective):
    """The replacements are what the masked row shows."""

    def sample(self, logits, rows, draws, train=True):
        return jnp.take_along_axis(rows.masked_ids, rows.selection.positions, axis=1)


def test_with_masks_for_replacements_it_is_masked_lm_bit_for_bit():
    given = configured_objective("replace_mlm", *QUIET)
    shape = given.config.discriminator
    objective = LeavesMasks(PairConfig(shape, None), given.settings, given.masking)
    baseline = MaskedLMObjective(shape, given.masking)
    start = jax.jit(lambda: baseline.init(jax.random.key(0))[0])()
    renamed = {"electra": start["electra"], "masked_lm_predictions": start["generator_predictions"]}
    fresh = jax.eval_shape(objective.init, jax.random.key(0))[0]
    assert jax.tree.structure(fresh) == jax.tree.structure(renamed)
    batch = {"input_ids": rows_of([[16], [9], [16]], 16)}
    expected = three_steps(baseline, start, batch)
    found = three_steps(objective, renamed, batch)
    found["generator_predictions"] = found.pop("masked_lm_predictions")
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not np.array_equal(
        expected["electra"]["embeddings"]["word_embeddings"],
        start["electra"]["embeddings"]["word_embeddings"],
    )
