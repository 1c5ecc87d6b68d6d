"""How likely texts are to a pretrained model, as a function: `score`."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

from electra_jax.api.host import prepare_host
from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.inference.input_file import ON_ERROR
from electra_jax.inference.model import Model
from electra_jax.inference.progress import AnswerProgress
from electra_jax.inference.reranking import Ranked, choose_weight, error_rate
from electra_jax.inference.scorer import Scorer, TextScore
from electra_jax.inference.text_file import Item, item_of, read_items
from electra_jax.inference.writer import check_outputs, write_lines
from electra_jax.text.standard_input import is_stream

log = logging.getLogger(__name__)

AnyPath = str | PathLike[str]
BLOCK = 2048  # lines read, scored and written at a time


def score(
    model: AnyPath | Model | Scorer,
    inputs: Sequence[Any] | AnyPath,
    output: AnyPath | None = None,
    *,
    weight: float | None = None,
    dev: AnyPath | None = None,
    on_error: str = "stop",
    quiet: bool = True,
) -> list[dict[str, Any]] | dict[str, Any]:
    """How likely texts are to a pretrained model, without fine-tuning; n-best lists re-ranked.

    score("runs/electric/model", ["the cat sat", "the cat sit"])     # → [{"score", "tokens"}, …]
    score("runs/electric/model", "texts.txt", "scores.jsonl")        # → the settings
    score("runs/electric/model", "nbest.jsonl", "best.jsonl", dev="nbest_dev.jsonl")

    The score is in nats, a sum over the text's tokens. An Electric model gives the
    pseudo-log-likelihood in one pass; a discriminator the log-probability that all tokens are
    original, in one pass; a masked language model (a generator) the pseudo-log-likelihood, with a
    pass for each token. An n-best list is `{"hypotheses": [{"text", "score"}, …]}`; its answer has
    the best `text`, by score + weight · the model's score, and what each hypothesis got.

    Args:
      model: a model folder, what `load` gave, or a `Scorer`.
      inputs: a list of texts or n-best lists, or the path of a file with one a line: .txt, .jsonl,
        or a .tsv or .csv with a column text ("-": standard input, as JSON lines).
      output: with a file, where the answers go, one JSON line each, in order ("-": standard
        output). What they are is written beside it, to OUTPUT.settings.json.
      weight: of the model's score in n-best lists.
      dev: a file of n-best lists with the right text as `reference`, by whose word errors the
        weight is chosen.
      on_error: with a file, "stop" at a line that is wrong, or "skip" it: its answer is `null`.
      quiet: no progress bar.

    Raises:
      UserError: a network that gives no probability of a text, an input that is wrong, n-best lists
        without a weight, or a file without `output`.
    """
    is_file = isinstance(inputs, str | PathLike)
    if is_file != (output is not None):
        raise UserError(
            f"score: name an output for the scores of the file {inputs}; a few texts are a list"
            if is_file
            else "score: scores of a list are returned; an output goes with a file of inputs"
        )
    if on_error not in ON_ERROR:
        raise UserError(f"on_error={on_error!r}: choose one of {', '.join(ON_ERROR)}")
    if weight is not None and dev is not None:
        raise UserError("score: dev chooses the weight: give one of the two")
    if output is None:
        assert not isinstance(inputs, str | PathLike)
        items = [item_of(given, f"input {number}") for number, given in enumerate(inputs)]
        _check_weight(items, weight, dev)
    else:
        check_outputs(str(inputs), output, _settings_file(output))
        if not is_stream(str(inputs)) and str(inputs) != "-":
            # A first pass finds what is wrong, in the last line too, before any work is done.
            _check_weight(read_items(str(inputs), on_error == "skip"), weight, dev)
    prepare_host()
    scorer = model if isinstance(model, Scorer) else Scorer(model)
    settings = scorer.settings
    if dev is not None:
        weight, settings["dev"] = _chosen(scorer, dev)
    if weight is not None:
        settings["weight"] = weight
    if output is None:
        found = [answer for answer in _answers(scorer, items, weight, quiet) if answer is not None]
        scorer.warn()
        return found
    return _score_file(scorer, str(inputs), output, weight, settings, on_error, quiet)


def _check_weight(items: Iterable[Item], weight: float | None, dev: AnyPath | None) -> None:
    for item in items:
        if item.scores is not None and weight is None and dev is None:
            raise UserError(
                "score: n-best lists are re-ranked by score + weight · the model's: give the "
                "weight, or dev, a file of n-best lists with references that chooses it"
            )


def _chosen(scorer: Scorer, dev: AnyPath) -> tuple[float, dict[str, Any]]:
    """(the weight, what is recorded of how it was chosen)."""
    lists = []
    for number, (item, scores) in enumerate(_scored(scorer, read_items(dev), None), 1):
        if item.scores is None or item.reference is None:
            raise UserError(f"{dev}: record {number} needs hypotheses and a reference")
        lists.append(Ranked(item.texts, item.scores, [s.score for s in scores], item.reference))
    weight, rates = choose_weight(lists)
    return weight, {
        "file": str(dev),
        "lists": len(lists),
        "error_rate": {f"{w:g}": round(rate, 6) for w, rate in rates.items()},
    }


def _score_file(
    scorer: Scorer,
    source: str,
    output: AnyPath,
    weight: float | None,
    settings: dict[str, Any],
    on_error: str,
    quiet: bool,
) -> dict[str, Any]:
    wrong: list[UserError] = []
    judged: list[Ranked] = []

    def read() -> Iterator[Item]:
        for item in read_items(source, on_error == "skip"):
            if item.error is not None:
                wrong.append(item.error)
            _check_weight([item], weight, None)
            yield item

    answers = _answers(scorer, read(), weight, quiet, judged)
    settings["lines"] = write_lines(answers, output)
    if wrong:
        log.warning(
            "%s: %d of %d lines are wrong and answered by null, the first: %s",
            source, len(wrong), settings["lines"], wrong[0],
        )  # fmt: skip
    scorer.warn()
    settings |= {"wrong": len(wrong), "cut": scorer.cut}
    if judged and weight is not None:
        settings["error_rate"] = {f"{w:g}": error_rate(judged, w) for w in (0.0, weight)}
    beside = _settings_file(output)
    if beside is not None:
        write_json_atomic(beside, settings)
    return settings


def _settings_file(output: AnyPath) -> Path | None:
    """Where what the scores are is written; nowhere beside a stream."""
    path = Path(output)
    if str(output) == "-" or (path.exists() and not path.is_file()):
        return None
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl") + ".settings.json")


def _answers(
    scorer: Scorer,
    items: Iterable[Item],
    weight: float | None,
    quiet: bool,
    judged: list[Ranked] | None = None,
) -> Iterator[dict[str, Any] | None]:
    """The answer to each item; `judged` collects the lists whose right text is known."""
    with closing(AnswerProgress("score", None, quiet)) as progress:
        for item, scores in _scored(scorer, items, progress):
            if item.error is not None:
                yield None
            elif item.scores is None:
                yield scores[0]._asdict()
            else:
                assert weight is not None
                ranked = Ranked(item.texts, item.scores, [s.score for s in scores], item.reference)
                if judged is not None and item.reference is not None:
                    judged.append(ranked)
                yield _ranked(ranked, scores, weight)


def _ranked(ranked: Ranked, scores: Sequence[TextScore], weight: float) -> dict[str, Any]:
    best = ranked.best(weight)
    each = [
        {"text": text, "score": own, "model": s.score, "tokens": s.tokens,
         "total": own + weight * s.score}
        for text, own, s in zip(ranked.texts, ranked.scores, scores, strict=True)
    ]  # fmt: skip
    return {"text": ranked.texts[best], "best": best, "hypotheses": each}


def _scored(
    scorer: Scorer, items: Iterable[Item], progress: AnswerProgress | None
) -> Iterator[tuple[Item, list[TextScore]]]:
    """Each item with the scores of its texts, a block of items at a time."""
    iterator = iter(items)
    while block := list(itertools.islice(iterator, BLOCK)):
        texts = [text for item in block for text in item.texts]
        watch: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if progress is not None:
            progress.block(len(block), len(texts))
            watch = progress.batch(len(texts), compiles=False) if texts else watch
        with watch:
            found = iter(scorer.scores(texts))
        for item in block:
            yield item, list(itertools.islice(found, len(item.texts)))
