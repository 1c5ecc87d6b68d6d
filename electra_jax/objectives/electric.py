"""Electric (Clark et al. 2020): noise-contrastive estimation of p(token | the others).

A noise model q of two causal towers predicts every token of the unmasked row. Some tokens are
replaced by its samples, and the discriminator, whose output is an energy E, tells them from the
text by the logit E + log q + log(odds of noise). At the optimum E = −log p of the language,
whatever q is, so that −ΣE is the pseudo-log-likelihood of a text, in one pass.

With `nce="reference"` three things are as in the original code: [CLS] and [SEP] count although q
never learnt them, the odds are those of the nominal mask rate, and q in the loss has temperature 1
whatever the sampler's is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.config.fields import field
from electra_jax.config.model import ElectricConfig
from electra_jax.config.schedule import Schedule
from electra_jax.errors import UserError
from electra_jax.flops import electric_flops_per_token
from electra_jax.modeling.dropout import DropoutRng
from electra_jax.modeling.electra import gather_positions
from electra_jax.modeling.electric import Electric
from electra_jax.objectives.base import (
    Batch,
    Metric,
    NetworkOf,
    RunShape,
    Sums,
    Tree,
    total_loss,
)
from electra_jax.objectives.chunks import by_chunks
from electra_jax.objectives.corruption import MaskedRows, replace_tokens
from electra_jax.objectives.electra import ElectraSettings
from electra_jax.objectives.losses import masked_lm_loss
from electra_jax.objectives.masking import candidates, scatter_update
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.pair import PairObjective, masking_of, pair_from_config
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.row_structure import Structure
from electra_jax.objectives.sampling import tempered
from electra_jax.objectives.terms import (
    DISCRIMINATOR_METRICS,
    MASK_RATE,
    MASKED_LM_METRICS,
    SAMPLING_METRICS,
    discriminator_sums,
    masked_lm_sums,
    summarize_discriminator,
)
from electra_jax.objectives.unigram import unigram_block

NCE = ("exact", "reference")
CLOZE_LOSS = Metric("cloze_loss", "Noise model's loss", "nats per token", -1, "Generator", True)
ENERGY = Metric(
    "energy", "Energy", "its −log p of the tokens of the text, nats per token", 0, "Discriminator"
)


@dataclasses.dataclass(frozen=True)
class ElectricSettings(ElectraSettings):
    """ELECTRA's, and how noise is told from the text."""

    nce: str = field(
        "exact",
        "exact: E = −log p at the optimum; reference: the original code, off at [CLS], [SEP] and "
        "in short documents",
        choices=NCE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nce not in NCE:
            raise UserError(f"objective.nce={self.nce!r}: choose one of {', '.join(NCE)}")
        for name, value in (("masking", "reference"), ("disallow_correct", True)):
            if self.nce == "exact" and getattr(self, name) == value:
                raise UserError(
                    f"objective.{name}={value!r}: replacements would not be samples of the noise "
                    "model, whose probabilities enter the loss: leave it, or set "
                    "objective.nce='reference'"
                )
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        for name in ("hidden_prob", "masked_share", "ngrams", "replaced_share", "whole_words"):
            if getattr(self, name) != defaults[name]:
                raise UserError(
                    f"objective.{name}={getattr(self, name)!r}: Electric's noise model hides no "
                    "token and samples single ones: leave it"
                )
        if self.z_loss:
            raise UserError(f"objective.z_loss={self.z_loss}: not part of Electric: leave it at 0")


@dataclasses.dataclass(frozen=True)
class ElectricObjective(PairObjective):
    """Joint training of the noise model and of the discriminator that gives energies."""

    config: ElectricConfig

    Settings: ClassVar[type[Any]] = ElectricSettings
    metrics: ClassVar[tuple[Metric, ...]] = (
        *DISCRIMINATOR_METRICS,
        ENERGY,
        CLOZE_LOSS,
        *(metric for metric in MASKED_LM_METRICS if metric.key == "masked_lm_accuracy"),
        *SAMPLING_METRICS,
        MASK_RATE,
    )

    @classmethod
    def from_config(cls, settings: Any, run: RunShape) -> ElectricObjective:
        """Over the towers and the discriminator that `model.*` describes, or the shapes of what
        `init` names."""
        if run.config["init_generator"]:
            raise UserError(
                "init_generator: Electric's noise model is two causal towers, which no other model "
                "can start; with init=ELECTRIC they start from that model's"
            )
        pair = pair_from_config(run.config, run.vocab_size, run.special.pad)
        config = ElectricConfig(pair.discriminator, pair.generator, pair.sharing)
        if run.config["init"]:
            from electra_jax.interop.warm_start import initial_config

            config = initial_config(run.config["init"], None, config)
        run.check_positions(config.discriminator.max_position_embeddings)
        settings = settings.over(run.steps)
        return cls(config, settings, masking_of(settings, run))

    @property
    def in_turn(self) -> bool:
        """Never: the noise model's probabilities enter the discriminator's loss."""
        return False

    @property
    def model(self) -> Electric:
        """The Linen module of both networks."""
        return Electric(self.config)

    @property
    def exact(self) -> bool:
        """Whether the energies are −log p at the optimum."""
        return bool(self.settings.nce == "exact")

    @property
    def coefficients(self) -> Mapping[str, float | Schedule]:
        """total = generator_weight · L_cloze + discriminator_weight · L_NCE."""
        return {
            "cloze_loss": self.settings.generator_weight,
            "discriminator_loss": self.settings.discriminator_weight,
        }

    def explain(self) -> Sequence[str]:
        """The total loss, and what is no figure of merit here."""
        return [
            *super().explain(),
            "AUC and skill fall as the noise becomes as good as the text: 0.5 and 0 are the best "
            "that any discriminator does against perfect noise",
        ]

    def networks(self, params: Tree) -> dict[str, NetworkOf]:
        """The discriminator, which `transformers` computes, and the noise model."""
        from electra_jax.interop.mapping.pair import ELECTRIC_SETTINGS, split_pair

        parts = split_pair(self.config, params)
        energies = {"discriminator": ELECTRIC_SETTINGS}
        return {
            kind: NetworkOf(kind, *part, energies.get(kind, {}))
            for kind, part in parts.items()
            if part is not None
        }

    def flops_per_token(self, seq_len: int) -> float:
        """Of the discriminator, both towers, and the head at every position."""
        share = Schedule.parse(self.settings.mask_prob).maximum
        return electric_flops_per_token(self.config, seq_len, share)

    def report_blocks(self, held_out: Any) -> list[dict[str, Any]]:
        """The entropy of the token frequencies, beside the noise model's loss."""
        return [unigram_block(held_out, CLOZE_LOSS.key)]

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """Numbers of candidates, and of the tokens that noise is told from."""
        structure = self.masking.structure(batch)
        counted, _ = self.noise_odds(structure, step)
        return {
            "cloze_loss": jnp.sum(self.candidates(structure)).astype(jnp.float32),
            "discriminator_loss": jnp.sum(counted).astype(jnp.float32),
        }

    def candidates(self, structure: Structure) -> jax.Array:
        """bool [B, L]: the tokens that noise may replace."""
        ids = structure.inputs.input_ids
        return candidates(ids, structure.valid, self.masking.special)

    def noise_odds(
        self, structure: Structure, step: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """(the tokens that count, bool [B, L]; log of the odds that one of them is noise, float32
        broadcastable to [B, L]).

        Exact: a document has k of its c candidates replaced, so the odds are k / (c − k); where all
        are replaced nothing can be told. Reference: every token, odds of the nominal rate.
        """
        if not self.exact:
            rate = jnp.float32(self.masking.share_at(step))
            return structure.valid, (jnp.log(rate) - jnp.log1p(-rate))[None, None]
        number, available, segments = self.masking.counts(structure, step)
        left = available - number
        odds = jnp.log(jnp.maximum(number, 1) / jnp.maximum(left, 1))
        of_token = jnp.sum(segments * odds[:, None, :], axis=2)
        some_left = jnp.any(segments & (left > 0)[:, None, :], axis=2)
        return self.candidates(structure) & some_left, of_token

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms `cloze_loss`, `discriminator_loss` and the metrics of both networks.

        A batch may hold `sampled_ids` int32 [B, N], which are then used as the replacements.
        """
        rows = self.masking.mask(batch, draws, train)
        return self.loss_of(params, rows, draws, train, batch.get("sampled_ids"))

    def loss_of(
        self,
        params: Tree,
        rows: MaskedRows,
        draws: Draws,
        train: bool,
        sampled: jax.Array | None = None,
    ) -> tuple[Sums, Sums]:
        """`loss` of rows whose positions are selected; samples replacements unless given."""
        noise_rng, discriminator_rng = self.dropout(draws, train)
        states = noise_states = self.noise_states(params, rows, noise_rng)
        if train and not self.settings.sample_with_dropout:
            noise_states = self.noise_states(params, rows, None)
        chosen = gather_positions(noise_states, rows.selection.positions)
        logits = self.cloze_logits(params, chosen)
        if sampled is None:
            sampled = self.sample(logits, rows, draws, train)
        (_, selected), metrics = masked_lm_sums(logits, rows)
        hits = jnp.sum((sampled == rows.targets) * rows.selection.weights)
        metrics["sampled_accuracy"] = (hits, selected)

        inputs, _ = replace_tokens(self.settings, rows, sampled)
        losses, log_q = self.vocabulary_terms(
            params, states, noise_states, rows, inputs.input_ids, draws, train
        )
        may = self.candidates(rows.structure).astype(jnp.float32)
        terms: Sums = {"cloze_loss": (jnp.sum(losses * may), jnp.sum(may))}

        energies = self.discriminator_logits(params, inputs, discriminator_rng)
        counted, odds = self.noise_odds(rows.structure, draws.step if train else None)
        labels = self.noise_labels(rows)
        nce, more = discriminator_sums(energies + log_q + odds, labels, counted)
        terms["discriminator_loss"] = nce
        text = may * (1 - labels)
        more["energy"] = (jnp.sum(energies * text), jnp.sum(text))
        more["tokens"] = (jnp.sum(rows.structure.valid).astype(jnp.float32), jnp.ones(()))
        more |= self.masking.rate_metric(draws, train)
        return terms, {**metrics, **more}

    def noise_labels(self, rows: MaskedRows) -> jax.Array:
        """int32 [B, L]: 1 where a token was sampled, be it the original one or not."""
        nowhere = jnp.zeros_like(rows.masked_ids)
        ones = jnp.ones_like(rows.selection.positions)
        averaged = self.settings.masking == "reference"
        return scatter_update(nowhere, ones, rows.selection, average_duplicates=averaged)

    def noise_states(
        self, params: Tree, rows: MaskedRows, dropout_rng: DropoutRng | None
    ) -> jax.Array:
        """The towers' states [B, L, 2 Hg] on the unmasked rows."""
        found: Any = self.model.apply(
            {"params": params}, rows.structure.inputs, dropout_rng, method="generator_hidden"
        )
        return found

    def cloze_logits(self, params: Tree, states: jax.Array) -> jax.Array:
        """The noise model's logits float32 [..., V] of its states."""
        found: Any = self.model.apply({"params": params}, states, method="cloze_logits")
        return found

    def vocabulary_terms(
        self,
        params: Tree,
        states: jax.Array,
        noise_states: jax.Array,
        rows: MaskedRows,
        corrupted: jax.Array,
        draws: Draws,
        train: bool,
    ) -> tuple[jax.Array, jax.Array]:
        """(the noise model's loss of the original tokens; log q of the `corrupted` ones, without a
        gradient), float32 [B, L], the vocabulary computed for a part of the row at a time."""
        temperature = self.settings.temperature_in(draws, train) if self.exact else 1.0
        same = noise_states is states
        samplers = () if same else (noise_states,)

        def part(
            hidden: jax.Array, original: jax.Array, corrupted: jax.Array, *sampler: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            logits = self.cloze_logits(params, hidden)
            noise = self.cloze_logits(params, *sampler) if sampler else logits
            log_q = -masked_lm_loss(tempered(noise, temperature), corrupted)
            return masked_lm_loss(logits, original), log_q

        original = rows.structure.inputs.input_ids
        found: tuple[jax.Array, jax.Array] = by_chunks(part, states, original, corrupted, *samplers)
        return found

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """The metrics of metrics.jsonl from summed terms and metrics."""
        names = ["cloze_loss", "energy", "masked_lm_accuracy", "sampled_accuracy"]
        names += [MASK_RATE.key] * (MASK_RATE.key in sums)
        row = {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
        return {**row, **summarize_discriminator(sums)}

    def warm_start(
        self, init: str | None, init_generator: str | None, fresh: Tree, tokenizer_folder: Any
    ) -> tuple[Tree, list[str], int | None]:
        """The discriminator from any discriminator, pair or encoder; with an Electric model its
        noise model too."""
        from electra_jax.interop.warm_start import initial_electric

        return initial_electric(init, self.config, fresh, tokenizer_folder)
