"""The verbs from text to rows: `vocab` and `prepare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import electra_jax
from electra_jax.cli.parser import verb_parser
from electra_jax.text.separation import SEPARATIONS

if TYPE_CHECKING:
    from electra_jax.text.tokenizers.sample import SampleReport

_MANY_UNKNOWN = 0.03  # share of tokens; a vocabulary made for the text has a hundredth of it


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="GLOB",
        help="text: .txt, .jsonl, .csv, .tsv, each also as .gz; .parquet; - or a pipe; "
        "hf:NAME[/CONFIG][:SPLIT] or tfds:NAME[/CONFIG][:SPLIT]",
    )
    parser.add_argument(
        "--documents",
        choices=SEPARATIONS,
        default="auto",
        help="of .txt: separated by blank lines, one a line or one a file; auto: looks at the "
        "files and says what it found",
    )
    parser.add_argument(
        "--field",
        metavar="NAME",
        help="the field, column or feature with the text (default: text; of a table or data set "
        "also its only one of texts)",
    )


def vocab(argv: Sequence[str]) -> int:
    parser = verb_parser(
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
        help="share of the text's characters that get a token of their own (default: by type)",
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
        documents=a.documents,
        field=a.field,
        show=_show_sample,
    )
    print(f"{a.output}: {tokenizer.kind} tokenizer of {tokenizer.vocab_size:,} tokens")
    return 0


def _show_sample(report: SampleReport) -> None:
    print(report)
    if report.lost:
        lost = ", ".join(f"{character} ({count:,} times)" for character, count in report.lost[:8])
        print(
            f"of {report.characters:,} characters in the sample, these became [UNK] though they "
            f"are frequent: {lost}{', …' if len(report.lost) > 8 else ''}; a larger --size or "
            "--character_coverage gives them tokens",
            file=sys.stderr,
        )


def prepare(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "prepare",
        "Text → fixed-length rows of token ids. Interrupted: run it again.",
        "electra-jax prepare --input 'corpus/*.txt' --tokenizer=tokenizer/ --output=rows/ "
        "--seq_len=128",
    )
    _inputs(parser)
    parser.add_argument(
        "--tokenizer", required=True, metavar="DIR", help="folder, vocab.txt or name on the Hub"
    )
    parser.add_argument(
        "--cased", action="store_true", help="keep case with a vocab.txt that has no settings"
    )
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
        help="a segment of several lines is split into sentences A and B (full)",
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
        do_lower_case=False if a.cased else None,
        documents=a.documents,
        field=a.field,
    )
    for split, entry in header["splits"].items():
        print(f"{a.output} {split}: {entry['rows']:,} rows, {entry['tokens']:,} tokens")
    statistics = header.get("statistics", {})
    print(_facts(statistics))
    unknown = statistics.get("unknown_rate", 0.0)
    if unknown > _MANY_UNKNOWN:
        print(
            f"{unknown:.0%} of the tokens are [UNK]: is {a.tokenizer} made for this language? "
            "`electra-jax vocab` trains a tokenizer on the text itself",
            file=sys.stderr,
        )
    return 0


def _facts(statistics: Mapping[str, Any]) -> str:
    """What went into the rows, as far as their source tells it."""
    counted = [
        f"{statistics[name]:,} {name}" for name in ("documents", "characters") if name in statistics
    ]
    rates = [
        f"{statistics[name]:.2%} {what}"
        for name, what in (
            ("fill_rate", "of the rows filled"),
            ("unknown_rate", "of the tokens [UNK]"),
        )
        if name in statistics
    ]
    return ", ".join([*counted, *rates])
