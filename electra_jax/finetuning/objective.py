"""The losses of fine-tuning, as an objective of the one training loop.

Letters: B rows, L length, W words, C labels or choices. Every loss is a sum and a weight over rows,
so that padding, accumulation and meshes change none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config import ElectraConfig
from electra_jax.finetuning.batches import IGNORED_TAG
from electra_jax.finetuning.networks import Network
from electra_jax.interop.names import flatten, unflatten
from electra_jax.modeling.heads.reference import Outputs
from electra_jax.modeling.peft.base import Adaptation, Full, is_head
from electra_jax.objectives.base import Batch, Objective, Sums, Tree, total_loss
from electra_jax.objectives.draws import Draws
from electra_jax.objectives.metrics import ratio

_EXCLUDED = -500.0  # heads put what cannot be chosen at -1000 (the reference's) or lower
_SECOND_PASS = 7  # folded into the noise of R-Drop's second pass
SINGLE_LABEL = ("classification", "relation", "multiple_choice", "ranking")


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """`loss.*` of the configuration.

    `reduction`: "mean" over what is predicted, or "sum" (the reference's). `class_weights` one
    number a label (of several labels a text: of its binary loss). `answerable_weight` scales the
    reference's answerability loss. `r_drop` is α of R-Drop (Wu et al. 2021), `fgm` the length ε of
    the adversarial step on each row's embeddings (Miyato et al. 2017); 0 is off.
    """

    reduction: str = "mean"
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    answerable_weight: float = 0.5
    r_drop: float = 0.0
    fgm: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether the loss is what `learned.constant_loss` can be compared with."""
        changed = self.label_smoothing or self.class_weights or self.r_drop or self.fgm
        return not changed and self.reduction == "mean"


def _cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """−log softmax at `labels` over the last axis; `smoothing` spreads over all that may be
    chosen: positions of an answer and choices that are there."""
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
    if smoothing == 0.0:
        return -picked
    allowed = logits > _EXCLUDED  # nowhere in a row that only fills up the batch
    spread = jnp.sum(log_probs, -1, where=allowed) / jnp.maximum(jnp.sum(allowed, -1), 1)
    return -(1.0 - smoothing) * picked - smoothing * spread


def _binary(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """−log sigmoid of ± logits, elementwise."""
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def row_weights(kind: str, batch: Mapping[str, jax.Array], settings: LossSettings) -> jax.Array:
    """What a row counts in the mean: float32 [B] (tagging: [B, W])."""
    weight = batch["weight"]
    if kind == "tagging":
        tagged = (batch["tags"] != IGNORED_TAG).astype(jnp.float32) * weight[:, None]
        if settings.class_weights is None:
            return tagged
        return tagged * jnp.asarray(settings.class_weights)[jnp.maximum(batch["tags"], 0)]
    if settings.class_weights is not None and kind in SINGLE_LABEL:
        return weight * jnp.asarray(settings.class_weights)[batch["label"]]
    return weight


def row_losses(
    kind: str, outputs: Outputs, batch: Mapping[str, jax.Array], settings: LossSettings
) -> jax.Array:
    """The loss of each row, float32 [B] (tagging: [B, W]), not yet weighted."""
    smoothing = settings.label_smoothing
    if kind == "question_answering":
        loss = 0.5 * (
            _cross_entropy(outputs["start_logits"], batch["start_positions"], smoothing)
            + _cross_entropy(outputs["end_logits"], batch["end_positions"], smoothing)
        )
        if "answerable_logit" in outputs:
            impossible = batch["is_impossible"].astype(jnp.float32)
            loss += settings.answerable_weight * _binary(outputs["answerable_logit"], impossible)
        return loss
    logits = outputs["logits"]
    if kind == "tagging":
        return _cross_entropy(logits, jnp.maximum(batch["tags"], 0), smoothing)
    if kind == "multilabel":
        losses = _binary(logits, (1.0 - smoothing) * batch["labels"] + 0.5 * smoothing)
        if settings.class_weights is not None:
            losses *= jnp.asarray(settings.class_weights)[None, :]
        return jnp.mean(losses, -1)
    if kind == "regression":
        return jnp.square(logits[:, 0] - batch["target"])
    return _cross_entropy(logits, batch["label"], smoothing)


def _divergence(kind: str, one: Outputs, other: Outputs) -> jax.Array:
    """Half the sum of both Kullback-Leibler divergences of two passes, by row (regression: squared
    distance)."""

    def categorical(a: jax.Array, b: jax.Array) -> jax.Array:
        p, q = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
        return 0.5 * jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), -1)

    if kind == "question_answering":
        names = ("start_logits", "end_logits")
        return 0.5 * sum((categorical(one[n], other[n]) for n in names), jnp.zeros(()))
    a, b = one["logits"], other["logits"]
    if kind == "regression":
        return jnp.square(a - b)[:, 0]
    if kind == "multilabel":
        p, q = jax.nn.sigmoid(a), jax.nn.sigmoid(b)
        return jnp.mean(0.5 * (p - q) * (a - b), -1)
    return categorical(a, b)


@dataclasses.dataclass(frozen=True)
class FineTuneObjective(Objective):
    """One task over one network."""

    network: Network
    settings: LossSettings = LossSettings()
    adaptation: Adaptation = dataclasses.field(default_factory=Full)

    @property
    def config(self) -> ElectraConfig:
        """The encoder's shape."""
        return self.network.config

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The total is the task's loss."""
        return {"loss": 1.0}

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """A fresh head and an encoder of zeros, which a start replaces, split by the adaptation.

        Drawing an encoder only to throw it away would cost seconds of compilation.
        """
        network_key, adaptation_key = jax.random.split(key)
        flat = flatten(self.network.init(network_key))
        params = unflatten({n: x if is_head(n) else jnp.zeros_like(x) for n, x in flat.items()})
        return self.adaptation.split(params, adaptation_key)

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """What the mean divides by; 1 for the reference's sum."""
        if self.settings.reduction == "sum":
            return {"loss": jnp.ones(())}
        return {"loss": jnp.sum(row_weights(self.network.kind, batch, self.settings))}

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """The term `loss`; `accuracy` where one label is right, and `tokens`."""
        network, settings, kind = self.network, self.settings, self.network.kind
        merged = self.adaptation.merge(params, frozen)
        noise = draws.noise("discriminator_dropout") if train else None
        weight = row_weights(kind, batch, settings)

        def run(extra: jax.Array | None = None, again: bool = False) -> tuple[jax.Array, Outputs]:
            mine = noise.fold(_SECOND_PASS) if again and noise is not None else noise
            outputs = network(merged, batch, mine, True, extra)
            return row_losses(kind, outputs, batch, settings), outputs

        losses, outputs = run()
        if train and settings.fgm:
            adversarial, _ = run(self._adversarial_offset(run, batch, weight))
            losses = 0.5 * (losses + adversarial)
        if train and settings.r_drop:
            second, other = run(again=True)
            losses = 0.5 * (losses + second) + settings.r_drop * _divergence(kind, outputs, other)
        total = jnp.sum(losses * weight)
        metrics = {"tokens": (jnp.sum(batch["lengths"]).astype(jnp.float32), jnp.ones(()))}
        if kind in SINGLE_LABEL or kind == "tagging":
            gold = batch["tags"] if kind == "tagging" else batch["label"]
            right = (jnp.argmax(outputs["logits"], -1) == gold).astype(jnp.float32)
            counted = (weight > 0).astype(jnp.float32)
            metrics["accuracy"] = (jnp.sum(right * counted), jnp.sum(counted))
        return {"loss": (total, self.weights(batch)["loss"])}, metrics

    def _adversarial_offset(self, run: Any, batch: Batch, weight: jax.Array) -> jax.Array:
        """ε · gradient / its norm, row by row, so that no row's step depends on its neighbours."""
        zero = jnp.zeros(self.network.offset_shape(batch), jnp.float32)
        gradient = jax.grad(lambda offset: jnp.sum(run(offset)[0] * weight))(zero)
        norm = jnp.sqrt(jnp.sum(jnp.square(gradient), (1, 2), keepdims=True))
        return jax.lax.stop_gradient(self.settings.fgm * gradient / (norm + 1e-12))

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """loss (and accuracy in percent, as the scores of evaluation)."""
        row = {"loss": total_loss(self.coefficients, sums)}
        if "accuracy" in sums:
            row["accuracy"] = 100.0 * ratio(sums["accuracy"])
        return row
