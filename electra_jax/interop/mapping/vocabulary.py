"""Vocabularies: padded tables cut to size, and the embeddings of a network moved to another
vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.interop.mapping.tensors import Tensors
from electra_jax.modeling.trees import Tree, flatten, unflatten

# Tables are often padded to a multiple of one of these (NVIDIA's of 8) to suit the hardware.
PADDING_MULTIPLES = (8, 16, 32, 64, 128)
# Leaves with one row (or number) for each token of the vocabulary.
VOCABULARY_LEAVES = ("word_embeddings", "output_bias", "output_embeddings")


def is_padded(rows: int, size: int) -> bool:
    """Whether a table of `rows` is `size` rounded up to one of `PADDING_MULTIPLES`."""
    return rows > size and any(rows == -(-size // m) * m for m in PADDING_MULTIPLES)


def cut_padding(
    tensors: Mapping[str, np.ndarray], rows: int, size: int, vocabulary_names: Sequence[str]
) -> tuple[Tensors, list[str]]:
    """`tensors` with the tables named in `vocabulary_names` cut from `rows` to `size` rows.

    Returns them with the names that were cut.
    """
    cut = [n for n in vocabulary_names if n in tensors and np.shape(tensors[n])[:1] == (rows,)]
    return {**tensors, **{n: tensors[n][:size] for n in cut}}, cut


@dataclasses.dataclass(frozen=True)
class NewVocabulary:
    """Counts of a change of vocabulary: tokens that keep their embeddings, new ones, dropped
    ones.
    """

    shared: int
    new: int
    dropped: int

    def __str__(self) -> str:
        total = self.shared + self.new
        return (
            f"vocabulary: {self.shared} of {total} tokens keep their embeddings "
            f"({self.shared / max(total, 1):.1%}), {self.new} are newly initialised, "
            f"{self.dropped} of the old vocabulary's are dropped"
        )


def token_map(
    old: Sequence[str],
    new: Sequence[str],
    old_special: Mapping[str, int] | None = None,
    new_special: Mapping[str, int] | None = None,
) -> np.ndarray:
    """For each new token its row in the old table, int64 [len(new)], −1 where it is new.

    `old` and `new` are tokens by id. `*_special` ({"pad": id, …}) match special tokens by role,
    whatever they are called ([MASK] and <mask>).
    """
    where = {token: i for i, token in reversed(list(enumerate(old)))}
    rows = np.array([where.get(token, -1) for token in new], np.int64)
    for role, number in (new_special or {}).items():
        if old_special and role in old_special:
            rows[number] = old_special[role]
    return rows


def change_vocabulary(
    params: Mapping[str, Any], fresh: Mapping[str, Any], rows: np.ndarray
) -> tuple[Tree, NewVocabulary]:
    """`params` with every per-token leaf moved to a new vocabulary.

    `rows` is `token_map`'s; `fresh` are freshly initialised parameters of the new shape, from which
    new tokens take their rows. All other leaves are those of `params`.
    """
    old, new = flatten(params), flatten(fresh)
    kept = rows >= 0
    result = dict(old)
    sizes = set()
    for path, value in old.items():
        if path.rsplit("/", 1)[-1] not in VOCABULARY_LEAVES:
            continue
        target = np.array(new[path], np.float32)
        if target.shape[0] != len(rows) or target.shape[1:] != np.shape(value)[1:]:
            raise UserError(
                f"{path}: {list(np.shape(value))} cannot become {list(target.shape)} for a "
                f"vocabulary of {len(rows)} tokens"
            )
        target[kept] = np.asarray(value)[rows[kept]]
        result[path] = target
        sizes.add(len(value))
    (size,) = sizes
    dropped = size - len(np.unique(rows[kept]))
    report = NewVocabulary(int(kept.sum()), int((~kept).sum()), int(dropped))
    return unflatten(result), report


def fit_rows(
    tensors: Tensors, rows: int, size: int, per_token: list[str], where: str, notes: list[str]
) -> Tensors:
    """`tensors` with tables of `rows` cut to the vocabulary's `size` where the rest is padding.

    Other tables with more rows than tokens are kept whole, as in `transformers`; both add a line to
    `notes`. Raises `UserError` for a table with fewer rows than tokens, or more than twice as many.
    """
    if rows == size:
        return tensors
    if rows < size or rows > 2 * size:
        raise UserError(
            f"{where}: the vocabulary has {size} tokens, the embedding table {rows} rows: "
            "this tokenizer belongs to another model; put the model's own beside it"
        )
    if not is_padded(rows, size):
        notes.append(
            f"the embedding table has {rows} rows, the vocabulary {size} tokens: the last "
            f"{rows - size} rows are kept, no token uses them"
        )
        return tensors
    tensors, cut = cut_padding(tensors, rows, size, per_token)
    notes.append(f"the vocabulary is padded: {', '.join(cut)} cut from {rows} rows to {size}")
    return tensors
