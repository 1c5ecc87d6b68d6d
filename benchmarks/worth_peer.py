"""The best PyTorch peer of `worth.py`: ELECTRA pretraining with `transformers`' classes.

It begins with the very weights of ours (a run's export at step 0, so that shape, vocabulary and
initialisation are the same), reads the same rows, and has what makes the peers of `peers.py` fast:
masked positions gathered before the vocabulary, SDPA attention, fused AdamW, a cheap sampler, no
attention mask (the rows are nearly full). Three learning rates are tried for a twelfth of the
budget each, beside the budget; the lowest held-out discriminator loss decides.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification

import electra_jax

RATES = (5e-4, 1e-3, 2e-3)
BATCH = 32
MASK_PROB = 0.15
WEIGHT = 50.0
WARMUP = 0.06
TRIAL = 12  # a trial's share of the budget is one over this
EVALUATION_BATCHES = 20


class Peer:
    """A pair whose networks share their word embeddings, trained jointly."""

    def __init__(self, models: dict[str, Path], special: dict[str, int], rate: float) -> None:
        torch.manual_seed(0)
        self.generator = AutoModelForMaskedLM.from_pretrained(
            models["generator"], attn_implementation="sdpa"
        )
        self.discriminator = AutoModelForTokenClassification.from_pretrained(
            models["discriminator"], attn_implementation="sdpa"
        )
        words = self.discriminator.get_input_embeddings()
        self.generator.set_input_embeddings(words)
        self.generator.get_output_embeddings().weight = words.weight
        self.special = special
        networks = torch.nn.ModuleList([self.generator, self.discriminator])
        self.networks = networks.train()
        kept, decayed = [], []
        for name, parameter in networks.named_parameters():
            (kept if "norm" in name.lower() or "bias" in name else decayed).append(parameter)
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
        self.rate = rate

    def losses(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(generator's, discriminator's) mean loss of a batch of rows."""
        s = self.special
        ordinary = (ids != s["pad"]) & (ids != s["cls"]) & (ids != s["sep"])
        selected = int((MASK_PROB + 0.005) * ids.shape[1])
        score = torch.rand(ids.shape) * ordinary
        positions = score.topk(selected, dim=1).indices
        targets = ids.gather(1, positions)
        shown = torch.rand(positions.shape) < 0.85
        masked = ids.scatter(1, positions, torch.where(shown, s["mask"], targets))
        g = self.generator
        hidden = g.base_model(masked)[0]
        hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = g.decoder(g.head(hidden)).float().flatten(0, 1)
        generator_loss = F.cross_entropy(logits, targets.flatten())
        with torch.no_grad():
            cumulative = logits.detach().softmax(-1).cumsum(-1)
            threshold = torch.rand(logits.shape[0], 1) * cumulative[:, -1:]
            sampled = torch.searchsorted(cumulative, threshold, right=True)
            sampled = sampled.clamp(max=logits.shape[-1] - 1).view_as(targets)
            corrupted = ids.scatter(1, positions, sampled)
            labels = (corrupted != ids).float()
        scores = self.discriminator(corrupted).logits.squeeze(-1).float()
        loss = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
        inside = ids != s["pad"]
        return generator_loss, (loss * inside).sum() / inside.sum()

    def step(self, ids: torch.Tensor, done: float) -> None:
        """One update, `done` of the run behind it."""
        factor = min(done / WARMUP, 1.0) * (1 - done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        generator_loss, discriminator_loss = self.losses(ids)
        (generator_loss + WEIGHT * discriminator_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def train(self, batches: Iterator[torch.Tensor], seconds: float) -> int:
        """Trains for so long; the schedule follows the clock. Returns the number of steps."""
        begin, steps = time.perf_counter(), 0
        while (done := (time.perf_counter() - begin) / seconds) < 1:
            self.step(next(batches), done)
            steps += 1
        return steps

    @torch.no_grad()
    def evaluate(self, batches: Iterator[torch.Tensor]) -> float:
        """Mean discriminator loss of held-out rows."""
        self.networks.eval()
        torch.manual_seed(1)
        found = [float(self.losses(next(batches))[1]) for _ in range(EVALUATION_BATCHES)]
        self.networks.train()
        return math.fsum(found) / len(found)


def rows_of(folder: Path, split: str, seed: int, batch: int = BATCH) -> Iterator[torch.Tensor]:
    """Shuffled batches of a rows folder, int64 [batch, length], without end."""
    about = json.loads((folder / "rows.json").read_text())
    files = [folder / shard["file"] for shard in about["splits"][split]["shards"]]
    rows = np.concatenate(
        [np.fromfile(file, about["dtype"]).reshape(-1, about["seq_len"]) for file in files]
    )
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(rows))
        for begin in range(0, len(order) - batch + 1, batch):
            yield torch.from_numpy(rows[order[begin : begin + batch]].astype(np.int64))


def pretrain(
    rows: Path, seed: int, budget: dict[str, Any], workdir: Path, overrides: dict[str, Any]
) -> dict[str, Any]:
    """The peer's pretraining of `budget` minutes; the folders of its networks."""
    if "minutes" not in budget:
        raise SystemExit("the PyTorch peer is trained by the clock: leave --steps out")
    from worth_cells import OURS, pretraining_config

    seconds = 60 * budget["minutes"]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    parts = electra_jax.build_pretraining(
        pretraining_config(OURS, rows, seed, {"steps": 1}, overrides), workdir / "start"
    )
    models = parts.save(parts.init().params)
    special = json.loads((rows / "rows.json").read_text())["special_ids"]
    tried = {}
    for rate in RATES:
        peer = Peer(models, special, rate)
        peer.train(rows_of(rows, "train", seed), seconds / TRIAL)
        tried[rate] = peer.evaluate(rows_of(rows, "eval", 0))
    best = min(tried, key=lambda rate: tried[rate])
    peer = Peer(models, special, best)
    steps = peer.train(rows_of(rows, "train", seed), seconds)
    folders = {}
    for name in ("generator", "discriminator"):
        folder = workdir / name
        shutil.copytree(models[name], folder, dirs_exist_ok=True)
        getattr(peer, name).save_pretrained(folder)
        folders[name] = str(folder)
    return {
        "model": folders["discriminator"],
        "models": folders,
        "steps": steps,
        "tokens": steps * BATCH * json.loads((rows / "rows.json").read_text())["seq_len"],
        "rate": best,
        "tried": {f"{rate:g}": loss for rate, loss in tried.items()},
        "eval_loss": peer.evaluate(rows_of(rows, "eval", 0)),
    }
