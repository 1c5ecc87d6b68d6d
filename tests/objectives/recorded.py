"""Recorded pretraining cases of the reference: checkpoint, inputs, draws, results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from electra_jax.interop.formats.tf1 import read_bundle
from electra_jax.interop.mapping.tf1_networks import tree_from_tf1
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.objectives.corruption import MaskedRows, Masking
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.electra import ElectraSettings as CorruptionSettings
from electra_jax.objectives.electric import ElectricObjective, ElectricSettings
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.masking import Selection
from electra_jax.objectives.row_structure import SpecialIds, Structure

CASES = (
    "default",
    "e_eq_h",
    "e_eq_hg",
    "untied_gen_emb",
    "mlm_baseline",
    "tied_generator",
    "uniform_generator",
)
# The reference's masked positions come with duplicates, whose values are averaged.
SETTINGS = CorruptionSettings(masking="reference", sampler="gumbel")
ELECTRIC = ElectricSettings(masking="reference", sampler="gumbel", nce="reference")


@dataclasses.dataclass
class Case:
    """One recorded case: the objective built for it and its parameters."""

    name: str
    config: dict[str, Any]
    objective: ElectraObjective | ElectricObjective | MaskedLMObjective
    params: Any
    forward: dict[str, np.ndarray]
    losses: dict[str, Any]
    folder: Path
    loaded: Any

    def rows(self, batch: int) -> MaskedRows:
        """The recorded masked rows of a batch."""
        f = {k.split("/", 1)[1]: v for k, v in self.forward.items() if k.startswith(f"b{batch}/")}
        valid = jnp.asarray(f["input_mask"])
        inputs = Inputs(
            jnp.asarray(f["input_ids"]), padding_mask(valid), jnp.asarray(f["segment_ids"])
        )
        selection = Selection(
            jnp.asarray(f["masked_lm_positions"]), jnp.asarray(f["masked_lm_weights"])
        )
        return MaskedRows(Structure(valid, inputs), selection, jnp.asarray(f["masked_input_ids"]))

    def recorded(self, batch: int, name: str) -> np.ndarray:
        """A recorded array."""
        return self.forward[f"b{batch}/{name}"]


def load_case(oracles: Path, name: str, checkpoint: str | None = None) -> Case:
    """Reads a case and builds the objective that its configuration describes."""
    folder = oracles / "pretrain" / name
    config = json.loads((folder / "config.json").read_text())
    checkpoint = checkpoint or ("ckpt_stripped" if name == "default" else "ckpt")
    loaded = tree_from_tf1(
        read_bundle(folder / checkpoint),
        where=str(folder),
        num_attention_heads=config["discriminator_or_main_bert_config"]["num_attention_heads"],
        generator_num_attention_heads=config.get("generator_num_attention_heads"),
    )
    special = SpecialIds(**config["special_ids"])
    masking = Masking(SETTINGS, special, config["pretraining_config"]["max_seq_length"])
    objective: Any
    if name == "mlm_baseline":
        shape = _quiet(loaded.config)
        objective = MaskedLMObjective(shape, masking)
    else:
        generator = loaded.config.generator
        pair = dataclasses.replace(
            loaded.config,
            discriminator=_quiet(loaded.config.discriminator),
            generator=None if generator is None else _quiet(generator),
        )
        objective = (
            ElectricObjective(pair, ELECTRIC, masking)
            if name == "electric"
            else ElectraObjective(pair, SETTINGS, masking)
        )
    forward = dict(np.load(folder / "forward.npz"))
    losses = json.loads((folder / "losses.json").read_text())
    return Case(name, config, objective, loaded.params, forward, losses, folder, loaded)


def _quiet(config: Any) -> Any:
    return config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
