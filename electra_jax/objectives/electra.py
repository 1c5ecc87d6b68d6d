"""The ELECTRA objective: mask, predict, sample, replace, detect — inside the compiled step, from
token ids alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from electra_jax.config import PairConfig
from electra_jax.errors import UserError
from electra_jax.modeling.electra import Electra, Inputs, padding_mask
from electra_jax.objectives.base import Batch, Sums, Tree, total_loss
from electra_jax.objectives.draws import Draws
from electra_jax.objectives.losses import masked_lm_loss, replaced_labels, replaced_token_loss
from electra_jax.objectives.masking import (
    Selection,
    candidates,
    mask_inputs,
    select_with_replacement,
    select_without_replacement,
    slot_count,
    wanted,
    write_slots,
)
from electra_jax.objectives.metrics import auc, auc_counts, ratio, ratios, rtd_skill
from electra_jax.objectives.sampling import gumbel_sample, inverse_cdf_sample, tempered
from electra_jax.objectives.structure import SpecialIds, Structure, row_structure


@dataclasses.dataclass(frozen=True)
class CorruptionSettings:
    """How rows are masked and corrupted.

    `masking`: "without_replacement" or "reference". `sampler`: "inverse_cdf" (two uniforms a
    position) or "gumbel" (the reference's, a uniform for every token of the vocabulary).
    `temperature` is the sampling temperature; with `initial_temperature` set it falls from there
    to `temperature` over `temperature_steps` steps, exponentially in the logarithm's sense
    (Fast-ELECTRA's curriculum). `sample_with_dropout=False` samples from a second forward pass of
    the generator without dropout. `discriminator_loss` "all" counts every token of a row, specials
    included.
    """

    mask_prob: float = 0.15
    masking: str = "without_replacement"
    sampler: str = "inverse_cdf"
    temperature: float = 1.0
    initial_temperature: float | None = None
    temperature_steps: int = 0
    disallow_correct: bool = False
    sample_with_dropout: bool = True
    generator_weight: float = 1.0
    discriminator_weight: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.mask_prob < 1:
            raise UserError(f"objective.mask_prob={self.mask_prob}: must be between 0 and 1")
        for field, allowed in (
            ("masking", ("without_replacement", "reference")),
            ("sampler", ("inverse_cdf", "gumbel")),
        ):
            if getattr(self, field) not in allowed:
                raise UserError(
                    f"objective.{field}={getattr(self, field)!r}: choose one of "
                    f"{', '.join(allowed)}"
                )
        for field in ("temperature", "initial_temperature"):
            value = getattr(self, field)
            if value is not None and value <= 0:
                raise UserError(f"objective.{field}={value}: must be positive")

    def temperature_at(self, step: jax.Array) -> jax.Array:
        """Sampling temperature at a step: final · (initial / final)^(1 − step / steps), then
        final."""
        if self.initial_temperature is None or self.temperature_steps <= 0:
            return jnp.float32(self.temperature)
        left = jnp.clip(1.0 - step.astype(jnp.float32) / self.temperature_steps, 0.0, 1.0)
        return self.temperature * (self.initial_temperature / self.temperature) ** left


@struct.dataclass
class MaskedRows:
    """Rows ready for the generator: `structure` of the originals, `selection`, `masked_ids` int32
    [B, L]."""

    structure: Structure
    selection: Selection
    masked_ids: jax.Array

    @property
    def targets(self) -> jax.Array:
        """The original ids at the selected positions, int32 [B, N]."""
        return jnp.take_along_axis(
            self.structure.inputs.input_ids, self.selection.positions, axis=1
        )

    @property
    def masked_inputs(self) -> Inputs:
        """The generator's inputs."""
        return self.structure.inputs.replace(input_ids=self.masked_ids)  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Masking:
    """Masks rows of one length; shared by ELECTRA and the masked-LM baseline."""

    settings: CorruptionSettings
    special: SpecialIds
    seq_len: int
    max_segments: int = 1

    def __post_init__(self) -> None:
        if self.settings.masking == "reference" and self.max_segments > 1:
            raise UserError(
                "objective.masking='reference' counts whole rows: use rows made with "
                "--packing=reference, or "
                "objective.masking='without_replacement'"
            )

    @property
    def slots(self) -> int:
        """Slots N of every row: the reference's number, or as many as a row can need."""
        share = self.settings.mask_prob
        if self.settings.masking == "reference":
            return slot_count(self.seq_len, share)
        # The reference's number is one short at some lengths: 9 of the 10 that 64 tokens want.
        # In float32, as `wanted` rounds: 0.3 · 95 is 28 in float64 and 29 there.
        whole = int(np.round(np.float32(share) * np.float32(self.seq_len)))
        return max(slot_count(self.seq_len, share, self.max_segments), whole)

    def structure(self, batch: Batch) -> Structure:
        """From ids alone; `attention_mask` and `token_type_ids` in the batch override what the ids
        say."""
        structure = row_structure(batch["input_ids"], self.special, self.max_segments > 1)
        if "attention_mask" in batch:
            valid = batch["attention_mask"] > 0
            mask = padding_mask(valid)
            inputs = structure.inputs.replace(mask=mask, lengths=None)  # type: ignore[attr-defined]
            structure = structure.replace(segment_ids=valid.astype(jnp.int32), inputs=inputs)  # type: ignore[attr-defined]
        if "token_type_ids" in batch:
            inputs = structure.inputs.replace(token_type_ids=batch["token_type_ids"])  # type: ignore[attr-defined]
            structure = structure.replace(inputs=inputs)  # type: ignore[attr-defined]
        return structure

    def selections(self, batch: Batch) -> jax.Array:
        """How many slots a batch uses, float32 []: the masked-LM denominator, known before any
        draw."""
        structure = self.structure(batch)
        may = candidates(batch["input_ids"], structure.valid, self.special)
        numbers = jnp.arange(1, self.max_segments + 1)[None, None, :]
        segments = structure.segment_ids[:, :, None] == numbers
        tokens = jnp.sum(segments, axis=1)
        available = jnp.sum(segments & may[:, :, None], axis=1)
        number = wanted(tokens, self.settings.mask_prob)
        if self.settings.masking == "reference":
            number = jnp.where(available > 0, jnp.minimum(number, self.slots), 0)
        else:
            number = jnp.minimum(number, available)
        return jnp.sum(number).astype(jnp.float32)

    def mask(self, batch: Batch, draws: Draws) -> MaskedRows:
        """Selects and masks a batch."""
        s, structure = self.settings, self.structure(batch)
        ids = batch["input_ids"]
        may = candidates(ids, structure.valid, self.special)
        reference = s.masking == "reference"
        # Draws belong to positions where slots are chosen by position, to slots where slots are
        # drawn.
        if reference:
            slot = jnp.arange(self.slots)[None, :]
            uniforms, show = draws.uniform("select", slot)
            tokens = jnp.sum(structure.valid, axis=1)
            selection = select_with_replacement(may, tokens, uniforms, s.mask_prob, self.slots)
        else:
            uniforms, _ = draws.uniform("select", jnp.arange(ids.shape[1])[None, :])
            selection = select_without_replacement(
                may, structure.segment_ids, uniforms, s.mask_prob, self.slots
            )
            show, _ = draws.uniform("show", selection.positions)
        masked = mask_inputs(ids, selection, show, self.special, average_duplicates=reference)
        return MaskedRows(structure, selection, masked)


def masked_lm_sums(logits: jax.Array, rows: MaskedRows) -> tuple[tuple[jax.Array, jax.Array], Sums]:
    """((loss sum, weight), metrics) of masked-LM logits [B, N, V]."""
    weights = rows.selection.weights
    losses = masked_lm_loss(logits, rows.targets)
    picked = jnp.take_along_axis(logits, rows.targets[..., None], axis=-1)
    # Only the target is as likely as the target: cheaper than finding the likeliest.
    correct = (jnp.sum(logits >= picked, axis=-1) == 1) * weights
    term = (jnp.sum(losses * weights), jnp.sum(weights))
    return term, {"masked_lm_accuracy": (jnp.sum(correct), jnp.sum(weights))}


def discriminator_sums(
    logits: jax.Array, labels: jax.Array, valid: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Sums]:
    """((loss sum, weight), metrics) of discriminator logits [B, L] over all valid tokens, specials
    included."""
    weights = valid.astype(jnp.float32)
    tokens = jnp.sum(weights)
    fake = labels * weights
    flagged = (logits > 0) * weights
    true_above, false_above = auc_counts(jax.nn.sigmoid(logits), labels, weights)
    metrics = {
        "tokens": (tokens, jnp.ones(())),
        "replaced_rate": (jnp.sum(fake), tokens),
        "discriminator_accuracy": (jnp.sum((flagged == labels) * weights), tokens),
        "discriminator_precision": (jnp.sum(flagged * fake), jnp.sum(flagged)),
        "discriminator_recall": (jnp.sum(flagged * fake), jnp.sum(fake)),
        "discriminator_auc": (true_above, false_above),
    }
    losses = replaced_token_loss(logits, labels)
    return (jnp.sum(losses * weights), tokens), metrics


@dataclasses.dataclass(frozen=True)
class ElectraObjective:
    """Joint training of generator and discriminator (paper, section 2; reference
    `run_pretraining.py`)."""

    config: PairConfig
    settings: CorruptionSettings
    masking: Masking

    @property
    def model(self) -> Electra:
        """The Linen module of the pair."""
        return Electra(self.config)

    @property
    def coefficients(self) -> Mapping[str, float]:
        """total = generator_weight · L_G + discriminator_weight · L_D."""
        return {
            "generator_loss": self.settings.generator_weight,
            "discriminator_loss": self.settings.discriminator_weight,
        }

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh parameters; nothing is frozen."""
        ids = jnp.zeros((1, self.masking.seq_len), jnp.int32)
        inputs = Inputs(ids, padding_mask(ids + 1))
        return self.model.init(key, inputs, ids[:, :1])["params"], {}

    def weights(self, batch: Batch) -> dict[str, jax.Array]:
        """Selected slots and valid tokens of a batch."""
        valid = self.masking.structure(batch).valid
        return {
            "generator_loss": self.masking.selections(batch),
            "discriminator_loss": jnp.sum(valid).astype(jnp.float32),
        }

    def sample(
        self, logits: jax.Array, rows: MaskedRows, draws: Draws, train: bool = True
    ) -> jax.Array:
        """Replacement ids int32 [B, N]; evaluation samples at the final temperature."""
        s = self.settings
        temperature = s.temperature_at(draws.step) if train else jnp.float32(s.temperature)
        forbidden = rows.targets if s.disallow_correct else None
        logits = tempered(logits, temperature, forbidden)
        # With distinct positions a draw belongs to its position; duplicates need one for each slot.
        at = rows.selection.positions
        if s.masking == "reference":
            at = jnp.arange(at.shape[1])[None, :]
        if s.sampler == "gumbel":
            return gumbel_sample(logits, draws.uniform_units("sample", at, logits.shape[-1]))
        return inverse_cdf_sample(logits, *draws.uniform("sample", at))

    def corrupt(self, rows: MaskedRows, sampled: jax.Array) -> tuple[Inputs, jax.Array]:
        """The discriminator's inputs and labels int32 [B, L], from replacement ids [B, N]."""
        original = rows.structure.inputs
        averaged = self.settings.masking == "reference"
        ids = write_slots(original.input_ids, sampled, rows.selection, average_duplicates=averaged)
        labels = replaced_labels(original.input_ids, ids, rows.structure.valid)
        return original.replace(input_ids=ids), labels  # type: ignore[attr-defined]

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms `generator_loss`, `discriminator_loss` and the metrics of both networks.

        A batch may bring its own `sampled_ids` int32 [B, N] in place of draws (to compare runs
        given the same samples).
        """
        rows = self.masking.mask(batch, draws)
        return self.loss_of(params, rows, draws, train, batch.get("sampled_ids"))

    def loss_of(
        self,
        params: Tree,
        rows: MaskedRows,
        draws: Draws,
        train: bool,
        sampled: jax.Array | None = None,
    ) -> tuple[Sums, Sums]:
        """`loss` of rows that are masked already; samples replacements unless given."""
        model = self.model
        generator_noise = draws.noise("generator_dropout") if train else None
        discriminator_noise = draws.noise("discriminator_dropout") if train else None

        def generator(noise: Any) -> Any:
            return model.apply(
                {"params": params},
                rows.masked_inputs,
                rows.selection.positions,
                noise,
                method="generator_logits",
            )

        logits: Any = generator(generator_noise)
        generator_term, metrics = masked_lm_sums(logits, rows)
        if sampled is None:
            quiet = train and not self.settings.sample_with_dropout
            sampled = self.sample(generator(None) if quiet else logits, rows, draws, train)
        hits = jnp.sum((sampled == rows.targets) * rows.selection.weights)
        metrics["sampled_accuracy"] = (hits, generator_term[1])

        inputs, labels = self.corrupt(rows, sampled)
        logits = model.apply(
            {"params": params}, inputs, discriminator_noise, method="discriminator_logits"
        )
        discriminator_term, more = discriminator_sums(logits, labels, rows.structure.valid)
        terms = {"generator_loss": generator_term, "discriminator_loss": discriminator_term}
        return terms, {**metrics, **more}

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """The metrics of metrics.jsonl from summed terms and metrics."""
        names = ["generator_loss", "discriminator_loss", "masked_lm_accuracy", "sampled_accuracy"]
        names += ["replaced_rate", "discriminator_accuracy"]
        names += ["discriminator_precision", "discriminator_recall"]
        row = {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
        row["discriminator_auc"] = auc(*sums["discriminator_auc"])
        row["rtd_skill"] = rtd_skill(row["discriminator_loss"], row["replaced_rate"])
        return row


__all__ = ["CorruptionSettings", "ElectraObjective", "MaskedRows", "Masking", "ratio"]
