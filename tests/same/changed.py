"""What answers otherwise than b199300 on purpose: which lines of which scenarios, and why.

Weights, checkpoints, programs and training metrics are in none of them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Changed(NamedTuple):
    """Differences (`differences`' lines) of scenarios that are meant, as regular expressions."""

    why: str
    scenarios: str
    lines: str


CHANGED = (
    Changed(
        "taggers answer texts longer than the model in windows",
        r"finetune/(tagging|ner|chunking|head-tagging|r_drop-ner)|resume/finetune",
        r"(.*/)?(answers|evaluated|predictions)\.jsonl: line \d+: (tags|probabilities)\b.*"
        r"|.*metrics\.jsonl: line \d+: eval_(f1|precision|recall|accuracy|missed_words): .*"
        r"|scores\.json: (missed_words|accuracy): .*"
        r"|run/(result|best)\.json: (scores\.)?(score|missed_words|accuracy): .*",
    ),
    Changed(
        "whether a run learned is judged by its task's own score",
        r"(finetune|resume)/.*",
        r"(run|resumed)/result\.json: failure: .*",
    ),
)


def unmeant(scenario: str, found: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the differences that nothing explains, the reasons of the others)."""
    left, reasons = [], []
    for line in found:
        reason = next(
            (
                c.why
                for c in CHANGED
                if re.fullmatch(c.scenarios, scenario) and re.fullmatch(c.lines, line, re.S)
            ),
            None,
        )
        if reason is None:
            left.append(line)
        elif reason not in reasons:
            reasons.append(reason)
    return left, reasons
