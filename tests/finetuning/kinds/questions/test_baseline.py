"""Answers beside as long spans elsewhere in the contexts."""

import random

import pytest

from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.kinds.questions.baseline import MOST_QUESTIONS, compare_answers


def asked(context, *answers):
    return QuestionExample("f", "0", "q", context, tuple((a, context.index(a)) for a in answers))


def said(*texts):
    return [{"prediction_text": text} for text in texts]


def test_spans_of_the_answer_s_length_are_drawn_from_the_whole_context():
    """One word of ten is right: a tenth of the spans of one word hit it."""
    context = " ".join(f"w{i}" for i in range(10))
    examples = [asked(context, f"w{i % 10}") for i in range(400)]
    found = compare_answers(examples, said(*["w3"] * 400))
    assert found.score == pytest.approx(10)
    assert found.constant == pytest.approx(10, abs=2.5)
    whole = compare_answers(examples, said(*[context] * 400))
    assert whole.score == pytest.approx(whole.constant)  # the only span of that length


def test_the_beginning_of_the_context_is_a_constant_answer():
    examples = [asked(f"{i} a b c d e f g h", str(i)) for i in range(60)]
    found = compare_answers(examples, said(*[str(i) for i in range(60)]))
    assert found.score == found.constant == 100


def test_chinese_characters_are_words():
    examples = [asked("东京塔高三百米的塔", "塔高")] * 50
    found = compare_answers(examples, said(*["塔高"] * 50))
    assert found.score == 100 and 5 < found.constant < 60


def test_what_has_no_answer_or_no_context_is_not_compared():
    impossible = QuestionExample("f", "0", "q", "a b", (), True)
    without_text = QuestionExample("f", "0", "", "", (("a", 0),))
    assert compare_answers([impossible, without_text], said("a", "a")) is None
    both = compare_answers([asked("a b c d", "c"), impossible], said("", "x"))
    assert (both.score, both.constant, both.examples) == (0, 0, 1)


def test_large_data_is_compared_in_part_and_always_alike():
    draw = random.Random(0)
    contexts = [" ".join(draw.choices("abcdefghij", k=20)) for _ in range(2 * MOST_QUESTIONS + 1)]
    examples = [asked(c, c.split()[3]) for c in contexts]
    answers = said(*[c.split()[5] for c in contexts])
    found = compare_answers(examples, answers)
    assert found.examples <= MOST_QUESTIONS and found == compare_answers(examples, answers)
