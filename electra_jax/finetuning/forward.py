"""Outputs of a network for many features: batched by length, returned in order. Used by the
evaluations of a run and by prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from electra_jax.finetuning.data.batches import Plan, eval_batches
from electra_jax.finetuning.data.examples import Feature
from electra_jax.finetuning.kinds.base import FeatureOutputs
from electra_jax.finetuning.network import Network
from electra_jax.training.sharding import batch_sharding


class Forward:
    """`forward(params, features)`: the head's outputs for each feature, padding cut off.

    `merge` maps (trained, frozen) parameters to the network's (`Adaptation.merge`); one program is
    compiled for each batch shape.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        mesh: jax.sharding.Mesh | None = None,
        merge: Any = lambda params, frozen: params,
    ) -> None:
        self.plan = plan
        self._cut = network.kind.cut
        self._sharding = None if mesh is None else batch_sharding(mesh)
        self._compiled: set[Any] = set()
        self._apply = jax.jit(
            lambda params, frozen, batch: network(merge(params, frozen), batch, None, False)
        )

    def __call__(
        self,
        params: Any,
        features: Sequence[Feature],
        frozen: Any = None,
        watch: Callable[[int, bool], AbstractContextManager[None]] | None = None,
    ) -> list[FeatureOutputs]:
        """One dict of float32 (or int32 index) arrays a feature, in order.

        watch: entered around each batch with its number of features and whether its program is
        compiled by it (a shape not met before); for progress bars.
        """
        found: list[FeatureOutputs] = [{}] * len(features)
        pending: tuple[np.ndarray, Any] | None = None

        def settle() -> None:
            if pending is None:
                return
            ids, outputs = pending
            host = {name: np.asarray(value) for name, value in outputs.items()}
            for row, i in enumerate(ids):
                found[i] = self._cut({n: x[row] for n, x in host.items()}, features[i])

        for ids, batch in eval_batches(features, self.plan):
            if self._sharding is not None:
                batch = jax.device_put(batch, self._sharding)
            shapes = tuple((name, x.shape) for name, x in sorted(batch.items()))
            fresh = shapes not in self._compiled
            self._compiled.add(shapes)
            with watch(len(ids), fresh) if watch else nullcontext():
                outputs = self._apply(params, frozen, batch)
            settle()  # fetches the previous batch while this one runs
            pending = ids, outputs
        settle()
        return found
