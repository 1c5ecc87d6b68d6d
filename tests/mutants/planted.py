"""The planted bugs: each a string of the package and what replaces it, with the tests to run.

The kinds are those that have broken real replications. A string that no longer occurs exactly once
is an error, so that an edit of the package brings its mutant along.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A bug: `old` in `file` (under electra_jax/) becomes `new`; one of `tests` has to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


# Whole files where they are quick, single tests where they are not.
MASKING = "objectives/test_masking.py"
SAMPLING = "objectives/test_sampling.py"
WORDS = "objectives/test_word_masking.py::"
STRUCTURE = "objectives/test_row_structure.py"
DRAWS = "objectives/test_rng.py"
ATTENTION = "modeling/test_attention.py"
LAYERS = "modeling/test_layers.py"
BLOCKS = "modeling/test_electra.py"
DROPOUT = "modeling/test_dropout.py"
COUNTS = "modeling/test_parameter_counts.py"
INITIAL = "modeling/test_initialisation.py"
MUON = "training/test_muon.py::"
OPTIMIZER = "training/test_optimizer.py"
SCHEDULES = "training/test_schedules.py"
RATE = "objectives/test_electra.py::test_the_replaced_rate_is_the_masked_share_the_generator_misses"
SEPARATION = (
    "objectives/test_electra.py::"
    "test_the_discriminator_s_loss_reaches_the_generator_through_shared_embeddings_alone"
)
HIT = "objectives/test_corruption.py::test_a_sample_that_hits_the_original_is_labelled_real"
PADDING = (
    "objectives/test_terms.py::test_padding_contributes_exactly_nothing_to_the_discriminator_s_sums"
)
SLOTS = (
    "objectives/test_terms.py::test_unused_slots_contribute_exactly_nothing_to_the_masked_lm_sums"
)
INVISIBLE = "objectives/test_isolation.py::test_more_padding_changes_no_draw_and_no_logit_or_loss"
RESTART = "objectives/test_isolation.py::test_a_document_has_the_same_logits_wherever_it_stands"
ACCUMULATION = "training/test_step.py::test_accumulation_changes_nothing_but_rounding"
EVALUATION = "training/test_step.py::test_evaluation_depends_on_the_row_alone"
ELECTRIC = "objectives/test_electric.py::"
TOWERS = "modeling/test_electric.py"
SCORES = "inference/test_scorer.py"
KIND_LOSSES = "finetuning/test_objective.py"
OWN_KINDS = "finetuning/kinds/test_own_kinds.py"
GOLDEN = "training/test_step.py::test_golden_first_steps"

MUTANTS = (
    # Labels and losses
    Mutant(
        "labels ignore correct samples",
        "objectives/corruption.py",
        "labels = replaced_labels(original.input_ids, ids, rows.structure.valid)",
        "labels = scatter_update(jnp.zeros_like(ids), jnp.ones_like(sampled), rows.selection)",
        (HIT,),
    ),
    Mutant(
        "discriminator loss over padding",
        "objectives/terms.py",
        "    weights = valid.astype(jnp.float32)\n    tokens",
        "    weights = jnp.ones_like(logits)\n    tokens",
        (PADDING,),
    ),
    Mutant(
        "discriminator loss without [CLS] and [SEP]",
        "objectives/electra.py",
        "discriminator_sums(logits, labels, rows.structure.valid)",
        "discriminator_sums(logits, labels, rows.structure.valid "
        "& (rows.structure.inputs.input_ids != self.masking.special.cls) "
        "& (rows.structure.inputs.input_ids != self.masking.special.sep))",
        (RATE,),
    ),
    Mutant(
        "masked-LM loss over unused slots",
        "objectives/terms.py",
        "    weights = rows.selection.weights\n    losses",
        "    weights = jnp.ones_like(rows.selection.weights)\n    losses",
        (SLOTS,),
    ),
    Mutant(
        "masked-LM loss on every position",
        "objectives/masking.py",
        "selected = may_select & (rank < num_to_mask(tokens, mask_prob))",
        "selected = may_select",
        (MASKING,),
    ),
    Mutant(
        "discriminator weight 1",
        "objectives/electra.py",
        '"discriminator_loss": self.settings.discriminator_weight',
        '"discriminator_loss": 1.0',
        (RATE,),
    ),
    Mutant(
        "gradient leaks through the sample",
        "objectives/pair.py",
        "        inputs, labels = self.corrupt(rows, sampled)\n",
        "        inputs, labels = self.corrupt(rows, sampled)\n"
        "        labels = labels + jnp.mean(logits) - jax.lax.stop_gradient(jnp.mean(logits))\n",
        (SEPARATION,),
    ),
    Mutant(
        "denominator of the microbatch instead of the batch",
        "training/step.py",
        "(denominators[name] + DENOMINATOR_EPSILON)",
        "(terms[name][1] + DENOMINATOR_EPSILON)",
        (ACCUMULATION,),
    ),
    # Masking
    Mutant(
        "special tokens are masked",
        "objectives/masking.py",
        "for token in (special.cls, special.sep, special.mask):",
        "for token in ():",
        (MASKING,),
    ),
    Mutant(
        "80 % are hidden instead of 85 %",
        "objectives/corruption_settings.py",
        "masked_share: float = field(\n        0.85,",
        "masked_share: float = field(\n        0.8,",
        (MASKING,),
    ),
    Mutant(
        "selections counted without special tokens",
        "objectives/masking.py",
        "    tokens = jnp.sum(same, axis=2)\n",
        "    tokens = jnp.sum(same & may_select[:, None, :], axis=2)\n",
        (MASKING,),
    ),
    Mutant(
        "selections counted over the row instead of each document",
        "objectives/masking.py",
        "same = (segment_ids[:, :, None] == segment_ids[:, None, :])",
        "same = (segment_ids[:, :, None] > 0)",
        (MASKING,),
    ),
    Mutant(
        "tokens beside the selected ones are replaced",
        "objectives/masking.py",
        "total = jnp.zeros_like(row).at[rows, selection.positions].add(values * used)\n"
        "    count = jnp.zeros_like(row).at[rows, selection.positions].add(used)",
        "total = jnp.zeros_like(row).at[rows, selection.positions + 1].add(values * used)\n"
        "    count = jnp.zeros_like(row).at[rows, selection.positions + 1].add(used)",
        (MASKING,),
    ),
    Mutant(
        "samples are written at each other's positions",
        "objectives/corruption.py",
        "scatter_update(original.input_ids, sampled, where,",
        "scatter_update(original.input_ids, jnp.roll(sampled, 1, 1), where,",
        (RATE,),
    ),
    # Sampling
    Mutant(
        "argmax instead of sampling",
        "objectives/corruption.py",
        'return inverse_cdf_sample(logits, *draws.uniform("sample", counter))',
        "return jnp.argmax(logits, -1).astype(jnp.int32)",
        (SAMPLING,),
    ),
    Mutant(
        "sampling temperature ignored",
        "objectives/sampling.py",
        "jax.lax.stop_gradient(logits) / temperature",
        "jax.lax.stop_gradient(logits)",
        (SAMPLING,),
    ),
    Mutant(
        "evaluation samples at the training temperature",
        "objectives/corruption_settings.py",
        "self.temperature_at(draws.step) if train else final",
        "self.temperature_at(draws.step)",
        (SAMPLING,),
    ),
    Mutant(
        "every step draws the same",
        "objectives/rng.py",
        "key = jax.random.fold_in(jax.random.fold_in(self.key, self.step), _stream(stream))\n"
        "        return jax.random.key_data(key)",
        "key = jax.random.fold_in(self.key, _stream(stream))\n"
        "        return jax.random.key_data(key)",
        (DRAWS,),
    ),
    # The network
    Mutant(
        "masked-LM head with a table of its own",
        "modeling/electra.py",
        "if not c.tie_word_embeddings:",
        "if True:",
        (COUNTS,),
    ),
    Mutant(
        "documents of a row attend to each other",
        "objectives/row_structure.py",
        "(segment_ids[:, None, :, None] == segment_ids[:, None, None, :])",
        "(segment_ids[:, None, :, None] >= 0)",
        (STRUCTURE,),
    ),
    Mutant(
        "positions do not restart in a packed document",
        "objectives/row_structure.py",
        "positions = jnp.where(valid, index - start, 0)",
        "positions = jnp.where(valid, index, 0)",
        (RESTART,),
    ),
    Mutant(
        "padding is attended to",
        "objectives/row_structure.py",
        "Inputs(input_ids, valid[:, None, None, :], types, ",
        "Inputs(input_ids, jnp.ones_like(valid)[:, None, None, :], types, ",
        (INVISIBLE,),
    ),
    Mutant(
        "attention scores are not scaled",
        "modeling/attention.py",
        "query * depth**-0.5",
        "query",
        (ATTENTION,),
    ),
    Mutant(
        "keys are not rotated",
        "modeling/attention.py",
        "key = rotary(key, positions, c.rope_theta)",
        "key = key * 1.0",
        (BLOCKS,),
    ),
    Mutant(
        "a norm before the first modern layer",
        "modeling/encoder.py",
        'jnp.where(layer["index"] == 0,',
        'jnp.where(layer["index"] < 0,',
        (BLOCKS,),
    ),
    Mutant(
        "token types are all 0",
        "objectives/row_structure.py",
        "types = jnp.where(valid, jnp.minimum(before, 1), 0)",
        "types = jnp.zeros_like(input_ids)",
        (STRUCTURE,),
    ),
    Mutant(
        "every layer drops the same units",
        "modeling/encoder.py",
        'rng = rng.fold(layer["index"]) if rng is not None else None\n        hidden = _Attention',
        "rng = rng.fold(0) if rng is not None else None\n        hidden = _Attention",
        (GOLDEN,),
    ),
    Mutant(
        "approximate gelu",
        "modeling/layers.py",
        "return gelu(x)",
        "return jax.nn.gelu(x, approximate=True)",
        (LAYERS,),
    ),
    Mutant(
        "gelu's derivative lacks a term",
        "modeling/layers.py",
        "(below + z * density)",
        "below",
        (LAYERS,),
    ),
    Mutant(
        "LayerNorm's gradient forgets the mean",
        "modeling/layers.py",
        "t - jnp.mean(t, -1, keepdims=True) - y * along",
        "t - y * along",
        (LAYERS,),
    ),
    Mutant(
        "dropout does not scale what it keeps",
        "modeling/dropout.py",
        "x * jnp.asarray(1.0 / (1.0 - rate), x.dtype)",
        "x",
        (DROPOUT,),
    ),
    Mutant(
        "dropout's mask depends on the length",
        "modeling/dropout.py",
        "for size in shape[1:]:\n",
        "for size in shape[1:]:\n        bits = bits ^ jnp.uint32(size)\n",
        (DROPOUT,),
    ),
    Mutant(
        "projections initialised like every other kernel",
        "modeling/electra.py",
        "Dense(c, c.hidden_size, kernel_init=glorot_uniform)",
        "Dense(c, c.hidden_size)",
        (INITIAL,),
    ),
    Mutant(
        "evaluation draws by the place in the batch",
        "training/step.py",
        "rows = first_row + jnp.arange(size, dtype=jnp.int32)",
        "rows = jnp.arange(size, dtype=jnp.int32)",
        (EVALUATION,),
    ),
    # The optimizer
    Mutant(
        "bias-corrected Adam",
        "training/optimizer.py",
        "moments = scale_by_adam_reference(b1, b2, eps)",
        "moments = optax.scale_by_adam(b1, b2, eps)",
        (OPTIMIZER,),
    ),
    Mutant(
        "epsilon inside the root",
        "training/optimizer.py",
        "m / (jnp.sqrt(v) + eps)",
        "m / jnp.sqrt(v + eps)",
        (OPTIMIZER,),
    ),
    Mutant(
        "weight decay on LayerNorm",
        "config/training.py",
        'NO_DECAY = ("LayerNorm|layer_norm|_norm/|bias",)',
        'NO_DECAY = ("bias",)',
        (OPTIMIZER,),
    ),
    Mutant(
        "decay begins after the warm-up instead of multiplying it",
        "training/schedules.py",
        "jnp.float32(course.final) * factor * warm",
        "jnp.float32(course.final) * jnp.where(t < warmup_steps, warm, factor)",
        (SCHEDULES,),
    ),
    # Interchange
    Mutant(
        "kernels are not transposed for Hugging Face",
        "interop/mapping/names.py",
        'KERNEL = (Leaf("/kernel", ".weight", "/kernel", transpose=True),)',
        'KERNEL = (Leaf("/kernel", ".weight", "/kernel"),)',
        ("interop/test_save.py", "interop/mapping/test_names.py"),
    ),
    # Batches
    Mutant(
        "tf.data takes over one read late",
        "data/read_ahead.py",
        "reader.start(self._thread.end_here())",
        "reader.start(self._thread.end_here() + 1)",
        ("data/test_read_ahead.py::test_tensorflow_takes_over_at_a_batch_boundary",),
    ),
    Mutant(
        "the second text of a pair has the first one's token type",
        "text/tokenizers/batch_encoding.py",
        "batch.token_type_ids[number, start : len(row)] = 1",
        "batch.token_type_ids[number, start : len(row)] = 0",
        ("text/tokenizers/test_batch_encoding.py",),
    ),
    # Task data
    Mutant(
        "words without a token are in a tagger's loss",
        "finetuning/kinds/tag_codec.py",
        "np.where(starts == NO_PIECE, IGNORED_TAG, tags)",
        "np.where(starts == NO_PIECE, tags, tags)",
        ("finetuning/kinds/test_tag_codec.py",),
    ),
    Mutant(
        "vectors of 0 and 1 are read as names",
        "finetuning/data/label_lists.py",
        "if len(label.vector) > len(label):",
        "if len(label.vector) < len(label):",
        ("finetuning/data/test_label_lists.py",),
    ),
    Mutant(
        "an example whose label says that there is none is trained on",
        "finetuning/data/label_report.py",
        "if found and example.is_whole:",
        "if found and not example.is_whole:",
        ("finetuning/data/test_label_report.py",),
    ),
    # Kinds of tasks
    Mutant(
        "words that pad a sentence count in the loss",
        "finetuning/kinds/tagging.py",
        'tagged = (batch["tags"] != IGNORED_TAG).astype(jnp.float32)',
        'tagged = (batch["tags"] >= IGNORED_TAG).astype(jnp.float32)',
        (KIND_LOSSES,),
    ),
    Mutant(
        "label smoothing spreads over choices that are not there",
        "finetuning/losses.py",
        "allowed = logits > _EXCLUDED",
        "allowed = logits > 2e9 * _EXCLUDED",
        ("finetuning/test_losses.py::test_smoothing_spreads_over_what_may_be_chosen",),
    ),
    Mutant(
        "a loss over the whole batch is accumulated",
        "finetuning/resolve.py",
        "if data.kind.whole_batch and",
        "if not data.kind.whole_batch and",
        (f"{OWN_KINDS}::test_a_loss_over_the_whole_batch_is_not_accumulated",),
    ),
    Mutant(
        "a kind's file that has changed is run unasked",
        "finetuning/kinds/origin.py",
        'elif sha256_of(file) != recorded["sha256"]:',
        'elif not recorded["sha256"]:',
        (f"{OWN_KINDS}::test_a_file_that_is_gone_or_changed_must_be_named",),
    ),
    # Electric, and scores of texts
    Mutant(
        "Electric's hits called text",
        "objectives/electric.py",
        "labels = self.noise_labels(rows)",
        "labels = replace_tokens(self.settings, rows, sampled)[1]",
        (ELECTRIC + "test_a_hit_counts_as_noise",),
    ),
    Mutant(
        "Electric's log q not detached",
        "objectives/electric.py",
        "log_q = -masked_lm_loss(tempered(noise, temperature), corrupted)",
        "log_q = -masked_lm_loss(noise / temperature, corrupted)",
        (ELECTRIC + "test_each_loss_reaches_its_own_network_and_the_shared_embeddings",),
    ),
    Mutant(
        "Electric's temperature in the sampler alone",
        "objectives/electric.py",
        "temperature = self.settings.temperature_in(draws, train) if self.exact else 1.0",
        "temperature = 1.0",
        (ELECTRIC + "test_the_noise_is_judged_by_the_distribution_it_was_sampled_from",),
    ),
    Mutant(
        "Electric's odds over all tokens of a document",
        "objectives/electric.py",
        "left = available - number",
        "left = jnp.sum(segments, axis=1) - number",
        (ELECTRIC + "test_the_odds_of_noise_are_those_of_each_document",),
    ),
    Mutant(
        "a tower's state of the token itself",
        "modeling/electric.py",
        "[jnp.roll(before, 1, axis=1), jnp.roll(after, -1, axis=1)]",
        "[before, jnp.roll(after, -1, axis=1)]",
        (TOWERS,),
    ),
    Mutant(
        "[SEP] in a text's score",
        "inference/scorer.py",
        "inside = (places > 0) & (places < lengths[:, None] - 1)",
        "inside = (places > 0) & (places < lengths[:, None])",
        (SCORES,),
    ),
    Mutant(
        "a masked copy that shows its token",
        "inference/scorer.py",
        "masked = jnp.where(jnp.arange(ids.shape[1])[None] == at[:, None], mask, ids)",
        "masked = jnp.where(jnp.arange(ids.shape[1])[None] == at[:, None] - 1, mask, ids)",
        (SCORES,),
    ),
    # Parts of recipes
    Mutant(
        "a fused kernel is made orthogonal as one matrix",
        "training/muon.py",
        '(r"encoder/layer/.*Wqkv/kernel$", 3)',
        '(r"encoder/layer/.*Wqkv/kernel$", 1)',
        (MUON + "test_layers_and_fused_matrices_are_orthogonal_each_for_itself",),
    ),
    Mutant(
        "Muon's updates do not know the size of their matrix",
        "training/muon.py",
        "ADAMW_RMS * max(rows, columns) ** 0.5 * joined",
        "ADAMW_RMS * joined",
        (MUON + "test_plain_matrices_move_as_optax_s_do",),
    ),
    Mutant(
        "StableAdamW limits a whole stack by its mean",
        "training/optimizer.py",
        "range(int(bool(re.search(_STACKS, name))), update.ndim)",
        "range(update.ndim)",
        (OPTIMIZER + "::test_stable_adamw_limits_the_update_of_each_tensor_and_layer",),
    ),
    Mutant(
        "the tokens of a word are selected one by one",
        "objectives/masking.py",
        "return jnp.take_along_axis(uniforms, first, axis=1)",
        "return uniforms",
        (WORDS + "test_words_are_selected_whole_but_for_one_a_document",),
    ),
    Mutant(
        "replacing never stops",
        "objectives/corruption.py",
        "< share.at(draws.step)",
        "< share.initial",
        (WORDS + "test_replacing_can_stop_while_predicting_goes_on",),
    ),
    Mutant(
        "evaluation at the run's mask rate",
        "objectives/corruption.py",
        "given = (self.evaluation_share, self.settings.eval_mask_prob, schedule.final)",
        "given = (self.evaluation_share, schedule.final)",
        (WORDS + "test_evaluation_has_its_own_rate_whatever_the_run_s",),
    ),
)
