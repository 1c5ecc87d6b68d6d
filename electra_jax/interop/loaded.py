"""The result of reading a network, `LoadedModel`, and small functions of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.model_folder import tokenizer_in
from electra_jax.interop.mapping.infer_shapes import module_of
from electra_jax.interop.mapping.names import DISCRIMINATOR, GENERATOR
from electra_jax.modeling.trees import Tree, flatten
from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network read from a folder or checkpoint.

    `kind`: "discriminator", "generator", "encoder", "sequence_classification",
    "token_classification", "question_answering", "multiple_choice", "pair" (config is a
    `PairConfig`), "reference" (task heads of the reference, under `task_specific/`) or "own_heads"
    (heads that a kind of task defines itself). `params` are float32 arrays in the tree that
    `model.apply({"params": params}, …)` takes. `settings` is the folder's config.json, `ignored`
    the names of tensors that were not used.
    """

    kind: str
    config: ElectraConfig | PairConfig
    params: Tree
    source: str
    tokenizer_folder: Path | None = None
    num_labels: int | None = None
    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    global_step: int | None = None
    task_heads: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    ignored: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def label2id(self) -> dict[str, int] | None:
        """Label names to their ids."""
        return None if self.id2label is None else {v: k for k, v in self.id2label.items()}

    @property
    def model(self) -> nn.Module:
        """The Linen module that computes this network (for a "reference" model: its encoder)."""
        return module_of(self.config, self.kind, self.num_labels, self.dropout_rate)

    @property
    def dropout_rate(self) -> float:
        """The dropout of a fine-tuning head, as Hugging Face decides it."""
        stated = self.settings.get("classifier_dropout")
        if stated is not None:
            return float(stated)
        config = self.config
        return config.hidden_dropout_prob if isinstance(config, ElectraConfig) else 0.0

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer beside the model."""
        if self.tokenizer_folder is None:
            raise UserError(f"{self.source}: no tokenizer files beside the model")
        return load_tokenizer(self.tokenizer_folder)

    @classmethod
    def of_folder(
        cls,
        folder: Path,
        *,
        kind: str,
        config: ElectraConfig | PairConfig,
        params: Tree,
        notes: list[str],
        source: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        tokenizer_folder: Path | None = None,
        num_labels: int | None = None,
        id2label: dict[int, str] | None = None,
        global_step: int | None = None,
        task_heads: dict[str, list[str]] | None = None,
        ignored: list[str] | None = None,
    ) -> LoadedModel:
        """The network read from `folder` (or its file `source`), with the fields of its
        config.json (`settings`). `tokenizer_folder` is used where the folder has no tokenizer.
        """
        settings = dict(settings or {})
        return cls(
            kind=kind,
            config=config,
            params=params,
            source=str(source or folder),
            tokenizer_folder=tokenizer_in(folder) or tokenizer_folder,
            num_labels=num_labels,
            id2label=id2label,
            problem_type=settings.get("problem_type"),
            global_step=settings.get("global_step") if global_step is None else global_step,
            task_heads=task_heads or {},
            settings=settings,
            ignored=ignored or [],
            notes=notes,
        )


def encoder_of(loaded: LoadedModel) -> tuple[ElectraConfig, Tree]:
    """(configuration, parameters under `electra`) of any network; of a pair, the
    discriminator's.
    """
    config = loaded.config
    shape = config.discriminator if isinstance(config, PairConfig) else config
    return shape, loaded.params["electra"]


def single(loaded: LoadedModel) -> tuple[ElectraConfig, Tree]:
    """(configuration, parameters) of one network; a pair is a `UserError`."""
    if isinstance(loaded.config, PairConfig):
        raise UserError(f"{loaded.source}: holds a pair, expected one network")
    return loaded.config, loaded.params


def expect_kind(loaded: LoadedModel, kind: str) -> LoadedModel:
    """`loaded`, if it is of `kind`; else a `UserError` with the kind found and the remedy."""
    if loaded.kind != kind:
        other = {DISCRIMINATOR: GENERATOR, GENERATOR: DISCRIMINATOR}.get(kind, kind)
        remedy = f": name the {kind}'s folder instead" if loaded.kind == other else ""
        raise UserError(f"{loaded.source}: holds a {loaded.kind}, expected a {kind}{remedy}")
    return loaded


def stated_labels(settings: Mapping[str, Any]) -> dict[int, str] | None:
    """`id2label` of a config.json; None where it names no label."""
    return {int(k): str(v) for k, v in (settings.get("id2label") or {}).items()} or None


def task_heads_of(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """{task: names of its dense layers} in a tree with `task_specific/<task>/…`."""
    found: dict[str, list[str]] = {}
    for path in flatten(params.get("task_specific", {})):
        task, _, rest = path.partition("/")
        if rest.endswith("/kernel"):
            found.setdefault(task, []).append(rest.removesuffix("/kernel"))
    return {task: sorted(layers) for task, layers in sorted(found.items())}
