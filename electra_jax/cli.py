"""The command line: `electra-jax VERB …`. Thin: parses, calls the public function of the verb's
name (see `electra_jax/__init__.py`), turns errors into exit codes.

Exit codes: 0 done; 2 the input or the configuration is wrong (one message, no traceback); 1
anything else; 143 stopped by SIGTERM after saving.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import electra_jax
from electra_jax.errors import UserError

_MANY_UNKNOWN = 0.03  # share of tokens; a fitting vocabulary has a hundredth of it


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="GLOB",
        help="text: .txt (documents separated by blank lines) or .jsonl (field `text`), also .gz; "
        "or tfds:NAME[/CONFIG][:SPLIT]",
    )


def _vocab(argv: Sequence[str]) -> int:
    parser = _parser(
        "vocab",
        "Trains a tokenizer; casing, accents and normalisation are stored with it.",
        "electra-jax vocab --input 'corpus/*.txt' --type=wordpiece --size=30522 "
        "--output=tokenizer/",
    )
    _inputs(parser)
    parser.add_argument("--type", choices=("wordpiece", "unigram", "bpe"), default="wordpiece")
    parser.add_argument("--size", type=int, default=30522, help="tokens, specials included")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--cased", action="store_true", help="keep upper case (and accents)")
    parser.add_argument(
        "--strip_accents",
        choices=("auto", "yes", "no"),
        default="auto",
        help="auto: stripped where lower-casing (WordPiece) deletes no vowel signs by it",
    )
    parser.add_argument(
        "--limit_bytes", type=int, metavar="N", help="train on about so many bytes of the text"
    )
    parser.add_argument(
        "--character_coverage",
        type=float,
        metavar="SHARE",
        help="of the text's characters, that get a piece of their own (default: by kind)",
    )
    parser.add_argument(
        "--byte_fallback", action="store_true", help="unigram, bpe: unknown characters as bytes"
    )
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args(argv)
    tokenizer = electra_jax.train_vocabulary(
        a.input,
        a.type,
        a.size,
        a.output,
        lower_case=not a.cased,
        strip_accents={"auto": None, "yes": True, "no": False}[a.strip_accents],
        limit_bytes=a.limit_bytes,
        character_coverage=a.character_coverage,
        byte_fallback=a.byte_fallback,
        seed=a.seed,
    )
    print(f"{a.output}: {tokenizer.kind} tokenizer of {tokenizer.vocab_size:,} tokens")
    return 0


def _prepare(argv: Sequence[str]) -> int:
    parser = _parser(
        "prepare",
        "Text → fixed-length rows of token ids. Interrupted: run it again.",
        "electra-jax prepare --input 'corpus/*.txt' --tokenizer=tokenizer/ --output=rows/ "
        "--seq_len=128",
    )
    _inputs(parser)
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="folder or vocab.txt")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--seq_len", type=int, default=128)
    parser.add_argument(
        "--packing",
        choices=("full", "reference"),
        default="full",
        help="full: no token is thrown away; reference: the original's rules",
    )
    parser.add_argument(
        "--max_segments",
        type=int,
        metavar="N",
        help="most documents that share a row (full); 1: a document has its rows to itself",
    )
    parser.add_argument(
        "--split_sentences",
        action="store_true",
        help="pieces of several lines become two segments A and B (full)",
    )
    parser.add_argument(
        "--reference_tfrecords",
        action="store_true",
        help="the input is the original code's pretraining TFRecords (their length is kept)",
    )
    parser.add_argument("--workers", type=int, default=None, help="processes; default: all cores")
    parser.add_argument("--eval_fraction", type=float, default=0.005, help="of documents, held out")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args(argv)
    header = electra_jax.prepare(
        a.input,
        a.tokenizer,
        a.output,
        seq_len=a.seq_len,
        packing=a.packing,
        workers=a.workers,
        eval_fraction=a.eval_fraction,
        seed=a.seed,
        max_segments=a.max_segments,
        split_sentences=a.split_sentences,
        reference_tfrecords=a.reference_tfrecords,
    )
    for split, entry in header["splits"].items():
        print(f"{a.output} {split}: {entry['rows']:,} rows, {entry['tokens']:,} tokens")
    unknown = header.get("statistics", {}).get("unknown_rate", 0.0)
    if unknown > _MANY_UNKNOWN:
        print(
            f"{unknown:.0%} of the tokens are [UNK]: is {a.tokenizer} made for this language? "
            "`electra-jax vocab` trains a tokenizer on the text itself",
            file=sys.stderr,
        )
    return 0


def _pretrain(argv: Sequence[str]) -> int:
    parser = _parser(
        "pretrain",
        "Joint training of generator and discriminator; the same command again resumes.\n"
        "`electra-jax config configs/pretrain.py:small` lists every field of the configuration.",
        "electra-jax pretrain --config=configs/pretrain.py:small --workdir=runs/small "
        "--config.data.path=rows/",
        usage="%(prog)s --config=FILE[:ARG] --workdir=DIR [--config.a.b=value …]",
    )
    parser.add_argument("--workdir", metavar="DIR", help="everything of the run is written here")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    dry = parser.add_argument_group("plan a run, and train nothing")
    dry.add_argument(
        "--dry_run",
        action="store_true",
        help="print mesh, shapes, FLOPs and the bytes on every device, and stop",
    )
    dry.add_argument("--devices", type=int, metavar="N", help="plan for N devices, not those here")
    dry.add_argument(
        "--topology", metavar="NAME", help="plan for a TPU slice, such as v4:2x2x4 (needs libtpu)"
    )
    _processes(parser)
    from electra_jax.config_file import load_config

    config, rest = load_config(argv)
    a = parser.parse_args(rest)
    if a.dry_run:
        from electra_jax.pretraining.dry_run import dry_run

        print(dry_run(config, a.devices, a.topology))
        return 0
    if a.devices or a.topology:
        parser.error("--devices and --topology go with --dry_run")
    if not a.workdir:
        parser.error("--workdir=DIR says where the run is written")
    electra_jax.pretrain(
        config,
        a.workdir,
        quiet=a.quiet,
        coordinator=a.coordinator,
        num_processes=a.num_processes,
        process_id=a.process_id,
    )
    from electra_jax.training.distributed import is_first

    if is_first():
        print(f"{a.workdir}/model: both networks; {a.workdir}/report.html: curves")
    return 0


def _config(argv: Sequence[str]) -> int:
    parser = _parser(
        "config",
        "Every field of a configuration: value, default, type, allowed values, unit and meaning. "
        "Nothing is run.",
        "electra-jax config configs/pretrain.py:small --config.train.tokens=1e9\n"
        "      lists every field of a pretraining configuration; train.tokens, and train.steps\n"
        "      which it replaces, are marked as differing from their defaults",
        usage="%(prog)s FILE[:ARG] [--config.a.b=value …] [--json]",
    )
    parser.add_argument(
        "target", metavar="FILE[:ARG]", help="such as configs/finetune.py:sst2, or a file of yours"
    )
    parser.add_argument("--json", action="store_true", help="a list with one object a field")
    overrides = [x for x in argv if x.startswith("--config.")]
    a = parser.parse_args([x.removeprefix("--config=") for x in argv if x not in overrides])
    import json

    described = electra_jax.describe_config(a.target, overrides)
    from electra_jax.config.describe import as_json, as_text

    print(json.dumps(as_json(described), indent=1) if a.json else as_text(described, a.target))
    return 0


def _sweep(argv: Sequence[str]) -> int:
    parser = _parser(
        "sweep",
        "Every combination of some overrides, one run and one folder each; then a table of them.",
        "electra-jax sweep --config=configs/pretrain.py:small --workdir=runs/rates "
        "--config.data.path=rows/ --vary.optimizer.learning_rate=2e-4,5e-4 --vary.train.seed=0,1",
        usage="%(prog)s --config=FILE[:ARG] --workdir=DIR --vary.a.b=VALUE,VALUE… "
        "[--config.a.b=value …]",
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a folder in it each")
    parser.add_argument("--verb", choices=("pretrain", "finetune"), default="pretrain")
    parser.add_argument(
        "--through",
        metavar="COMMAND",
        help="what starts each run, such as 'launch/slurm.sh --gpus=8 --'; default: this machine, "
        "one after the other",
    )
    parser.add_argument("--dry_run", action="store_true", help="print the commands, run none")
    vary = [x for x in argv if x.startswith("--vary.")]
    a = parser.parse_args([x for x in argv if x not in vary and not x.startswith("--config")])
    varied = {}
    for option in vary:
        key, _, values = option.removeprefix("--vary.").partition("=")
        varied[key] = [value for value in values.split(",") if value]
    shared = [x for x in argv if x.startswith("--config")]
    files = [x.removeprefix("--config=") for x in shared if x.startswith("--config=")]
    if len(files) != 1 or any("=" not in x for x in shared):
        parser.error("give one --config=FILE[:ARG], and overrides as --config.a.b=value")
    fields = [x.removeprefix("--config.") for x in shared if x.startswith("--config.")]
    return electra_jax.sweep(
        files[0],
        a.workdir,
        varied,
        dict(x.split("=", 1) for x in fields),
        verb=a.verb,
        through=a.through,
        dry_run=a.dry_run,
    )


def _processes(parser: argparse.ArgumentParser) -> None:
    """How the processes of one run find each other where no scheduler tells them."""
    group = parser.add_argument_group(
        "several processes", "found by themselves on Cloud TPU and under Slurm's srun"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of the first process")
    group.add_argument("--num_processes", type=int, metavar="N", help="1: alone, wherever it runs")
    group.add_argument("--process_id", type=int, metavar="I", help="of this one, from 0")


def _finetune(argv: Sequence[str]) -> int:
    from electra_jax.finetuning.task_table import TASKS

    parser = _parser(
        "finetune",
        "A task on any model: one run, or several seeds; the same command again resumes.\n"
        "`electra-jax config configs/finetune.py:TASK` lists every field of the configuration.\n"
        f"Tasks: {' '.join(TASKS)}.",
        "electra-jax finetune --config=configs/finetune.py:sst2 --workdir=runs/sst2 "
        "--config.init=runs/small/model --config.data.path=SST-2/",
        usage="%(prog)s --config=FILE[:TASK] --workdir=DIR [--config.a.b=value …]",
    )
    parser.add_argument("--workdir", required=True, metavar="DIR")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    from electra_jax.config_file import load_config

    config, rest = load_config(argv)
    a = parser.parse_args(rest)
    results = electra_jax.finetune(config, a.workdir, quiet=a.quiet)
    from electra_jax.finetuning.result import describe_result, describe_summary

    if len(results) == 1:
        print(f"{describe_result(results[0])}\n{a.workdir}/model; {a.workdir}/report.html")
        return 0
    print(describe_summary(results.summary))
    models = any(Path(a.workdir).glob("seed-*/model"))
    print(
        f"{a.workdir}/seed-*/model; " * models
        + f"{a.workdir}/results.json; {a.workdir}/report.html"
    )
    if not models:  # the loss of every seed was not finite, as it is an error of one seed alone
        raise UserError(f"no seed came to a model: {results[0].failure}")
    return 0


def _answering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--null_threshold",
        type=float,
        metavar="ODDS",
        help="SQuAD 2.0: no answer where null odds are above it (scores tell the best one)",
    )
    parser.add_argument(
        "--columns",
        nargs="*",
        default=[],
        metavar="ROLE=NAME",
        help="columns of the file, where they have other names than the usual and those that "
        "training was given (text=review label=stars)",
    )


def _column_names(given: Sequence[str]) -> dict[str, str | None]:
    wrong = [x for x in given if "=" not in x]
    if wrong:
        raise UserError(f"--columns {wrong[0]}: write ROLE=NAME, such as text=review")
    return {role: name for role, _, name in (x.partition("=") for x in given)}


def _evaluate(argv: Sequence[str]) -> int:
    parser = _parser(
        "evaluate",
        "A fine-tuned model on labelled data: the task's official metric.",
        "electra-jax evaluate --model=runs/sst2/model --data=SST-2/dev.tsv",
    )
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--data", required=True, metavar="FILE")
    parser.add_argument(
        "--task", help="default: the one that the model was trained for; or FILE.py:CLASS"
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
        quiet=a.quiet,
    )
    import json

    from electra_jax.finetuning.result import with_nulls

    print(json.dumps(with_nulls(scores)))
    return 0


def _predict(argv: Sequence[str]) -> int:
    parser = _parser(
        "predict",
        "Answers for a file: one JSON line each, in order, in constant memory.",
        "electra-jax predict --model=runs/sst2/model --input=reviews.jsonl --output=answers.jsonl",
    )
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--input", required=True, metavar="FILE", help="as for training; no labels")
    parser.add_argument("--output", required=True, metavar="FILE", help="-: standard output")
    parser.add_argument(
        "--task", help="default: the one that the model was trained for; or FILE.py:CLASS"
    )
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
        quiet=a.quiet,
    )
    print(f"{a.output}: {count:,} answers", file=sys.stderr if a.output == "-" else sys.stdout)
    return 0


def _submission(argv: Sequence[str]) -> int:
    parser = _parser(
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


def _convert(argv: Sequence[str]) -> int:
    parser = _parser(
        "convert",
        "Hugging Face ⇄ electra_jax ⇄ Google TF1: strict, both ways.",
        "electra-jax convert electra_small_tf1/ electra_small/ --to=hf --verify",
    )
    parser.add_argument("src", metavar="SRC", help="model folder, pair of them, or TF1 checkpoint")
    parser.add_argument("dst", metavar="DST", help="must not exist, or be empty")
    parser.add_argument("--to", choices=("hf", "tf1"), default="hf")
    parser.add_argument("--verify", action="store_true", help="measure logits against transformers")
    parser.add_argument("--num_attention_heads", type=int, help="where no configuration says it")
    parser.add_argument("--generator_num_attention_heads", type=int)
    parser.add_argument("--tokenizer", metavar="DIR", help="in place of the source's")
    parser.add_argument("--cased", action="store_true", help="what a bare vocab.txt was made for")
    parser.add_argument("--encoder_only", action="store_true", help="leave the heads out")
    parser.add_argument("--slots", action="store_true", help="TF1 → TF1: Adam's moments too")
    a = parser.parse_args(argv)
    report = electra_jax.convert(
        a.src,
        a.dst,
        a.to,
        num_attention_heads=a.num_attention_heads,
        generator_num_attention_heads=a.generator_num_attention_heads,
        verify=a.verify,
        encoder_only=a.encoder_only,
        slots=a.slots,
        tokenizer=a.tokenizer,
        do_lower_case=not a.cased,
    )
    print(report)
    return 0


def _report(argv: Sequence[str]) -> int:
    parser = _parser(
        "report",
        "One self-contained HTML page: curves, final figures, configuration; several runs are "
        "compared.",
        "electra-jax report runs/a runs/b --output=compare.html",
    )
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    parser.add_argument("--output", metavar="FILE", help="default: report.html in the first folder")
    a = parser.parse_args(argv)
    print(electra_jax.report(a.workdirs, a.output))
    return 0


def _demo(argv: Sequence[str]) -> int:
    parser = _parser(
        "demo",
        "The whole flow on text that is on every machine: the docstrings of the installed Python "
        "packages.",
        "electra-jax demo --workdir=demo",
    )
    parser.add_argument("--workdir", default="demo", metavar="DIR")
    a = parser.parse_args(argv)
    electra_jax.run_demo(a.workdir)
    return 0


VERBS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "demo": (_demo, "the whole flow on text that is already on this machine"),
    "vocab": (_vocab, "train a tokenizer"),
    "prepare": (_prepare, "text → rows of token ids"),
    "pretrain": (_pretrain, "train generator and discriminator together; resumes"),
    "finetune": (_finetune, "train a task on any model; several seeds; resumes"),
    "config": (_config, "every field of a configuration, with default and meaning"),
    "evaluate": (_evaluate, "a fine-tuned model on labelled data"),
    "predict": (_predict, "answers for a file, one JSON line each"),
    "submission": (_submission, "a zip for GLUE's server from predictions"),
    "sweep": (_sweep, "many runs of one configuration, compared in a table"),
    "convert": (_convert, "Hugging Face ⇄ electra_jax ⇄ Google TF1, strict"),
    "report": (_report, "one HTML page about one or several runs"),
}


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are `UserError`s, like every other wrong input."""

    def error(self, message: str) -> Any:
        raise UserError(f"{message}\n{self.format_usage().strip()}")


def _parser(verb: str, what: str, example: str, usage: str | None = None) -> _Parser:
    return _Parser(
        prog=f"electra-jax {verb}",
        description=what,
        epilog=f"example:\n  {example}",
        usage=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _overview() -> str:
    verbs = "\n".join(f"  {name:10} {what}" for name, (_, what) in VERBS.items())
    return (
        "electra-jax VERB …: ELECTRA in JAX, from raw text to predictions.\n\n"
        f"{verbs}\n\n`electra-jax VERB --help` explains a verb with an example; start with "
        "`electra-jax demo`."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # TensorFlow only reads data and checkpoints here, and has nothing to tell about it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(_overview(), flush=True)
            return 0 if argv else 2
        if argv[0] not in VERBS:
            near = difflib.get_close_matches(argv[0], VERBS, n=1)
            raise UserError(
                f"there is no verb {argv[0]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + f" (verbs: {', '.join(VERBS)})"
            )
        return VERBS[argv[0]][0](argv[1:])
    except UserError as error:
        print(f"electra-jax: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("electra-jax: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
