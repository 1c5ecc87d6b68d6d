"""Reading a network from any model folder, run or checkpoint; `save.py` writes folders."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.adapter_folder import ADAPTER_CONFIG, apply_adapter
from electra_jax.interop.formats.hub import local_path
from electra_jax.interop.formats.model_folder import (
    CONFIG,
    ENCODER_FOLDER,
    HEADS_FILE,
    read_json,
    tokenizer_in,
)
from electra_jax.interop.formats.safetensors import (
    SAFETENSORS,
    has_weights,
    read_file,
    read_safetensors,
    read_weights,
)
from electra_jax.interop.formats.tf1 import find_bundle, is_bundle, read_bundle
from electra_jax.interop.mapping import names as table
from electra_jax.interop.mapping.hf_config import (
    OWN,
    from_settings,
    guess_settings,
    identify,
)
from electra_jax.interop.mapping.infer_shapes import (
    check_inferred,
    expected_shapes,
    heads,
    infer_bert,
    infer_modern,
    labels_of,
    module_of,
)
from electra_jax.interop.mapping.names import (
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    PAIR,
    Tensors,
    Tree,
)
from electra_jax.interop.mapping.pair import join_pair, tree_from_tf1
from electra_jax.interop.mapping.vocabulary import cut_padding, is_padded
from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A network read from a folder or checkpoint.

    `kind`: "discriminator", "generator", "encoder", "sequence_classification",
    "token_classification", "question_answering", "multiple_choice", "pair" (config is a
    `PairConfig`), "reference" (task heads of the reference, under `task_specific/`) or "own_heads"
    (heads that a kind of task defines itself). `params` are float32 arrays in the tree that
    `model.apply({"params": params}, …)` takes. `settings` is the folder's config.json, `ignored`
    the tensors that were knowingly left out.
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
        """The Linen module that computes this network (of a "reference" model: its encoder)."""
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


def encoder_of(loaded: LoadedModel) -> tuple[ElectraConfig, Tree]:
    """(configuration, parameters under `electra`) of any network; of a pair, the
    discriminator's.
    """
    config = loaded.config
    shape = config.discriminator if isinstance(config, PairConfig) else config
    return shape, loaded.params["electra"]


def load_model_folder(
    path: str | os.PathLike[str],
    *,
    num_attention_heads: int | None = None,
    generator_num_attention_heads: int | None = None,
) -> LoadedModel:
    """A network (or pair) from a Hugging Face folder, a folder of two, a run's folder, or a TF1
    checkpoint.

    `path` may be one weight file in such a folder, and config.json may be absent: shapes and names
    tell all but a few fields, which are assumed and noted. A name that is no path is looked up on
    the Hub where the extra `hub` is installed. Every tensor is used or listed in `ignored`, every
    parameter is filled; anything else is a `UserError` that lists what is wrong.
    """
    folder = local_path(path)
    if (folder / "model").is_dir() and not has_weights(folder):  # the folder of a run
        return load_model_folder(
            folder / "model",
            num_attention_heads=num_attention_heads,
            generator_num_attention_heads=generator_num_attention_heads,
        )
    if is_bundle(folder):
        loaded = _load_tf1(folder, num_attention_heads, generator_num_attention_heads)
    elif folder.is_file():
        loaded = _load_one(folder.parent, num_attention_heads, folder)
    elif has_weights(folder) or any((folder / f).is_file() for f in (CONFIG, ADAPTER_CONFIG)):
        loaded = _load_one(folder, num_attention_heads)
    elif (folder / DISCRIMINATOR / CONFIG).is_file():
        loaded = _load_two(folder, num_attention_heads, generator_num_attention_heads)
    elif (folder / GENERATOR / CONFIG).is_file():
        loaded = _load_one(folder / GENERATOR, generator_num_attention_heads)
    elif not folder.exists():
        raise UserError(f"{path}: no such folder or checkpoint")
    else:
        raise UserError(
            f"{path}: no model here: expected {CONFIG} with {SAFETENSORS}, discriminator/ and "
            "generator/, or a TF1 checkpoint (.index, .data)"
        )
    for note in loaded.notes:
        log.warning("%s: %s", path, note)
    return loaded


def _load_one(
    folder: Path, num_attention_heads: int | None, file: Path | None = None
) -> LoadedModel:
    """One network of a folder, from `file` in place of its own weights where that is given."""
    if file is None and (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted(folder, num_attention_heads)
    settings = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if settings.get("model_type") == OWN:
        return _load_own(folder, settings, num_attention_heads)
    where = str(file or folder)
    tensors = _modern_keys(read_file(file) if file else read_weights(folder))
    notes: list[str] = []
    if not settings:
        settings = guess_settings(tensors, where)
        notes.append(
            f"no {CONFIG}: assuming model_type {settings['model_type']}, activation gelu, "
            "layer_norm_eps 1e-12"
        )
    scheme, kind = identify(settings, tensors, where)
    prefix = table.PREFIX[scheme]
    if kind == ENCODER and not any(name.startswith(prefix) for name in tensors):
        prefix = ""
    tensors, settings = _fit_vocabulary(tensors, settings, scheme, prefix, folder, notes)
    untied = _is_untied(tensors, settings, scheme, kind, prefix)
    bias = "cls.predictions.decoder.bias"
    if untied and bias in tensors:  # BertForMaskedLM adds this one; its twin is dead weight
        tensors = {**tensors, "cls.predictions.bias": tensors[bias]}
    config = _configure(tensors, settings, scheme, kind, prefix, num_attention_heads, notes, where)
    config = config.replace(tie_word_embeddings=not untied)
    rows = table.model_rows(config, kind, scheme, prefix)
    tree, used = table.gather(rows, tensors, "huggingface", where)
    params = _as_float32(tree, notes)
    num_labels = labels_of(kind, params)
    table.check_shapes(params, expected_shapes(config, kind, num_labels), where)
    labels = {int(k): str(v) for k, v in (settings.get("id2label") or {}).items()} or None
    if num_labels is not None and labels and len(labels) != num_labels:
        raise UserError(
            f"{where}: {CONFIG} names {len(labels)} labels, the classifier has {num_labels}"
        )
    return LoadedModel(
        kind,
        config,
        params,
        where,
        tokenizer_folder=tokenizer_in(folder),
        num_labels=num_labels,
        id2label=labels if num_labels is not None else None,
        problem_type=settings.get("problem_type"),
        global_step=settings.get("global_step"),
        settings=settings,
        ignored=_account(tensors, used, scheme, params, where),
        notes=notes,
    )


def _load_own(folder: Path, settings: dict[str, Any], num_heads: int | None) -> LoadedModel:
    """A network of our own: the encoder and the heads beside it."""
    encoder = _load_one(folder / ENCODER_FOLDER, num_heads)
    assert isinstance(encoder.config, ElectraConfig)
    rest = table.unflatten(read_safetensors(folder / HEADS_FILE))
    config = encoder.config.replace(
        masked_lm_act=settings.get("masked_lm_act"),
        tie_word_embeddings=settings.get("tie_word_embeddings", True),
    )
    kind = str(settings.get("kind"))
    params = {**encoder.params, **_as_float32(rest, encoder.notes)}
    if kind == GENERATOR:
        table.check_shapes(params, expected_shapes(config, kind), str(folder))
    labels = {int(k): str(v) for k, v in (settings.get("id2label") or {}).items()} or None
    return LoadedModel(
        kind,
        config,
        params,
        str(folder),
        tokenizer_folder=tokenizer_in(folder),
        num_labels=len(labels) if labels else None,
        id2label=labels,
        problem_type=settings.get("problem_type"),
        global_step=settings.get("global_step"),
        task_heads=task_heads_of(params),
        settings=settings,
        notes=encoder.notes,
    )


def _load_adapted(folder: Path, num_heads: int | None) -> LoadedModel:
    """A base with the small tree that was trained onto it."""
    content = read_json(folder / ADAPTER_CONFIG)
    try:
        base = load_model_folder(content["base"], num_attention_heads=num_heads)
    except UserError as error:
        raise UserError(
            f"{folder} is trained onto the base {content['base']}, which cannot be read ({error}); "
            f'where the base is elsewhere, write its place as "base" into {folder / ADAPTER_CONFIG}'
        ) from None
    config, encoder = encoder_of(base)
    params = apply_adapter(folder, content, encoder)
    settings = content["settings"]
    labels = {int(k): str(v) for k, v in (settings.get("id2label") or {}).items()} or None
    return LoadedModel(
        content["kind"],
        config,
        params,
        str(folder),
        tokenizer_folder=tokenizer_in(folder) or base.tokenizer_folder,
        num_labels=labels_of(content["kind"], params),
        id2label=labels,
        problem_type=settings.get("problem_type"),
        task_heads=task_heads_of(params),
        settings=settings,
        notes=base.notes,
    )


def task_heads_of(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """{task: names of its dense layers} in a tree with `task_specific/<task>/…`."""
    found: dict[str, list[str]] = {}
    for path in table.flatten(params.get("task_specific", {})):
        task, _, rest = path.partition("/")
        if rest.endswith("/kernel"):
            found.setdefault(task, []).append(rest.removesuffix("/kernel"))
    return {task: sorted(layers) for task, layers in sorted(found.items())}


def _modern_keys(tensors: Tensors) -> Tensors:
    """Tensors under today's names: old files say LayerNorm.gamma and .beta."""
    old = {".gamma": ".weight", ".beta": ".bias"}
    renamed = {
        name: name.removesuffix(end) + new
        for name in tensors
        for end, new in old.items()
        if name.endswith("LayerNorm" + end)
    }
    return {renamed.get(name, name): value for name, value in tensors.items()}


def _fit_vocabulary(
    tensors: Tensors,
    settings: dict[str, Any],
    scheme: str,
    prefix: str,
    folder: Path,
    notes: list[str],
) -> tuple[Tensors, dict[str, Any]]:
    """Cuts a vocabulary that was padded, and refuses one of another size than the tokenizer's."""
    word = prefix + table.WORD_TABLE[scheme]
    if word not in tensors:
        return tensors, settings
    rows = int(np.shape(tensors[word])[0])
    size = _tokenizer_size(folder) or settings.get("vocab_size") or rows
    tied = table.OUTPUT_TABLE[scheme].huggingface
    per_token = [word, f"{tied}.weight", f"{tied}.bias", "cls.predictions.bias"]
    tensors = fit_rows(tensors, rows, size, per_token, str(folder), notes)
    if rows != size and settings.get("vocab_size") == rows:
        settings = {**settings, "vocab_size": size}
    return tensors, settings


def fit_rows(
    tensors: Tensors, rows: int, size: int, per_token: list[str], where: str, notes: list[str]
) -> Tensors:
    """`tensors` with tables of `rows` cut to the vocabulary's `size` where they are only padded."""
    if rows == size:
        return tensors
    if not is_padded(rows, size):
        raise UserError(
            f"{where}: the vocabulary has {size} tokens, the embedding table {rows} rows: "
            "this tokenizer belongs to another model"
        )
    tensors, cut = cut_padding(tensors, rows, size, per_token)
    notes.append(f"the vocabulary is padded: {', '.join(cut)} cut from {rows} rows to {size}")
    return tensors


def _tokenizer_size(folder: Path) -> int | None:
    """The size of the vocabulary beside a model; None where there is none that this library
    reads.
    """
    if tokenizer_in(folder) is None:
        return None
    try:
        return load_tokenizer(folder).vocab_size
    except UserError as error:
        log.warning("%s: its tokenizer is not read here (%s)", folder, error)
        return None


def _is_untied(
    tensors: Tensors, settings: Mapping[str, Any], scheme: str, kind: str, prefix: str
) -> bool:
    """Whether a masked-LM head has an output table of its own."""
    if kind != GENERATOR:
        return False
    name, word = (
        f"{table.OUTPUT_TABLE[scheme].huggingface}.weight",
        prefix + table.WORD_TABLE[scheme],
    )
    if name not in tensors or word not in tensors:
        return not settings.get("tie_word_embeddings", True)
    same = np.array_equal(tensors[name], tensors[word])
    return not (same and settings.get("tie_word_embeddings", True))


def _configure(
    tensors: Tensors,
    settings: Mapping[str, Any],
    scheme: str,
    kind: str,
    prefix: str,
    num_attention_heads: int | None,
    notes: list[str],
    where: str,
) -> ElectraConfig:
    """The configuration that the shapes tell, completed by config.json and checked against it."""
    stated = from_settings(settings, scheme, kind, where)
    if scheme == "modernbert":
        inferred = infer_modern(tensors, where=where, prefix=prefix)
    else:
        inferred = infer_bert(tensors, "huggingface", where=where, encoder=prefix)
    check_inferred(inferred, stated, f"{where}/{CONFIG}")
    given = num_attention_heads or stated.get("num_attention_heads")
    count = heads(inferred["hidden_size"], given, "--num_attention_heads", notes, kind)
    try:
        return ElectraConfig(**{**stated, **inferred, "num_attention_heads": count})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _account(
    tensors: Tensors, used: set[str], scheme: str, params: Mapping[str, Any], where: str
) -> list[str]:
    """The names knowingly ignored; a name that is neither used nor known is refused."""
    left = sorted(set(tensors) - used)
    ignored = [name for name in left if _known_extra(name, scheme, tensors, params)]
    unknown = sorted(set(left) - set(ignored))
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} tensors have no place in this network: "
            f"{', '.join(unknown[:12])}"
        )
    return ignored


def _known_extra(name: str, scheme: str, tensors: Tensors, params: Mapping[str, Any]) -> bool:
    """Whether a tensor may be left out: buffers, repeated tied weights, BERT's sentence heads."""
    if name.endswith(("embeddings.position_ids", "embeddings.token_type_ids")):
        return True
    if scheme == "bert":
        if name == "cls.predictions.decoder.bias":
            return np.array_equal(tensors[name], tensors["cls.predictions.bias"])
        if name.removeprefix("bert.").startswith("pooler.dense."):
            return True
        if name.startswith("cls."):
            # A bare encoder does not use the heads; next-sentence prediction has no use here at
            # all.
            return "generator_predictions" not in params or "seq_relationship" in name
    return name == f"{table.OUTPUT_TABLE[scheme].huggingface}.weight"


def _as_float32(tree: Mapping[str, Any], notes: list[str]) -> Tree:
    """Leaves in float32; reduced precision and numbers that are not finite are noted."""
    flat = table.flatten(tree)
    kinds = sorted({str(v.dtype) for v in flat.values()} - {"float32"})
    if kinds:
        notes.append(f"weights in {', '.join(kinds)} are widened (or rounded) to float32")
    flat = {name: np.asarray(value, np.float32) for name, value in flat.items()}
    note_non_finite(flat, notes)
    return table.unflatten(flat)


def note_non_finite(flat: Mapping[str, np.ndarray], notes: list[str]) -> None:
    """Notes the parameters that contain NaN or infinity."""
    bad = [name for name, value in flat.items() if not np.isfinite(value).all()]
    if bad:
        notes.append(f"NaN or infinite numbers in {', '.join(bad)}")


def _load_two(folder: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    """A folder with `discriminator/` and, where there is one, `generator/` as one pair."""
    d = expect_kind(_load_one(folder / DISCRIMINATOR, d_heads), DISCRIMINATOR)
    g = None
    if (folder / GENERATOR / CONFIG).is_file():
        g = expect_kind(_load_one(folder / GENERATOR, g_heads), GENERATOR)
    config, params = join_pair(single(d), None if g is None else single(g))
    return LoadedModel(
        PAIR,
        config,
        params,
        str(folder),
        tokenizer_folder=d.tokenizer_folder,
        global_step=d.global_step,
        settings=d.settings,
        ignored=d.ignored + (g.ignored if g else []),
        notes=d.notes + (g.notes if g else []),
    )


def single(loaded: LoadedModel) -> tuple[ElectraConfig, Tree]:
    """(configuration, parameters) of one network; a pair is a `UserError`."""
    if isinstance(loaded.config, PairConfig):
        raise UserError(f"{loaded.source}: holds a pair, expected one network")
    return loaded.config, loaded.params


def expect_kind(loaded: LoadedModel, kind: str) -> LoadedModel:
    """`loaded`, if it is of `kind`; else a `UserError` that says what it is and what to do."""
    if loaded.kind != kind:
        other = {DISCRIMINATOR: GENERATOR, GENERATOR: DISCRIMINATOR}.get(kind, kind)
        remedy = f": name the {kind}'s folder instead" if loaded.kind == other else ""
        raise UserError(f"{loaded.source}: holds a {loaded.kind}, expected a {kind}{remedy}")
    return loaded


def _load_tf1(path: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    where = str(path)
    folder = path if path.is_dir() else Path(find_bundle(path)).parent
    discriminator, generator = _settings_beside(folder)
    tensors = read_bundle(path)
    notes: list[str] = []
    word = "electra/embeddings/word_embeddings"
    size = _tokenizer_size(folder)
    if size is not None and word in tensors:
        per_token = [
            name
            for name in tensors
            if "/word_embeddings" in name or name.startswith("generator_predictions/output_bias")
        ]
        tensors = fit_rows(tensors, tensors[word].shape[0], size, per_token, where, notes)
    source = tree_from_tf1(
        tensors,
        where=where,
        discriminator=discriminator,
        generator=generator,
        num_attention_heads=d_heads,
        generator_num_attention_heads=g_heads,
    )
    note_non_finite(table.flatten(source.params), notes)
    return LoadedModel(
        source.kind,
        source.config,
        source.params,
        where,
        tokenizer_folder=tokenizer_in(folder),
        global_step=source.global_step,
        task_heads=source.task_heads,
        ignored=source.ignored,
        notes=source.notes + notes,
    )


def _settings_beside(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(discriminator's, generator's) fields from JSON files beside a TF1 checkpoint, as forks ship
    them.
    """
    main = next(
        (
            read_json(folder / name)
            for name in ("discriminator.json", "electra_config.json", "bert_config.json", CONFIG)
            if (folder / name).is_file()
        ),
        None,
    )
    small = folder / "generator.json"
    return main, read_json(small) if small.is_file() else None
