"""Reading a TF1 checkpoint as a network; its tensors' meaning is in `mapping/tf1_networks.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from electra_jax.interop.formats.model_folder import CONFIG, read_json, tokenizer_size
from electra_jax.interop.formats.tf1 import find_bundle, read_bundle
from electra_jax.interop.loaded import LoadedModel
from electra_jax.interop.mapping.tensors import note_non_finite
from electra_jax.interop.mapping.tf1_networks import tree_from_tf1
from electra_jax.interop.mapping.vocabulary import fit_rows
from electra_jax.modeling.trees import flatten


def load_tf1(path: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    """The network (or pair) of a checkpoint, completed by the JSON files beside it.

    `d_heads`, `g_heads`: attention heads of discriminator and generator that the user gave; they go
    before those of the files.
    """
    where = str(path)
    folder = path if path.is_dir() else Path(find_bundle(path)).parent
    discriminator, generator = _settings_beside(folder)
    tensors = read_bundle(path)
    notes: list[str] = []
    word = "electra/embeddings/word_embeddings"
    size = tokenizer_size(folder)
    if size is not None and word in tensors:
        per_token = [
            name
            for name in tensors
            if "/word_embeddings" in name or "_predictions/output_bias" in name
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
    note_non_finite(flatten(source.params), notes)
    return LoadedModel.of_folder(
        folder,
        kind=source.kind,
        config=source.config,
        params=source.params,
        source=path,
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
    small = [folder / name for name in ("generator.json", "noise.json")]
    return main, next((read_json(file) for file in small if file.is_file()), None)
