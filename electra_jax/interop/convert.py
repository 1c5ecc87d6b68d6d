"""`convert`: any checkpoint that can be read, to a Hugging Face folder or a TF1 bundle, with a
table of what went where.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.conversion_report import Network, Report
from electra_jax.interop.formats.adapter_folder import ADAPTER_CONFIG
from electra_jax.interop.formats.hub import name_on_hub, uploaded
from electra_jax.interop.formats.model_card import (
    CARD,
    ModelFacts,
    pair_card,
    read_card,
    stated_license,
)
from electra_jax.interop.formats.model_folder import (
    CONFIG,
    ENCODER_FOLDER,
    copy_tokenizer,
    new_folder,
    write_json,
)
from electra_jax.interop.formats.tf1 import is_bundle, read_bundle, write_bundle
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel, encoder_of
from electra_jax.interop.mapping import names as table
from electra_jax.interop.mapping.hf_config import has_class, masked_lm_activation, to_settings
from electra_jax.interop.mapping.names import (
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    NOISE,
    PAIR,
    REFERENCE,
)
from electra_jax.interop.mapping.pair import split_pair
from electra_jax.interop.mapping.tf1_networks import moments_from_tf1, tf1_from_tree, tree_from_tf1
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.interop.verify import difference
from electra_jax.modeling.trees import Tree, flatten
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

TARGETS = ("hf", "tf1")
# Fields of config.json that describe a file or a program, not the network.
_NOT_KEPT = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"}
TOLERANCE = 1e-4


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    to: str = "hf",
    *,
    num_attention_heads: int | None = None,
    generator_num_attention_heads: int | None = None,
    verify: bool = False,
    encoder_only: bool = False,
    slots: bool = False,
    tokenizer: str | os.PathLike[str] | None = None,
    do_lower_case: bool | None = None,
    private: bool = False,
) -> Report:
    """Reads `src` (anything `load_model_folder` reads) and writes `dst` as `to` ("hf" or "tf1").

    A pair becomes `dst/discriminator` and `dst/generator`, one network `dst` itself. TF1 bundles
    are `dst/model.ckpt[-STEP]` with the vocabulary and the configurations beside. `verify` measures
    the logits against `transformers`, `encoder_only` leaves heads out, `slots` copies Adam's
    moments from bundle to bundle, `tokenizer` is a folder to ship in place of the source's,
    `do_lower_case` describes a bare vocab.txt. `dst` must not exist or be empty; it is written
    whole or not at all. It may be a model on the Hub, "hub:ORGANISATION/NAME", which `private`
    makes a private one.

    Raises `UserError` for everything that would not be exact.
    """
    if to not in TARGETS:
        raise UserError(f"--to={to}: choose one of {', '.join(TARGETS)}")
    name = name_on_hub(dst)
    if private and name is None:
        raise UserError(f"--private: {dst} is no model on the Hub (hub:ORGANISATION/NAME)")
    with new_folder(dst) if name is None else uploaded(name, private) as scratch:
        loaded = load_model_folder(
            src,
            num_attention_heads=num_attention_heads,
            generator_num_attention_heads=generator_num_attention_heads,
        )
        if tokenizer is not None:
            loaded = dataclasses.replace(loaded, tokenizer_folder=Path(tokenizer))
        notes = list(loaded.notes)
        if loaded.tokenizer_folder is None:
            notes.append("no tokenizer beside the source: the result has none either (--tokenizer)")
        elif not (loaded.tokenizer_folder / "tokenizer_config.json").is_file():
            tokens = load_tokenizer(loaded.tokenizer_folder, do_lower_case=do_lower_case)
            case = "lower-cased" if tokens.do_lower_case else "cased"
            notes.append(f"the vocabulary comes without its settings: taken to be {case}")
        becomes_electra = loaded.settings.get("model_type") == "bert"
        card = _card_of(loaded, src, encoder_only or becomes_electra or to != "hf")
        if encoder_only:
            config, encoder = encoder_of(loaded)
            loaded = dataclasses.replace(
                loaded,
                kind=ENCODER,
                config=config,
                params={"electra": encoder},
                num_labels=None,
                id2label=None,
                settings={},
            )
        if to == "hf":
            networks = _to_hf(loaded, scratch, verify, do_lower_case, card)
        else:
            networks = _to_tf1(loaded, src, scratch, verify, slots, notes)
    final = [
        dataclasses.replace(n, folder=Path(dst) / n.folder.relative_to(scratch)) for n in networks
    ]
    return Report(str(src), str(dst), final, loaded.ignored, notes)


def _parts(loaded: LoadedModel) -> dict[str, tuple[ElectraConfig, Tree]]:
    """{kind: (configuration, parameters)} of the networks of a loaded model."""
    if isinstance(loaded.config, PairConfig):
        parts = split_pair(loaded.config, loaded.params)
        return {kind: part for kind, part in parts.items() if part is not None}
    return {loaded.kind: (loaded.config, loaded.params)}


def _card_of(loaded: LoadedModel, src: str | os.PathLike[str], changed: bool) -> ModelFacts | str:
    """The source's own card, which describes the same network; facts for a new one where there is
    none, or where the network is `changed`."""
    place = Path(loaded.source)
    place = place if place.is_dir() else place.parent
    card = read_card(place)
    if loaded.kind == PAIR:  # one card for each network
        card = card or read_card(place / DISCRIMINATOR)
    elif card is not None and not changed and not (place / ADAPTER_CONFIG).is_file():
        return card
    license, language = stated_license(card)
    training = {"converted from": Path(src).name}
    if loaded.global_step:
        training["steps"] = f"{loaded.global_step:,}"
    return ModelFacts(training=training, license=license, language=language)


def _to_hf(
    loaded: LoadedModel,
    scratch: Path,
    verify: bool,
    do_lower_case: bool | None,
    card: ModelFacts | str,
) -> list[Network]:
    parts = _parts(loaded)
    extra = kept_settings(loaded)
    tokenizer = loaded.tokenizer_folder
    if len(parts) > 1:
        assert isinstance(loaded.config, PairConfig)
        save_pair(
            scratch,
            loaded.config,
            loaded.params,
            tokenizer,
            extra,
            do_lower_case=do_lower_case,
            card=card,
        )
        assert isinstance(card, ModelFacts)
        (scratch / CARD).write_text(pair_card(card), encoding="utf-8")
    else:
        ((kind, (config, params)),) = parts.items()
        save_model_folder(
            scratch, kind, config, params, tokenizer, extra, do_lower_case=do_lower_case, card=card
        )
    return [
        _network(
            kind, config, params, scratch / kind if len(parts) > 1 else scratch, loaded, verify
        )
        for kind, (config, params) in parts.items()
    ]


def kept_settings(loaded: LoadedModel) -> dict[str, Any]:
    """The fields of the source's config.json that do not describe the network: labels, the head's
    dropout, the global step.
    """
    settings = dict(loaded.settings)
    extra: dict[str, Any] = {}
    if isinstance(loaded.config, ElectraConfig) and settings.get("model_type") != "bert":
        own = (
            to_settings(loaded.config, loaded.kind) if _classed(loaded) else {"model_type", "kind"}
        )
        extra = {k: v for k, v in settings.items() if k not in own and k not in _NOT_KEPT}
        if loaded.id2label is not None:
            extra["id2label"] = {str(i): name for i, name in loaded.id2label.items()}
            extra["label2id"] = loaded.label2id
    if loaded.global_step is not None:
        extra["global_step"] = loaded.global_step
    return extra


def _classed(loaded: LoadedModel) -> bool:
    return isinstance(loaded.config, ElectraConfig) and has_class(loaded.config, loaded.kind)


def _network(
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    folder: Path,
    loaded: LoadedModel,
    verify: bool,
) -> Network:
    """The table's line of one written network; with `verify`, its measured difference."""
    leaves = flatten(params)
    rows = table.model_rows(config, ENCODER if not has_class(config, kind) else kind)
    written = {n for row in rows for n in row.names("huggingface")}
    heads = [p for p in leaves if not p.startswith("electra/")]
    count = len(written) + (0 if has_class(config, kind) else len(heads))
    network = Network(
        folder.name if folder.name in (DISCRIMINATOR, GENERATOR) else kind,
        kind,
        folder,
        count,
        sum(int(np.size(leaf)) for leaf in leaves.values()),
    )
    if kind == NOISE:
        return _noise(network, loaded, verify)
    if not verify:
        return network
    if has_class(config, kind):
        measured = difference(folder, kind, config, params, loaded.num_labels)
    else:
        encoder = {"electra": params["electra"]}
        measured = difference(folder / ENCODER_FOLDER, ENCODER, config, encoder)
    return _checked(network, measured)


def _noise(network: Network, loaded: LoadedModel, verify: bool) -> Network:
    """The line of Electric's noise model, which nothing else computes."""
    assert isinstance(loaded.config, ElectricConfig)
    count = sum(len(row.layers or [0]) for row in table.noise_rows(loaded.config))
    reason = "transformers has no class for it" if verify else network.unmeasured
    return dataclasses.replace(network, name=NOISE, tensors=count, unmeasured=reason)


def _checked(network: Network, measured: tuple[float, float] | None) -> Network:
    if measured is None:
        return dataclasses.replace(network, unmeasured="transformers or torch is not installed")
    found, largest = measured
    if not found <= TOLERANCE * max(1.0, largest):
        raise UserError(
            f"the {network.name}'s outputs differ by {found:.3g} (of {largest:.3g}) from "
            "transformers': nothing is written; if a configuration is given by hand, check the "
            "number of attention heads, the activation and the epsilon in it"
        )
    return dataclasses.replace(network, difference=found, largest=largest)


def _to_tf1(
    loaded: LoadedModel,
    src: str | os.PathLike[str],
    scratch: Path,
    verify: bool,
    slots: bool,
    notes: list[str],
) -> list[Network]:
    if loaded.kind not in (PAIR, DISCRIMINATOR, GENERATOR, ENCODER, REFERENCE):
        raise UserError(
            f"{loaded.source}: Hugging Face's {loaded.kind} head has no counterpart in "
            "google-research/electra: convert --to=hf, or leave the head out with --encoder_only"
        )
    for kind, (config, _) in _parts(loaded).items():
        if kind == DISCRIMINATOR and config.discriminator_head != "electra":
            raise UserError(
                f"{loaded.source}: google-research/electra has no {config.discriminator_head} head "
                "of a discriminator: leave the head out with --encoder_only"
            )
        if masked_lm_activation(config) != config.hidden_act:
            raise UserError(
                f"{loaded.source}: its masked-LM head is {config.masked_lm_act}, its layers "
                f"{config.hidden_act}: google-research/electra has one activation for both"
            )
    moments = None
    if slots:
        moments = load_moments(src)
        if moments is None:
            raise UserError(f"--slots: {src} holds no optimizer moments (adam_m, adam_v)")
    tensors = tf1_from_tree(
        loaded.config,
        loaded.params,
        kind=loaded.kind,
        global_step=loaded.global_step,
        moments=moments,
    )
    step = loaded.global_step
    prefix = scratch / ("model.ckpt" if step is None else f"model.ckpt-{step}")
    write_bundle(prefix, tensors)
    back = read_bundle(prefix)
    changed = [n for n, v in tensors.items() if n not in back or back[n].tobytes() != v.tobytes()]
    if changed or set(back) != set(tensors):
        raise RuntimeError(f"TensorFlow read back other bytes than were written: {changed[:5]}")
    parts = _parts(loaded)
    for kind, (config, _) in parts.items():
        if config.layer_norm_eps != 1e-12:
            notes.append(
                f"{kind}: layer_norm_eps is {config.layer_norm_eps}, the reference's 1e-12"
            )
        write_json(
            scratch / (f"{kind}.json" if loaded.kind == PAIR else "electra_config.json"),
            {k: v for k, v in to_settings(config, ENCODER).items() if k != "architectures"},
        )
    if loaded.tokenizer_folder is not None:
        copy_tokenizer(loaded.tokenizer_folder, scratch)
    # Read back like any other bundle, so that the table describes the files and not the memory.
    return [
        _bundled(kind, config, params, loaded, src, scratch, verify)
        for kind, (config, params) in _parts(load_model_folder(scratch)).items()
    ]


def _bundled(
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    loaded: LoadedModel,
    src: str | os.PathLike[str],
    scratch: Path,
    verify: bool,
) -> Network:
    """The table's line of a network read back from the bundle, measured against a source folder."""
    leaves = flatten(params)
    encoder_rows = table.model_rows(config, ENCODER)
    count = sum(len(row.names("tf1")) for row in encoder_rows)
    count += sum(not path.startswith("electra/") for path in leaves)
    size = sum(int(np.size(leaf)) for leaf in leaves.values())
    network = Network(kind, kind, scratch, count, size)
    if kind == NOISE:
        return _noise(network, loaded, verify)
    folder = Path(src) / kind if loaded.kind == PAIR else Path(src)
    if loaded.kind == REFERENCE:
        folder, params = folder / ENCODER_FOLDER, {"electra": params["electra"]}
    if not verify:
        return network
    if not (folder / CONFIG).is_file() or loaded.settings.get("model_type") == "bert":
        reason = "the source is no folder that transformers reads as ELECTRA"
        return dataclasses.replace(network, unmeasured=reason)
    return _checked(network, difference(folder, kind, config, params))


def load_moments(path: str | os.PathLike[str]) -> dict[str, Tree] | None:
    """Adam's moments {"adam_m": tree, "adam_v": tree} of a TF1 checkpoint, in the parameters'
    structure.

    None where it has none (published checkpoints), or where `path` is no TF1 checkpoint.
    """
    if not is_bundle(path):
        return None
    tensors = read_bundle(path)
    # The number of heads changes no shape, so any will do here.
    source = tree_from_tf1(
        tensors, where=str(path), num_attention_heads=1, generator_num_attention_heads=1
    )
    return moments_from_tf1(tensors, source, str(path))
