"""A pair split into its two networks, and two networks joined to a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.modeling.trees import Tree, flatten


def split_pair(
    pair: PairConfig, params: Mapping[str, Any]
) -> dict[str, tuple[ElectraConfig, Tree] | None]:
    """A pair as two networks: {"generator": (config, `MaskedLM`'s tree) or None, "discriminator":
    (config, `Discriminator`'s tree) or None where it has no replaced-token head}.

    Shared arrays appear in both; nothing is copied.
    """
    parts: dict[str, tuple[ElectraConfig, Tree] | None] = {
        "discriminator": None,
        "generator": None,
    }
    if "discriminator_predictions" in params:
        names = ("electra", "discriminator_predictions")
        parts["discriminator"] = (pair.discriminator, {name: params[name] for name in names})
    if pair.generator is not None:
        if pair.sharing == "all":
            encoder = params["electra"]
        elif pair.sharing == "none":
            encoder = params["generator"]
        else:
            encoder = {"embeddings": params["electra"]["embeddings"], **params["generator"]}
        tree = {"electra": encoder, "generator_predictions": params["generator_predictions"]}
        parts["generator"] = (pair.generator, tree)
    return parts


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
    if sharing == "none":
        tree["generator"] = g["electra"]
    elif sharing == "embeddings":
        tree["generator"] = {k: v for k, v in g["electra"].items() if k != "embeddings"}
    return PairConfig(d_config, g_config, sharing), tree


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two trees are bit-identical."""
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(
        np.shape(x[k]) == np.shape(y[k]) and np.array_equal(np.asarray(x[k]), np.asarray(y[k]))
        for k in x
    )
