"""Building the codec of a task: its kind's, for a tokenizer and a set of labels."""

from __future__ import annotations

from collections.abc import Sequence

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import Codec, CodecSettings
from electra_jax.finetuning.kinds.table import kind_of
from electra_jax.finetuning.task import Task
from electra_jax.text.tokenizers.tokenizer import Tokenizer

MIN_LENGTH = 8
"""The least `max_length`, in tokens."""


def make_codec(
    task: Task,
    tokenizer: Tokenizer,
    settings: CodecSettings,
    labels: Sequence[str] = (),
    head: str = "huggingface",
) -> Codec:
    """The codec of a task's kind.

    Args:
      labels: names in the order of their ids (`collect_labels` of `task_table`);
        () where the kind has none.
      head: "huggingface" or "reference": whose outputs the codec of questions decodes.

    Raises:
      UserError: a length that holds no text, or labels that the task cannot use.
    """
    if settings.max_length < MIN_LENGTH:
        raise UserError(
            f"data.max_length={settings.max_length} holds no text; give at least {MIN_LENGTH}"
        )
    return kind_of(task).codec(task, tokenizer, settings, tuple(labels), head)
