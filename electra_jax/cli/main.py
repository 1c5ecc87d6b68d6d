"""The table of verbs, and `main`, which runs one and turns errors into exit codes.

Exit codes: 0 done; 2 the input or the configuration is wrong (one message, no traceback); 1
anything else; 130 stopped by Ctrl-C, 143 by SIGTERM (training saves first), 141 by the reader of
its output, which has read enough.
"""

from __future__ import annotations

import difflib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence

from electra_jax.cli import convert, corpus, explore, train, use
from electra_jax.cli.version import version_text
from electra_jax.errors import UserError

VERBS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "demo": (explore.demo, "the whole flow on text that is already on this machine"),
    "vocab": (corpus.vocab, "train a tokenizer"),
    "prepare": (corpus.prepare, "text → rows of token ids"),
    "pretrain": (train.pretrain, "train generator and discriminator together; resumes"),
    "finetune": (train.finetune, "train a task on any model; several seeds; resumes"),
    "config": (explore.config, "every field of a configuration, with default and meaning"),
    "evaluate": (use.evaluate, "a fine-tuned model on labelled data"),
    "predict": (use.predict, "answers for a file, one JSON line each"),
    "score": (use.score, "how likely texts are, one JSON line each; n-best lists re-ranked"),
    "submission": (use.submission, "a zip for GLUE's server from predictions"),
    "sweep": (train.sweep, "many runs of one configuration, compared in a table"),
    "convert": (convert.convert, "Hugging Face ⇄ electra_jax ⇄ Google TF1, strict"),
    "report": (use.report, "one HTML page about one or several runs"),
}


def _overview() -> str:
    verbs = "\n".join(f"  {name:10} {what}" for name, (_, what) in VERBS.items())
    return (
        "electra-jax VERB …: ELECTRA in JAX, from raw text to predictions.\n\n"
        f"{verbs}\n\n`electra-jax VERB --help` explains a verb with an example; start with "
        "`electra-jax demo`.\n`electra-jax --version`: versions and devices."
    )


def _print_in_any_encoding() -> None:
    """Standard output and error show what their encoding lacks as an escape (`\\xe8`), whatever the
    locale; what is written to files is UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _print_in_any_encoding()
    # TensorFlow only reads data and checkpoints here: its start-up messages are noise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(_overview(), flush=True)
            return 0 if argv else 2
        if argv[0] in ("-V", "--version", "version"):
            print(version_text())
            return 0
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
    except BrokenPipeError:  # the reader of our output (`| head`) has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        print(f"electra-jax: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
