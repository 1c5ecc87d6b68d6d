"""TF1 checkpoints of google-research/electra and its forks as networks, and back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping import names as table
from electra_jax.interop.mapping.infer_shapes import (
    check_inferred,
    expected_shapes,
    heads,
    infer_bert,
)
from electra_jax.interop.mapping.names import ENCODER, GENERATOR, PAIR, REFERENCE, Row
from electra_jax.interop.mapping.tensors import Tensors, check_shapes, gather, scatter
from electra_jax.modeling.trees import Tree, flatten

MOMENTS = ("adam_m", "adam_v")
# Not parameters; published checkpoints have an unused `temperature`.
_STEP = "global_step"
_IGNORED = ("generator_predictions/temperature",)


@dataclasses.dataclass(frozen=True)
class FromTF1:
    """What a TF1 checkpoint holds.

    `kind` is "pair" (config is a `PairConfig`, params `Electra`'s), "generator" (one masked-LM
    network, `MaskedLM`'s), or "reference" (an encoder under `electra/` with the reference's task
    heads under `task_specific/<task>/`).
    """

    kind: str
    config: PairConfig | ElectraConfig
    params: Tree
    global_step: int | None
    ignored: list[str]
    notes: list[str]
    task_heads: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def tree_from_tf1(
    tensors: Mapping[str, np.ndarray],
    *,
    where: str = "checkpoint",
    discriminator: Mapping[str, Any] | None = None,
    generator: Mapping[str, Any] | None = None,
    num_attention_heads: int | None = None,
    generator_num_attention_heads: int | None = None,
) -> FromTF1:
    """The networks of a TF1 checkpoint `{name: array}` (google-research/electra and its forks).

    Shapes give the configuration. `discriminator` and `generator` are fields that a configuration
    beside the checkpoint states (they must agree with the shapes); attention heads come from the
    arguments, from these fields, or from the convention of 64 units each, with a note. Every tensor
    is used or listed in `ignored`; an unknown one is a `UserError`.
    """
    if not any(name.startswith("electra/") for name in tensors):
        raise UserError(
            f"{where}: no tensors named electra/…: not an ELECTRA checkpoint of "
            f"google-research/electra or a fork (it begins with {', '.join(sorted(tensors)[:3])})"
        )
    notes: list[str] = []
    has_d = any(name.startswith("discriminator_predictions/") for name in tensors)
    has_g = any(name.startswith("generator_predictions/dense/") for name in tensors)
    towers = any(name.startswith("generator_ltr/") for name in tensors)
    tower = "generator_ltr/" if towers else "generator/"
    own_encoder = any(name.startswith(tower + "encoder/") for name in tensors)
    main = _configure(
        infer_bert(tensors, "tf1", where=where, encoder="electra/"),
        discriminator,
        num_attention_heads,
        "--num_attention_heads",
        "discriminator" if has_d else "network",
        notes,
        where,
    )
    task_heads = _task_heads(tensors)
    kind, config, rows = _describe(
        tensors,
        main,
        has_d,
        has_g or towers,
        tower if own_encoder else None,
        generator,
        generator_num_attention_heads,
        notes,
        where,
    )
    if kind == ENCODER:
        kind = REFERENCE
        rows = [*rows, *table.task_rows(task_heads)]
    params, used = gather(rows, tensors, "tf1", where)
    expected = expected_shapes(config, kind)
    encoder_only = {k: v for k, v in params.items() if k != "task_specific"}
    check_shapes(encoder_only, expected, where)
    if kind == REFERENCE:
        _check_task_heads(params.get("task_specific", {}), where)
    step, ignored = _account(tensors, used, where)
    return FromTF1(kind, config, params, step, ignored, notes, task_heads)


def _describe(
    tensors: Mapping[str, np.ndarray],
    main: ElectraConfig,
    has_d: bool,
    has_g: bool,
    tower: str | None,
    stated: Mapping[str, Any] | None,
    given_heads: int | None,
    notes: list[str],
    where: str,
) -> tuple[str, PairConfig | ElectraConfig, list[Row]]:
    """Which networks there are, by their names: (kind, configuration, rows of the table).

    `tower`: the prefix of the generator's own encoder; of Electric's two, the left-to-right one's.
    """
    if not has_d:
        if tower is not None:
            raise UserError(
                f"{where}: {tower}… without discriminator_predictions/…: half of a pair is missing"
            )
        kind = GENERATOR if has_g else ENCODER
        return kind, main, table.model_rows(main, kind)
    if not has_g:
        pair = PairConfig(main, None)
    elif tower is None:
        pair = PairConfig(main, main, "all")
    else:
        untied = any(name.startswith(tower + "embeddings/") for name in tensors)
        fields = infer_bert(
            tensors,
            "tf1",
            where=where,
            encoder=tower,
            embeddings=tower if untied else "electra/",
        )
        small = _configure(
            fields,
            stated,
            given_heads,
            "--generator_num_attention_heads",
            "generator",
            notes,
            where,
        )
        small = small.replace(hidden_act=main.hidden_act if stated is None else small.hidden_act)
        pair_class = PairConfig if tower == "generator/" else ElectricConfig
        pair = pair_class(main, small, "none" if untied else "embeddings")
    return PAIR, pair, table.pair_rows(pair)


def _configure(
    inferred: dict[str, Any],
    stated: Mapping[str, Any] | None,
    given_heads: int | None,
    flag: str,
    what: str,
    notes: list[str],
    where: str,
) -> ElectraConfig:
    """The inferred fields, checked against and completed by the stated ones."""
    stated = stated or {}
    check_inferred(inferred, stated, f"{where}: the configuration")
    known = {field.name for field in dataclasses.fields(ElectraConfig)}
    rest = {k: v for k, v in stated.items() if k in known and k not in inferred and v is not None}
    if given_heads is not None:
        rest.pop("num_attention_heads", None)
    stated_heads = rest.pop("num_attention_heads", None)
    count = heads(
        inferred["hidden_size"],
        given_heads if given_heads is not None else stated_heads,
        flag if given_heads is not None or stated_heads is None else "num_attention_heads",
        notes,
        what,
    )
    return ElectraConfig(**{**inferred, **rest, "num_attention_heads": count})


def _task_heads(tensors: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """{task: names of its dense layers} found under task_specific/."""
    found: dict[str, list[str]] = {}
    for name in sorted(tensors):
        match = re.fullmatch(r"task_specific/([^/]+)/(.+)/kernel", name)
        if match:
            found.setdefault(match[1], []).append(match[2])
    return found


def _check_task_heads(tree: Mapping[str, Any], where: str) -> None:
    for path, kernel in flatten(tree).items():
        if path.endswith("/kernel"):
            bias = flatten(tree)[path.removesuffix("kernel") + "bias"]
            if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
                raise UserError(
                    f"{where}: task_specific/{path} is {list(kernel.shape)} and its bias "
                    f"{list(bias.shape)}"
                )


def _account(
    tensors: Mapping[str, np.ndarray], used: set[str], where: str
) -> tuple[int | None, list[str]]:
    """(global step, names that are ignored); a name that is neither used nor known is refused."""
    ignored, unknown, step = [], [], None
    for name in sorted(set(tensors) - used):
        base, _, last = name.rpartition("/")
        if name == _STEP:
            step = int(tensors[name])
        elif name in _IGNORED or (last in MOMENTS and base in used):
            ignored.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} tensors have no place in this network: "
            f"{', '.join(unknown[:12])}"
        )
    return step, ignored


def rows_of(source: FromTF1) -> list[Row]:
    """The rows of the table that a checkpoint's tensors correspond to."""
    if isinstance(source.config, PairConfig):
        return table.pair_rows(source.config)
    if source.kind == REFERENCE:
        return table.model_rows(source.config, ENCODER) + table.task_rows(source.task_heads)
    return table.model_rows(source.config, source.kind)


def moments_from_tf1(
    tensors: Mapping[str, np.ndarray], source: FromTF1, where: str = "checkpoint"
) -> dict[str, Tree] | None:
    """Adam's moments as {"adam_m": tree, "adam_v": tree} of the parameters' structure; None where
    there are none.
    """
    if not any(name.endswith(f"/{MOMENTS[0]}") for name in tensors):
        return None
    trees = {}
    for moment in MOMENTS:
        suffix = f"/{moment}"
        stripped = {
            name.removesuffix(suffix): value
            for name, value in tensors.items()
            if name.endswith(suffix)
        }
        trees[moment], _ = gather(rows_of(source), stripped, "tf1", f"{where} ({moment})")
    return trees


def tf1_from_tree(
    config: PairConfig | ElectraConfig,
    params: Mapping[str, Any],
    *,
    kind: str = PAIR,
    global_step: int | None = None,
    moments: Mapping[str, Mapping[str, Any]] | None = None,
) -> Tensors:
    """The TF1 tensors of a pair (`Electra`'s tree) or of one network (kind "discriminator",
    "generator", "encoder", "reference").

    Names, shapes and dtypes are the reference's: float32 variables, `global_step` int64. `moments`
    is the result of `moments_from_tf1`. `modern` blocks have no TF1 names and are a `UserError`.
    """
    one = config.discriminator if isinstance(config, PairConfig) else config
    if one.block == "modern":
        raise UserError(
            "modern blocks do not exist in google-research/electra: write --to=hf instead"
        )
    if isinstance(config, PairConfig):
        rows = table.pair_rows(config)
    elif kind == REFERENCE:
        rows = table.model_rows(config, ENCODER)
        tasks: dict[str, list[str]] = {}
        for path in flatten(params.get("task_specific", {})):
            task, _, rest = path.partition("/")
            if rest.endswith("/kernel"):
                tasks.setdefault(task, []).append(rest.removesuffix("/kernel"))
        rows += table.task_rows(tasks)
    else:
        rows = table.model_rows(config, kind)
    tensors = scatter(rows, params, "tf1")
    for moment, tree in (moments or {}).items():
        found = scatter(rows, tree, "tf1")
        tensors |= {f"{name}/{moment}": value for name, value in found.items()}
    if global_step is not None:
        tensors[_STEP] = np.asarray(global_step, np.int64)
    return tensors
