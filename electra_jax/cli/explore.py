"""The verbs to look around with: `demo` and `config`."""

from __future__ import annotations

from collections.abc import Sequence

import electra_jax
from electra_jax.cli.parser import verb_parser


def demo(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "demo",
        "The whole flow on text that every machine has: the docstrings of the installed Python "
        "packages.",
        "electra-jax demo --workdir=demo",
    )
    parser.add_argument("--workdir", default="demo", metavar="DIR")
    a = parser.parse_args(argv)
    electra_jax.run_demo(a.workdir)
    return 0


def config(argv: Sequence[str]) -> int:
    parser = verb_parser(
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
