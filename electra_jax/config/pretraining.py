"""The fields of a pretraining configuration. The defaults are ELECTRA-Small's."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import field, field_like, group_from, read
from electra_jax.config.model import SHARING, ElectraConfig
from electra_jax.config.schedule import Scheduled
from electra_jax.config.training import BACKENDS, MeshSettings, OptimizerSettings, TrainSettings
from electra_jax.errors import UserError

GENERATORS = ("network", "uniform", "unigram")  # kinds

# Of the shape, but no field of `model.*`: other groups', the rows', fine-tuning's.
COMPUTED = ("dtype", "vocab_size", "pad_token_id", "pooling")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """`data.*`: the rows to train on."""

    path: str | None = field(
        None,
        "Rows folder made by `electra-jax prepare`, or a mixture {FOLDER: SHARE, FOLDER: SHARE}.",
    )
    backend: str = field(
        "auto",
        "Reader of the rows: tf.data (auto: where TensorFlow is installed) or a NumPy thread.",
        choices=BACKENDS,
    )


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
    """`model.generator.*`: where the generator's shape differs from the discriminator's."""

    hidden_size: int = field(64, "Width of the generator.", minimum=1)
    num_hidden_layers: int = field(12, "Layers of the generator.", minimum=1)
    num_attention_heads: int = field(1, "Attention heads of the generator.")
    intermediate_size: int = field(256, "Width of the generator's feed-forward layers.")
    kind: str = field(
        "network",
        "A trained network, or replacements drawn evenly, or by how frequent tokens are.",
        choices=GENERATORS,
    )


ModelSettings = group_from(
    ElectraConfig,
    "ModelSettings",
    without=COMPUTED,
    more=(
        ("vocab_size", int | None, field(None, "Tokens; None: the tokenizer's.", unit="tokens")),
        (
            "sharing",
            str,
            field("embeddings", "What generator and discriminator share.", choices=SHARING),
        ),
        ("generator", GeneratorSettings, field(GeneratorSettings, "The generator.")),
    ),
)


@dataclasses.dataclass(frozen=True)
class PretrainOptimizer(OptimizerSettings):
    """`optimizer.*` of pretraining."""

    name: str = field_like(OptimizerSettings, "name", "adam_reference")
    learning_rate: Scheduled = field_like(OptimizerSettings, "learning_rate", 5e-4)
    warmup_steps: int | None = field_like(OptimizerSettings, "warmup_steps", 10_000)
    weight_decay: float = field_like(OptimizerSettings, "weight_decay", 0.01)
    order: str = field(
        "simultaneous",
        "sequential: the generator's update, then the discriminator's gradient (DeBERTa's).",
        choices=("simultaneous", "sequential"),
        when_absent="simultaneous",
    )
    generator_factor: float | None = field(
        None, "Multiplies the generator's learning rate.", minimum=0, when_absent=None
    )
    generator_clip_norm: float | None = field(
        None,
        "Largest norm of the generator's own gradient; 0: not clipped.",
        minimum=0,
        when_absent=None,
    )
    generator_weight_decay: float | None = field(
        None, "Decay of the generator, in place of weight_decay.", minimum=0, when_absent=None
    )
    discriminator_factor: float | None = field(
        None, "Multiplies the discriminator's learning rate.", minimum=0, when_absent=None
    )
    discriminator_clip_norm: float | None = field(
        None,
        "Largest norm of the discriminator's own gradient; 0: not clipped.",
        minimum=0,
        when_absent=None,
    )
    discriminator_weight_decay: float | None = field(
        None, "Decay of the discriminator, in place of weight_decay.", minimum=0, when_absent=None
    )
    start_step: int = field(
        0, "Added to the schedule's step, to continue another run's schedule.", unit="steps"
    )


@dataclasses.dataclass(frozen=True)
class PretrainTrain(TrainSettings):
    """`train.*` of pretraining."""

    steps: int | None = field_like(TrainSettings, "steps", 1_000_000)
    tokens: float | None = field(None, "Length of the run.", unit="tokens", minimum=0)
    minutes: float | None = field(
        None,
        "Length of the run by the clock; turned into steps once, when it begins.",
        unit="minutes",
        above=0,
        when_absent=None,
    )
    batch_size: int = field_like(TrainSettings, "batch_size", 128)
    log_every: int = field_like(TrainSettings, "log_every", 100)
    eval_every: int = field(
        5_000, "Interval between evaluations on held-out rows; 0: at the end.", unit="steps"
    )
    eval_rows: int | None = field(None, "Held-out rows to evaluate; None: all.", unit="rows")
    checkpoint_every: int = field(
        1_000, "Interval between checkpoints; 0: at the end.", unit="steps"
    )


@dataclasses.dataclass(frozen=True)
class WatchSettings:
    """`watch.*`: the warning of a discriminator that stays near chance."""

    after_tokens: float = field(2e8, "Tokens of training before the warning.", unit="tokens")
    minimum_auc: float = field(0.6, "AUC of the discriminator below which the run warns.")
    minimum_skill: float = field(
        0.02,
        "Held-out skill below which the run warns at its half; 0: never.",
        when_absent=0.0,
    )


@dataclasses.dataclass(frozen=True)
class PretrainSettings:
    """A pretraining configuration."""

    size: str = field("small", "Name of the size, as a note: the fields below decide.")
    resume: str | None = field(None, "Another run's folder, to continue it in this one.")
    init: str | None = field(None, "Pair or discriminator to start from.")
    init_generator: str | None = field(
        None, "Model that the generator starts from, where `init` has no generator."
    )
    init_slots: bool = field(False, "Start from the Adam moments of a TF1 `init` too.")
    init_vocabulary: str = field(
        "same",
        "Vocabulary of `init`: the rows', or map: keep the embeddings of shared tokens.",
        choices=("same", "map"),
    )
    data: DataSettings = field(DataSettings, "The rows.")
    model: ModelSettings = field(ModelSettings, "The networks.")  # type: ignore[valid-type]
    objective: Mapping[str, Any] = field(dict, "Name and fields of the objective.")
    optimizer: PretrainOptimizer = field(PretrainOptimizer, "The optimizer.")
    train: PretrainTrain = field(PretrainTrain, "The run.")
    mesh: MeshSettings = field(MeshSettings, "The devices.")
    watch: WatchSettings = field(WatchSettings, "The warning.")


@functools.cache
def pretrain_settings(objective: type) -> type[PretrainSettings]:
    """The fields of pretraining with an objective whose `Settings` are these."""
    name = field("electra", "Objective: one of the package's, or FILE.py:CLASS.")
    named = dataclasses.make_dataclass(
        "ObjectiveSettings", [("name", str, name)], bases=(objective,), frozen=True
    )
    whole = dataclasses.make_dataclass(
        "PretrainSettings",
        [("objective", named, field(named, "The objective."))],
        bases=(PretrainSettings,),
        frozen=True,
    )
    return typing.cast(type[PretrainSettings], whole)


def read_pretrain(config: Mapping[str, Any]) -> PretrainSettings:
    """A resolved pretraining configuration as typed settings, the objective's fields unread:
    the objective reads them (`PretrainingObjective.read_settings`).

    Raises `UserError` on a field that is missing, unknown or wrong.
    """
    if "task" in config:
        raise UserError(
            "this configuration is one of finetune (it has a task): give pretrain one of its own, "
            "such as pretrain:small"
        )
    given = read(PretrainSettings, config, "", complete=True)
    if "name" not in given.objective:
        raise UserError("objective.name is missing: it decides which fields `objective` has")
    return given
