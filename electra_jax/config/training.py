"""The groups of fields that pretraining and fine-tuning share: optimizer, training, mesh."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from electra_jax.config.fields import field
from electra_jax.config.model import DTYPES
from electra_jax.config.schedule import Scheduled

OPTIMIZERS = ("adam_reference", "adamw", "lamb", "muon", "stable_adamw")
BACKENDS = ("auto", "tf", "numpy")  # readers of batches
AUTO = "auto"  # of a number that a run finds by itself
DECAYS = ("linear", "constant", "cosine", "wsd")
# The reference excludes `LayerNorm|layer_norm|bias`; `_norm/` are the norms of modern blocks.
NO_DECAY = ("LayerNorm|layer_norm|_norm/|bias",)

# Fields that give the same duration in different units: setting one clears the others' defaults.
DURATIONS = (
    ("train", ("steps", "epochs", "tokens", "minutes")),
    ("optimizer", ("warmup_steps", "warmup_epochs", "warmup_tokens", "warmup_fraction")),
)


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """`optimizer.*`: the update, the learning rate by step, weight decay and frozen parameters.

    At most one of the warm-up fields is set.
    """

    name: str = field(
        "adamw",
        "Optimizer; adam_reference: without bias correction; muon: AdamW but for hidden matrices; "
        "stable_adamw: limits a tensor's update.",
        choices=OPTIMIZERS,
    )
    learning_rate: Scheduled | None = field(
        None, "Peak learning rate, or a schedule in place of `schedule`.", minimum=0
    )
    schedule: str = field("linear", "Shape of the learning rate after the peak.", choices=DECAYS)
    power: float = field(1.0, "Exponent of the linear decay: (1 - t/T)^power.")
    decay_fraction: float = field(
        0.1, "Share of the run in which schedule=wsd decays.", unit="share of the run"
    )
    decay_floor: float = field(
        0.0,
        "Share of the peak at which schedule=wsd ends.",
        minimum=0,
        maximum=1,
        when_absent=0.0,
    )
    warmup_steps: int | None = field(None, "Length of the linear warm-up.", unit="steps", minimum=0)
    warmup_epochs: float | None = field(
        None, "Length of the linear warm-up.", unit="epochs", minimum=0
    )
    warmup_tokens: float | None = field(
        None, "Length of the linear warm-up.", unit="tokens", minimum=0
    )
    warmup_fraction: float | None = field(
        None, "Length of the linear warm-up.", unit="share of the run", minimum=0, maximum=1
    )
    beta1: float = field(0.9, "Decay of the first moment.", minimum=0, below=1)
    beta2: float = field(0.999, "Decay of the second moment.", minimum=0, below=1)
    epsilon: float = field(1e-6, "Added to the root of the second moment.")
    muon_factor: float = field(
        1.0,
        "name=muon: learning rate of the hidden layers' matrices, as a multiple of the run's.",
        above=0,
        when_absent=1.0,
    )
    muon_momentum: float = field(
        0.95,
        "name=muon: decay of the matrices' (Nesterov) momentum.",
        minimum=0,
        below=1,
        when_absent=0.95,
    )
    weight_decay: float = field(0.0, "Decoupled weight decay, times the learning rate.")
    no_decay: tuple[str, ...] = field(
        NO_DECAY, "Regular expressions: parameters whose names match have no weight decay."
    )
    clip_norm: float | None = field(
        1.0, "Largest global norm of the gradient; 0: not clipped.", minimum=0
    )
    freeze: tuple[str, ...] = field(
        (), "Regular expressions: parameters whose names match are not trained."
    )


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """`train.*`: length of the run in steps or another unit, batches, logging and checkpoints."""

    steps: int | None = field(None, "Length of the run.", unit="steps", minimum=1)
    epochs: float | None = field(None, "Length of the run.", unit="epochs", minimum=0)
    batch_size: int = field(
        32, "Examples of one update, over all devices.", unit="examples", minimum=1
    )
    accumulate: int | Literal["auto"] = field(
        1,
        "Microbatches into which a batch is split, to fit in memory; auto: as few as fit where the "
        "run begins, found once.",
        minimum=1,
    )
    seed: int = field(0, "Seed of initialisation, data order, dropout and sampling.")
    dtype: str = field(
        "float32",
        "Type of the factors of matrix products; parameters, optimizer and losses stay float32.",
        choices=DTYPES,
    )
    log_every: int = field(
        50, "Interval between rows of training metrics.", unit="steps", minimum=1
    )
    keep: int = field(3, "Number of checkpoints to keep.")
    keep_every: int | None = field(
        None, "Checkpoints at multiples of it are never deleted.", unit="steps"
    )
    checkpoint_minutes: float = field(
        15.0,
        "A checkpoint is also saved so long after the last one; 0: by steps alone.",
        unit="minutes",
        minimum=0,
        when_absent=0.0,
    )
    tensorboard: bool = field(True, "Write TensorBoard events too.")
    wandb: Any = field(None, "Arguments of wandb.init; None: not logged there.")


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """`mesh.*`: devices along each axis; at most one axis is -1, all remaining devices."""

    data: int = field(-1, "Devices over which batches are split.", unit="devices")
    fsdp: int = field(1, "Devices over which batches and parameters are split.", unit="devices")
    tensor: int = field(1, "Devices over which matrices are split.", unit="devices")
