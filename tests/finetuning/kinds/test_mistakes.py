"""What each kind shows of its classes and of a wrong answer."""

import pytest

from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import (
    ChoiceExample,
    CodecSettings,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.task_table import get_task

P = {"good": 0.25, "bad": 0.75}
WORDS = ("Anna", "met", "Bo")
CASES = {
    "classification": (
        TextExample("f:1", "0", ("a film", ""), "good"),
        {"label": "good", "probabilities": P},
        {"label": "bad", "probabilities": P},
        (0.75, "a film", "good", "bad (75%)"),
    ),
    "relation": (
        TextExample("f:1", "0", ("a", "b"), "good"),
        {"label": "good", "probabilities": P},
        {"label": "bad", "probabilities": P},
        (0.75, "a ⏎ b", "good", "bad (75%)"),
    ),
    "multilabel": (
        TextExample("f:1", "0", ("a",), ("x", "y")),
        {"labels": ["y", "x"], "probabilities": {}},
        {"labels": ["z", "x"], "probabilities": {"x": 0.9, "y": 0.25, "z": 0.5}},
        (1.25, "a", "x, y", "x, z"),
    ),
    "regression": (
        TextExample("f:1", "0", ("a",), 2.0),
        None,
        {"score": -0.5},
        (2.5, "a", "2", "-0.5"),
    ),
    "multiple_choice": (
        ChoiceExample("f:1", "0", "c", ("p", "q"), 1, "why?"),
        {"prediction": 1, "probabilities": [0.2, 0.8]},
        {"prediction": 0, "probabilities": [0.8, 0.2]},
        (0.8, "c ⏎ why?", "q", "p"),
    ),
    "tagging": (
        TaggedExample("f:1", "0", WORDS, ("B-P", "O", "B-P")),
        {"tags": ["B-P", "O", None]},  # a word that did not fit is no answer
        {"tags": ["O", "O", "B-L"]},
        (2.0, "Anna met Bo", "Anna B-P, Bo B-P", "Anna O, Bo B-L"),
    ),
    "question_answering": (
        QuestionExample("f:1", "0", "Who?", "It was Ann.", (("Ann", 7),)),
        {"prediction_text": "was Ann"},  # overlaps: it is not among the worst
        {"prediction_text": ""},
        (1.0, "Who?", "Ann", "no answer"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_answer_is_shown_and_a_right_one_is_not(name):
    example, right, wrong, expected = CASES[name]
    kind = find_kind(name)
    assert kind.mistake(example, wrong) == (pytest.approx(expected[0]), *expected[1:])
    if right is not None:
        assert kind.mistake(example, right) is None


def codec_of(task, labels):
    class NoTokens:
        """The codecs of these kinds encode later."""

        special_ids = None

        def id_of(self, _):
            return None

        def encode(self, text):
            return text

    return make_codec(get_task(task), NoTokens(), CodecSettings(), labels)


def test_classes_of_labels_spans_and_tags():
    (example, right, wrong, _), kind = CASES["classification"], find_kind("classification")
    codec = codec_of("classification", ("bad", "good"))
    found = kind.class_scores(codec, [example] * 2, [right, wrong])
    assert found == {"bad": (0.0, 0.0, 0.0, 0), "good": (100.0, 50.0, pytest.approx(66.7, 1e-3), 2)}
    example, right, wrong, _ = CASES["multilabel"]
    codec = codec_of("multilabel", ("x", "y", "z"))
    found = find_kind("multilabel").class_scores(codec, [example], [wrong])
    assert {name: scores.f1 for name, scores in found.items()} == {"x": 100.0, "y": 0.0, "z": 0.0}
    example, right, wrong, _ = CASES["tagging"]
    kind = find_kind("tagging")
    spans = kind.class_scores(codec_of("ner", ("B-L", "B-P", "O")), [example], [right])
    assert spans == {"P": (100.0, 50.0, pytest.approx(66.7, 1e-3), 2)}
    tags = kind.class_scores(codec_of("pos", ("B-P", "O")), [example], [right])
    assert {name: (s.recall, s.support) for name, s in tags.items()} == {
        "B-P": (50.0, 2),
        "O": (100.0, 1),
    }


def test_kinds_without_classes_have_no_scores_by_class():
    for name in ("regression", "multiple_choice", "question_answering"):
        assert find_kind(name).class_scores(None, [], []) == {}
