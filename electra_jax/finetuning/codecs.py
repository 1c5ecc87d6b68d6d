"""One codec for each kind of task: examples become features, outputs become answers and scores.

A codec belongs to one task, tokenizer and tuple of labels. Codecs know nothing of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from electra_jax.errors import UserError
from electra_jax.finetuning.choice_codec import ChoiceCodec
from electra_jax.finetuning.examples import Codec, CodecSettings
from electra_jax.finetuning.question_answering import QuestionCodec
from electra_jax.finetuning.tag_codec import TagCodec
from electra_jax.finetuning.tasks import Task
from electra_jax.finetuning.text_codecs import (
    ClassificationCodec,
    MultilabelCodec,
    RegressionCodec,
    RelationCodec,
)
from electra_jax.text.tokenizer import Tokenizer

MIN_LENGTH = 8
"""The least `max_length`, in tokens."""

_CODECS: dict[str, Callable[[Task, Tokenizer, CodecSettings, tuple[str, ...]], Codec]] = {
    "classification": ClassificationCodec,
    "relation": RelationCodec,
    "multilabel": MultilabelCodec,
    "regression": RegressionCodec,
    "tagging": TagCodec,
    "multiple_choice": ChoiceCodec,
    "ranking": ChoiceCodec,
}


def make_codec(
    task: Task,
    tokenizer: Tokenizer,
    settings: CodecSettings,
    labels: Sequence[str] = (),
    head: str = "huggingface",
) -> Codec:
    """The codec of a task's kind.

    Args:
      labels: names in the order of their ids (`tasks.collect_labels`); () where the kind has none.
      head: "huggingface" or "reference": whose outputs answers to questions are decoded from.

    Raises:
      UserError: a length that holds no text, or labels that the task cannot use.
    """
    if settings.max_length < MIN_LENGTH:
        raise UserError(
            f"data.max_length={settings.max_length} holds no text; give at least {MIN_LENGTH}"
        )
    if task.kind == "question_answering":
        return QuestionCodec(tokenizer, settings, task.questions, head)
    return _CODECS[task.kind](task, tokenizer, settings, tuple(labels))
