"""The optimum of each detection objective on a language whose conditionals are known.

Slot t of a row holds a word drawn from p_t, whatever the other slots hold. So the best possible
discriminator is known in closed form; with q the generator's distribution and s the share of the
words that are selected,

    ELECTRA       P(real | x) = p_t (1 − s + s q) / ((1 − s) p_t + s q)
    ELECTRA 15 %  P(real | x) = p_t, whatever q is
    Electric      E = −log p_t, whatever q is

A network trained by the objective has to come within 2 % of the closed form's held-out loss and of
its values, and each planted mistake has to miss them. Every token sees itself alone: the others say
nothing of it but how much noise the row holds already.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives.tiny import FIRST_WORD, SPECIAL, tiny_config

from electra_jax.config.model import ElectricConfig, PairConfig
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.corruption import Masking, sample_replacements
from electra_jax.objectives.electra import ElectraObjective, ElectraSettings
from electra_jax.objectives.electra_15 import Electra15Objective
from electra_jax.objectives.electric import ElectricObjective, ElectricSettings
from electra_jax.objectives.losses import masked_lm_loss
from electra_jax.objectives.masking import scatter_update
from electra_jax.objectives.rng import Draws

WORDS, SLOTS, KINDS = 6, 10, 2
LENGTH, VOCAB = SLOTS + 2, FIRST_WORD + WORDS
SHARE = 4 / SLOTS  # round(.3 · 12) of ten candidates
ROWS, STEPS, HELD_OUT = 192, 600, 100
CLOSE = 0.02

# p_t: two kinds of slots in turn.
_logits = np.random.default_rng(3).normal(0.0, 0.7, (KINDS, WORDS))
LANGUAGE = np.exp(_logits) / np.exp(_logits).sum(1, keepdims=True)
P = LANGUAGE[np.arange(SLOTS) % KINDS]  # [slots, words]
ENTROPY = float(-(P * np.log(P)).sum(1).mean())


def rows_of(key, count):
    """int32 [count, LENGTH] of the language."""
    words = jax.random.categorical(key, jnp.log(P)[None], axis=-1, shape=(count, SLOTS))
    ends = jnp.full((count, 1), SPECIAL.cls), jnp.full((count, 1), SPECIAL.sep)
    return jnp.concatenate([ends[0], words + FIRST_WORD, ends[1]], axis=1).astype(jnp.int32)


class Alone(Masking):
    """Masking of rows whose tokens see themselves alone."""

    def structure(self, batch):
        found = super().structure(batch)
        alone = jnp.eye(batch["input_ids"].shape[1], dtype=bool)[None, None]
        return found.replace(inputs=found.inputs.replace(mask=alone, lengths=None))


SHAPE = tiny_config(
    vocab_size=VOCAB, embedding_size=16, num_hidden_layers=1, intermediate_size=32,
    max_position_embeddings=LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    initializer_range=0.1, scan_layers=False,
)  # fmt: skip


def electra(cls=ElectraObjective):
    """Against the uniform generator, q = 1 / vocabulary."""
    settings = ElectraSettings(mask_prob=0.3)
    return cls(PairConfig(SHAPE, None), settings, Alone(settings, SPECIAL, LENGTH))


def electric(cls=ElectricObjective):
    """Against noise that is flatter than the language (temperature 2)."""
    settings = ElectricSettings(mask_prob=0.3, temperature=2.0, discriminator_weight=200.0)
    return cls(ElectricConfig(SHAPE, SHAPE), settings, Alone(settings, SPECIAL, LENGTH))


def trained(objective, seed=0):
    """(parameters after STEPS steps, {name: held-out loss})."""
    key = jax.random.key(seed)
    optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, STEPS))

    def sums(params, step, train):
        ids = rows_of(jax.random.fold_in(key, step), ROWS)
        draws = Draws(key, step, step * ROWS + jnp.arange(ROWS, dtype=jnp.int32))
        return objective.loss(params, {}, {"input_ids": ids}, draws, train)[0]

    def total(params, step):
        return sum(
            c * found[0] / (found[1] + DENOMINATOR_EPSILON)
            for name, found in sums(params, step, True).items()
            if (c := objective.coefficients[name])
        )

    def one(state, step):
        params, moments = state
        updates, moments = optimizer.update(jax.grad(total)(params, step), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})
    def run():
        params = objective.init(key)[0]
        state = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(one, state, jnp.arange(STEPS, dtype=jnp.int32))
        held_out = jnp.arange(STEPS, STEPS + HELD_OUT, dtype=jnp.int32)
        found = jax.lax.map(lambda step: sums(params, step, False), held_out)
        return params, jax.tree.map(jnp.sum, found)

    params, found = jax.device_get(run())
    return params, {name: float(s / w) for name, (s, w) in found.items()}


def outputs(objective, params):
    """The discriminator's logits for every word in every slot, [slots, words]: its tokens see
    themselves alone, so a row of one word asks about that word everywhere."""
    row = jnp.arange(FIRST_WORD, VOCAB)[:, None] * jnp.ones((1, SLOTS), jnp.int32)
    ends = jnp.full((WORDS, 1), SPECIAL.cls), jnp.full((WORDS, 1), SPECIAL.sep)
    ids = jnp.concatenate([ends[0], row, ends[1]], axis=1)
    inputs = objective.masking.structure({"input_ids": ids}).inputs
    return np.asarray(objective.discriminator_logits(params, inputs, None))[:, 1:-1].T


def off(found, expected):
    """Mean deviation as the language weighs it, relative to the mean of what is expected."""
    return float((P * np.abs(found - expected)).sum() / (P * np.abs(expected)).sum())


def real_by_electra(q):
    """(P(real | x), the loss per token of a row): of words alone, since [CLS] and [SEP] are known
    to be real."""
    full = with_specials(P)
    real = full * (1 - SHARE + SHARE * q)
    fake = SHARE * q * (1 - full)
    probability = real / (real + fake)
    return probability[:, FIRST_WORD:], _entropy(real, fake) * SLOTS / LENGTH


def with_specials(p):
    """[slots, words] over the whole vocabulary."""
    return np.pad(p, ((0, 0), (FIRST_WORD, 0)))


def noise_of(objective, params, rows=256):
    """The distribution that noise is sampled from in each slot, [rows, slots, vocabulary]."""
    ids = rows_of(jax.random.key(9), rows)
    draws = Draws(jax.random.key(9), jnp.int32(0), jnp.arange(rows, dtype=jnp.int32))
    masked = objective.masking.mask({"input_ids": ids}, draws)
    logits = objective.cloze_logits(params, objective.noise_states(params, masked, None))
    return np.asarray(jax.nn.softmax(logits / objective.settings.temperature))[:, 1:-1]


def _entropy(real, fake):
    """Mean over slots of −Σ_x real · log P(real | x) + fake · log P(fake | x)."""
    both = real + fake
    parts = [np.where(m > 0, m * np.log(np.where(m > 0, m, 1) / both), 0) for m in (real, fake)]
    return float(-(parts[0] + parts[1]).sum(-1).mean())


def electra_misses(cls=ElectraObjective):
    """Relative distances from the closed form: of the held-out loss, of P(real | x)."""
    objective, q = electra(cls), 1 / VOCAB
    params, loss = trained(objective)
    real, best = real_by_electra(q)
    if cls is Electra15Objective:
        real, best = P, _entropy(q * with_specials(P), q * (1 - with_specials(P)))
    found = 1 / (1 + np.exp(outputs(objective, params)))
    return {"loss": abs(loss["discriminator_loss"] / best - 1), "real": off(found, real)}


def electric_misses(cls=ElectricObjective):
    """Relative distances from the closed forms: of both held-out losses, of the energies."""
    objective = electric(cls)
    params, loss = trained(objective)
    q = noise_of(objective, params)
    best = _entropy((1 - SHARE) * with_specials(P), SHARE * q)
    return {
        "cloze": abs(loss["cloze_loss"] / ENTROPY - 1),
        "loss": abs(loss["discriminator_loss"] / best - 1),
        "energies": off(outputs(objective, params), -np.log(P)),
    }


class HitsCalledFake(ElectraObjective):
    """A sample that is the original counts as replaced."""

    def corrupt(self, rows, sampled):
        inputs, _ = super().corrupt(rows, sampled)
        ones = jnp.ones_like(rows.selection.positions)
        labels = scatter_update(jnp.zeros_like(rows.masked_ids), ones, rows.selection)
        return inputs, labels


class NotDetached(ElectricObjective):
    """The discriminator's loss trains the noise model."""

    def vocabulary_terms(self, params, states, noise, rows, corrupted, draws, train):
        logits = self.cloze_logits(params, states)
        losses = masked_lm_loss(logits, rows.structure.inputs.input_ids)
        return losses, -masked_lm_loss(logits / self.settings.temperature, corrupted)


class TemperatureInTheLossAlone(ElectricObjective):
    """Noise is sampled at temperature 1 and judged at 2."""

    def sample(self, logits, rows, draws, train=True):
        settings = dataclasses.replace(self.settings, temperature=1.0)
        return sample_replacements(settings, logits, rows, draws, train)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [ElectraObjective, Electra15Objective])
def test_electra_s_discriminator_is_the_closed_form(cls):
    assert max(electra_misses(cls).values()) < CLOSE


@pytest.mark.slow
def test_electric_s_energies_are_minus_the_log_of_the_language():
    assert max(electric_misses().values()) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("misses", "mistake"),
    [
        (electra_misses, HitsCalledFake),
        (electric_misses, NotDetached),
        (electric_misses, TemperatureInTheLossAlone),
    ],
)
def test_a_mistake_misses_the_closed_form(misses, mistake):
    assert max(misses(mistake).values()) > CLOSE
