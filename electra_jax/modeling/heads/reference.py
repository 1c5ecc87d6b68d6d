"""The heads of google-research/electra's `finetune/` modules; parameters under
`task_specific/<task>/`, as in its checkpoints.

Letters: B rows, L length, W words, C labels, K beams, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import QuestionSettings
from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.dropout import DropoutRng, dropout
from electra_jax.modeling.electra import Backbone, Inputs
from electra_jax.modeling.layers import Dense, glorot_uniform

# The reference's names of its heads.
CLASSIFICATION, REGRESSION = "classification", "regression"
TAGGING, QUESTIONS = "tagging", "question_answering"
HEADS = (CLASSIFICATION, REGRESSION, TAGGING, QUESTIONS)
HEAD_SITE = 5
QA_HIDDEN = 512
Outputs = dict[str, jax.Array]


class _TextHead(nn.Module):
    """[CLS] → dropout → dense: [B, L, H] → [B, C]."""

    config: ElectraConfig
    outputs: int
    dropout_rate: float

    @nn.compact
    def __call__(self, hidden: jax.Array, rng: DropoutRng | None) -> jax.Array:
        pooled = dropout(hidden[:, 0], self.dropout_rate, rng, HEAD_SITE)
        return _dense(self.config, self.outputs, "dense")(pooled)


class _TagHead(nn.Module):
    """Each word's first token → dense: [B, L, H] → [B, W, C]."""

    config: ElectraConfig
    outputs: int

    @nn.compact
    def __call__(self, hidden: jax.Array, word_positions: jax.Array) -> jax.Array:
        return _dense(self.config, self.outputs, "dense")(at_positions(hidden, word_positions))


class _QuestionHead(nn.Module):
    """Start and end of an answer, and whether there is one (`finetune/qa/qa_tasks.py`).

    Joint: the end is predicted given the start, which is the gold one in training and each of a
    beam in prediction. Otherwise start and end logits are independent.
    """

    config: ElectraConfig
    settings: QuestionSettings

    @nn.compact
    def __call__(
        self, hidden: jax.Array, answer_mask: jax.Array, starts: jax.Array | None
    ) -> Outputs:
        c, s = self.config, self.settings
        hidden = hidden.astype(jnp.float32)
        mask = answer_mask.astype(jnp.float32)
        # The reference's numbering of unnamed layers follows the order in which they are built.
        numbers = iter(("dense", "dense_1", "dense_2", "dense_3"))

        def layer(features: int, name: str | None = None) -> nn.Module:
            return _dense(c, features, name or next(numbers))

        start_logits = layer(1)(hidden)[..., 0].astype(jnp.float32) + 1000.0 * (mask - 1.0)
        outputs = {"start_logits": start_logits}
        if s.joint:
            join, last = layer(QA_HIDDEN, "qa_hidden"), layer(1)

            def ends(start_hidden: jax.Array) -> jax.Array:
                """End logits [B, K, L] given the hidden states [B, K, H] of K starts."""
                shape = (*start_hidden.shape[:2], hidden.shape[1], hidden.shape[2])
                both = jnp.concatenate(
                    [
                        jnp.broadcast_to(start_hidden[:, :, None], shape),
                        jnp.broadcast_to(hidden[:, None], shape),
                    ],
                    -1,
                )
                logits = last(_gelu(join(both)))[..., 0].astype(jnp.float32)
                return logits + 1000.0 * (mask[:, None] - 1.0)

            if starts is not None:
                outputs["end_logits"] = ends(at_positions(hidden, starts[:, None]))[:, 0]
            else:
                beam = min(s.beam_size, hidden.shape[1])
                log_probs, index = jax.lax.top_k(jax.nn.log_softmax(start_logits), beam)
                end_log_probs, end_index = jax.lax.top_k(
                    jax.nn.log_softmax(ends(at_positions(hidden, index))), beam
                )
                outputs |= {
                    "start_top_log_probs": log_probs,
                    "start_top_index": index,
                    "end_top_log_probs": end_log_probs,
                    "end_top_index": end_index,
                }
        else:
            logits = layer(1)(hidden)[..., 0].astype(jnp.float32)
            outputs["end_logits"] = logits + 1000.0 * (mask - 1.0)
        if s.answerable:
            final = hidden[:, 0]
            if s.start_pooled:
                share = jax.nn.softmax(start_logits)
                pooled = jnp.einsum("bl,blh->bh", share, hidden)
                final = _gelu(layer(QA_HIDDEN)(jnp.concatenate([final, pooled], -1)))
            outputs["answerable_logit"] = layer(1)(final)[..., 0].astype(jnp.float32)
        return outputs


class _ReferenceHead(nn.Module):
    """The head of one task; `kind` is one of `HEADS`."""

    config: ElectraConfig
    kind: str
    outputs: int
    dropout_rate: float
    question: QuestionSettings

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: Mapping[str, jax.Array], rng: DropoutRng | None, train: bool
    ) -> Outputs:
        c = self.config
        # The head's parameters are this module's own: nn.share_scope keeps names flat.
        if self.kind == QUESTIONS:
            head: Any = _QuestionHead(c, self.question)
            arguments: Any = (
                hidden,
                batch["answer_mask"],
                batch["start_positions"] if train else None,
            )
        elif self.kind == TAGGING:
            head, arguments = _TagHead(c, self.outputs), (hidden, batch["word_positions"])
        elif self.kind in (CLASSIFICATION, REGRESSION):
            head, arguments = _TextHead(c, self.outputs, self.dropout_rate), (hidden, rng)
        else:
            raise ValueError(f"the reference has no head {self.kind!r}: {HEADS}")
        nn.share_scope(self, head)
        out = head(*arguments)
        return out if isinstance(out, dict) else {"logits": out.astype(jnp.float32)}


class _TaskHeads(nn.Module):
    """The heads of the reference's tasks by name."""

    config: ElectraConfig
    heads: tuple[tuple[str, str, int], ...]
    dropout_rate: float
    question: QuestionSettings

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: Mapping[str, jax.Array], rng: DropoutRng | None, train: bool
    ) -> dict[str, Outputs]:
        return {
            task: _ReferenceHead(
                self.config, kind, outputs, self.dropout_rate, self.question, name=task
            )(hidden, batch, rng, train)
            for task, kind, outputs in self.heads
        }


class Reference(nn.Module):
    """An encoder with the reference's heads: `heads` are (task, kind, outputs)."""

    config: ElectraConfig
    heads: tuple[tuple[str, str, int], ...]
    dropout_rate: float = 0.1
    question: QuestionSettings = QuestionSettings()

    @nn.compact
    def __call__(
        self,
        inputs: Inputs,
        batch: Mapping[str, jax.Array],
        rng: DropoutRng | None = None,
        train: bool = False,
    ) -> dict[str, Outputs]:
        """{task: outputs}: logits [B, C] (tagging [B, W, C]), or those of `_QuestionHead`."""
        hidden = Backbone(self.config, name="electra")(inputs, rng)
        heads = _TaskHeads(
            self.config, self.heads, self.dropout_rate, self.question, name="task_specific"
        )
        return heads(hidden, batch, rng, train)


def _dense(config: ElectraConfig, features: int, name: str) -> Dense:
    return Dense(config, features, kernel_init=glorot_uniform, name=name)


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def at_positions(values: jax.Array, positions: jax.Array) -> jax.Array:
    """values [B, L, X] at positions [B, P]: [B, P, X]."""
    return jnp.take_along_axis(values, positions[..., None], axis=1)
