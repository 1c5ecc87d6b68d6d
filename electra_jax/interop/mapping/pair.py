"""A pair split into its two networks, and two networks joined to a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import NOISE
from electra_jax.modeling.electra import DELTA
from electra_jax.modeling.trees import Tree, flatten

# What the config.json of Electric's discriminator says beside its class, ElectraForPreTraining:
# the logits are energies.
ELECTRIC_SETTINGS = {"objective": "electric"}
_DISCRIMINATOR_PARTS = ("electra", "discriminator_predictions")


def split_pair(
    pair: PairConfig, params: Mapping[str, Any]
) -> dict[str, tuple[ElectraConfig, Tree] | None]:
    """A pair as two networks: {"generator": (config, `MaskedLM`'s tree) or None, "discriminator":
    (config, `Discriminator`'s tree) or None where it has no replaced-token head}.

    Shared arrays appear in both; nothing is copied. Tables that are a difference to the
    generator's (`sharing="gdes"`) become the sums. Electric has no "generator" but "noise": (the
    shape of a tower, all that is not the discriminator's).
    """
    parts: dict[str, tuple[ElectraConfig, Tree] | None] = {
        "discriminator": None,
        "generator": None,
    }
    encoders = with_sums(pair, params)
    if "discriminator_predictions" in params:
        found = {name: encoders[name] for name in _DISCRIMINATOR_PARTS}
        parts["discriminator"] = (pair.discriminator, found)
    if isinstance(pair, ElectricConfig):
        assert pair.generator is not None
        noise = {name: tree for name, tree in params.items() if name not in _DISCRIMINATOR_PARTS}
        return {**parts, NOISE: (pair.generator, noise)}
    if pair.generator is not None:
        if pair.sharing == "all":
            encoder = params["electra"]
        elif pair.own_embeddings:
            encoder = params["generator"]
        else:
            encoder = {"embeddings": params["electra"]["embeddings"], **params["generator"]}
        tree = {"electra": encoder, "generator_predictions": params["generator_predictions"]}
        parts["generator"] = (pair.generator, tree)
    return parts


def with_sums(pair: PairConfig, params: Mapping[str, Any]) -> Tree:
    """A pair's tree with the discriminator's tables in place of their differences to the
    generator's; leaves may be shapes."""
    if pair.sharing != "gdes":
        return dict(params)
    own = dict(params["electra"]["embeddings"])
    for name, table in params["generator"]["embeddings"].items():
        if name + DELTA in own:
            delta = own.pop(name + DELTA)
            abstract = isinstance(delta, jax.ShapeDtypeStruct)
            own[name] = table if abstract else np.asarray(table) + np.asarray(delta)
    return {**params, "electra": {**params["electra"], "embeddings": own}}


def with_deltas(params: Mapping[str, Any]) -> Tree:
    """The inverse of `with_sums`: the discriminator's tables as differences to the generator's."""
    lent = params["generator"]["embeddings"]
    own = {
        name: leaf if isinstance(leaf, Mapping) else np.asarray(leaf) - np.asarray(lent[name])
        for name, leaf in params["electra"]["embeddings"].items()
    }
    own = {name + DELTA * (not isinstance(x, Mapping)): x for name, x in own.items()}
    return {**params, "electra": {**params["electra"], "embeddings": own}}


def join_pair(
    discriminator: tuple[ElectraConfig, Mapping[str, Any]],
    generator: tuple[ElectraConfig, Mapping[str, Any]] | None,
    sharing: str | None = None,
) -> tuple[PairConfig, Tree]:
    """Two networks as one pair; the inverse of `split_pair`.

    With `sharing=None` it is "all" where every shared array is equal, "embeddings" where the
    embeddings are bit-identical, else "none". A given sharing that the arrays contradict is a
    `UserError`.
    """
    d_config, d = discriminator
    if generator is None:
        return PairConfig(d_config, None), {
            "electra": d["electra"],
            "discriminator_predictions": d["discriminator_predictions"],
        }
    g_config, g = generator
    same_tables = _equal(d["electra"]["embeddings"], g["electra"]["embeddings"])
    same_encoder = d_config == g_config and _equal(d["electra"], g["electra"])
    if sharing is None:
        sharing = "all" if same_encoder else "embeddings" if same_tables else "none"
    if (sharing == "embeddings" and not same_tables) or (sharing == "all" and not same_encoder):
        raise UserError(
            f"model.sharing={sharing!r}: the generator's and the discriminator's "
            f"{'embeddings' if sharing == 'embeddings' else 'parameters'} differ, so they cannot "
            "be shared; use model.sharing='none'"
        )
    tree: Tree = {
        "electra": d["electra"],
        "generator_predictions": g["generator_predictions"],
        "discriminator_predictions": d["discriminator_predictions"],
    }
    pair = PairConfig(d_config, g_config, sharing)
    if pair.own_embeddings:
        tree["generator"] = g["electra"]
        tree = with_deltas(tree) if sharing == "gdes" else tree
    elif sharing == "embeddings":
        tree["generator"] = {k: v for k, v in g["electra"].items() if k != "embeddings"}
    return pair, tree


def join_electric(
    discriminator: tuple[ElectraConfig, Mapping[str, Any]],
    noise: tuple[ElectraConfig, Mapping[str, Any]],
) -> tuple[ElectricConfig, Tree]:
    """Electric's two networks as one; the inverse of `split_pair`."""
    sharing = "none" if "embeddings" in noise[1]["generator_ltr"] else "embeddings"
    config = ElectricConfig(discriminator[0], noise[0], sharing)
    return config, {**discriminator[1], **noise[1]}


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two trees are bit-identical."""
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(
        np.shape(x[k]) == np.shape(y[k]) and np.array_equal(np.asarray(x[k]), np.asarray(y[k]))
        for k in x
    )
