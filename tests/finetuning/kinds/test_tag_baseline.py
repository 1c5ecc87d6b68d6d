"""Taggings beside those that give every word one tag."""

import pytest

from electra_jax.finetuning.data.examples import TaggedExample
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.kinds.tag_baseline import (
    associated,
    compare_spans,
    compare_tags,
    marks_spans,
)


def tagged(*sentences):
    return [
        TaggedExample("f", str(i), tuple(s.split()), tuple(s.split()))
        for i, s in enumerate(sentences)
    ]


def said(*sentences):
    return [{"tags": s.split()} for s in sentences]


def test_entities_are_compared_with_none_or_with_one_tag_for_all_words():
    examples = tagged("B-X O O B-Y", "O O B-X I-X", "O O O O")
    found = compare_spans(examples, said("B-X O O O", "O O B-X O", "O O O O"))
    assert found.score == pytest.approx(100 * 2 * 1 / (2 + 3))
    # "B-X" everywhere makes 12 entities, of which one is right; no entity has 0.
    assert found.constant == pytest.approx(100 * 2 * 1 / (12 + 3))


def test_a_tag_for_all_words_can_be_half_right():
    examples = tagged("B-NP B-NP B-NP B-VP", "B-NP B-VP")
    assert compare_spans(examples, said("O O O O", "O O")).constant == pytest.approx(
        100 * 2 * 4 / (6 + 6)
    )


def test_words_that_did_not_fit_are_outside_of_entities_and_wrong():
    examples = tagged("B-X O B-X")
    assert compare_spans(examples, [{"tags": ["B-X", "O", None]}]).score == pytest.approx(200 / 3)
    assert compare_tags(examples, [{"tags": ["B-X", "O", None]}]).score == pytest.approx(200 / 3)


def test_without_entities_in_the_data_there_is_nothing_to_compare():
    assert compare_spans(tagged("O O", "O"), said("O B-X", "O")) is None


def test_words_are_compared_with_the_commonest_tag():
    examples = tagged("N N V", "N V")
    found = compare_tags(examples, said("N V V", "N V"))
    assert (found.score, found.constant) == pytest.approx((80, 60))


def test_the_scores_say_whether_spans_count():
    assert marks_spans(tagged("O B-X"), {}) and not marks_spans(tagged("N V"), {})
    assert not marks_spans(tagged("O B-X"), {"accuracy": 1.0})
    assert marks_spans(tagged("N V"), {"f1": 1.0})


def test_tags_are_associated_over_sentences():
    rows = ["N V N", "V N V", "N N V", "V V N"] * 10
    turned = [" ".join("V" if t == "N" else "N" for t in row.split()) for row in rows]
    assert associated(tagged(*rows), said(*rows)) > 10
    assert associated(tagged(*rows), said(*turned)) < -10


def test_words_without_a_gold_tag_do_not_count():
    missing = Missing("-100")
    examples = [TaggedExample("f", "0", ("a", "b", "c"), ("B-X", missing, "O"))]
    answers = said("B-X B-X O")
    assert compare_spans(examples, answers).score == 100 and marks_spans(examples, {})
    assert compare_tags(examples, answers).score == 100
