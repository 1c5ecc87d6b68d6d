"""Masking and replacing tokens, shared by every objective that corrupts rows: the selection of
positions, the generator's inputs, the sampled replacements.

All of it happens inside the compiled step, from token ids alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from electra_jax.config.schedule import Schedule
from electra_jax.errors import UserError
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.objectives.base import Batch
from electra_jax.objectives.corruption_settings import CorruptionSettings, MaskingSettings
from electra_jax.objectives.losses import replaced_labels
from electra_jax.objectives.masking import (
    Selection,
    candidates,
    group_starts,
    mask_inputs,
    max_predictions_per_seq,
    num_to_mask,
    of_group,
    scatter_update,
    select_with_replacement,
    select_without_replacement,
)
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.row_structure import SpecialIds, Structure, row_structure
from electra_jax.objectives.sampling import gumbel_sample, inverse_cdf_sample, tempered


@struct.dataclass
class MaskedRows:
    """Rows ready for the generator: `structure` of the originals, `selection` of what it predicts,
    `masked_ids` int32 [B, L]; `replaced`: what of the selection the discriminator sees replaced
    (None: all)."""

    structure: Structure
    selection: Selection
    masked_ids: jax.Array
    replaced: Selection | None = None

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
    """Masks rows of one length.

    Arrays are sized by the largest mask rate of the run. Evaluation masks `evaluation_share` where
    an objective gives one, otherwise the settings' `eval_mask_prob`, or the final rate; it hides
    what it predicts and replaces all of it. `word_starts` are the bytes of a bool for each token of
    the vocabulary, whether it begins a word, which `whole_words` needs.
    """

    settings: MaskingSettings
    special: SpecialIds
    seq_len: int
    max_segments: int = 1
    evaluation_share: float | None = None
    word_starts: bytes | None = None

    def __post_init__(self) -> None:
        if self.settings.masking == "reference" and self.max_segments > 1:
            raise UserError(
                "objective.masking='reference' counts whole rows: use rows made with "
                "--packing=reference, or "
                "objective.masking='without_replacement'"
            )

    @property
    def max_predictions(self) -> int:
        """Array size N for the predictions of a row: the reference's, or the most that a row can
        need."""
        share = Schedule.parse(self.settings.mask_prob).maximum
        return self._slots(max(share, self.share_at(None)))

    def _slots(self, share: float) -> int:
        if self.settings.masking == "reference":
            return max_predictions_per_seq(self.seq_len, share)
        # The reference's number is one short at some lengths: 9 of the 10 that 64 tokens need.
        # In float32, as `num_to_mask` rounds: 0.3 · 95 is 28 in float64 and 29 there.
        whole = int(np.round(np.float32(share) * np.float32(self.seq_len)))
        return max(max_predictions_per_seq(self.seq_len, share, self.max_segments), whole)

    def share_at(self, step: jax.Array | None) -> Any:
        """The mask rate at a training step (a Python number where it is constant); None: in
        evaluation."""
        schedule = Schedule.parse(self.settings.mask_prob)
        if step is not None:
            return schedule.at(step)
        given = (self.evaluation_share, self.settings.eval_mask_prob, schedule.final)
        return next(share for share in given if share is not None)

    def rate_metric(self, draws: Draws, train: bool) -> dict[str, tuple[jax.Array, jax.Array]]:
        """The mask rate of a training step as the metric `mask_prob`, where it changes."""
        if not train or Schedule.parse(self.settings.mask_prob).is_constant:
            return {}
        return {"mask_prob": (jnp.float32(self.share_at(draws.step)), jnp.ones(()))}

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

    def selections(self, batch: Batch, step: jax.Array | None = None) -> jax.Array:
        """Number of selected positions of a batch at a training step (None: in evaluation),
        float32 []: the denominator of the masked-LM loss, a function of lengths alone."""
        number, _, _ = self.counts(self.structure(batch), step)
        return jnp.sum(number).astype(jnp.float32)

    def counts(
        self, structure: Structure, step: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of each of a row's S segments: the numbers of selected positions and of candidates,
        int32 [B, S], and its tokens, bool [B, L, S]."""
        ids = structure.inputs.input_ids
        selectable = candidates(ids, structure.valid, self.special)
        numbers = jnp.arange(1, self.max_segments + 1)[None, None, :]
        segments = structure.segment_ids[:, :, None] == numbers
        tokens = jnp.sum(segments, axis=1)
        available = jnp.sum(segments & selectable[:, :, None], axis=1)
        number = num_to_mask(tokens, self.share_at(step))
        if self.settings.masking == "reference":
            number = jnp.where(available > 0, jnp.minimum(number, self.max_predictions), 0)
        else:
            number = jnp.minimum(number, available)
        return number, available, segments

    def mask(self, batch: Batch, draws: Draws, train: bool = True) -> MaskedRows:
        """Selects and masks a batch."""
        s, structure = self.settings, self.structure(batch)
        share = self.share_at(draws.step if train else None)
        ids = batch["input_ids"]
        selectable = candidates(ids, structure.valid, self.special)
        reference = s.masking == "reference"
        # Without replacement a random number belongs to a position of the row; with replacement
        # to an entry of the selection.
        if reference:
            entries = jnp.arange(self.max_predictions)[None, :]
            uniforms, show = draws.uniform("select", entries)
            tokens = jnp.sum(structure.valid, axis=1)
            selection = select_with_replacement(
                selectable, tokens, uniforms, share, self.max_predictions
            )
        else:
            uniforms, _ = draws.uniform("select", jnp.arange(ids.shape[1])[None, :])
            uniforms = self._grouped(uniforms, ids, selectable, draws)

            def select(share: Any, slots: int) -> Selection:
                return select_without_replacement(
                    selectable, structure.segment_ids, uniforms, share, slots
                )

            selection = hidden = select(share, self.max_predictions)
            most = Schedule.parse(s.hidden_prob)
            if train and most.maximum > 0:
                # The first of an order that all share: what is predicted is among what is hidden.
                share = jnp.maximum(share, most.at(draws.step))
                hidden = select(share, max(self.max_predictions, self._slots(most.maximum)))
            show, _ = draws.uniform("show", hidden.positions)
        if reference:
            hidden = selection
        masked = mask_inputs(
            ids,
            hidden,
            show,
            self.special,
            average_duplicates=reference,
            masked_share=s.masked_share,
        )
        return MaskedRows(structure, selection, masked, self._replaced(selection, draws, train))

    def _grouped(
        self, uniforms: jax.Array, ids: jax.Array, selectable: jax.Array, draws: Draws
    ) -> jax.Array:
        """The uniforms [B, L] that order the selection, one for all tokens of a word or n-gram."""
        weights = self.settings.ngrams or (1.0,)
        if not self.settings.whole_words and len(weights) == 1:
            return uniforms
        words = jnp.ones(ids.shape, bool)
        if self.settings.whole_words:
            if self.word_starts is None:
                raise ValueError("whole_words needs the vocabulary's word_starts")
            words = jnp.asarray(np.frombuffer(self.word_starts, bool))[ids]
        position = jnp.arange(ids.shape[1])[None, :]
        below = np.cumsum(weights)[:-1] / np.sum(weights)
        drawn = draws.uniform("ngram", position)[0][..., None]
        lengths = 1 + jnp.sum(drawn >= jnp.asarray(below, jnp.float32)[None, None, :], axis=-1)
        return of_group(uniforms, group_starts(selectable, words, lengths, len(weights)))

    def _replaced(self, selection: Selection, draws: Draws, train: bool) -> Selection | None:
        """What of a selection the discriminator sees replaced in training."""
        share = Schedule.parse(getattr(self.settings, "replaced_share", 1.0))
        if not train or share.minimum == 1:
            return None
        counter = selection.positions
        if self.settings.masking == "reference":
            counter = jnp.arange(counter.shape[1])[None, :]
        kept = draws.uniform("replace", counter)[0] < share.at(draws.step)
        return selection.replace(weights=selection.weights * kept)  # type: ignore[attr-defined]


def sample_replacements(
    settings: CorruptionSettings,
    logits: jax.Array,
    rows: MaskedRows,
    draws: Draws,
    train: bool = True,
) -> jax.Array:
    """Replacement ids int32 [B, N] from the generator's logits [B, N, V]; evaluation samples at the
    final temperature."""
    s = settings
    temperature = s.temperature_in(draws, train)
    forbidden = rows.targets if s.disallow_correct else None
    logits = tempered(logits, temperature, forbidden)
    # Random numbers by position where positions are distinct; duplicates need one for each entry.
    counter = rows.selection.positions
    if s.masking == "reference":
        counter = jnp.arange(counter.shape[1])[None, :]
    if s.sampler == "gumbel":
        return gumbel_sample(logits, draws.uniform_units("sample", counter, logits.shape[-1]))
    return inverse_cdf_sample(logits, *draws.uniform("sample", counter))


def replace_tokens(
    settings: MaskingSettings, rows: MaskedRows, sampled: jax.Array
) -> tuple[Inputs, jax.Array]:
    """The discriminator's inputs and labels int32 [B, L] (1: replaced), from replacement ids
    [B, N]."""
    original = rows.structure.inputs
    averaged = settings.masking == "reference"
    where = rows.selection if rows.replaced is None else rows.replaced
    ids = scatter_update(original.input_ids, sampled, where, average_duplicates=averaged)
    labels = replaced_labels(original.input_ids, ids, rows.structure.valid)
    return original.replace(input_ids=ids), labels  # type: ignore[attr-defined]
