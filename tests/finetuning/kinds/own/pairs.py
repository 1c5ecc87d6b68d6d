"""A kind in a user's own file: two texts a record, told from those of the other records of a batch
(contrastive learning with in-batch negatives). Predictions are vectors."""

import dataclasses
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from electra_jax.config.fields import field
from electra_jax.config.model import ElectraConfig
from electra_jax.finetuning.data.encoding import PairEncoder
from electra_jax.finetuning.data.examples import Codec, TextExample
from electra_jax.finetuning.data.sources import texts_of
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.losses import cross_entropy
from electra_jax.modeling.heads.headed import Headed
from electra_jax.modeling.layers import Dense


class Projection(nn.Module):
    """[CLS] → dense → length 1: [B, L, H] → "vector" [B, width]."""

    config: ElectraConfig
    width: int

    @nn.compact
    def __call__(self, hidden, batch, noise, train):
        vector = Dense(self.config, self.width, name="dense")(hidden[:, 0]).astype(jnp.float32)
        return {"vector": vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)}


@dataclasses.dataclass(frozen=True)
class Settings:
    """`--config.kind.*`."""

    scale: float = field(20.0, "Factor of the cosines in the loss.", above=0)


class Pairs(Kind):
    """A query and the passage that belongs to it."""

    Settings = Settings

    texts = (("query", "passage"), ("query",))
    metrics = ("recall_at_1",)
    roles: ClassVar = {}
    whole_batch = True

    def example(self, source, where, identity, record):
        return TextExample(where, identity, texts_of(source, where, record))

    def input(self, task, value, where, number, columns, usual):
        if isinstance(value, str):
            return TextExample(where, str(number), (value,))
        return super().input(task, value, where, number, columns, usual)

    def codec(self, task, tokenizer, settings, labels, head):
        return PairsCodec(task, tokenizer, settings)

    def without_texts(self, example):
        return dataclasses.replace(example, texts=())

    def network(self, config, outputs, dropout_rate):
        return Headed(config, (("projection", partial(Projection, config, 16)),))

    def outputs(self, found, batch):
        return {"vector": found["vector"].reshape(*batch["lengths"].shape, -1)}

    def cut(self, outputs, feature):
        return {"vector": outputs["vector"][: len(feature["input_ids"])]}

    def row_losses(self, outputs, batch, settings):
        queries, passages = outputs["vector"][:, 0], outputs["vector"][:, 1]
        there = batch["weight"][None, :] > 0
        logits = jnp.where(there, self.settings.scale * queries @ passages.T, -1e9)
        return cross_entropy(logits, jnp.arange(len(queries)), settings.label_smoothing)

    def divergence(self, one, other):
        return jnp.sum(jnp.square(one["vector"] - other["vector"]), (1, 2))

    def constant_loss(self, examples, target_range):
        return None

    def better_than_chance(self, examples, predictions, scores):
        return scores["recall_at_1"] > 300 / len(examples)

    def not_learned(self, examples, predictions, scores, learnt):
        if scores["recall_at_1"] > 100 / len(examples):
            return None
        return f"it finds {scores['recall_at_1']:.1f} % of the passages, no more than by chance"

    def errors(self, examples, predictions, labels):
        found = _found(predictions)
        rows = [[p["id"], predictions[i]["id"]] for p, i in zip(predictions, found, strict=True)]
        wrong = [row for row in rows if row[0] != row[1]]
        return [{"title": "Not found", "table": {"columns": ["query", "found"], "rows": wrong}}]


class PairsCodec(Codec):
    """[CLS] text [SEP] for each text; outputs: "vector" [texts, width]."""

    def __init__(self, task, tokenizer, settings):
        self.metric = task.metric
        self._encoder = PairEncoder(tokenizer, settings.max_length)

    def encode(self, example, train):
        texts = [self._encoder.join([ids]) for ids in self._encoder.texts(example.texts)]
        ids, types = zip(*texts, strict=True)
        return [{"input_ids": list(ids), "token_type_ids": list(types)}]

    def decode(self, example, features, outputs):
        return {"id": example.id, "vectors": outputs[0]["vector"].tolist()}

    def score(self, examples, predictions):
        hits = [i == found for i, found in enumerate(_found(predictions))]
        return {"recall_at_1": 100 * float(np.mean(hits))}


def _found(predictions):
    queries, passages = (np.array([p["vectors"][i] for p in predictions]) for i in (0, 1))
    return (queries @ passages.T).argmax(1)
