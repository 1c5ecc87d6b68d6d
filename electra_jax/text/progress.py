"""Progress bars over a corpus."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from electra_jax.messages import message_stream
from electra_jax.text.corpus import Corpus


def corpus_bar(description: str, corpus: Corpus, shown: bool) -> tqdm[Any]:
    """A bar in bytes of the corpus as stored; in documents where it is data sets alone, whose size
    is not known."""
    stream = message_stream()
    if corpus.total_bytes == 0:
        return tqdm(desc=description, unit=" documents", file=stream, disable=not shown)
    return tqdm(
        desc=description, total=corpus.total_bytes, unit="B", unit_scale=True,
        file=stream, disable=not shown,
    )  # fmt: skip


def advance(bar: tqdm[Any], position: int, documents: int) -> None:
    """Moves a bar to `position` bytes, or to `documents` where it counts these."""
    bar.update((documents if bar.total is None else position) - bar.n)
