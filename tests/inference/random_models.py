"""Fine-tuned model folders with random weights: they answer, and nothing was trained for it."""

import jax
from finetuning import tiny_task

from electra_jax.config.model import ElectraConfig
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import CodecSettings
from electra_jax.finetuning.export import export_model, task_settings
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.task_table import get_task
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


def make_tuned(folder, task_name, labels, columns=None):
    """A model folder that `finetune` could have written for a task."""
    start = tiny_task.make_model(folder)
    task, settings = get_task(task_name), CodecSettings(max_length=32)
    config: ElectraConfig = tiny_task.CONFIG
    network = Network(config, find_kind(task.kind), max(1, len(labels)), dropout_rate=0.0)
    codec = make_codec(task, load_tokenizer(start), settings, labels)
    params = jax.jit(network.init)(jax.random.key(1))
    extra = task_settings(task, codec, settings, network, {}, columns or {})
    export_model(folder / "tuned", network, params, start, extra)
    return folder / "tuned"
