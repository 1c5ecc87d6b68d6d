"""Log-probabilities of whole texts by pretrained networks, without fine-tuning.

What a score is depends on the network (`METHODS`): an Electric model's energies and a
discriminator's log-odds take one pass; a masked language model reads a copy of the text for each of
its tokens (Salazar et al. 2020). [CLS] and [SEP] never count.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.inference.model import Model, load
from electra_jax.interop.mapping.infer_shapes import module_of
from electra_jax.interop.mapping.names import DISCRIMINATOR, GENERATOR
from electra_jax.interop.mapping.pair import ELECTRIC_SETTINGS
from electra_jax.modeling.electra import Inputs, padding_mask

log = logging.getLogger(__name__)

LENGTH_STEP = 8  # rows of one length share a program
TOKENS = 8192  # of a batch
# Each network's score of a text, under the names that settings record.
METHODS = {
    "energy": "minus the sum of an Electric model's energies: pseudo-log-likelihood, in one pass",
    "originality": "the sum of a discriminator's log-probabilities that a token is the original "
    "one, in one pass",
    "masked": "pseudo-log-likelihood by a masked language model, one pass for each token",
}
Batch = tuple[list[int], np.ndarray, np.ndarray]


class TextScore(NamedTuple):
    """`score` in nats (higher: likelier) and the number of `tokens` that it is the sum over."""

    score: float
    tokens: int


class Scorer:
    """A pretrained model that scores texts.

    scorer = Scorer("runs/electric/model")
    scorer.scores(["the cat sat", "the cat sit"])
    """

    def __init__(self, model: str | os.PathLike[str] | Model) -> None:
        """`model` is a folder, or what `electra_jax.load` gave; of a pair of ELECTRA, one of its
        networks. Raises `UserError` for a network that gives no probability of a text."""
        loaded = model if isinstance(model, Model) else load(model)
        self.source = loaded.source
        if isinstance(loaded.config, ElectricConfig):
            loaded = loaded.discriminator
        elif isinstance(loaded.config, PairConfig):
            raise UserError(
                f"{loaded.source} holds a pair: name its generator's folder (a pass for each "
                "token) or its discriminator's (one pass)"
            )
        self.model = loaded
        self.method = _method(loaded)
        self.cut = 0  # texts that were longer than the network reads
        self._score = (_masked if self.method == "masked" else _in_one_pass)(loaded, self.method)

    @property
    def settings(self) -> dict[str, Any]:
        """What the scores are, for a file beside them."""
        return {"model": self.source, "method": self.method, "score": METHODS[self.method]}

    def scores(self, texts: Sequence[str]) -> list[TextScore]:
        """The scores of texts, in their order; a text that is too long is cut, and counted."""
        special = self.model.tokenizer.special_ids
        encoded = self.model.tokenizer.encode_batch(list(texts))
        room = _longest(self.model) - 2
        self.cut += sum(len(ids) > room for ids in encoded)
        rows = [[special.cls, *ids[:room], special.sep] for ids in encoded]
        found = self._score(rows)
        return [TextScore(float(s), len(row) - 2) for s, row in zip(found, rows, strict=True)]

    def warn(self) -> None:
        """Says how many texts were cut."""
        if self.cut:
            log.warning(
                "texts cut at the %d tokens that the model reads, so that their scores are of "
                "their beginnings: %s",
                _longest(self.model), f"{self.cut:,}",
            )  # fmt: skip


def _method(model: Model) -> str:
    if model.kind == DISCRIMINATOR:
        (marker,) = ELECTRIC_SETTINGS.items()
        return "energy" if marker in model.settings.items() else "originality"
    if model.kind == GENERATOR:
        return "masked"
    raise UserError(
        f"{model.source} holds a {model.kind}, which gives no probability of a text: name an "
        "Electric model, a discriminator or a masked language model"
    )


def _in_one_pass(model: Model, method: str) -> Callable[[Sequence[Sequence[int]]], np.ndarray]:
    """Scores of [CLS] … [SEP] rows from one logit a token."""
    apply = _compiled(model)

    @jax.jit
    def score(params: Any, ids: jax.Array, lengths: jax.Array) -> jax.Array:
        places = jnp.arange(ids.shape[1])[None]
        logits = apply(params, ids, places < lengths[:, None])
        inside = (places > 0) & (places < lengths[:, None] - 1)
        each = logits if method == "energy" else jax.nn.softplus(logits)
        return -jnp.sum(each * inside, axis=1)

    params, longest = jax.device_put(model.params), _longest(model)

    def of_rows(rows: Sequence[Sequence[int]]) -> np.ndarray:
        result = np.zeros(len(rows))
        for numbers, ids, lengths in _batches(rows, longest):
            result[numbers] = np.asarray(score(params, ids, lengths))[: len(numbers)]
        return result

    return of_rows


def _masked(model: Model, method: str) -> Callable[[Sequence[Sequence[int]]], np.ndarray]:
    """Σ log p(token | all others) of [CLS] … [SEP] rows, a masked copy for each token between."""
    apply = _compiled(model)
    mask = model.tokenizer.special_ids.mask

    @jax.jit
    def score(params: Any, ids: jax.Array, lengths: jax.Array, at: jax.Array) -> jax.Array:
        masked = jnp.where(jnp.arange(ids.shape[1])[None] == at[:, None], mask, ids)
        inside = jnp.arange(ids.shape[1])[None] < lengths[:, None]
        logits = apply(params, masked, inside, at[:, None])[:, 0]
        target = jnp.take_along_axis(ids, at[:, None], 1)
        return jnp.take_along_axis(jax.nn.log_softmax(logits), target, 1)[:, 0]

    params, longest = jax.device_put(model.params), _longest(model)

    def of_rows(rows: Sequence[Sequence[int]]) -> np.ndarray:
        copies = [(number, at) for number, row in enumerate(rows) for at in range(1, len(row) - 1)]
        result = np.zeros(len(rows))
        for numbers, ids, lengths in _batches([rows[number] for number, _ in copies], longest):
            at = np.ones(len(ids), np.int32)
            at[: len(numbers)] = [copies[i][1] for i in numbers]
            found = np.asarray(score(params, ids, lengths, at))[: len(numbers)]
            np.add.at(result, [copies[i][0] for i in numbers], found)
        return result

    return of_rows


def _compiled(model: Model) -> Callable[..., jax.Array]:
    """(params, ids, mask, positions of a generator) → logits, with the layers scanned."""
    config = model.config
    assert isinstance(config, ElectraConfig)
    module = module_of(config, model.kind, model.num_labels, model.dropout_rate)

    def apply(params: Any, ids: jax.Array, inside: jax.Array, *positions: jax.Array) -> jax.Array:
        types = jnp.zeros_like(ids) if config.block == "bert" else None
        inputs = Inputs(ids, padding_mask(inside), types)
        return module.apply({"params": params}, inputs, *positions)  # type: ignore[return-value]

    return apply


def _longest(model: Model) -> int:
    assert isinstance(model.config, ElectraConfig)
    return model.config.max_position_embeddings


def _batches(rows: Sequence[Sequence[int]], longest: int) -> Iterator[Batch]:
    """(numbers of rows, ids [B, L], lengths [B]) of similar lengths, at most `longest`; B depends
    on L alone, but for the last rows of all."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    while order:
        length = min(-(-len(rows[order[0]]) // LENGTH_STEP) * LENGTH_STEP, longest)
        count = min(max(1, TOKENS // length), 1 << (len(order) - 1).bit_length())
        taken = [number for number in order[:count] if len(rows[number]) <= length]
        order = order[len(taken) :]
        ids = np.zeros((count, length), np.int32)
        lengths = np.full(count, 2, np.int32)
        for place, number in enumerate(taken):
            ids[place, : len(rows[number])] = rows[number]
            lengths[place] = len(rows[number])
        yield taken, ids, lengths
