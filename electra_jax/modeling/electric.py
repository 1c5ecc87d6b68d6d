"""Electric (Clark et al. 2020, "Pre-Training Transformers as Energy-Based Cloze Models"): a
discriminator whose output is an energy, and a noise model of two causal towers.

Letters as in `electra.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectricConfig
from electra_jax.modeling.dropout import DropoutRng
from electra_jax.modeling.electra import (
    Backbone,
    DiscriminatorHead,
    Electra,
    GeneratorHead,
    Inputs,
    gather_positions,
)

_RIGHT_TO_LEFT = 1 << 16  # of dropout: no number of a layer or a site


class Electric(Electra):
    """Noise model and discriminator with what they share.

    `discriminator_logits` are energies E: p(token | the others) is proportional to exp(−E).
    `generator_logits` are the noise model's at the given positions of the *unmasked* row.
    """

    config: ElectricConfig

    def setup(self) -> None:
        p = self.config
        assert p.generator is not None
        own = p.sharing == "none"
        self.electra = Backbone(p.discriminator)
        self.generator_ltr = Backbone(p.generator, own_embeddings=own)
        self.generator_rtl = Backbone(p.generator, own_embeddings=own)
        self.cloze_predictions = GeneratorHead(p.generator)
        self.discriminator_predictions = DiscriminatorHead(p.discriminator)

    def generator_hidden(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        """What the noise model knows of each token, float [B, L, 2 Hg]: the left-to-right state of
        the token before and the right-to-left state of the one after.

        As in the original code the first token reads the last one's state and the reverse, which
        have seen the whole row: no [CLS] and no [SEP] is ever sampled.
        """
        shared = None if self.config.sharing == "none" else self.electra.embeddings
        before = self.generator_ltr(one_sided(inputs, False), rng, shared)
        rng = None if rng is None else rng.fold(_RIGHT_TO_LEFT)
        after = self.generator_rtl(one_sided(inputs, True), rng, shared)
        return jnp.concatenate([jnp.roll(before, 1, axis=1), jnp.roll(after, -1, axis=1)], axis=-1)

    def cloze_logits(self, states: jax.Array) -> jax.Array:
        """Logits float32 [..., V] over the vocabulary, from `generator_hidden` [..., 2 Hg]."""
        owner = self.generator_ltr if self.config.sharing == "none" else self.electra
        return self.cloze_predictions(states, owner.embeddings.word_embeddings)

    def generator_logits(
        self, inputs: Inputs, positions: jax.Array, rng: DropoutRng | None = None
    ) -> jax.Array:
        """The noise model's logits float32 [B, N, V] at `positions` int32 [B, N]."""
        return self.cloze_logits(gather_positions(self.generator_hidden(inputs, rng), positions))


def one_sided(inputs: Inputs, right_to_left: bool) -> Inputs:
    """`inputs` in which a token sees itself and those before it, or those after it.

    A token that may see nothing (padding, in the right-to-left tower) sees everything, as in the
    original code, where −10,000 is added to all its scores alike.
    """
    place = jnp.arange(inputs.input_ids.shape[1])
    query, key = place[None, None, :, None], place[None, None, None, :]
    mask = inputs.mask & ((key >= query) if right_to_left else (key <= query))
    mask = mask | ~jnp.any(mask, axis=-1, keepdims=True)
    return inputs.replace(mask=mask, lengths=None)  # type: ignore[attr-defined]
