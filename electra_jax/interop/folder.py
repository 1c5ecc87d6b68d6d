"""Model folders: Hugging Face layout (config.json, model.safetensors, tokenizer files), written and
read.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from electra_jax.config import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop import names as table
from electra_jax.interop.files import CONFIG, copy_tokenizer, new_folder, special_ids, tokenizer_in
from electra_jax.interop.names import DISCRIMINATOR, ENCODER, GENERATOR, Tensors, Tree
from electra_jax.interop.pair import PAIR, REFERENCE, join_pair, split_pair, tree_from_tf1
from electra_jax.interop.settings import from_settings, identify, to_settings
from electra_jax.interop.shapes import expected_shapes, heads, infer_bert, infer_modern
from electra_jax.interop.tf1 import is_bundle, read_bundle
from electra_jax.interop.weights import SAFETENSORS, read_weights, write_safetensors
from electra_jax.modeling.electra import Backbone, Discriminator, Electra, MaskedLM


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A network read from a folder or checkpoint.

    `kind`: "discriminator", "generator", "encoder", a fine-tuning head's kind, "pair" (config is a
    `PairConfig`) or "reference" (task heads of the reference). `params` are float32 arrays in the
    tree that `model.apply` takes as {"params": params} (for an encoder under the key `electra`).
    `settings` is the folder's config.json.
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
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    ignored: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def label2id(self) -> dict[str, int] | None:
        """Label names to their ids."""
        return None if self.id2label is None else {v: k for k, v in self.id2label.items()}

    @property
    def model(self) -> nn.Module:
        """The Linen module that computes this network."""
        if isinstance(self.config, PairConfig):
            return Electra(self.config)
        if self.kind == DISCRIMINATOR:
            return Discriminator(self.config)
        if self.kind == GENERATOR:
            return MaskedLM(self.config)
        return Backbone(self.config)

    @property
    def tokenizer(self) -> Any:
        """The folder's tokenizer (`electra_jax.text.tokenizer.Tokenizer`)."""
        if self.tokenizer_folder is None:
            raise UserError(f"{self.source}: no tokenizer files beside the model")
        from electra_jax.text.tokenizer import load_tokenizer

        return load_tokenizer(self.tokenizer_folder)


def save_model_folder(
    folder: str | os.PathLike[str],
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None,
    extra_config: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Writes one network as a folder that `transformers` loads.

    `kind` is "discriminator" (params of `Discriminator`) or "generator" (params of `MaskedLM`),
    "encoder" (params {"electra": …}). `bert` blocks become ElectraForPreTraining /
    ElectraForMaskedLM / ElectraModel, `modern` ones ModernBertForTokenClassification with one label
    / ModernBertForMaskedLM / ModernBertModel. `extra_config` is merged into config.json. The folder
    appears whole or not at all.
    """
    rows = table.model_rows(config, kind)
    tensors = {
        name: value.astype(np.float32, copy=False)
        for name, value in table.scatter(rows, params, "huggingface").items()
    }
    special = special_ids(tokenizer_folder)
    settings = to_settings(config, kind, special) | dict(extra_config or {})
    with new_folder(folder, overwrite) as scratch:
        write_safetensors(scratch / SAFETENSORS, tensors)
        if tokenizer_folder is not None:
            copy_tokenizer(tokenizer_folder, scratch, token_types=config.block == "bert")
        (scratch / CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def save_pair(
    folder: str | os.PathLike[str],
    pair: PairConfig,
    params: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None,
    extra_config: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Writes `folder/discriminator` and, unless it is uniform, `folder/generator`, each by
    `save_model_folder`. `params` is `Electra`'s tree.
    """
    for kind, part in split_pair(pair, params).items():
        if part is not None:
            config, tree = part
            target = Path(folder) / kind
            save_model_folder(
                target, kind, config, tree, tokenizer_folder, extra_config, overwrite=overwrite
            )


def load_model_folder(
    path: str | os.PathLike[str],
    *,
    num_attention_heads: int | None = None,
    generator_num_attention_heads: int | None = None,
) -> LoadedModel:
    """A network (or pair) from a Hugging Face folder, a folder of two, or a TF1 checkpoint.

    Every tensor is used or listed in `ignored`, every parameter is filled; anything else is a
    `UserError` that lists what is wrong.
    """
    folder = Path(path)
    if (folder / CONFIG).is_file() and not is_bundle(folder):
        return _load_huggingface(folder, num_attention_heads)
    if (folder / DISCRIMINATOR / CONFIG).is_file():
        return _load_two(folder, num_attention_heads, generator_num_attention_heads)
    if is_bundle(folder):
        return _load_tf1(folder, num_attention_heads, generator_num_attention_heads)
    if not folder.exists():
        raise UserError(f"{path}: no such folder or checkpoint")
    raise UserError(
        f"{path}: no model here: expected {CONFIG} with {SAFETENSORS}, or a TF1 checkpoint "
        "(.index, .data)"
    )


def load(path: str | os.PathLike[str], **arguments: Any) -> LoadedModel:
    """The model, parameters, tokenizer and configuration at `path`: see `load_model_folder`."""
    return load_model_folder(path, **arguments)


def _load_huggingface(folder: Path, num_attention_heads: int | None) -> LoadedModel:
    where = str(folder)
    settings = read_settings(folder / CONFIG)
    scheme, kind = identify(settings, where)
    tensors = read_weights(folder)
    notes: list[str] = []
    config = configure(tensors, settings, scheme, kind, num_attention_heads, notes, where)
    rows = table.model_rows(config, kind, scheme)
    params, used = table.gather(rows, tensors, "huggingface", where)
    params = _as_float32(params)
    table.check_shapes(params, expected_shapes(config, kind), where)
    ignored = _account(tensors, used, scheme, params, where)
    labels = {int(k): str(v) for k, v in (settings.get("id2label") or {}).items()} or None
    return LoadedModel(
        kind,
        config,
        params,
        where,
        tokenizer_folder=tokenizer_in(folder),
        num_labels=len(labels) if labels else settings.get("num_labels"),
        id2label=labels,
        problem_type=settings.get("problem_type"),
        settings=settings,
        ignored=ignored,
        notes=notes,
    )


def configure(
    tensors: Tensors,
    settings: Mapping[str, Any],
    scheme: str,
    kind: str,
    num_attention_heads: int | None,
    notes: list[str],
    where: str,
) -> ElectraConfig:
    """The configuration that the shapes tell, completed by config.json and checked against it."""
    stated = from_settings(settings, scheme, where)
    prefix = "" if kind == ENCODER else table.PREFIX[scheme]
    if scheme == "modernbert":
        inferred = infer_modern(tensors, where=where, prefix=prefix)
    else:
        inferred = infer_bert(tensors, "huggingface", where=where, encoder=prefix)
    differing = [
        f"{field} is {stated[field]} in {CONFIG} and {value} in the tensors"
        for field, value in inferred.items()
        if stated.get(field) is not None and stated[field] != value
    ]
    if differing:
        raise UserError(
            f"{where}: the configuration contradicts the shapes: {'; '.join(differing)}"
        )
    given = num_attention_heads or stated.get("num_attention_heads")
    count = heads(inferred["hidden_size"], given, "--num_attention_heads", notes, kind)
    return ElectraConfig(**{**stated, **inferred, "num_attention_heads": count})


def _account(
    tensors: Tensors, used: set[str], scheme: str, params: Mapping[str, Any], where: str
) -> list[str]:
    """The names knowingly ignored; a name that is neither used nor known is refused."""
    ignored, unknown = [], []
    for name in sorted(set(tensors) - used):
        if name.endswith("embeddings.position_ids"):
            ignored.append(name)
        elif name == table.TIED[scheme]:
            words = params["electra"]["embeddings"]["word_embeddings"]
            if not np.array_equal(np.asarray(tensors[name], np.float32), words):
                raise UserError(
                    f"{where}: {name} differs from the word embeddings: an untied masked-LM head "
                    "is not supported"
                )
            ignored.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} tensors have no place in this network: "
            f"{', '.join(unknown[:12])}"
        )
    return ignored


def _as_float32(tree: Mapping[str, Any]) -> Tree:
    return table.unflatten({k: np.asarray(v, np.float32) for k, v in table.flatten(tree).items()})


def _load_two(folder: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    """A folder with `discriminator/` and, where there is one, `generator/` as one pair."""
    d = _load_huggingface(folder / DISCRIMINATOR, d_heads)
    g = None
    if (folder / GENERATOR / CONFIG).is_file():
        g = _load_huggingface(folder / GENERATOR, g_heads)
    for model, expected in ((d, DISCRIMINATOR), (g, GENERATOR)):
        if model is not None and model.kind != expected:
            raise UserError(f"{model.source}: holds a {model.kind}, expected a {expected}")
    assert isinstance(d.config, ElectraConfig)
    other = None
    if g is not None:
        assert isinstance(g.config, ElectraConfig)
        other = (g.config, g.params)
    config, params = join_pair((d.config, d.params), other)
    return LoadedModel(
        PAIR,
        config,
        params,
        str(folder),
        tokenizer_folder=d.tokenizer_folder,
        settings=d.settings,
        ignored=d.ignored + (g.ignored if g else []),
        notes=d.notes + (g.notes if g else []),
    )


def _load_tf1(path: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    where = str(path)
    folder = path if path.is_dir() else path.parent
    discriminator, generator = _settings_beside(folder)
    source = tree_from_tf1(
        read_bundle(path),
        where=where,
        discriminator=discriminator,
        generator=generator,
        num_attention_heads=d_heads,
        generator_num_attention_heads=g_heads,
    )
    return LoadedModel(
        source.kind,
        source.config,
        source.params,
        where,
        tokenizer_folder=tokenizer_in(folder),
        global_step=source.global_step,
        ignored=source.ignored,
        notes=source.notes,
    )


def _settings_beside(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(discriminator's, generator's) fields from JSON files beside a TF1 checkpoint, as its forks
    ship them.
    """
    main = next(
        (
            read_settings(folder / name)
            for name in ("discriminator.json", "electra_config.json", "bert_config.json", CONFIG)
            if (folder / name).is_file()
        ),
        None,
    )
    small = folder / "generator.json"
    return main, read_settings(small) if small.is_file() else None


def read_settings(file: Path) -> dict[str, Any]:
    """The object in a JSON file; anything else is a `UserError`."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object")
    return content


__all__ = [
    "REFERENCE",
    "LoadedModel",
    "load",
    "load_model_folder",
    "save_model_folder",
    "save_pair",
]
