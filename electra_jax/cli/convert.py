"""`convert`: a model in another project's files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import electra_jax
from electra_jax.cli.parser import verb_parser


def convert(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "convert",
        "Hugging Face ⇄ electra_jax ⇄ Google TF1: strict, both ways.",
        "electra-jax convert electra_small_tf1/ electra_small/ --to=hf --verify",
    )
    parser.add_argument("src", metavar="SRC", help="model folder, pair of them, or TF1 checkpoint")
    parser.add_argument(
        "dst",
        metavar="DST",
        help="folder that does not exist or is empty, or hub:ORGANISATION/NAME to upload",
    )
    parser.add_argument("--to", choices=("hf", "tf1"), default="hf")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="measure logits against transformers; exit code 1 where that is not possible",
    )
    parser.add_argument("--num_attention_heads", type=int, help="where no configuration has it")
    parser.add_argument("--generator_num_attention_heads", type=int)
    parser.add_argument("--tokenizer", metavar="DIR", help="in place of the source's")
    parser.add_argument("--cased", action="store_true", help="a bare vocab.txt is cased")
    parser.add_argument("--encoder_only", action="store_true", help="leave the heads out")
    parser.add_argument("--private", action="store_true", help="hub:NAME becomes a private model")
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
        do_lower_case=False if a.cased else None,
        private=a.private,
    )
    print(report)
    if not report.unmeasured:
        return 0
    reasons = "; ".join(f"{name}: {reason}" for name, reason in report.unmeasured.items())
    print(f"electra-jax: {a.dst} is written but not verified: {reasons}", file=sys.stderr)
    return 1
