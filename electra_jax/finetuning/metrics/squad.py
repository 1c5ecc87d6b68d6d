"""Scores of extractive question answering as the official scripts give them, in percent.

SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018), MRQA 2019 (Fisch et al.) and CMRC 2018 (Cui et
al.). All take questions with their gold answers, and one predicted text for each in their order
(so that equal ids do no harm); "" where there is none.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from electra_jax.finetuning.data.examples import QuestionExample

Compare = Callable[[str, str], float]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

# What CMRC's script takes out before it compares; "……" is there two characters long, so that it
# never matches one.
_CHINESE_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE = re.compile("[\u4e00-\u9fa5]")


def squad_v1_scores(
    examples: Sequence[QuestionExample], predictions: Sequence[str]
) -> dict[str, float]:
    """SQuAD 1.1: "exact_match" and "f1", each the best over a question's gold answers.

    Args:
      examples: questions with one answer or more.
      predictions: a text for each.
    """
    return _means(examples, predictions, exact_match, squad_v1_f1)


def squad_v2_scores(
    examples: Sequence[QuestionExample],
    predictions: Sequence[str],
    null_odds: Sequence[float] | None = None,
    threshold: float = 1.0,
) -> dict[str, float]:
    """SQuAD 2.0: scores at a threshold, and with `null_odds` the best ones over all thresholds.

    Args:
      examples: a question without answers is one that has none.
      predictions: a text for each; "" for no answer. With `null_odds`, give
        the best non-empty text: the best thresholds are searched among those.
      null_odds: for each, larger = surer that there is no answer.
      threshold: null odds above it turn a prediction into "no answer" ("na_prob_thresh").

    Returns:
      "exact", "f1", "total", the same of questions with ("HasAns_…") and without ("NoAns_…")
      answers where there are any, and with `null_odds` "best_exact", "best_exact_thresh",
      "best_f1" and "best_f1_thresh".
    """
    gold = [_v2_gold(example) for example in examples]
    answerable = np.array([bool(example.answers) for example in examples], bool)
    is_null = np.zeros(len(gold), bool) if null_odds is None else np.array(null_odds) > threshold
    scores: dict[str, float] = {}
    raw = {
        name: np.array(
            [
                _best(compare, answers, text)
                for answers, text in zip(gold, predictions, strict=True)
            ],
            float,
        )
        for name, compare in (("exact", exact_match), ("f1", squad_v2_f1))
    }
    for prefix, chosen in (
        ("", np.ones(len(gold), bool)),
        ("HasAns_", answerable),
        ("NoAns_", ~answerable),
    ):
        if chosen.any():
            for name, values in raw.items():
                scores[prefix + name] = _percent(np.where(is_null, ~answerable, values)[chosen])
            scores[prefix + "total"] = int(chosen.sum())
    if null_odds is not None and gold:
        # Accepting questions from the least null on: what each adds to "all are unanswerable".
        order = sorted(range(len(gold)), key=lambda i: null_odds[i])
        for name, values in raw.items():
            score = best = float(np.sum(~answerable))
            best_threshold = 0.0
            for i in order:
                score += float(values[i]) if answerable[i] else -bool(predictions[i])
                if score > best:
                    best, best_threshold = score, float(null_odds[i])
            scores[f"best_{name}"] = 100 * best / len(gold)
            scores[f"best_{name}_thresh"] = best_threshold
    return scores


def mrqa_scores(
    examples: Sequence[QuestionExample], predictions: Sequence[str]
) -> dict[str, float]:
    """MRQA 2019: SQuAD 1.1's scores against `mrqa_gold`."""
    return _means(examples, predictions, exact_match, squad_v1_f1, mrqa_gold)


def mrqa_gold(example: QuestionExample) -> list[str]:
    """Gold texts of a question of MRQA's: the answers without an offset, where there are any.

    Its files list accepted texts apart from the places where one was found in the context; the
    latter, which only training uses, are the answers that have an offset.
    """
    texts = [text for text, start in example.answers if start < 0]
    return texts or _texts(example)


def cmrc_scores(
    examples: Sequence[QuestionExample], predictions: Sequence[str]
) -> dict[str, float]:
    """CMRC 2018: "exact_match" without punctuation, "f1" of the longest common run of characters
    (Chinese) and words (other scripts), and their mean "average".

    Words of other scripts are split as the Penn Treebank's are; the official script also looks
    for sentence ends inside a run of them, which is not done here.
    """
    scores = _means(examples, predictions, _cmrc_exact_match, cmrc_f1)
    scores["average"] = (scores["exact_match"] + scores["f1"]) / 2
    return scores


def normalize_answer(text: str) -> str:
    """SQuAD's normal form: lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold: str, predicted: str) -> float:
    """1.0 where the normal forms are equal."""
    return float(normalize_answer(gold) == normalize_answer(predicted))


def squad_v1_f1(gold: str, predicted: str) -> float:
    """F1 of the words of the normal forms, 0 to 1; nothing in common is 0."""
    return _bag_f1(normalize_answer(gold).split(), normalize_answer(predicted).split())


def squad_v2_f1(gold: str, predicted: str) -> float:
    """As `squad_v1_f1`, but 1 where neither has a word."""
    gold_words, words = normalize_answer(gold).split(), normalize_answer(predicted).split()
    return _bag_f1(gold_words, words) if gold_words and words else float(gold_words == words)


def cmrc_f1(gold: str, predicted: str) -> float:
    """F1 (0 to 1) in which what is common is the longest run of equal units."""
    gold_units, units = mixed_segmentation(gold), mixed_segmentation(predicted)
    common = _longest_common_run(gold_units, units)
    return _f1(common, len(units), len(gold_units))


def mixed_segmentation(text: str) -> list[str]:
    """Chinese characters one by one, words of all else; lower case, without CMRC's punctuation."""
    units: list[str] = []
    for piece in re.split("([\u4e00-\u9fa5])", _without_punctuation(text)):
        units += [piece] if _CHINESE.match(piece) else split_words(piece)
    return units


def split_words(text: str) -> list[str]:
    """Words and punctuation marks of lower-case text as the Penn Treebank splits them."""
    text = re.sub(r'(?<=[ (\[{<])"', " `` ", re.sub('^"', "`` ", text.strip()))
    text = text.replace('"', " '' ")
    # A period ends the text or belongs to its word; a comma before a digit belongs to the number.
    text = re.sub(r"(?<!\.)\.(?=[\])}>'\s]*$)", " . ", text)
    text = re.sub(r"\.{2,}|[;@#$%&?!*–—‘„«»\[\](){}<>]|,(?!\d)", r" \g<0> ", text)
    text = re.sub(r"(?<=[^' ])('(?:s|m|d|ll|re|ve)|n't)(?=\s|$)", r" \1 ", text)
    text = re.sub(r"(?<=[^'\s])'(?=\s|$)|(?<!\S)'(?!(?:s|m|d|t|n|ll|re|ve)\b)(?=\w)", " ' ", text)
    return text.split()


def _means(
    examples: Sequence[QuestionExample],
    predictions: Sequence[str],
    exact: Compare,
    f1: Compare,
    gold_of: Callable[[QuestionExample], list[str]] | None = None,
) -> dict[str, float]:
    gold = list(map(gold_of or _texts, examples))
    return {
        name: _percent([_best(compare, *pair) for pair in zip(gold, predictions, strict=True)])
        for name, compare in (("exact_match", exact), ("f1", f1))
    }


def _best(compare: Compare, gold: Sequence[str], text: str) -> float:
    return max((compare(answer, text) for answer in gold), default=0.0)


def _texts(example: QuestionExample) -> list[str]:
    return [text for text, _ in example.answers]


def _v2_gold(example: QuestionExample) -> list[str]:
    # Answers of which normalisation leaves nothing do not count; no answer is gold "".
    return [text for text in _texts(example) if normalize_answer(text)] or [""]


def _percent(values: Sequence[float] | np.ndarray) -> float:
    return 100 * float(np.mean(values)) if len(values) else 0.0


def _f1(common: int, predicted: int, gold: int) -> float:
    if not common:
        return 0.0
    precision, recall = common / predicted, common / gold
    return 2 * precision * recall / (precision + recall)


def _bag_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    return _f1((Counter(gold) & Counter(predicted)).total(), len(predicted), len(gold))


def _without_punctuation(text: str) -> str:
    return "".join(c for c in text.lower().strip() if c not in _CHINESE_PUNCTUATION)


def _cmrc_exact_match(gold: str, predicted: str) -> float:
    return float(_without_punctuation(gold) == _without_punctuation(predicted))


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    longest, row = 0, [0] * (len(second) + 1)
    for unit in first:
        row = [0, *(row[j] + 1 if unit == other else 0 for j, other in enumerate(second))]
        longest = max(longest, max(row))
    return longest
