"""Base class of objectives whose networks are described by one value, `config`: an `ElectraConfig`
or a `PairConfig`. They can start from other models, and predict masked tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

from electra_jax.config.fields import absent_values
from electra_jax.objectives.base import PretrainingObjective, Tree
from electra_jax.objectives.unigram import unigram_block


class ConfiguredObjective(PretrainingObjective):
    """An objective with a `config`."""

    config: Any

    def shapes(self) -> dict[str, Any]:
        """The config's fields; for a pair those of both networks and `sharing`."""
        return dataclasses.asdict(self.config)

    def absent_shapes(self) -> dict[str, Any]:
        """The values of fields that older runs lack."""
        return absent_values(type(self.config))

    def warm_start(
        self, init: str | None, init_generator: str | None, fresh: Tree, tokenizer_folder: Any
    ) -> tuple[Tree, list[str], int | None]:
        """From pairs, discriminators, generators or encoders; see `interop.warm_start`."""
        from electra_jax.interop.warm_start import initial_parameters

        return initial_parameters(init, init_generator, self.config, fresh, tokenizer_folder)

    def report_blocks(self, held_out: Any) -> list[dict[str, Any]]:
        """The entropy of the token frequencies, beside the loss of the masked-LM network."""
        return [unigram_block(held_out, "generator_loss")]
