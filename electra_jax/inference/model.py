"""A loaded model that can be called: `outputs = model(model.tokenizer(["a text"]))`.

Here and not in `interop/`, which reads folders and runs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel
from electra_jax.interop.mapping.infer_shapes import module_of
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR, REFERENCE
from electra_jax.interop.mapping.pair import ELECTRIC_SETTINGS, split_pair
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.encoder import BertBlock, ModernBlock, join_layers, split_layers
from electra_jax.modeling.heads.huggingface import CHOICE, QUESTION
from electra_jax.text.tokenizers.tokenizer import Tokenizer

LENGTH_STEP = 32  # batches are padded to a multiple of it, so that there are few shapes to compile


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs of a network for a batch of B rows of L tokens (C choices, labels): float32
    arrays on the device, None where the network has no such output.

    `logits`: discriminator [B, L] (that the token was replaced); generator [B, L, vocabulary];
    sequence classification [B, labels]; token classification [B, L, labels]; multiple choice
    [B, C]. `start_logits`, `end_logits` [B, L]: question answering. `last_hidden_state`
    [B, L, width]: an encoder without a head. `hidden_states` [layers + 1, B, L, width], on request:
    the embeddings and what each layer gives (the last of `modern` blocks after the final norm).
    """

    logits: jax.Array | None = None
    start_logits: jax.Array | None = None
    end_logits: jax.Array | None = None
    last_hidden_state: jax.Array | None = None
    hidden_states: jax.Array | None = None


class Model(LoadedModel):
    """A `LoadedModel` that can be called; of a pair, `generator` and `discriminator` can be.

    outputs = model(model.tokenizer(["a text"]), hidden_states=True)
    """

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer beside the model; it cuts texts at the model's positions."""
        tokenizer = LoadedModel.tokenizer.fget(self)  # type: ignore[attr-defined]
        config = self.config
        shape = config.discriminator if isinstance(config, PairConfig) else config
        tokenizer.max_length = shape.max_position_embeddings
        return tokenizer

    @functools.cached_property
    def generator(self) -> Model:
        """The generator of a pair as a model of its own."""
        return self._half(GENERATOR)

    @functools.cached_property
    def discriminator(self) -> Model:
        """The discriminator of a pair as a model of its own."""
        return self._half(DISCRIMINATOR)

    def __call__(self, inputs: Mapping[str, Any], *, hidden_states: bool = False) -> Outputs:
        """The network on a batch, without dropout.

        The program is compiled at the first call for a number of rows and a length, rounded up to a
        multiple of 32 (inputs are padded, outputs cut again); later calls reuse it. A generator
        gives logits over the whole vocabulary at every position: 4 · B · L · V bytes.

        Args:
          inputs: what `tokenizer(…)` returns, or a mapping with the same names: `input_ids` int
            [B, L] (multiple choice: [B, C, L]), `attention_mask` (None: all but padding) and
            `token_type_ids` (None: all 0), as `transformers` names them.
          hidden_states: also give the embeddings and every layer's output.

        Raises:
          UserError: a pair (call one of its networks), or inputs that this network cannot read.
        """
        if isinstance(self.config, PairConfig):
            raise UserError(
                f"{self.source} holds a pair: call model.discriminator(inputs) or "
                "model.generator(inputs)"
            )
        ids, mask, types, shape = _arrays(inputs, self.config, self.kind)
        apply, params = self._program
        found = apply(params, ids, mask, types, hidden_states)
        return _named(self.kind, found, shape)

    @functools.cached_property
    def _program(self) -> tuple[Callable[..., Any], Any]:
        """(the compiled function, the parameters that it takes, on the device)."""
        assert isinstance(self.config, ElectraConfig)
        # Layers unrolled: a short row is read faster (see `split_layers`).
        config = self.config.replace(scan_layers=False)
        params = {k: v for k, v in self.params.items() if k != "task_specific"}
        module = module_of(config, self.kind, self.num_labels, self.dropout_rate)
        run = functools.partial(_run, module, config, self.kind)
        return jax.jit(run, static_argnums=4), jax.device_put(split_layers(params))

    def _half(self, kind: str) -> Model:
        if not isinstance(self.config, PairConfig):
            raise UserError(f"{self.source} holds a {self.kind}, not a pair: call the model itself")
        half = split_pair(self.config, self.params)[kind]
        electric = isinstance(self.config, ElectricConfig)
        if half is None:
            why = "is two causal towers" if electric else "samples uniformly and has no network"
            raise UserError(f"{self.source}: its generator {why}")
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if electric:
            fields["settings"] = {**self.settings, **ELECTRIC_SETTINGS}
        return Model(**{**fields, "kind": kind, "config": half[0], "params": half[1]})


def load(path: str | os.PathLike[str], **arguments: Any) -> Model:
    """The model at `path`, ready to be called: a run's folder, a Hugging Face folder, a TF1
    checkpoint, a pair of them, or a Hub id (see `load_model_folder` for the arguments)."""
    loaded = load_model_folder(path, **arguments)
    return Model(**{f.name: getattr(loaded, f.name) for f in dataclasses.fields(loaded)})


def _arrays(inputs: Mapping[str, Any], config: ElectraConfig, kind: str) -> Any:
    """(ids, mask, token types or None), int32 [rows, padded length], and the shape as given."""
    if not isinstance(inputs, Mapping) or "input_ids" not in inputs:
        raise UserError("the model takes what model.tokenizer([…]) returns: no input_ids here")
    ids = np.asarray(inputs["input_ids"])
    dimensions = 3 if kind == CHOICE else 2
    if ids.ndim != dimensions or not np.issubdtype(ids.dtype, np.integer) or not ids.size:
        names = "[rows, choices, tokens]" if kind == CHOICE else "[rows, tokens]"
        raise UserError(
            f"input_ids {ids.dtype} {list(ids.shape)}: whole numbers {names} are needed"
        )
    if ids.min() < 0 or ids.max() >= config.vocab_size:
        raise UserError(
            f"input_ids are {ids.min()} … {ids.max()} and the vocabulary has {config.vocab_size} "
            "tokens: use this model's own tokenizer"
        )
    length, limit = ids.shape[-1], config.max_position_embeddings
    if length > limit:
        raise UserError(f"{length} tokens are more than the model's {limit} positions: cut them")
    mask, types = inputs.get("attention_mask"), inputs.get("token_type_ids")
    mask = ids != config.pad_token_id if mask is None else np.asarray(mask)
    types = np.zeros_like(ids) if types is None else np.asarray(types)
    for name, value in (("attention_mask", mask), ("token_type_ids", types)):
        if value.shape != ids.shape:
            raise UserError(f"{name} is {list(value.shape)} and input_ids {list(ids.shape)}")
    if config.block == "bert" and not 0 <= types.min() <= types.max() < config.type_vocab_size:
        raise UserError(
            f"token_type_ids are {types.min()} … {types.max()} and the model has "
            f"{config.type_vocab_size} types"
        )
    padded = min(-(-length // LENGTH_STEP) * LENGTH_STEP, limit)
    fill = ((0, 0), (0, padded - length))
    arrays = (
        np.pad(x.reshape(-1, length).astype(np.int32), fill, constant_values=value)
        for x, value in ((ids, config.pad_token_id), (mask, 0), (types, 0))
    )
    return *arrays, ids.shape


def _run(
    module: nn.Module,
    config: ElectraConfig,
    kind: str,
    params: Any,
    ids: jax.Array,
    mask: jax.Array,
    types: jax.Array,
    hidden_states: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """(the module's output, all hidden states or None), traced."""
    tree = join_layers(params)
    inputs = Inputs(ids, padding_mask(mask), types if config.block == "bert" else None)
    more = []
    if kind == GENERATOR:  # at every position
        more = [jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)]
    if not hidden_states:
        return module.apply({"params": tree}, inputs, *more), None  # type: ignore[return-value]

    def is_layer(part: nn.Module, method: str) -> bool:
        block = isinstance(part, BertBlock | ModernBlock) or part.name == "encoder"
        return method == "__call__" and block

    output, found = module.apply(
        {"params": tree}, inputs, *more, capture_intermediates=is_layer, mutable="intermediates"
    )
    sown = found["intermediates"]["electra"]
    embedded, last = sown["embedded"][0], sown["encoder"]["__call__"][0]
    layers = sown["encoder"]["layer"]["__call__"][0][0]  # [layers, B, L, H]
    states = jnp.concatenate([embedded[None], layers[:-1], last[None]])
    return output, states.astype(jnp.float32)


def _named(kind: str, found: tuple[jax.Array, jax.Array | None], shape: tuple[int, ...]) -> Outputs:
    """Outputs under their names, without the padding that `_arrays` added."""
    output, states = found
    length = shape[-1]
    if states is not None:
        states = states[:, :, :length]
        if kind == CHOICE:
            states = states.reshape(len(states), *shape, -1)
    if kind == QUESTION:
        start, end = output[:, :length, 0], output[:, :length, 1]
        return Outputs(start_logits=start, end_logits=end, hidden_states=states)
    if kind in (ENCODER, REFERENCE):
        return Outputs(last_hidden_state=output[:, :length], hidden_states=states)
    if kind == CHOICE:
        return Outputs(logits=output.reshape(shape[:2]), hidden_states=states)
    if kind in (DISCRIMINATOR, GENERATOR) or output.ndim == 3:  # one a token
        output = output[:, :length]
    return Outputs(logits=output, hidden_states=states)
