"""The library against PyTorch with `transformers`, side by side in one run.

    python benchmarks/vs_huggingface.py --task=pretrain --size=small --batch_size=32 --pairs=5
    python benchmarks/vs_huggingface.py --task=inference --size=small --batch_size=1 --seq_len=32
    python benchmarks/vs_huggingface.py --task=finetune --init=MODEL --data=SST-2/ --peers eager

Each contestant is a process of its own; they take turns, A B C A B C, while the others wait. The
peer is the best of `--peers`, by their medians over the run: PyTorch eager, `torch.compile`, and on
a GPU `cudagraphs`. Prints the median ratio peer ÷ ours (above 1: the library is faster) and its
spread; the last line is one JSON object. Peers are given the library's settings of malloc, without
which they clear their memory again at every step; `eager:stock` is PyTorch as installed.

`pretrain`: one training step; shapes, dropout and dtype alike (`benchmarks/peers.py` says what the
peer does). `inference`: one forward pass of a sequence classifier, from token ids to logits on the
host, without padding. `finetune`: one epoch over a task's texts (`benchmarks/finetune_steps.py`);
the model of `--init` in place of `--size`; `eager:grouped` has batches of texts of similar length
(`LengthGroupedSampler`) in place of Trainer's default, shuffled ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import finetune_steps
import numpy as np

OURS = "electra_jax"
STOCK, GROUPED = "stock", "grouped"
Work = Callable[[int], object]
"""Does so many units of work and waits for them."""


def contestant(a: argparse.Namespace, name: str) -> Work:
    """Builds one, in the process that will run it."""
    from workload import mask_prob_of, pair_of, prepare_host, synthetic_ids

    name, _, variant = name.partition(":")
    if variant != STOCK:
        prepare_host()
    if a.task == "finetune":
        grouped = variant == GROUPED
        return finetune_steps.ours(a) if name == OURS else finetune_steps.peer(a, name, grouped)
    pair = pair_of(a)
    if pair.discriminator.block != "bert":
        raise SystemExit(f"--size={a.size}: transformers' ELECTRA classes have no such blocks")
    ids = synthetic_ids(4 * a.batch_size, a.seq_len, pair.discriminator.vocab_size)
    batches = itertools.cycle(np.split(ids, 4))
    if name == OURS and a.task == "pretrain":
        from workload import TrainingStep

        step = TrainingStep(pair, a.batch_size, a.seq_len, mask_prob_of(a))
        ours = ({"input_ids": batch} for batch in batches)
        return lambda count: step.seconds(ours, count)
    if name == OURS:
        return _forward(pair.discriminator, batches)

    import peers
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if a.task == "pretrain":
        trained = peers.Pretraining(pair, a.seq_len, mask_prob_of(a), name)

        def train(count: int) -> None:
            for _ in range(count):
                trained.step(next(batches))
            trained.finish()

        return train
    classifier = peers.Classifier(pair.discriminator, name)
    return lambda count: [classifier.logits(next(batches)) for _ in range(count)]


def _forward(config: Any, batches: Any) -> Work:
    import jax

    from electra_jax.modeling.electra import Inputs, padding_mask
    from electra_jax.modeling.encoder import join_layers, split_layers
    from electra_jax.modeling.heads.huggingface import SEQUENCE, FineTuned

    network = FineTuned(config.replace(scan_layers=False), SEQUENCE)
    ids = next(batches)

    def forward(params: Any, ids: Any) -> Any:
        return network.apply(join_layers(params), Inputs(ids, padding_mask(ids)))

    params = jax.jit(lambda: network.init(jax.random.key(0), Inputs(ids, padding_mask(ids))))()
    params = split_layers(params)
    compiled = jax.jit(forward).lower(params, ids).compile()
    return lambda count: [np.asarray(compiled(params, next(batches))) for _ in range(count)]


def serve(connection: Connection, a: argparse.Namespace, name: str) -> None:
    """A contestant's process: answers a number of units with the seconds they took; 0 ends it."""
    try:
        work = contestant(a, name)
        connection.send(None)
        while count := connection.recv():
            begin = time.perf_counter()
            work(count)
            connection.send(time.perf_counter() - begin)
    except (Exception, SystemExit) as error:
        connection.send(f"{name}: {type(error).__name__}: {error}")


class Contestant:
    """The parent's side of a contestant."""

    def __init__(self, a: argparse.Namespace, name: str) -> None:
        """Starts it and waits until it is built."""
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, a, name), daemon=True)
        self._process.start()
        self._answer()

    def seconds(self, count: int) -> float:
        """Wall seconds a unit."""
        self._connection.send(count)
        return float(self._answer()) / count

    def stop(self) -> None:
        """Ends its process."""
        self._connection.send(0)
        self._process.join()

    def _answer(self) -> Any:
        answer = self._connection.recv()
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer


_SETTINGS = (
    ("size", "seq_len", "hidden_dropout", "attention_dropout", "unroll"),
    ("init", "data", "finetune_task", "examples"),
)


def compare(a: argparse.Namespace) -> dict[str, Any]:
    """Runs all contestants in turns; what the last line says."""
    from workload import machine

    contestants = [Contestant(a, name) for name in (OURS, *a.peers)]
    for c in contestants:
        c.seconds(a.warmup)
    rounds: dict[str, list[float]] = {c.name: [] for c in contestants}
    for number in range(a.pairs):
        for c in contestants:
            rounds[c.name].append(c.seconds(a.units))
        line = "  ".join(f"{n} {t[-1] * 1e3:.1f} ms" for n, t in rounds.items())
        print(f"round {number + 1}: {line}", flush=True)
    for c in contestants:
        c.stop()
    medians = {name: statistics.median(times) for name, times in rounds.items()}
    ratios = {}
    for name in a.peers:
        each = sorted(p / o for p, o in zip(rounds[name], rounds[OURS], strict=True))
        ratios[name] = [statistics.median(each), each[0], each[-1]]
        print("{} takes {:.2f} × our time ({:.2f} to {:.2f})".format(name, *ratios[name]))
    best = min(a.peers, key=medians.__getitem__)
    return {
        "task": a.task,
        "ratio": ratios[best][0],
        "ratio_range": ratios[best][1:],
        "peer": best,
        "ratios": ratios,
        "pairs": a.pairs,
        "seconds": medians,
        **{
            name: getattr(a, name)
            for name in ("batch_size", "dtype", *_SETTINGS[a.task == "finetune"])
        },
        "machine": machine() | {p: version(p) for p in ("torch", "transformers")},
    }


def parser() -> argparse.ArgumentParser:
    """The flags."""
    from workload import add_model_arguments

    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--task", choices=("pretrain", "inference", "finetune"), default="pretrain")
    add_model_arguments(result)
    finetune_steps.add_arguments(result)
    result.add_argument("--pairs", type=int, default=5, help="rounds")
    result.add_argument("--units", type=int, default=1, help="steps or calls in each round")
    result.add_argument("--warmup", type=int, default=2)
    result.add_argument(
        "--peers",
        nargs="+",
        choices=[
            v + m
            for v in ("eager", "compile", "cudagraphs")
            for m in ("", f":{STOCK}", f":{GROUPED}")
        ],
        default=["eager", "compile"],
    )
    return result


def main() -> None:
    """Compares and prints."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU is shared with PyTorch
    print(json.dumps(compare(parser().parse_args())))


if __name__ == "__main__":
    main()
