"""The one table of names: this tree ⇄ Hugging Face ⇄ Google's TF1 checkpoints.

A line names a part of a network in the three dialects and lists its tensors (`DENSE`, `NORM`, …).
`{i}` stands for the number of a layer; this tree stacks those tensors on a leading axis instead.
Hugging Face keeps kernels as [out, in]; this tree and TF1 keep [in, out].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.modeling.heads.huggingface import CHOICE, QUESTION, SEQUENCE, TOKEN


class Leaf(NamedTuple):
    """The name of one tensor of a part in each dialect (appended to the part's name)."""

    tree: str
    huggingface: str
    tf1: str
    transpose: bool = False


KERNEL = (Leaf("/kernel", ".weight", "/kernel", transpose=True),)
DENSE = (*KERNEL, Leaf("/bias", ".bias", "/bias"))
SCALE = (Leaf("/scale", ".weight", "/gamma"),)
NORM = (*SCALE, Leaf("/bias", ".bias", "/beta"))
TABLE = (Leaf("", ".weight", ""),)
BIAS = (Leaf("", ".bias", ""),)


class Part(NamedTuple):
    """One line of the table: names in this tree, in Hugging Face and in TF1 (None: absent), and
    its tensors.
    """

    tree: str
    huggingface: str | None
    tf1: str | None
    leaves: tuple[Leaf, ...]


BERT_EMBEDDINGS = (
    Part(
        "embeddings/word_embeddings",
        "embeddings.word_embeddings",
        "embeddings/word_embeddings",
        TABLE,
    ),
    Part(
        "embeddings/position_embeddings",
        "embeddings.position_embeddings",
        "embeddings/position_embeddings",
        TABLE,
    ),
    Part(
        "embeddings/token_type_embeddings",
        "embeddings.token_type_embeddings",
        "embeddings/token_type_embeddings",
        TABLE,
    ),
    Part("embeddings/LayerNorm", "embeddings.LayerNorm", "embeddings/LayerNorm", NORM),
)
BERT_PROJECTION = Part("embeddings_project", "embeddings_project", "embeddings_project", DENSE)
# Names under encoder/layer/, encoder.layer.{i}. and encoder/layer_{i}/.
BERT_LAYER = (
    Part("attention/self/query", "attention.self.query", "attention/self/query", DENSE),
    Part("attention/self/key", "attention.self.key", "attention/self/key", DENSE),
    Part("attention/self/value", "attention.self.value", "attention/self/value", DENSE),
    Part("attention/output/dense", "attention.output.dense", "attention/output/dense", DENSE),
    Part(
        "attention/output/LayerNorm",
        "attention.output.LayerNorm",
        "attention/output/LayerNorm",
        NORM,
    ),
    Part("intermediate/dense", "intermediate.dense", "intermediate/dense", DENSE),
    Part("output/dense", "output.dense", "output/dense", DENSE),
    Part("output/LayerNorm", "output.LayerNorm", "output/LayerNorm", NORM),
)
MODERN_EMBEDDINGS = (
    Part("embeddings/word_embeddings", "embeddings.tok_embeddings", None, TABLE),
    Part("embeddings/LayerNorm", "embeddings.norm", None, SCALE),
)
# Names under encoder/layer/ and layers.{i}.
MODERN_LAYER = (
    Part("attention/Wqkv", "attn.Wqkv", None, KERNEL),
    Part("attention/Wo", "attn.Wo", None, KERNEL),
    Part("mlp_norm", "mlp_norm", None, SCALE),
    Part("mlp/Wi", "mlp.Wi", None, KERNEL),
    Part("mlp/Wo", "mlp.Wo", None, KERNEL),
)

DISCRIMINATOR, GENERATOR, ENCODER = "discriminator", "generator", "encoder"
PAIR, REFERENCE = "pair", "reference"
NOISE = "noise"  # of Electric: two causal towers
MASKED_LM = "masked_lm"  # a run's folder of a discriminator that predicts tokens, a GENERATOR
OWN_HEADS = "own_heads"  # heads that neither transformers nor the reference has

_D, _G = "discriminator_predictions", "generator_predictions"
_CLOZE = "cloze_predictions"
_D_DENSE = Part(f"{_D}/dense", f"{_D}.dense", f"{_D}/dense", DENSE)
_D_DENSE_1 = Part(f"{_D}/dense_1", f"{_D}.dense_prediction", f"{_D}/dense_1", DENSE)
_G_DENSE = Part(f"{_G}/dense", f"{_G}.dense", f"{_G}/dense", DENSE)
_G_NORM = Part(f"{_G}/LayerNorm", f"{_G}.LayerNorm", f"{_G}/LayerNorm", NORM)
_G_BIAS = Part(f"{_G}/output_bias", "generator_lm_head", f"{_G}/output_bias", BIAS)
_MODERN_HEAD = (
    Part("head/dense", "head.dense", None, KERNEL),
    Part("head/LayerNorm", "head.norm", None, SCALE),
    Part("classifier", "classifier", None, DENSE),
)
# Heads by (naming scheme, kind). The scheme is Hugging Face's model_type; the kind is what the
# network computes.
HEADS: dict[tuple[str, str], tuple[Part, ...]] = {
    ("electra", ENCODER): (),
    ("electra", DISCRIMINATOR): (_D_DENSE, _D_DENSE_1),
    ("electra", GENERATOR): (_G_DENSE, _G_NORM, _G_BIAS),
    ("electra", SEQUENCE): (
        Part("classifier/dense", "classifier.dense", None, DENSE),
        Part("classifier/out_proj", "classifier.out_proj", None, DENSE),
    ),
    ("electra", TOKEN): (Part("classifier", "classifier", None, DENSE),),
    ("electra", QUESTION): (Part("qa_outputs", "qa_outputs", None, DENSE),),
    ("electra", CHOICE): (
        Part("sequence_summary/summary", "sequence_summary.summary", None, DENSE),
        Part("classifier", "classifier", None, DENSE),
    ),
    ("bert", ENCODER): (),
    ("bert", GENERATOR): (
        _G_DENSE._replace(huggingface="cls.predictions.transform.dense"),
        _G_NORM._replace(huggingface="cls.predictions.transform.LayerNorm"),
        _G_BIAS._replace(huggingface="cls.predictions"),
    ),
    ("modernbert", ENCODER): (),
    ("modernbert", DISCRIMINATOR): (
        Part(f"{_D}/dense", "head.dense", None, KERNEL),
        Part(f"{_D}/LayerNorm", "head.norm", None, SCALE),
        Part(f"{_D}/dense_1", "classifier", None, DENSE),
    ),
    ("modernbert", GENERATOR): (
        Part(f"{_G}/dense", "head.dense", None, KERNEL),
        Part(f"{_G}/LayerNorm", "head.norm", None, SCALE),
        Part(f"{_G}/output_bias", "decoder", None, BIAS),
    ),
    ("modernbert", SEQUENCE): _MODERN_HEAD,
    ("modernbert", TOKEN): _MODERN_HEAD,
    ("modernbert", QUESTION): _MODERN_HEAD,
    ("modernbert", CHOICE): _MODERN_HEAD,
}
# The masked-LM table: where tied it repeats the word embeddings, and most files lack it.
OUTPUT_TABLE = {
    "electra": Part(f"{_G}/output_embeddings", "generator_lm_head", None, TABLE),
    "bert": Part(f"{_G}/output_embeddings", "cls.predictions.decoder", None, TABLE),
    "modernbert": Part(f"{_G}/output_embeddings", "decoder", None, TABLE),
}
# The word embeddings behind the prefix, by scheme.
WORD_TABLE = {
    "electra": "embeddings.word_embeddings.weight",
    "bert": "embeddings.word_embeddings.weight",
    "modernbert": "embeddings.tok_embeddings.weight",
}
# The backbone's prefix in Hugging Face names, by scheme; a bare encoder has none.
PREFIX = {"electra": "electra.", "bert": "bert.", "modernbert": "model."}


@dataclasses.dataclass(frozen=True)
class Row:
    """One tensor of this tree (`tree`, "/"-joined), its names elsewhere, and the layers it is
    stacked from.

    `huggingface` and `tf1` contain `{i}` where `layers` is not None; None where the dialect lacks
    the tensor.
    """

    tree: str
    huggingface: str | None
    tf1: str | None
    transpose: bool = False
    layers: range | None = None

    def names(self, dialect: str) -> list[str]:
        """The names in "huggingface" or "tf1" of which this tensor is made, in stacking order."""
        name = getattr(self, dialect)
        if name is None:
            return []
        return [name] if self.layers is None else [name.format(i=i) for i in self.layers]


def _rows(
    parts: Iterable[Part],
    tree: str = "",
    huggingface: str | None = "",
    tf1: str | None = "",
    layers: range | None = None,
) -> list[Row]:
    """The rows of `parts`, names behind a prefix each (None: absent from that dialect)."""
    return [
        Row(
            tree + part.tree + leaf.tree,
            None
            if huggingface is None or part.huggingface is None
            else huggingface + part.huggingface + leaf.huggingface,
            None if tf1 is None or part.tf1 is None else tf1 + part.tf1 + leaf.tf1,
            leaf.transpose,
            layers,
        )
        for part in parts
        for leaf in part.leaves
    ]


def backbone(
    config: ElectraConfig,
    tree: str = "electra/",
    huggingface: str | None = "electra.",
    tf1: str | None = "electra/",
    embeddings: bool = True,
) -> list[Row]:
    """The rows of one encoder behind the given prefixes, with its embeddings unless it shares
    another's.
    """

    def under(prefix: str | None, rest: str) -> str | None:
        return None if prefix is None else prefix + rest

    layers = range(config.num_hidden_layers)
    if config.block == "modern":
        rows = _rows(MODERN_EMBEDDINGS, tree, huggingface, tf1) if embeddings else []
        if config.num_hidden_layers > 1:
            norm = (Part("attention_norm", "layers.{i}.attn_norm", None, SCALE),)
            rows += _rows(norm, tree + "encoder/", huggingface, tf1, layers[1:])
        rows += _rows(
            MODERN_LAYER, tree + "encoder/layer/", under(huggingface, "layers.{i}."), tf1, layers
        )
        final = (Part("encoder/final_norm", "final_norm", None, SCALE),)
        return rows + _rows(final, tree, huggingface, tf1)
    parts = BERT_EMBEDDINGS if embeddings else ()
    if config.embedding_size != config.hidden_size:
        parts = (*parts, BERT_PROJECTION)
    return _rows(parts, tree, huggingface, tf1) + _rows(
        BERT_LAYER,
        tree + "encoder/layer/",
        under(huggingface, "encoder.layer.{i}."),
        under(tf1, "encoder/layer_{i}/"),
        layers,
    )


def model_rows(
    config: ElectraConfig, kind: str, scheme: str | None = None, prefix: str | None = None
) -> list[Row]:
    """The table of a single network: its backbone under `electra/` and the head of `kind`.

    `scheme` is the Hugging Face model_type whose names are used, by default the one that the block
    style is exported as; `prefix` the backbone's, by default that of the kind's class.
    """
    scheme = scheme or scheme_of(config)
    if prefix is None:
        prefix = "" if kind == ENCODER else PREFIX[scheme]
    return backbone(config, huggingface=prefix) + _head(config, scheme, kind)


def _head(config: ElectraConfig, scheme: str, kind: str, huggingface: str | None = "") -> list[Row]:
    """The rows of a head, with the masked-LM table where it is not the word embeddings."""
    if (scheme, kind) not in HEADS:
        raise UserError(f"a {kind} of {scheme} blocks is not in the table of names")
    parts = HEADS[scheme, kind]
    if kind == GENERATOR and not config.tie_word_embeddings:
        parts = (*parts, OUTPUT_TABLE[scheme])
    return _rows(parts, huggingface=huggingface)


def scheme_of(config: ElectraConfig) -> str:
    """The Hugging Face model_type that a block style is exported as."""
    return "modernbert" if config.block == "modern" else "electra"


def pair_rows(pair: PairConfig) -> list[Row]:
    """The table of a generator-discriminator pair; `huggingface` is None, a pair is two folders
    there.
    """
    d, g = pair.discriminator, pair.generator
    rows = backbone(d, huggingface=None)
    if pair.sharing == "gdes":
        raise UserError(
            "model.sharing='gdes': a checkpoint of one pair has no names for differences between "
            "embeddings; its exported folders hold the sums"
        )
    if isinstance(pair, ElectricConfig):
        rows += noise_rows(pair)
    elif g is not None:
        if pair.sharing != "all":
            own = pair.own_embeddings
            rows += backbone(g, "generator/", None, "generator/", embeddings=own)
        rows += _head(g, scheme_of(g), GENERATOR, huggingface=None)
    return rows + _head(d, scheme_of(d), DISCRIMINATOR, huggingface=None)


def noise_rows(config: ElectricConfig) -> list[Row]:
    """The table of Electric's noise model, whose head has a masked-LM head's parts."""
    g, own = config.generator, config.sharing == "none"
    assert g is not None
    rows = []
    for tower in ("generator_ltr/", "generator_rtl/"):
        rows += backbone(g, tower, None, tower, embeddings=own)
    return rows + [
        dataclasses.replace(
            row,
            tree=row.tree.replace(_G, _CLOZE),
            tf1=None if row.tf1 is None else row.tf1.replace(_G, _CLOZE),
        )
        for row in _head(g, scheme_of(g), GENERATOR, huggingface=None)
    ]


def task_rows(heads: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows of the reference's task heads: {task: names of its dense layers} under
    `task_specific/`.
    """
    return [
        row
        for task, layers in heads.items()
        for row in _rows(
            [Part(layer, layer.replace("/", "."), layer, DENSE) for layer in layers],
            f"task_specific/{task}/",
            f"task_specific.{task}.",
            f"task_specific/{task}/",
        )
    ]
