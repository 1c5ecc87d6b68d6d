"""A kind in a user's own file whose answers are text: the words of a text that are worth keeping,
scored by exact match. Its head is one of transformers' (a score a token)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from electra_jax.finetuning.data.examples import Codec, TextExample
from electra_jax.finetuning.data.sources import text_of, texts_of
from electra_jax.finetuning.kinds.base import HuggingFaceKind, Padding
from electra_jax.finetuning.losses import binary_cross_entropy
from electra_jax.modeling.heads.huggingface import TOKEN
from electra_jax.modeling.heads.reference import at_positions

NO_WORD = -1


class Excerpt(HuggingFaceKind):
    """A text and the excerpt of it that is the answer, word by word."""

    texts = (("text",),)
    metrics = ("exact_match",)
    roles: ClassVar = {"answer": ("answer", "excerpt")}
    fields: ClassVar = {"kept": Padding(fill=NO_WORD)}
    huggingface = TOKEN

    def example(self, source, where, identity, record):
        (text,) = texts_of(source, where, record)
        answer = None
        if source.labelled:
            answer = text_of(source.value("answer", where, record), "answer", where)
        return TextExample(where, identity, (text,), answer)

    def codec(self, task, tokenizer, settings, labels, head):
        return ExcerptCodec(task, tokenizer, settings)

    def outputs(self, found, batch):
        return {"logits": at_positions(found, batch["word_positions"])[..., 0]}

    def cut(self, outputs, feature):
        return {"logits": outputs["logits"][: len(feature["word_positions"])]}

    def row_weights(self, batch, settings):
        return (batch["kept"] != NO_WORD).astype(jnp.float32) * batch["weight"][:, None]

    def row_losses(self, outputs, batch, settings):
        return binary_cross_entropy(outputs["logits"], jnp.maximum(batch["kept"], 0.0))

    def divergence(self, one, other):
        return jnp.square(one["logits"] - other["logits"])

    def constant_loss(self, examples, target_range):
        return None

    def better_than_chance(self, examples, predictions, scores):
        return scores["exact_match"] > 0

    def not_learned(self, examples, predictions, scores, learnt):
        return None if any(p["text"] for p in predictions) else "it keeps no word of any text"

    def errors(self, examples, predictions, labels):
        rows = [[e.label, p["text"]] for e, p in zip(examples, predictions, strict=True)]
        wrong = [row for row in rows if row[0] != row[1]]
        columns = ["expected", "written"]
        return [{"title": "Other texts", "table": {"columns": columns, "rows": wrong}}]

    def without_texts(self, example):
        return dataclasses.replace(example, texts=())


class ExcerptCodec(Codec):
    """[CLS] words [SEP]; outputs: "logits" [words]."""

    def __init__(self, task, tokenizer, settings):
        self.metric = task.metric
        self._tokenizer = tokenizer
        self._room = settings.max_length - 2

    def encode(self, example, train):
        words = example.texts[0].split()
        ids, counts = self._tokenizer.encode_flat(words)
        starts = 1 + np.cumsum(counts) - counts
        starts = starts[starts <= self._room].astype(np.int32)
        special = self._tokenizer.special_ids
        ids = np.concatenate([[special.cls], ids[: self._room], [special.sep]]).astype(np.int32)
        feature = {"input_ids": ids, "token_type_ids": 0 * ids, "word_positions": starts}
        if train:
            answer = example.label.split()
            feature["kept"] = np.array([w in answer for w in words[: len(starts)]], np.float32)
        return [feature]

    def decode(self, example, features, outputs):
        words = zip(example.texts[0].split(), outputs[0]["logits"], strict=False)
        return {"id": example.id, "text": " ".join(word for word, logit in words if logit > 0)}

    def score(self, examples, predictions):
        same = [e.label == p["text"] for e, p in zip(examples, predictions, strict=True)]
        return {"exact_match": 100 * float(np.mean(same))}
