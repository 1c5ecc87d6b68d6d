"""The shape of a network, of a generator-discriminator pair, the named sizes, and durations in any
unit.

Field names are Hugging Face's; the numbers of the
published sizes are the paper's Table 6 and the released checkpoints' (small_pp, base_pp,
large_1_75m).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import check_value, field
from electra_jax.errors import UserError

POOLINGS = ("cls", "mean")  # of the states that a classifier reads
BLOCKS = ("bert", "modern")
SHARING = ("embeddings", "none", "all", "gdes", "nes")
DISCRIMINATOR_HEADS = ("electra", "deberta")
REMAT = ("none", "full", "dots")
ATTENTION = ("xla", "cudnn")
ACTIVATIONS = ("gelu", "gelu_new", "relu")
DTYPES = ("float32", "bfloat16")


ONE_WIDTH = ("embeddings", "gdes", "nes")  # sharing whose embeddings are of one width


@dataclasses.dataclass(frozen=True)
class ElectraConfig:
    """The shape of one network, and how it is computed.

    `block="bert"` is the reference's (post-LayerNorm, learned positions, token types);
    `block="modern"` is ModernBERT's with every layer global (pre-norm, rotary positions, GeGLU, no
    biases), where `embedding_size` equals `hidden_size` and there are no token types.
    """

    vocab_size: int = field(30522, "Tokens of the vocabulary.", unit="tokens", minimum=1)
    embedding_size: int = field(128, "Width of the embeddings.", minimum=1)
    hidden_size: int = field(256, "Width of the layers.", minimum=1)
    num_hidden_layers: int = field(12, "Layers.", minimum=1)
    num_attention_heads: int = field(4, "Attention heads; they divide hidden_size.")
    intermediate_size: int = field(1024, "Width of the feed-forward layers.")
    hidden_act: str = field("gelu", "Activation of feed-forward layers.", choices=ACTIVATIONS)
    hidden_dropout_prob: float = field(0.1, "Dropout of hidden states.", minimum=0, below=1)
    attention_probs_dropout_prob: float = field(
        0.1, "Dropout of attention probabilities.", minimum=0, below=1
    )
    max_position_embeddings: int = field(512, "Longest input.", unit="tokens")
    type_vocab_size: int = field(2, "Token types (segments); none in modern blocks.")
    initializer_range: float = field(
        0.02, "Standard deviation of initial weights, truncated at two of them."
    )
    layer_norm_eps: float = field(1e-12, "Added to the variance in normalisation.")
    pad_token_id: int = field(0, "Id of the padding token.")
    block: str = field(
        "bert",
        "Layers of the reference (post-LayerNorm), or of ModernBERT (pre-norm, rotary positions).",
        choices=BLOCKS,
    )
    rope_theta: float = field(160000.0, "Base of the rotary positions of modern blocks.")
    masked_lm_act: str | None = field(
        None, "Activation of the masked-LM head; None: hidden_act.", choices=ACTIVATIONS
    )
    tie_word_embeddings: bool = field(
        True, "The masked-LM head's output table is the word embeddings."
    )
    pooling: str = field(
        "cls",
        "State that a head over whole texts reads: [CLS]'s, or (modern blocks) the mean of all.",
        choices=POOLINGS,
        when_absent="cls",
    )
    discriminator_head: str = field(
        "electra",
        "Replaced-token head; deberta: it reads LayerNorm(state + [CLS]'s state).",
        choices=DISCRIMINATOR_HEADS,
        when_absent="electra",
    )
    # How it is computed; none of these changes a parameter.
    dtype: str = field("float32", "Type of the factors of matrix products.", choices=DTYPES)
    scan_layers: bool = field(True, "One compiled layer in a loop; False: unrolled.")
    remat: str = field(
        "none", "Activations that the backward pass recomputes, to save memory.", choices=REMAT
    )
    attention: str = field(
        "xla", "Implementation of attention; cudnn: GPU, no dropout inside.", choices=ATTENTION
    )

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            where = "train" if f.name == "dtype" else "model"
            check_value(f, getattr(self, f.name), f"{where}.{f.name}")
        if self.num_attention_heads < 1 or self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"model.hidden_size={self.hidden_size} is not a multiple of "
                f"model.num_attention_heads={self.num_attention_heads}: choose heads that divide it"
            )
        if self.block == "modern":
            if self.embedding_size != self.hidden_size:
                raise UserError(
                    f"model.embedding_size={self.embedding_size}: modern blocks need it equal to "
                    f"model.hidden_size={self.hidden_size}"
                )
            if self.head_size % 2:
                raise UserError(
                    f"model.num_attention_heads={self.num_attention_heads}: rotary positions need "
                    f"an even head size, hidden_size / num_attention_heads is {self.head_size}"
                )
        elif self.pooling != "cls":
            raise UserError(
                f"model.pooling={self.pooling!r} needs modern blocks: the ELECTRA classes of "
                "transformers, which read the model folder, have [CLS] alone"
            )
        if self.attention == "cudnn" and self.attention_probs_dropout_prob > 0:
            raise UserError(
                "model.attention='cudnn' has no dropout inside: set "
                "model.attention_probs_dropout_prob=0, or model.attention='xla'"
            )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def replace(self, **changes: Any) -> ElectraConfig:
        """A copy with some fields changed (checked like a new one)."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class PairConfig:
    """A discriminator with its generator.

    `generator=None` is a generator without parameters. `sharing` names what the two networks
    share: "embeddings" (word, position and type tables and their LayerNorm; the reference's
    default), "none" (`untied_generator_embeddings`), "all" (one transformer in both roles, the
    reference's `untied_generator=False`), "nes" (none, with tables of one width), or "gdes":
    the discriminator's tables are the generator's, through which no gradient of its loss passes,
    plus a difference of its own that begins at 0 (He et al. 2021, DeBERTaV3, section 3.2).
    """

    discriminator: ElectraConfig
    generator: ElectraConfig | None
    sharing: str = "embeddings"

    def __post_init__(self) -> None:
        if self.sharing not in SHARING:
            raise UserError(f"model.sharing={self.sharing!r}: choose one of {', '.join(SHARING)}")
        g, d = self.generator, self.discriminator
        if g is None:
            if self.sharing == "gdes":
                raise UserError(
                    "model.sharing='gdes' adds to a generator's embeddings, and this generator "
                    "has none: set model.generator.kind='network', or another model.sharing"
                )
            return
        if g.vocab_size != d.vocab_size:
            raise UserError(
                f"generator vocabulary {g.vocab_size} differs from the discriminator's "
                f"{d.vocab_size}"
            )
        if self.sharing in ONE_WIDTH and g.embedding_size != d.embedding_size:
            raise UserError(
                f"generator embedding_size {g.embedding_size} differs from the discriminator's "
                f"{d.embedding_size}: use model.sharing='none' to give it embeddings of its own"
            )
        if self.sharing == "all" and g != d:
            raise UserError(
                "model.sharing='all' needs the same shape for generator and discriminator"
            )

    @property
    def own_embeddings(self) -> bool:
        """Whether the generator has tables of its own."""
        return self.sharing in ("none", "gdes", "nes")


@dataclasses.dataclass(frozen=True)
class ElectricConfig(PairConfig):
    """Electric: a discriminator whose output is an energy, and a noise model of two causal towers.

    `generator` is the shape of each tower; `sharing` says whether both read the discriminator's
    embeddings ("embeddings") or each its own ("none").
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generator is None:
            raise UserError(
                "Electric's noise model is a trained network, whose probabilities enter the loss: "
                "set model.generator.kind='network'"
            )
        if self.sharing not in ("embeddings", "none"):
            raise UserError(
                f"model.sharing={self.sharing!r}: Electric's towers see one side of a token each, "
                "so they share embeddings at most: choose one of embeddings, none"
            )
        if not self.generator.tie_word_embeddings:
            raise UserError(
                "model.tie_word_embeddings=False: the output table of Electric's noise model is "
                "its word embeddings"
            )


def generator_of(
    discriminator: ElectraConfig,
    *,
    hidden_size: float = 0.25,
    layers: float = 1.0,
    num_attention_heads: int | None = None,
    sharing: str = "embeddings",
) -> ElectraConfig:
    """The generator's shape from fractions of the discriminator's (reference:
    `get_generator_config`).

    Width and depth are rounded half to even; feed-forward width is 4 × hidden, heads max(1, hidden
    // 64) unless given. Without shared embeddings the embeddings take the generator's own width.
    """
    if sharing == "all":
        return discriminator
    width = round(discriminator.hidden_size * hidden_size)
    depth = max(1, round(discriminator.num_hidden_layers * layers))
    return discriminator.replace(
        hidden_size=width,
        num_hidden_layers=depth,
        intermediate_size=4 * width
        if discriminator.block == "bert"
        else round(discriminator.intermediate_size * hidden_size),
        num_attention_heads=num_attention_heads or max(1, width // 64),
        embedding_size=width if sharing == "none" else discriminator.embedding_size,
    )


def _bert(hidden: int, layers: int, embedding: int) -> ElectraConfig:
    return ElectraConfig(
        embedding_size=embedding,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )


def _tiny() -> PairConfig:
    shape = ElectraConfig(
        block="modern",
        vocab_size=1024,
        embedding_size=128,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=192,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        max_position_embeddings=512,
    )
    return PairConfig(shape, shape.replace(num_hidden_layers=1))


def named_size(name: str) -> PairConfig:
    """The pair of a named size: tiny small base large small_pp base_pp large_1_75m.

    small: generator 1/4 of the width; base 1/3; large 1/4 (paper, Table 6). The `_pp` sizes are
    the released checkpoints' shapes: small_pp's generator is as wide as its discriminator.
    """
    small, base, large = _bert(256, 12, 128), _bert(768, 12, 768), _bert(1024, 24, 1024)
    table = {
        "tiny": _tiny,
        "small": lambda: PairConfig(small, generator_of(small)),
        "small_pp": lambda: PairConfig(small, generator_of(small, hidden_size=1.0)),
        "base": lambda: PairConfig(base, generator_of(base, hidden_size=1 / 3)),
        "base_pp": lambda: PairConfig(base, generator_of(base, hidden_size=1 / 3)),
        "large": lambda: PairConfig(large, generator_of(large)),
        "large_1_75m": lambda: PairConfig(large, generator_of(large)),
    }
    if name not in table:
        raise UserError(f"size {name!r}: choose one of {', '.join(table)}")
    return table[name]()


SIZES = ("tiny", "small", "base", "large", "small_pp", "base_pp", "large_1_75m")


def duration(
    settings: Mapping[str, Any],
    name: str,
    *,
    batch_size: int,
    seq_len: int,
    examples: int | None = None,
    total_steps: int | None = None,
) -> int | None:
    """A duration in steps from at most one of `NAME_steps | NAME_epochs | NAME_tokens |
    NAME_fraction`.

    With `name=""` the fields are `steps | epochs | tokens`. A fraction is of `total_steps`.
    Returns None where no field is set; more than one set is a `UserError` that names them.
    """
    prefix = f"{name}_" if name else ""
    units = ["steps", "epochs", "tokens"] + (["fraction"] if name else [])
    given: dict[str, Any] = {
        u: settings[prefix + u] for u in units if settings.get(prefix + u) is not None
    }
    if not given:
        return None
    if len(given) > 1:
        raise UserError(
            f"{' and '.join(prefix + u for u in given)} are both set: keep one of them (set the "
            "other to None)"
        )
    unit, value = next(iter(given.items()))
    if value < 0:
        raise UserError(f"{prefix}{unit}={value}: must not be negative")
    if unit == "steps":
        return int(value)
    if unit == "fraction":
        if total_steps is None or not 0 <= value <= 1:
            raise UserError(f"{prefix}fraction={value}: must be between 0 and 1")
        return round(value * total_steps)
    if unit == "tokens":
        return math.ceil(value / (batch_size * seq_len))
    if examples is None:
        raise UserError(f"{prefix}epochs={value}: the number of examples is not known here")
    return max(1, round(value * examples / batch_size))
