"""How often each kind calls a run one that did not learn: answers that learned nothing, and answers
that are right more often than not, on random evaluation data of several sizes."""

import random
from typing import ClassVar

import pytest

from electra_jax.finetuning.data.examples import (
    ChoiceExample,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.diagnosis import failure
from electra_jax.finetuning.kinds.table import KINDS
from electra_jax.finetuning.metrics import classification, squad

SEEDS = {20: 40, 60: 25, 250: 10}  # by the number of evaluation examples
SIZES = tuple(SEEDS)


def texts(labels):
    return [TextExample("f", str(i), ("a",), label) for i, label in enumerate(labels)]


class Classification:
    """Three labels, of which one has 60 %."""

    kind = "classification"

    def gold(self, draw, n):
        return texts(draw.choices("abc", (6, 3, 1), k=n))

    def learned(self, draw, examples):
        return [{"label": e.label if draw.random() < 0.7 else draw.choice("abc")} for e in examples]

    def guessed(self, draw, examples):
        return [{"label": x} for x in draw.choices("abc", (6, 3, 1), k=len(examples))]

    def stray(self, draw, examples):
        found = [{"label": "a"} for _ in examples]
        number = draw.randrange(len(found))
        found[number] = {"label": draw.choice([examples[number].label, "b"])}
        return found

    def scores(self, examples, predictions):
        pairs = [e.label for e in examples], [p["label"] for p in predictions]
        return {"accuracy": classification.accuracy(*pairs)}


class Multilabel:
    """Five labels of falling frequency, of which a text may have any."""

    kind = "multilabel"
    shares: ClassVar = {"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.1, "e": 0.05}

    def _some(self, draw):
        return tuple(x for x, share in self.shares.items() if draw.random() < share)

    def gold(self, draw, n):
        return texts([self._some(draw) for _ in range(n)])

    def learned(self, draw, examples):
        return [
            {"labels": [x for x in self.shares if (x in e.label) == (draw.random() < 0.85)]}
            for e in examples
        ]

    def guessed(self, draw, examples):
        return [{"labels": list(self._some(draw))} for _ in examples]

    def stray(self, draw, examples):
        found = [{"labels": []} for _ in examples]
        number = draw.randrange(len(found))
        found[number]["labels"] = list(examples[number].label) or ["a"]
        return found

    def scores(self, examples, predictions):
        return {}


class Spans:
    """Sentences of 15 words with an entity of two types in two of three."""

    kind = "tagging"

    def _tags(self, draw):
        tags = ["O"] * 15
        if draw.random() < 2 / 3:
            start, kind = draw.randrange(13), draw.choice("XY")
            tags[start : start + 2] = [f"B-{kind}", f"I-{kind}"][: draw.randint(1, 2)]
        return (*tags, *["O"] * (15 - len(tags)))

    def gold(self, draw, n):
        return [TaggedExample("f", str(i), ("w",) * 15, self._tags(draw)) for i in range(n)]

    def learned(self, draw, examples):
        return [
            {"tags": list(e.tags if draw.random() < 0.5 else self._tags(draw))} for e in examples
        ]

    def guessed(self, draw, examples):
        return [{"tags": list(self._tags(draw))} for _ in examples]

    def stray(self, draw, examples):
        found = [{"tags": ["O"] * 15} for _ in examples]
        number = draw.randrange(len(found))
        if draw.random() < 0.5:
            found[number]["tags"][draw.randrange(15)] = "B-X"
        else:
            found[number]["tags"] = list(examples[number].tags)
            found[0]["tags"][0] = "B-X"
        return found

    def scores(self, examples, predictions):
        pairs = [list(e.tags) for e in examples], [p["tags"] for p in predictions]
        return {"f1": classification.entity_scores(*pairs)["overall"].f1}


class Words(Spans):
    """A part of speech for each word, nouns before others."""

    def _tags(self, draw):
        return tuple(draw.choices(("NOUN", "VERB", "ADJ", "X"), (5, 2, 2, 1), k=15))

    def learned(self, draw, examples):
        return [
            {"tags": [a if draw.random() < 0.4 else b for a, b in zip(e.tags, self._tags(draw))]}
            for e in examples
        ]

    def stray(self, draw, examples):
        found = [{"tags": ["NOUN"] * 15} for _ in examples]
        number, word = draw.randrange(len(found)), draw.randrange(15)
        found[number]["tags"][word] = examples[number].tags[word]
        found[0]["tags"][0] = "VERB"
        return found

    def scores(self, examples, predictions):
        pairs = [list(e.tags) for e in examples], [p["tags"] for p in predictions]
        return {"accuracy": classification.token_accuracy(*pairs)}


class Choices:
    """Four choices a question."""

    kind = "multiple_choice"

    def gold(self, draw, n):
        return [ChoiceExample("f", str(i), "c", tuple("wxyz"), draw.randrange(4)) for i in range(n)]

    def learned(self, draw, examples):
        return [
            {"prediction": e.label if draw.random() < 0.5 else draw.randrange(4)} for e in examples
        ]

    def guessed(self, draw, examples):
        return [{"prediction": draw.randrange(4)} for _ in examples]

    def scores(self, examples, predictions):
        return {}


class Questions:
    """Answers of two words in contexts of 60."""

    kind = "question_answering"

    def _span(self, draw, context):
        words = context.split()
        start = draw.randrange(len(words) - 1)
        return " ".join(words[start : start + 2]), len(" ".join([*words[:start], ""]))

    def gold(self, draw, n):
        examples = []
        for i in range(n):
            context = " ".join(f"w{draw.randrange(200)}" for _ in range(60))
            answer = self._span(draw, context)
            examples.append(QuestionExample("f", str(i), "q", context, (answer,)))
        return examples

    def learned(self, draw, examples):
        return [
            {
                "prediction_text": e.answers[0][0]
                if draw.random() < 0.4
                else self._span(draw, e.context)[0]
            }
            for e in examples
        ]

    def guessed(self, draw, examples):
        return [{"prediction_text": self._span(draw, e.context)[0]} for e in examples]

    def scores(self, examples, predictions):
        return squad.squad_v1_scores(examples, [p["prediction_text"] for p in predictions])


class Numbers:
    """Targets of a normal distribution."""

    kind = "regression"

    def gold(self, draw, n):
        return texts([draw.gauss(0, 1) for _ in range(n)])

    def learned(self, draw, examples):
        return [{"score": e.label + draw.gauss(0, 0.7)} for e in examples]

    def guessed(self, draw, examples):
        return [{"score": draw.gauss(0, 1)} for _ in examples]

    def scores(self, examples, predictions):
        pairs = [e.label for e in examples], [p["score"] for p in predictions]
        return {"pearson": classification.pearson_correlation(*pairs)}


CASES = [Classification(), Multilabel(), Spans(), Words(), Choices(), Questions(), Numbers()]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)


def shares_of_failures(case, answers, size, *learnt):
    """The share of seeds whose answers are called those of a run that did not learn, for each of
    what the training loss may say: that it learned, that it did not, nothing."""
    failed = dict.fromkeys(learnt, 0)
    for seed in range(SEEDS[size]):
        draw = random.Random(f"{size} {seed}")
        examples = case.gold(draw, size)
        predictions = getattr(case, answers)(draw, examples)
        scores = case.scores(examples, predictions)
        for known in learnt:
            loss = {True: 0.1, False: 1.0, None: None}[known]
            why = failure(case.kind, examples, predictions, scores, loss, 1.0)
            failed[known] += why is not None
    return [count / SEEDS[size] for count in failed.values()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES)
@cases
def test_answers_that_are_right_more_often_than_not_are_no_failure(case, size):
    assert max(shares_of_failures(case, "learned", size, True, None)) <= 0.05


@pytest.mark.parametrize("size", SIZES)
@cases
def test_guesses_are_a_failure_where_the_loss_is_a_constant_s_and_in_enough_data_always(case, size):
    by_loss, by_score = shares_of_failures(case, "guessed", size, False, True)
    assert by_loss >= 0.95
    assert by_score >= 0.9 or size < 250


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "case", [c for c in CASES if hasattr(c, "stray")], ids=lambda c: type(c).__name__
)
def test_one_stray_answer_beside_a_constant_one_does_not_hide_it(case, size):
    assert min(shares_of_failures(case, "stray", size, None)) >= 0.95


def test_a_task_is_judged_by_the_correlation_that_it_is_scored_by():
    examples = texts([float(i) for i in range(40)])
    predictions = [{"score": float(i)} for i in range(40)]
    unrelated = {"spearman": 1.0, "pearson": 90.0}
    assert "correlation 0.01" in failure("regression", examples, predictions, unrelated, 0.1, 1.0)


def test_every_kind_of_the_table_is_judged():
    judged = {type(KINDS[case.kind]).not_learned for case in CASES}
    assert {type(kind).not_learned for kind in KINDS.values()} == judged
