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

from electra_jax.config.finetuning import QuestionSettings
from electra_jax.config.model import ElectraConfig
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import as_kind
from electra_jax.interop.mapping.names import OWN_HEADS, REFERENCE
from electra_jax.modeling.dropout import DropoutRng
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.reference import Outputs, Reference


@dataclasses.dataclass(frozen=True)
class Network:
    """A task's network as a function of (parameters, batch), for training, evaluation and
    prediction.

    `kind` is a `Kind` or the name of one; `head` is "huggingface" (the kind's own where
    `transformers` has none) or "reference"; `outputs` the width of the head's last layer (the
    number of labels; 1 for regression).
    """

    config: ElectraConfig
    kind: Kind
    outputs: int
    head: str = "huggingface"
    task: str = "task"
    dropout_rate: float = 0.1
    question: QuestionSettings = dataclasses.field(default_factory=QuestionSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", as_kind(self.kind))

    @property
    def model(self) -> nn.Module:
        """The Linen module."""
        if self.head != REFERENCE:
            return self.kind.network(self.config, self.outputs, self.dropout_rate)
        assert self.kind.reference is not None, self.kind.name
        heads = ((self.task, self.kind.reference, self.outputs),)
        return Reference(self.config, heads, self.dropout_rate, self.question)

    @property
    def saved_as(self) -> str:
        """The kind of network that a model folder of it holds (`interop.names`)."""
        return REFERENCE if self.head == REFERENCE else self.kind.huggingface or OWN_HEADS

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters."""
        ids = jnp.zeros((1, 2), jnp.int32)
        inputs = Inputs(ids, padding_mask(ids + 1))
        if self.saved_as == self.kind.huggingface:
            return self.model.init(key, inputs)["params"]
        zeros = jnp.zeros((1,), jnp.int32)
        batch = {"answer_mask": ids + 1, "start_positions": zeros, "word_positions": ids}
        batch |= {"input_ids": ids, "token_type_ids": ids, "lengths": zeros + 2}
        return self.model.init(key, inputs, batch, None, True)["params"]

    def __call__(
        self,
        params: Any,
        batch: Mapping[str, jax.Array],
        noise: DropoutRng | None = None,
        train: bool = False,
        offset: jax.Array | None = None,
    ) -> Outputs:
        """The kind's outputs, float32; the reference's question head also gives beams and
        answerability (`modeling.heads.reference`). `offset` [B, L, E] is added to the embeddings.
        """
        ids = batch["input_ids"]
        types, lengths = batch["token_type_ids"], batch["lengths"]
        if ids.ndim == 3:  # [B, C, L]: several texts a row
            choices = ids.shape[1]
            ids, types = (x.reshape(-1, x.shape[-1]) for x in (ids, types))
            lengths = lengths.reshape(-1)
            if noise is not None:
                rows = noise.rows[:, None] * choices + jnp.arange(choices)[None, :]
                noise = noise.replace(rows=rows.reshape(-1))  # type: ignore[attr-defined]
        inside = jnp.arange(ids.shape[-1])[None, :] < lengths[:, None]
        # An empty row attends to its first position: a softmax over nothing would be NaN.
        seen = inside | (jnp.arange(ids.shape[-1]) == 0)[None, :]
        types = jnp.minimum(types, self.config.type_vocab_size - 1)
        inputs = Inputs(ids, padding_mask(seen), types, offset=offset)
        variables = {"params": params}
        if self.head == REFERENCE:
            by_task: Any = self.model.apply(variables, inputs, batch, noise, train)
            return by_task[self.task]
        if self.kind.huggingface is not None:
            found: Any = self.model.apply(variables, inputs, noise)
        else:
            found = self.model.apply(variables, inputs, batch, noise, train)
        return self.kind.outputs(found, batch)

    def offset_shape(self, batch: Mapping[str, jax.Array]) -> tuple[int, ...]:
        """The shape of an `offset` of the embeddings for a batch."""
        ids = batch["input_ids"]
        return (ids.size // ids.shape[-1], ids.shape[-1], self.config.embedding_size)
