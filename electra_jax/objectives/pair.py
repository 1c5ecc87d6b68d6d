"""A generator that corrupts rows for a discriminator: the networks of such objectives, how they
start, and what is exported. The losses on the corrupted rows are each objective's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.config.pretraining import GENERATORS
from electra_jax.config.schedule import Schedule
from electra_jax.errors import UserError
from electra_jax.flops import train_flops_per_token
from electra_jax.modeling.dropout import DropoutRng
from electra_jax.modeling.electra import Electra, Inputs, padding_mask
from electra_jax.objectives.base import (
    Batch,
    NetworkOf,
    RunShape,
    Sums,
    TrainedPart,
    Tree,
)
from electra_jax.objectives.configured import ConfiguredObjective
from electra_jax.objectives.corruption import (
    MaskedRows,
    Masking,
    replace_tokens,
    sample_replacements,
)
from electra_jax.objectives.corruption_settings import CorruptionSettings
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.terms import masked_lm_sums
from electra_jax.objectives.unigram import log_frequencies

HEAD = "discriminator_predictions"  # for replaced tokens

Self = TypeVar("Self", bound="PairObjective")
# The terms that train what corrupts rows; all others train the discriminator.
GENERATOR_TERMS = ("generator_loss", "cloze_loss")


def pair_from_config(config: Mapping[str, Any], vocab_size: int, pad_token_id: int) -> PairConfig:
    """The pair that `model.*` and `train.dtype` describe, over a tokenizer's vocabulary."""
    model = dict(config["model"])
    generator, sharing = dict(model.pop("generator")), model.pop("sharing")
    if model.pop("vocab_size", None) not in (None, vocab_size):
        raise UserError(
            f"model.vocab_size={config['model']['vocab_size']} and the rows' tokenizer has "
            f"{vocab_size}: "
            "leave model.vocab_size=None"
        )
    discriminator = ElectraConfig(
        **model, vocab_size=vocab_size, pad_token_id=pad_token_id, dtype=config["train"]["dtype"]
    )
    kind = generator.pop("kind")
    if kind not in GENERATORS:
        raise UserError(f"model.generator.kind={kind!r}: choose one of {', '.join(GENERATORS)}")
    if kind != "network":
        return PairConfig(discriminator, None, sharing)
    if sharing == "all":
        return PairConfig(discriminator, discriminator, sharing)
    if sharing == "none":  # "nes" keeps the discriminator's width
        generator["embedding_size"] = generator["hidden_size"]
    return PairConfig(discriminator, discriminator.replace(**generator), sharing)


def masking_of(settings: Any, run: RunShape) -> Masking:
    """The masking of a run's rows."""
    starts = np.asarray(run.word_starts(), bool).tobytes() if settings.whole_words else None
    return Masking(settings, run.special, run.seq_len, run.max_segments, word_starts=starts)


@struct.dataclass
class Corrupted:
    """A batch as the generator left it: the discriminator's `inputs` and `labels` int32 [B, L]
    (1: replaced), `sampled` int32 [B, N]; the generator's own loss as `term` (sum, weight), and its
    metrics."""

    inputs: Inputs
    labels: jax.Array
    sampled: jax.Array
    term: tuple[jax.Array, jax.Array]
    metrics: Sums


@dataclasses.dataclass(frozen=True)
class PairObjective(ConfiguredObjective):
    """An objective over a generator and a discriminator; `settings` are a `CorruptionSettings`.

    `unigram` holds the log frequency of every token [V] where replacements are drawn from them.
    """

    config: PairConfig
    settings: Any
    masking: Masking
    unigram: tuple[float, ...] | None = None

    Settings: ClassVar[type[Any]] = CorruptionSettings

    @classmethod
    def from_config(cls: type[Self], settings: Any, run: RunShape) -> Self:
        """Over the pair that `model.*` describes, or the shapes of what `init` names."""
        pair = pair_from_config(run.config, run.vocab_size, run.special.pad)
        init, init_generator = run.config["init"], run.config["init_generator"]
        if init or init_generator:
            from electra_jax.interop.warm_start import initial_config

            pair = initial_config(init, init_generator, pair)
        run.check_positions(pair.discriminator.max_position_embeddings)
        settings = settings.over(run.steps)
        unigram = None
        if run.config["model"]["generator"]["kind"] == "unigram":
            unigram = log_frequencies(run.token_counts(), run.special)
        return cls(pair, settings, masking_of(settings, run), unigram)

    @property
    def model(self) -> Electra:
        """The Linen module of the pair."""
        return Electra(self.config)

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh parameters; nothing is frozen."""
        ids = jnp.zeros((1, self.masking.seq_len), jnp.int32)
        inputs = Inputs(ids, padding_mask(ids + 1))
        params = self.model.init(key, inputs, ids[:, :1])["params"]
        if self.settings.zero_head and HEAD in params:
            last = params[HEAD]["dense_1"]
            last = {**last, "kernel": jnp.zeros_like(last["kernel"])}
            params = {**params, HEAD: {**params[HEAD], "dense_1": last}}
        return params, {}

    def networks(self, params: Tree) -> dict[str, NetworkOf]:
        """Both networks; the discriminator alone where the generator is none."""
        from electra_jax.interop.mapping.pair import split_pair

        parts = split_pair(self.config, params)
        return {kind: NetworkOf(kind, *part) for kind, part in parts.items() if part is not None}

    def flops_per_token(self, seq_len: int) -> float:
        """Of both networks; the masked-LM head at the largest mask rate."""
        share = Schedule.parse(self.settings.mask_prob).maximum
        return train_flops_per_token(self.config, seq_len, share)

    def parts(self) -> Sequence[TrainedPart]:
        """Generator and discriminator; what they share is the discriminator's. None where they are
        one network, or the generator has no parameters."""
        if self.config.generator is None or self.config.sharing == "all":
            return ()
        sums = ("masked_lm_accuracy", "sampled_accuracy")
        own = tuple(name for name in self.coefficients if name in GENERATOR_TERMS)
        others = tuple(name for name in self.coefficients if name not in own)
        return (
            TrainedPart("generator", r"^(generator|cloze)", own, sums),
            TrainedPart("discriminator", "", others),
        )

    @property
    def in_turn(self) -> bool:
        """Where the generator has tables of its own."""
        return self.config.own_embeddings

    def kept(self, params: Tree, frozen: Tree, batch: Batch, draws: Draws) -> dict[str, jax.Array]:
        """The replacements that the generator samples before its update."""
        if "sampled_ids" in batch:
            return {}
        rows = self.masking.mask(batch, draws, True)
        logits = self.generator_logits(params, rows, self.dropout(draws, True)[0])
        return {"sampled_ids": self.replacements(params, logits, rows, draws, True)}

    def dropout(self, draws: Draws, train: bool) -> tuple[DropoutRng | None, DropoutRng | None]:
        """Dropout RNGs of the generator (None with `generator_dropout=False`) and of the
        discriminator; None in evaluation."""
        if not train:
            return None, None
        generator = draws.noise("generator_dropout") if self.settings.generator_dropout else None
        return generator, draws.noise("discriminator_dropout")

    def generator_logits(
        self, params: Tree, rows: MaskedRows, dropout_rng: DropoutRng | None
    ) -> jax.Array:
        """Logits float32 [B, N, V] at the selected positions."""
        if self.unigram is not None:
            table = jnp.asarray(np.array(self.unigram, np.float32))[None, None]
            return jnp.broadcast_to(table, (*rows.targets.shape, table.shape[-1]))
        found: Any = self.model.apply(
            {"params": params},
            rows.masked_inputs,
            rows.selection.positions,
            dropout_rng,
            method="generator_logits",
        )
        return found

    def replacements(
        self, params: Tree, logits: jax.Array, rows: MaskedRows, draws: Draws, train: bool
    ) -> jax.Array:
        """Sampled ids int32 [B, N]; with `sample_with_dropout=False` from logits of a second pass
        without dropout."""
        if train and not self.settings.sample_with_dropout:
            logits = self.generator_logits(params, rows, None)
        return self.sample(logits, rows, draws, train)

    def corrupted(
        self,
        params: Tree,
        rows: MaskedRows,
        dropout_rng: DropoutRng | None,
        draws: Draws,
        train: bool,
        sampled: jax.Array | None = None,
    ) -> Corrupted:
        """Masked rows after the generator: predicted, sampled (unless `sampled` is given) and
        replaced."""
        logits = self.generator_logits(params, rows, dropout_rng)
        term, metrics = masked_lm_sums(logits, rows, self.settings.z_loss)
        if sampled is None:
            sampled = self.replacements(params, logits, rows, draws, train)
        hits = jnp.sum((sampled == rows.targets) * rows.selection.weights)
        metrics["sampled_accuracy"] = (hits, term[1])
        inputs, labels = self.corrupt(rows, sampled)
        return Corrupted(inputs, labels, sampled, term, metrics)

    def discriminator_hidden(
        self, params: Tree, inputs: Inputs, dropout_rng: DropoutRng | None
    ) -> jax.Array:
        """The discriminator's hidden states [B, L, H]."""
        found: Any = self.model.apply(
            {"params": params}, inputs, dropout_rng, method="discriminator_hidden"
        )
        return found

    def discriminator_logits(
        self, params: Tree, inputs: Inputs, dropout_rng: DropoutRng | None
    ) -> jax.Array:
        """Logits float32 [B, L] that a token was replaced."""
        found: Any = self.model.apply(
            {"params": params}, inputs, dropout_rng, method="discriminator_logits"
        )
        return found

    def sample(
        self, logits: jax.Array, rows: MaskedRows, draws: Draws, train: bool = True
    ) -> jax.Array:
        """Replacement ids int32 [B, N]."""
        return sample_replacements(self.settings, logits, rows, draws, train)

    def corrupt(self, rows: MaskedRows, sampled: jax.Array) -> tuple[Inputs, jax.Array]:
        """The discriminator's inputs and labels int32 [B, L]."""
        return replace_tokens(self.settings, rows, sampled)
