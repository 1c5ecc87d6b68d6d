"""The strongest fair PyTorch peers, from `transformers`' ELECTRA classes.

Pretraining: masked positions gathered before the vocabulary projection, SDPA attention, fused
AdamW, sampling by inverse CDF (PyTorch's own `multinomial` draws a random number for every token of
the vocabulary), no attention mask (the rows are full), losses alone as metrics. bf16 by autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import ElectraConfig as HfConfig
from transformers import ElectraForMaskedLM, ElectraForPreTraining
from transformers import ElectraForSequenceClassification as HfClassifier

from electra_jax.config.model import ElectraConfig, PairConfig

MASK_ID = 103


def hugging_face_config(config: ElectraConfig) -> HfConfig:
    """The same shape and dropout in their words, with SDPA attention."""
    names = (
        "vocab_size embedding_size hidden_size num_hidden_layers num_attention_heads "
        "intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob "
        "max_position_embeddings type_vocab_size layer_norm_eps"
    ).split()
    result = HfConfig(**{name: getattr(config, name) for name in names})
    result._attn_implementation = "sdpa"
    return result


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _sent(ids: np.ndarray, device: torch.device) -> torch.Tensor:
    """The ids on a device; to a GPU without waiting for what it computes."""
    if device.type == "cpu":
        return torch.from_numpy(ids).long()
    return torch.from_numpy(ids).pin_memory().to(device, non_blocking=True).long()


def _compiled(function: Callable[..., Any], variant: str) -> Callable[..., Any]:
    if variant == "eager":
        return function
    mode = "reduce-overhead" if variant == "cudagraphs" else None
    return torch.compile(function, mode=mode, dynamic=False)


class Pretraining:
    """Generator and discriminator with tied embeddings, trained jointly."""

    def __init__(self, pair: PairConfig, seq_len: int, mask_prob: float, variant: str) -> None:
        """`variant`: eager, compile or cudagraphs."""
        if pair.generator is None or pair.sharing != "embeddings":
            raise ValueError("the peer has a generator with tied embeddings")
        self.device = _device()
        torch.manual_seed(0)
        self.generator = ElectraForMaskedLM(hugging_face_config(pair.generator))
        self.discriminator = ElectraForPreTraining(hugging_face_config(pair.discriminator))
        self.generator.electra.embeddings = self.discriminator.electra.embeddings
        words = self.discriminator.electra.embeddings.word_embeddings
        self.generator.generator_lm_head.weight = words.weight
        self.networks = torch.nn.ModuleList([self.generator, self.discriminator])
        self.networks.to(self.device).train()
        self.max_predictions = int((mask_prob + 0.005) * seq_len)
        self.bf16 = pair.discriminator.dtype == "bfloat16"
        torch.set_float32_matmul_precision("high" if self.bf16 else "highest")
        kept, decayed = [], []
        for name, parameter in self.networks.named_parameters():
            (kept if "LayerNorm" in name or "bias" in name else decayed).append(parameter)
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=5e-4, eps=1e-6, fused=True)
        self.loss = _compiled(self._loss, variant)

    def _loss(self, ids: torch.Tensor) -> torch.Tensor:
        batch, length = ids.shape
        # [CLS] stands first and [SEP] last: the candidates lie between.
        score = torch.rand(batch, length - 2, device=ids.device)
        positions = score.topk(self.max_predictions, dim=1).indices + 1
        targets = ids.gather(1, positions)
        shown = torch.rand(positions.shape, device=ids.device) < 0.85
        masked = ids.scatter(1, positions, torch.where(shown, MASK_ID, targets))
        g, d = self.generator, self.discriminator
        hidden = g.electra(masked)[0]
        hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = g.generator_lm_head(g.generator_predictions(hidden)).float()
        flat = logits.flatten(0, 1)
        generator_loss = F.cross_entropy(flat, targets.flatten())
        with torch.no_grad():
            cumulative = flat.detach().softmax(-1).cumsum(-1)
            threshold = torch.rand(flat.shape[0], 1, device=ids.device) * cumulative[:, -1:]
            sampled = torch.searchsorted(cumulative, threshold, right=True)
            sampled = sampled.clamp(max=flat.shape[-1] - 1).view_as(targets)
            corrupted = ids.scatter(1, positions, sampled)
            labels = (corrupted != ids).float()
        scores = d.discriminator_predictions(d.electra(corrupted)[0]).float()
        return generator_loss + 50 * F.binary_cross_entropy_with_logits(scores, labels)

    def step(self, ids: np.ndarray) -> None:
        """One optimizer step on int32 [batch, seq_len]."""
        on_device = _sent(ids, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.loss(on_device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def finish(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Classifier:
    """Sequence classification, forward alone; logits [batch, 2] on the host."""

    def __init__(self, config: ElectraConfig, variant: str) -> None:
        self.device = _device()
        torch.manual_seed(0)
        self.network = HfClassifier(hugging_face_config(config)).to(self.device).eval()
        self.bf16 = config.dtype == "bfloat16"
        self._forward = _compiled(lambda ids: self.network(ids).logits, variant)

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Float32 [batch, 2] of int32 [batch, seq_len] without padding."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            result = self._forward(_sent(ids, self.device))
        return result.float().cpu().numpy()
