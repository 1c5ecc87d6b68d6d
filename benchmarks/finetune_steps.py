"""Fine-tuning steps of the library and of a plain `transformers` + PyTorch loop on the same texts.

One unit is one epoch over the first `--examples` training texts. Ours: batches of similar length in
a few compiled shapes, as `electra-jax finetune` runs them. The peer: what `Trainer` does by
default, shuffled batches padded to their longest text, fused AdamW, clipping at 1, SDPA attention.
Weights, dropout, examples, batch size and optimizer are alike; tokenising is done before the clock
starts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[[int], object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that only fine-tuning has."""
    parser.add_argument("--init", help="finetune: a model folder that both load")
    parser.add_argument("--data", help="finetune: a folder of the task's files")
    parser.add_argument("--finetune_task", default="sst2", help="finetune: one label a text")
    parser.add_argument("--examples", type=int, default=1920, help="finetune: texts in an epoch")


def _configuration(a: argparse.Namespace) -> dict[str, Any]:
    from electra_jax.config_file import load_config

    if not a.init or not a.data:
        raise SystemExit("--task=finetune needs --init=MODEL and --data=FOLDER")
    return load_config(
        [
            f"--config=configs/finetune.py:{a.finetune_task}",
            f"--config.init={a.init}",
            f"--config.data.path={a.data}",
            f"--config.data.train_examples={a.examples}",
            f"--config.train.batch_size={a.batch_size}",
            f"--config.train.dtype={a.dtype}",
        ]
    )[0]


def ours(a: argparse.Namespace) -> Work:
    """Epochs of the library, by the compiled step that its loop runs."""
    import flax.linen as nn
    import jax

    from electra_jax.finetuning.data.batches import train_batches
    from electra_jax.finetuning.run import FineTuning
    from electra_jax.training.sharding import LOGICAL_AXES
    from electra_jax.training.step import PackedStep, init_state, run_key_data

    run = FineTuning.build(_configuration(a), tempfile.mkdtemp(), quiet=True)
    optimizer = run.run.optimizer(jax.eval_shape(run.objective.init, jax.random.key(0))[0])
    state = jax.jit(lambda: init_state(run.objective, optimizer, 0))()
    assert run.run.initial is not None
    params, frozen = run.run.initial(state.params, state.frozen)
    state = state.replace(params=jax.device_put(params), frozen=frozen)  # type: ignore[attr-defined]
    step = jax.jit(PackedStep(run.objective, optimizer, 0), donate_argnums=(0,))
    words, done = run_key_data(0, "train"), 0
    print(f"electra_jax: {run.describe()[1]}", flush=True)

    def epochs(count: int) -> None:
        nonlocal state, done
        per_epoch = run.order.steps_per_epoch
        batches = train_batches(run.data.features, run.order, done * per_epoch)
        vector = None
        with jax.set_mesh(run.run.mesh), nn.logical_axis_rules(LOGICAL_AXES):
            for _ in range(count * per_epoch):
                state, vector = step(state, next(batches), words)
        assert np.isfinite(np.asarray(vector)).all()
        done += count

    return epochs


def peer(a: argparse.Namespace, variant: str, grouped: bool = False) -> Work:
    """Epochs of the peer, "eager" or "compile"; with batches of similar length if `grouped`."""
    import os

    import torch
    from torch.utils.data import DataLoader
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
    )
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from electra_jax.finetuning.data.task_data import find_files, load_examples
    from electra_jax.finetuning.task_table import collect_labels, get_task

    config = _configuration(a)
    task = get_task(a.finetune_task)
    columns = config["data"]["columns"]
    examples: list[Any] = load_examples(task, find_files(task, config["data"]).train, columns)
    examples = examples[: a.examples]
    labels = collect_labels(task, examples)
    tokenizer = AutoTokenizer.from_pretrained(a.init)
    encoded = [
        {
            **tokenizer(*e.texts, truncation=True, max_length=task.max_length),
            "labels": labels.index(e.label),
        }
        for e in examples
    ]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = AutoModelForSequenceClassification.from_pretrained(a.init, num_labels=len(labels))
    network.to(device).train()
    if variant != "eager":
        network = torch.compile(network, dynamic=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5, fused=True)
    lengths = [len(e["input_ids"]) for e in encoded]
    loader = DataLoader(
        encoded,
        batch_size=a.batch_size,
        shuffle=not grouped,
        sampler=LengthGroupedSampler(a.batch_size, lengths=lengths) if grouped else None,
        collate_fn=DataCollatorWithPadding(tokenizer),
    )

    def epochs(count: int) -> None:
        for _ in range(count):
            for batch in loader:
                batch = {name: value.to(device) for name, value in batch.items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=a.dtype == "bfloat16"):
                    loss = network(**batch).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
                optimizer.step()
                optimizer.zero_grad()
        assert np.isfinite(loss.item())

    return epochs
