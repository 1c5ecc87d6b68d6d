"""The fine-tuning peer: `transformers`' tokenizer and head, trained as its examples train them.

A plain PyTorch loop that does what `Trainer` does (which needs one more package): AdamW with
Trainer's constants, a tenth of warm-up, linear decay, clipping at 1, batches of similar length
padded to their longest, float32. Where Trainer would keep the last epoch, the best by the task's
metric is kept, as ours is. Examples and scores are the library's; nothing between them is.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from electra_jax.finetuning.data.examples import Codec, Example
from electra_jax.finetuning.task_table import Task

HEADS = {
    "classification": AutoModelForSequenceClassification,
    "relation": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "tagging": AutoModelForTokenClassification,
    "multiple_choice": AutoModelForMultipleChoice,
    "question_answering": AutoModelForQuestionAnswering,
}
IGNORED = -100
QUERY_LENGTH, STRIDE, N_BEST, ANSWER_LENGTH = 64, 96, 20, 30
Feature = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is the same on both sides, and the peer's learning rate."""

    epochs: float
    max_length: int
    learning_rate: float
    seed: int
    batch_size: int = 32
    eval_batch_size: int = 64


@dataclasses.dataclass
class Peer:
    """A task's features, network and answers."""

    task: Task
    labels: tuple[str, ...]
    model: str
    recipe: Recipe

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        self.tokenizer = AutoTokenizer.from_pretrained(self.model)
        head = HEADS[self.task.kind]
        labels = {} if head in (HEADS["question_answering"], HEADS["multiple_choice"]) else {
            "num_labels": max(1, len(self.labels))
        }  # fmt: skip
        self.network = head.from_pretrained(self.model, **labels)

    def features(self, example: Any, train: bool) -> list[Feature]:
        """Token ids (and labels) of an example: one, one a choice, or one a window."""
        encode, length = self.tokenizer, self.recipe.max_length
        kind = self.task.kind
        if kind == "question_answering":
            return self._windows(example, train)
        if kind == "tagging":
            tokens = encode(list(example.words), is_split_into_words=True, truncation=True,
                            max_length=length)  # fmt: skip
            words = tokens.word_ids()
            first = {w: i for i, w in reversed(list(enumerate(words))) if w is not None}
            feature = dict(tokens, first=first)
            if train:
                feature["labels"] = [IGNORED] * len(words)
                for word, place in first.items():
                    feature["labels"][place] = self.labels.index(example.tags[word])
            return [feature]
        if kind == "multiple_choice":
            context = "\n".join(filter(None, (example.context, example.question)))
            contexts = [context] * len(example.choices)
            tokens = encode(contexts, list(example.choices), truncation=True, max_length=length)
            return [dict(tokens, labels=example.label)]
        feature = dict(encode(*example.texts, truncation=True, max_length=length))
        if train:
            number = kind == "regression"
            feature["labels"] = example.label if number else self.labels.index(example.label)
        return [feature]

    def _windows(self, example: Any, train: bool) -> list[Feature]:
        """Windows that overlap by `STRIDE` tokens; the answer of one that lacks it is [CLS]."""
        question = self.tokenizer(
            example.question.strip(), add_special_tokens=False, truncation=True,
            max_length=QUERY_LENGTH, return_offsets_mapping=True,
        )  # fmt: skip
        end_of_question = max((end for _, end in question["offset_mapping"]), default=0)
        tokens = self.tokenizer(
            example.question.strip()[:end_of_question], example.context, truncation="only_second",
            max_length=self.recipe.max_length, stride=STRIDE, return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )  # fmt: skip
        windows = []
        for i, offsets in enumerate(tokens["offset_mapping"]):
            inside = [s == 1 for s in tokens.sequence_ids(i)]
            feature = {n: tokens[n][i] for n in ("input_ids", "token_type_ids", "attention_mask")}
            feature["offsets"] = [o if s else None for o, s in zip(offsets, inside, strict=True)]
            if train:
                start, end = self._answer(example, feature["offsets"])
                feature |= {"start_positions": start, "end_positions": end}
            windows.append(feature)
        return windows

    @staticmethod
    def _answer(example: Any, offsets: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
        if example.is_impossible or not example.answers:
            return 0, 0
        text, first = example.answers[0]
        last = first + len(text)
        places = [i for i, o in enumerate(offsets) if o and o[1] > first and o[0] < last]
        whole = places and offsets[places[0]][0] <= first and offsets[places[-1]][1] >= last  # type: ignore[index]
        return (places[0], places[-1]) if whole else (0, 0)

    def pad(self, features: Sequence[Feature]) -> dict[str, torch.Tensor]:
        """A batch padded to its longest, as transformers' collators do."""
        batch = {}
        fills = {"input_ids": self.tokenizer.pad_token_id, "labels": IGNORED}
        choices = self.task.kind == "multiple_choice"
        for name in features[0]:
            if name in ("offsets", "first"):
                continue
            values = [f[name] for f in features]
            if isinstance(values[0], list):
                flat = [row for value in values for row in value] if choices else values
                longest = max(map(len, flat))
                fill = fills.get(name, 0)
                rows = torch.tensor([row + [fill] * (longest - len(row)) for row in flat])
                batch[name] = rows.view(len(values), -1, longest) if choices else rows
            else:
                batch[name] = torch.tensor(values)
        return batch

    def train(
        self, examples: Sequence[Example], evaluation: Sequence[Example], codec: Codec, metric: str
    ) -> float:
        """Trains, keeps the best epoch; wall seconds."""
        recipe, network = self.recipe, self.network
        features = [f for e in examples for f in self.features(e, True)]
        lengths = [_length(f) for f in features]
        steps_per_epoch = -(-len(features) // recipe.batch_size)
        steps = int(np.ceil(recipe.epochs * steps_per_epoch))
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=0.0, fused=True
        )
        schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
        generator = torch.Generator().manual_seed(recipe.seed)
        sampler = LengthGroupedSampler(recipe.batch_size, lengths=lengths, generator=generator)
        # A Dataset is anything with lengths and items, whatever the stubs say.
        data: Any = features
        loader: DataLoader[Feature] = DataLoader(
            data, recipe.batch_size, sampler=sampler, collate_fn=self.pad
        )
        began, best, kept = time.perf_counter(), -float("inf"), None
        for step, batch in enumerate(_endless(loader), start=1):
            network.train()
            network(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % steps_per_epoch == 0 or step == steps:
                score = codec.score(evaluation, self.predict(evaluation))[metric]
                print(f"step {step} of {steps}: {metric} {score:.2f}", flush=True)
                if kept is None or score > best:
                    best, kept = score, copy.deepcopy(network.state_dict())
            if step == steps:
                break
        assert kept is not None
        network.load_state_dict(kept)
        return time.perf_counter() - began

    @torch.inference_mode()
    def predict(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """Answers in the form that the library's scores take."""
        self.network.eval()
        encoded = [self.features(e, False) for e in examples]
        features = [f for each in encoded for f in each]
        order = np.argsort([_length(f) for f in features], kind="stable")
        found: list[Any] = [None] * len(features)
        for start in range(0, len(order), self.recipe.eval_batch_size):
            ids = order[start : start + self.recipe.eval_batch_size]
            batch = self.pad([features[i] for i in ids])
            batch.pop("labels", None)
            outputs = self.network(**batch)
            names = ("start_logits", "end_logits") if "start_logits" in outputs else ("logits",)
            for row, i in enumerate(ids):
                found[i] = [outputs[name][row].numpy() for name in names]
        results, taken = [], iter(found)
        for example, mine in zip(examples, encoded, strict=True):
            results.append(self._decode(example, mine, [next(taken) for _ in mine]))
        return results

    def _decode(
        self, example: Any, features: list[Feature], outputs: list[list[np.ndarray]]
    ) -> dict[str, Any]:
        if self.task.kind == "question_answering":
            return _best_answer(example, features, outputs)
        logits = outputs[0][0]
        if self.task.kind == "regression":
            return {"score": float(logits[0])}
        if self.task.kind == "tagging":
            first = features[0]["first"]
            best = logits.argmax(-1)
            words = range(len(example.words))
            return {"tags": [self.labels[best[first[w]]] if w in first else None for w in words]}
        if self.task.kind == "multiple_choice":
            return {"prediction": int(logits.argmax())}
        return {"label": self.labels[int(logits.argmax())]}


def _best_answer(
    example: Any, features: list[Feature], outputs: list[list[np.ndarray]]
) -> dict[str, Any]:
    """As run_qa: the best valid pair of the 20 best starts and ends of each window, against the
    least score of "no answer"."""
    spans, null = [], float("inf")
    for feature, (starts, ends) in zip(features, outputs, strict=True):
        null = min(null, float(starts[0] + ends[0]))
        places = feature["offsets"]
        best_starts, best_ends = (np.argsort(-x)[:N_BEST] for x in (starts, ends))
        for i in best_starts:
            for j in best_ends:
                valid = i < len(places) and j < len(places) and places[i] and places[j]
                if valid and i <= j < i + ANSWER_LENGTH:
                    spans.append((float(starts[i] + ends[j]), places[i][0], places[j][1]))
    score, start, end = max(spans, default=(0.0, 0, 0))
    text = example.context[start:end]
    return {"prediction_text": text, "n_best": [{"text": text}], "null_odds": null - score}


def _length(feature: Feature) -> int:
    ids = feature["input_ids"]
    return max(map(len, ids)) if isinstance(ids[0], list) else len(ids)


def _endless(loader: DataLoader[Any]) -> Iterator[Mapping[str, torch.Tensor]]:
    while True:
        yield from loader
