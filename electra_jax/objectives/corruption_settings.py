"""The settings of masking and replacing tokens."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from electra_jax.config.fields import field
from electra_jax.config.schedule import Schedule, Scheduled, final_value
from electra_jax.errors import UserError
from electra_jax.objectives.rng import Draws

MASKING = ("without_replacement", "reference")
SAMPLERS = ("inverse_cdf", "gumbel")


@dataclasses.dataclass(frozen=True)
class MaskingSettings:
    """Which tokens are predicted, and which are hidden."""

    mask_prob: Scheduled = field(
        0.15, "share of a document's tokens that is predicted; evaluation uses the final value"
    )
    masking: str = field(
        "without_replacement",
        "how positions are sampled; reference: with replacement",
        choices=MASKING,
    )
    eval_mask_prob: float | None = field(
        None,
        "share that is predicted in evaluation; None: mask_prob's final value",
        above=0,
        below=1,
        when_absent=None,
    )
    whole_words: bool = field(
        False, "select all tokens of a word together (the last may be cut)", when_absent=False
    )
    ngrams: tuple[float, ...] = field(
        (),
        "weights of groups of 1, 2, … words (tokens, without whole_words) that are selected "
        "together; empty: one",
        when_absent=(),
    )
    masked_share: float = field(
        0.85,
        "share of the selected tokens that is [MASK] to the generator; it sees the others",
        minimum=0,
        maximum=1,
        when_absent=0.85,
    )
    hidden_prob: Scheduled = field(
        0.0,
        "share of a document's tokens that is selected to be hidden, where it is above mask_prob; "
        "those beyond mask_prob are not predicted",
        when_absent=0.0,
    )

    z_loss: float = field(
        0.0,
        "times logsumexp(logits)², added to the masked-LM loss of each token; reported losses are "
        "without it",
        minimum=0,
        when_absent=0.0,
    )

    def __post_init__(self) -> None:
        share = Schedule.parse(self.mask_prob, "objective.mask_prob")
        if not (0 < share.minimum and share.maximum < 1):
            raise UserError(f"objective.mask_prob={self.mask_prob}: must be between 0 and 1")
        _choose("masking", self.masking, MASKING)
        hidden = Schedule.parse(self.hidden_prob, "objective.hidden_prob")
        if not (0 <= hidden.minimum and hidden.maximum < 1):
            raise UserError(f"objective.hidden_prob={hidden}: must be at least 0 and below 1")
        if any(weight < 0 for weight in self.ngrams) or (self.ngrams and not sum(self.ngrams) > 0):
            raise UserError(
                f"objective.ngrams={list(self.ngrams)}: weights of n-grams of 1, 2, … words, none "
                "below 0 and one above"
            )
        if self.masking == "reference":
            for name in ("whole_words", "ngrams", "hidden_prob"):
                if getattr(self, name):
                    raise UserError(
                        f"objective.{name}={getattr(self, name)} and objective.masking='reference',"
                        " which selects single tokens: set one of them back"
                    )


@dataclasses.dataclass(frozen=True)
class CorruptionSettings(MaskingSettings):
    """How rows are masked, and how replacements are sampled.

    With `initial_temperature` set the sampling temperature falls from there to `temperature`
    exponentially over a share of the run (Fast-ELECTRA's curriculum); `temperature` can also be
    any schedule itself.
    """

    sampler: str = field(
        "inverse_cdf",
        "inverse_cdf: two uniforms a position; gumbel: the reference's, one a vocabulary entry",
        choices=SAMPLERS,
    )
    temperature: Scheduled = field(1.0, "of sampling; evaluation uses the final value")
    initial_temperature: float | None = field(None, "falls to `temperature` exponentially …")
    temperature_fraction: float = field(0.0, "… over this share of the run")
    disallow_correct: bool = field(False, "never sample the original token")
    sample_with_dropout: bool = field(
        True, "False: samples come from a second pass of the generator without dropout"
    )
    generator_dropout: bool = field(
        True, "False: the generator is trained without dropout", when_absent=True
    )
    zero_head: bool = field(
        False,
        "a fresh head for replaced tokens begins at 0, so that its loss begins at ln 2",
        when_absent=False,
    )
    replaced_share: Scheduled = field(
        1.0,
        "share of the predicted tokens that the discriminator sees replaced; it sees the originals "
        "of the others",
        when_absent=1.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _choose("sampler", self.sampler, SAMPLERS)
        replaced = Schedule.parse(self.replaced_share, "objective.replaced_share")
        if not (0 <= replaced.minimum and replaced.maximum <= 1):
            raise UserError(f"objective.replaced_share={replaced}: must be between 0 and 1")
        temperature = Schedule.parse(self.temperature, "objective.temperature")
        for name, value in (
            ("temperature", temperature.minimum),
            ("initial_temperature", self.initial_temperature),
        ):
            if value is not None and value <= 0:
                raise UserError(f"objective.{name}={value}: must be positive")
        if self.initial_temperature is not None and not temperature.is_constant:
            raise UserError(
                f"objective.temperature={temperature} and objective.initial_temperature="
                f"{self.initial_temperature} both say how it changes: set the latter to None"
            )

    def over(self, total_steps: int) -> CorruptionSettings:
        """The same with the pair `initial_temperature`, `temperature_fraction` as a schedule of a
        run of so many steps."""
        if self.initial_temperature is None or self.temperature_fraction <= 0:
            return self
        schedule = Schedule(
            "exponential",
            self.initial_temperature,
            final_value(self.temperature),
            share=self.temperature_fraction,
        ).over(total_steps)
        return dataclasses.replace(self, temperature=schedule, initial_temperature=None)

    def temperature_at(self, step: jax.Array) -> jax.Array:
        """Sampling temperature at a training step, float32 []."""
        return jnp.float32(Schedule.parse(self.temperature).at(step))

    def temperature_in(self, draws: Draws, train: bool) -> jax.Array:
        """Sampling temperature of a batch, float32 []: evaluation has the final one."""
        final = jnp.float32(final_value(self.temperature))
        return self.temperature_at(draws.step) if train else final


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"objective.{name}={value!r}: choose one of {', '.join(allowed)}")
