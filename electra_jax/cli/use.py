"""The verbs for what training made: `evaluate`, `predict`, `score`, `submission`, `report`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import electra_jax
from electra_jax.cli.parser import verb_parser
from electra_jax.errors import UserError


def _on_error(parser: argparse.ArgumentParser, skipped: str) -> None:
    parser.add_argument(
        "--on_error",
        choices=("stop", "skip"),
        default="stop",
        help=f"at a line that is wrong: stop, or skip it ({skipped})",
    )


def _answering(parser: argparse.ArgumentParser) -> None:
    _on_error(parser, "its answer is null, it has no score")
    parser.add_argument(
        "--task",
        help="default: the one that the model was trained for; of a model made elsewhere the one "
        "that its head and labels stand for, which is said; or FILE.py:CLASS",
    )
    parser.add_argument(
        "--max_length",
        type=int,
        metavar="TOKENS",
        help="tokens of a text that are read (default: as many as in training)",
    )
    parser.add_argument(
        "--null_threshold",
        type=float,
        metavar="ODDS",
        help="SQuAD 2.0: no answer where null odds are above it (`evaluate` reports the best one)",
    )
    parser.add_argument(
        "--columns",
        nargs="*",
        default=[],
        metavar="ROLE=NAME",
        help="the file's columns (text=review label=stars), where their names are neither the "
        "default ones nor those of training",
    )


def _column_names(given: Sequence[str]) -> dict[str, str | None]:
    wrong = [x for x in given if "=" not in x]
    if wrong:
        raise UserError(f"--columns {wrong[0]}: write ROLE=NAME, such as text=review")
    return {role: name for role, _, name in (x.partition("=") for x in given)}


def evaluate(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "evaluate",
        "A fine-tuned model on labelled data: the task's official metrics as JSON on standard\n"
        "output; on standard error a table of precision, recall and F1 by class.",
        "electra-jax evaluate --model=runs/sst2/model --data=SST-2/dev.tsv",
    )
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="as for training; -: standard input as JSON lines",
    )
    parser.add_argument("--output", metavar="FILE", help="write the scores as JSON too")
    parser.add_argument("--predictions", metavar="FILE", help="write the answers as `predict` does")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _answering(parser)
    a = parser.parse_args(argv)
    scores = electra_jax.evaluate(
        a.model,
        a.data,
        task=a.task,
        columns=_column_names(a.columns),
        predictions=a.predictions,
        output=a.output,
        null_threshold=a.null_threshold,
        max_length=a.max_length,
        on_error=a.on_error,
        quiet=a.quiet,
    )
    import json

    from electra_jax.finetuning.result import with_nulls

    if not a.quiet:
        print(scores.describe(), file=sys.stderr)  # standard output is JSON alone
    print(json.dumps(with_nulls(dict(scores))))
    return 0


def predict(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "predict",
        "Answers for a file: one JSON line each, in order, in constant memory.",
        "electra-jax predict --model=runs/sst2/model --input=reviews.jsonl --output=answers.jsonl",
    )
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="as for training, labels not needed; -: standard input as JSON lines",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="-: standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _answering(parser)
    a = parser.parse_args(argv)
    count = electra_jax.predict(
        a.model,
        a.input,
        a.output,
        task=a.task,
        columns=_column_names(a.columns),
        null_threshold=a.null_threshold,
        max_length=a.max_length,
        on_error=a.on_error,
        quiet=a.quiet,
    )
    print(f"{a.output}: {count:,} answers", file=sys.stderr if a.output == "-" else sys.stdout)
    return 0


def score(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "score",
        "How likely texts are to a pretrained model, in nats, one JSON line each; n-best lists\n"
        '({"hypotheses": [{"text", "score"}, …]}) re-ranked. The settings, with the method, are\n'
        "printed as JSON and written to OUTPUT.settings.json.",
        "electra-jax score --model=runs/electric/model --input=texts.txt --output=scores.jsonl",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="an Electric model, a discriminator, or a masked language model (a generator)",
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help=".txt (a text a line), .jsonl, .tsv, .csv with text; -: standard input as JSON lines",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="-: standard output")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--weight", type=float, help="of the model's score, beside the hypotheses' own"
    )
    chosen.add_argument(
        "--dev",
        metavar="FILE",
        help="n-best lists with the right text as reference: chooses the weight by word errors",
    )
    _on_error(parser, "its answer is null")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    a = parser.parse_args(argv)
    settings = electra_jax.score(
        a.model,
        a.input,
        a.output,
        weight=a.weight,
        dev=a.dev,
        on_error=a.on_error,
        quiet=a.quiet,
    )
    import json

    stream = sys.stderr if a.output == "-" else sys.stdout
    print(json.dumps(settings, ensure_ascii=False), file=stream)
    return 0


def submission(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "submission",
        "The zip that GLUE's server takes, from files that `predict` wrote.",
        "electra-jax submission cola=cola.jsonl mnli=matched.jsonl "
        "mnli_mismatched=mismatched.jsonl --output=glue.zip",
    )
    parser.add_argument("answers", nargs="+", metavar="TASK=FILE")
    parser.add_argument("--output", required=True, metavar="ZIP")
    parser.add_argument("--partial", action="store_true", help="not all of GLUE's tasks are there")
    a = parser.parse_args(argv)
    wrong = [x for x in a.answers if "=" not in x]
    if wrong:
        raise UserError(f"{wrong[0]}: write TASK=FILE, such as cola=cola.jsonl")
    files = dict(x.split("=", 1) for x in a.answers)
    names = electra_jax.submission(files, a.output, partial=a.partial)
    print(f"{a.output}: {', '.join(names)}")
    return 0


def report(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "report",
        "One self-contained HTML page: curves, final figures, configuration; several runs are "
        "compared.",
        "electra-jax report runs/a runs/b --output=compare.html",
    )
    parser.add_argument(
        "workdirs", nargs="+", metavar="WORKDIR", help="of a run, or a folder with runs below it"
    )
    parser.add_argument("--output", metavar="FILE", help="default: report.html in the first folder")
    a = parser.parse_args(argv)
    print(electra_jax.report(a.workdirs, a.output))
    return 0
