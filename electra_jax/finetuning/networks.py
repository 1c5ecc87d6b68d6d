"""Encoder + head for each kind of task, Hugging Face's heads or the reference's, behind one call.

Letters: B rows, L length, W words, C labels or choices, K beams, H hidden width. Hugging Face's
heads are `interop.heads.FineTuned`; the reference's live here (its `finetune/` modules; parameters
under `task_specific/<task>/`, as in its checkpoints).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config import ElectraConfig
from electra_jax.interop.heads import FineTuned
from electra_jax.interop.names import CHOICE, QUESTION, REFERENCE, SEQUENCE, TOKEN
from electra_jax.modeling.dropout import Noise, dropout
from electra_jax.modeling.electra import Backbone, Inputs, padding_mask
from electra_jax.modeling.layers import Dense, glorot_uniform

HEADS = ("huggingface", REFERENCE)
HUGGINGFACE_KINDS = {
    "classification": SEQUENCE,
    "relation": SEQUENCE,
    "multilabel": SEQUENCE,
    "regression": SEQUENCE,
    "tagging": TOKEN,
    "question_answering": QUESTION,
    "multiple_choice": CHOICE,
    "ranking": CHOICE,
}
REFERENCE_KINDS = ("classification", "relation", "regression", "tagging", "question_answering")
HEAD_SITE = 5
FAR = -1e9  # the logit of what cannot be chosen, where the reference does not say another
QA_HIDDEN = 512
Outputs = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class QuestionSettings:
    """The reference's question-answering head: which of its parts are on
    (`configure_finetuning.py`)."""

    joint: bool = True
    answerable: bool = True
    start_pooled: bool = True
    beam_size: int = 20


class _TextHead(nn.Module):
    """[CLS] → dropout → dense: [B, L, H] → [B, C]."""

    config: ElectraConfig
    outputs: int
    dropout_rate: float

    @nn.compact
    def __call__(self, hidden: jax.Array, noise: Noise | None) -> jax.Array:
        pooled = dropout(hidden[:, 0], self.dropout_rate, noise, HEAD_SITE)
        return _dense(self.config, self.outputs, "dense")(pooled)


class _TagHead(nn.Module):
    """Each word's first piece → dense: [B, L, H] → [B, W, C]."""

    config: ElectraConfig
    outputs: int

    @nn.compact
    def __call__(self, hidden: jax.Array, word_positions: jax.Array) -> jax.Array:
        return _dense(self.config, self.outputs, "dense")(_at(hidden, word_positions))


class _QuestionHead(nn.Module):
    """Start and end of an answer, and whether there is one (inventory B.8).

    Joint: the end is predicted given the start; in training the gold one, in prediction each of a
    beam. Otherwise start and end logits stand alone.
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
                outputs["end_logits"] = ends(_at(hidden, starts[:, None]))[:, 0]
            else:
                beam = min(s.beam_size, hidden.shape[1])
                log_probs, index = jax.lax.top_k(jax.nn.log_softmax(start_logits), beam)
                end_log_probs, end_index = jax.lax.top_k(
                    jax.nn.log_softmax(ends(_at(hidden, index))), beam
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
    """The head of one task, of its kind."""

    config: ElectraConfig
    kind: str
    outputs: int
    dropout_rate: float
    question: QuestionSettings

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: Mapping[str, jax.Array], noise: Noise | None, train: bool
    ) -> Outputs:
        c = self.config
        # The head's parameters are this module's own: nn.share_scope keeps names flat.
        if self.kind == "question_answering":
            head: Any = _QuestionHead(c, self.question)
            arguments: Any = (
                hidden,
                batch["answer_mask"],
                batch["start_positions"] if train else None,
            )
        elif self.kind == "tagging":
            head, arguments = _TagHead(c, self.outputs), (hidden, batch["word_positions"])
        else:
            head, arguments = _TextHead(c, self.outputs, self.dropout_rate), (hidden, noise)
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
        self, hidden: jax.Array, batch: Mapping[str, jax.Array], noise: Noise | None, train: bool
    ) -> dict[str, Outputs]:
        return {
            task: _ReferenceHead(
                self.config, kind, outputs, self.dropout_rate, self.question, name=task
            )(hidden, batch, noise, train)
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
        noise: Noise | None = None,
        train: bool = False,
    ) -> dict[str, Outputs]:
        """{task: outputs}; see `Network.__call__`."""
        hidden = Backbone(self.config, name="electra")(inputs, noise)
        heads = _TaskHeads(
            self.config, self.heads, self.dropout_rate, self.question, name="task_specific"
        )
        return heads(hidden, batch, noise, train)


@dataclasses.dataclass(frozen=True)
class Network:
    """A task's network as a function of (parameters, batch): what training, evaluation and
    prediction share.

    `head` is "huggingface" or "reference"; `outputs` the labels of the head (1 for regression).
    """

    config: ElectraConfig
    kind: str
    outputs: int
    head: str = "huggingface"
    task: str = "task"
    dropout_rate: float = 0.1
    question: QuestionSettings = QuestionSettings()

    @property
    def model(self) -> nn.Module:
        """The Linen module."""
        if self.head == REFERENCE:
            heads = ((self.task, self.kind, self.outputs),)
            return Reference(self.config, heads, self.dropout_rate, self.question)
        kind = HUGGINGFACE_KINDS[self.kind]
        return FineTuned(self.config, kind, self.outputs, self.dropout_rate)

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters."""
        ids = jnp.zeros((1, 2), jnp.int32)
        inputs = Inputs(ids, padding_mask(ids + 1))
        if self.head != REFERENCE:
            return self.model.init(key, inputs)["params"]
        zeros = jnp.zeros((1,), jnp.int32)
        batch = {"answer_mask": ids + 1, "start_positions": zeros, "word_positions": ids}
        return self.model.init(key, inputs, batch, None, True)["params"]

    def __call__(
        self,
        params: Any,
        batch: Mapping[str, jax.Array],
        noise: Noise | None = None,
        train: bool = False,
        offset: jax.Array | None = None,
    ) -> Outputs:
        """Outputs in float32.

        Texts: logits [B, C]; tagging: logits [B, W, C]; choices: logits [B, C], absent choices far
        below; questions: start_logits, end_logits [B, L] with what is no possible answer far below,
        and the reference's beams and answerability (`_QuestionHead`). `offset` [B, L, E] is added
        to the embeddings.
        """
        ids = batch["input_ids"]
        types, lengths = batch["token_type_ids"], batch["lengths"]
        chosen = ids.shape[:2]
        if choices := ids.ndim == 3:
            ids, types = (x.reshape(-1, x.shape[-1]) for x in (ids, types))
            lengths = lengths.reshape(-1)
            if noise is not None:
                rows = noise.rows[:, None] * chosen[1] + jnp.arange(chosen[1])[None, :]
                noise = noise.replace(rows=rows.reshape(-1))  # type: ignore[attr-defined]
        inside = jnp.arange(ids.shape[-1])[None, :] < lengths[:, None]
        # A row of nothing attends to its first position, so that no softmax is empty.
        seen = inside | (jnp.arange(ids.shape[-1]) == 0)[None, :]
        types = jnp.minimum(types, self.config.type_vocab_size - 1)
        inputs = Inputs(ids, padding_mask(seen), types, offset=offset)
        if self.head == REFERENCE:
            found: Any = self.model.apply({"params": params}, inputs, batch, noise, train)
            return found[self.task]
        logits: Any = self.model.apply({"params": params}, inputs, noise)
        if choices:
            there = lengths.reshape(chosen) > 0
            return {"logits": jnp.where(there, logits.reshape(chosen), FAR)}
        if self.kind == "tagging":
            return {"logits": _at(logits, batch["word_positions"])}
        if self.kind == "question_answering":
            logits = jnp.where(batch["answer_mask"][..., None] > 0, logits, FAR)
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        return {"logits": logits}

    def offset_shape(self, batch: Mapping[str, jax.Array]) -> tuple[int, ...]:
        """The shape of an `offset` of the embeddings for a batch."""
        ids = batch["input_ids"]
        return (ids.size // ids.shape[-1], ids.shape[-1], self.config.embedding_size)


def _dense(config: ElectraConfig, features: int, name: str) -> Dense:
    return Dense(config, features, kernel_init=glorot_uniform, name=name)


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _at(values: jax.Array, positions: jax.Array) -> jax.Array:
    """values [B, L, X] at positions [B, P]: [B, P, X]."""
    return jnp.take_along_axis(values, positions[..., None], axis=1)
