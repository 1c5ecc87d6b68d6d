"""Regression: a number for each text or pair."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.chance import ENOUGH, LEAST_SURE, SURE
from electra_jax.finetuning.data.examples import CodecSettings, Example, Feature, TextExample
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, texts_of
from electra_jax.finetuning.data.values import missing_label, number_of
from electra_jax.finetuning.kinds.base import Batch, Block, Mistake, Outputs, Predictions
from electra_jax.finetuning.kinds.text import TextCodec, TextKind, shown_texts
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.task import SETTINGS_KEY, Task
from electra_jax.modeling.heads.reference import REGRESSION


class RegressionCodec(TextCodec):
    """A number for each text or pair: "target" float32, scaled by `target_range`. Outputs: "logits"
    [1], in the same scale."""

    def _target(self, example: TextExample) -> Feature:
        assert isinstance(example.label, float)
        low, high = self.settings.target_range
        return {"target": np.float32((example.label - low) / (high - low))}

    def decode(
        self,
        example: TextExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """{"id", "score"}, in the unit of the data."""
        low, high = self.settings.target_range
        value = float(np.asarray(outputs[0]["logits"], np.float64).reshape(()))
        return {"id": example.id, "score": low + value * (high - low)}

    def score(self, examples: Sequence[TextExample], predictions: Predictions) -> dict[str, float]:
        """Both correlations in percent, and the mean squared error in the unit of the data."""
        gold = [float(example.label) for example in examples]  # type: ignore[arg-type]
        predicted = [float(prediction["score"]) for prediction in predictions]
        return {name: _METRICS[name](gold, predicted) for name in self.task.metrics}


class Regression(TextKind):
    """A number: "logits" [B, 1] and "target" float32 [B], both scaled by `target_range`."""

    name = "regression"
    codec_class = RegressionCodec
    metrics = ("pearson", "spearman", "mean_squared_error")
    roles: ClassVar = {"label": ("score", "label", "target", "value", "rating")}
    reference = REGRESSION
    problem_type = "regression"
    answer = "score"

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """The texts and a finite number."""
        texts = texts_of(source, where, record)
        if not source.labelled:
            return TextExample(where, identity, texts)
        value = source.value("label", where, record)
        if (missing := missing_label(value, numbers=True)) is not None:
            return TextExample(where, identity, texts, missing)
        if (number := number_of(value)) is None:
            raise UserError(
                f'{where}: the target in column "{source.columns["label"]}" is not a number: '
                f"{json.dumps(value, ensure_ascii=False)[:60]}"
            )
        return TextExample(where, identity, texts, number)

    def prepare(
        self, task: Task, path: str, examples: list[Any], settings: CodecSettings
    ) -> tuple[list[Any], CodecSettings]:
        """Sets `target_range` to that of the targets, where the task has none."""
        if task.target_range is None:
            targets = [e.label for e in examples]
            if min(targets) == max(targets):
                raise UserError(
                    f"{path}: all {len(targets)} targets are {targets[0]:g}; there is nothing to "
                    "learn"
                )
            settings = dataclasses.replace(settings, target_range=(min(targets), max(targets)))
        return examples, settings

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """Squared error."""
        return jnp.square(outputs["logits"][:, 0] - batch["target"])

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """Squared distance."""
        return jnp.square(one["logits"] - other["logits"])[:, 0]

    def constant_loss(
        self, examples: Sequence[TextExample], target_range: tuple[float, float]
    ) -> float | None:
        """The variance of the scaled targets."""
        low, high = target_range
        return float(np.var([float(e.label) for e in examples])) / (high - low) ** 2  # type: ignore[arg-type]

    def better_than_chance(
        self, examples: Sequence[TextExample], predictions: Predictions, scores: Mapping[str, float]
    ) -> bool:
        """A correlation far above 0."""
        if not examples:
            return False
        return _correlation(scores) >= SURE / len(examples) ** 0.5

    def not_learned(
        self,
        examples: Sequence[TextExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """Predictions that hardly vary, or are not correlated with the targets."""
        spread = float(np.std([p["score"] for p in predictions]))
        targets = [e.label for e in examples]
        if len(predictions) > 1 and spread < 0.02 * float(np.std(targets)):  # type: ignore[arg-type]
            return f"its answers hardly vary (standard deviation {spread:.2g})"
        correlation = _correlation(scores)
        if len(examples) >= ENOUGH and correlation < LEAST_SURE / len(examples) ** 0.5:
            return f"its answers do not rise with the targets (correlation {correlation:.2f})"
        return None

    def errors(
        self, examples: Sequence[TextExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """None."""
        return []

    def mistake(self, example: TextExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The farther from the target, the worse."""
        assert isinstance(example.label, float)
        distance = abs(answer["score"] - example.label)
        answered = f"{answer['score']:.4g}"
        return Mistake(distance, shown_texts(example), f"{example.label:.4g}", answered)

    def exported(
        self, params: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """`target_range` folded into the last layer, whose output then has the unit of the data."""
        stated = dict(settings[SETTINGS_KEY])
        low, high = stated["codec"]["target_range"]
        head = dict(params["classifier"])
        last = dict(head["out_proj"]) if "out_proj" in head else head
        last = {
            "kernel": np.asarray(last["kernel"]) * np.float32(high - low),
            "bias": np.asarray(last["bias"]) * np.float32(high - low) + np.float32(low),
        }
        head = {**head, "out_proj": last} if "out_proj" in head else last
        stated["codec"] = {**stated["codec"], "target_range": [0.0, 1.0]}
        return {**params, "classifier": head}, {**settings, SETTINGS_KEY: stated}

    def same_scale(self, stated: Mapping[str, Any], settings: CodecSettings) -> bool:
        """The same range of targets."""
        return tuple(stated.get("target_range", ())) == settings.target_range

    def kept_head(
        self,
        head: dict[str, np.ndarray],
        stated: Mapping[str, Any],
        names: tuple[str, ...],
        labels: tuple[str, ...],
        settings: CodecSettings,
    ) -> dict[str, np.ndarray] | None:
        """The head rescaled to this range of targets. `names` is the output's name in config.json,
        not a label."""
        from_low, from_high = stated.get("target_range", (0.0, 1.0))
        low, high = settings.target_range
        scale, shift = (from_high - from_low) / (high - low), (from_low - low) / (high - low)
        last = "classifier/out_proj" if "classifier/out_proj/kernel" in head else "classifier"
        scaled = {
            f"{last}/kernel": head[f"{last}/kernel"] * np.float32(scale),
            f"{last}/bias": head[f"{last}/bias"] * np.float32(scale) + np.float32(shift),
        }
        return {**head, **scaled}


def _correlation(scores: Mapping[str, float]) -> float:
    """The first of the task's correlations, −1 … 1; NaN without one."""
    return next((scores[name] / 100 for name in scores if name in _CORRELATIONS), math.nan)


_CORRELATIONS = ("pearson", "spearman")
_METRICS: dict[str, Callable[[list[float], list[float]], float]] = {
    "pearson": metrics.pearson_correlation,
    "spearman": metrics.spearman_correlation,
    "mean_squared_error": metrics.mean_squared_error,
}
