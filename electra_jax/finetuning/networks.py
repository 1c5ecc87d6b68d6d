"""Encoder + head for each kind of task, Hugging Face's heads or the reference's, behind one call.

Letters: B rows, L length, W words, C labels or choices, K beams, H hidden width. Hugging Face's
heads are `modeling.heads.huggingface`, the reference's `modeling.heads.reference`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config import ElectraConfig
from electra_jax.interop.names import REFERENCE
from electra_jax.modeling.dropout import Noise
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.huggingface import CHOICE, QUESTION, SEQUENCE, TOKEN, FineTuned
from electra_jax.modeling.heads.reference import (
    Outputs,
    QuestionSettings,
    Reference,
    at_positions,
)

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
REFERENCE_HEADS = {kind: kind for kind in REFERENCE_KINDS} | {"relation": "classification"}
FAR = -1e9  # the logit of what cannot be chosen, where the reference does not say another


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
    question: QuestionSettings = dataclasses.field(default_factory=QuestionSettings)

    @property
    def model(self) -> nn.Module:
        """The Linen module."""
        if self.head == REFERENCE:
            heads = ((self.task, REFERENCE_HEADS[self.kind], self.outputs),)
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
            return {"logits": at_positions(logits, batch["word_positions"])}
        if self.kind == "question_answering":
            logits = jnp.where(batch["answer_mask"][..., None] > 0, logits, FAR)
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        return {"logits": logits}

    def offset_shape(self, batch: Mapping[str, jax.Array]) -> tuple[int, ...]:
        """The shape of an `offset` of the embeddings for a batch."""
        ids = batch["input_ids"]
        return (ids.size // ids.shape[-1], ids.shape[-1], self.config.embedding_size)
