"""Windows over a long context, and an answer's tokens in it."""

import numpy as np
from finetuning.letters import LETTERS

from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.kinds.questions.windows import (
    answer_is_there,
    answer_tokens,
    find_words,
    max_context,
    tokenize_context,
    training_answer,
    window_starts,
)


def test_windows_and_best_contexts():
    assert window_starts(10, 10, 4) == [0]
    assert window_starts(11, 10, 4) == [0, 4]
    assert window_starts(30, 10, 100) == [0, 10, 20]
    assert window_starts(0, 10, 4) == []
    best = max_context(11, [0, 4], 10)
    # Token 6: 6 left and 3 right in the first window, 2 and 4 in the second.
    assert best.tolist() == [0] * 7 + [1] * 4


def test_every_token_is_in_the_window_with_most_context_on_its_poorer_side():
    """Against the rule, token by token, over windows of several sizes."""
    for tokens, room, stride in ((23, 10, 3), (40, 7, 7), (31, 16, 5)):
        starts = window_starts(tokens, room, stride)
        best = max_context(tokens, starts, room)
        for token in range(tokens):
            sides = {
                n: min(token - s, min(s + room, tokens) - 1 - token)
                for n, s in enumerate(starts)
                if s <= token < min(s + room, tokens)
            }
            assert sides[best[token]] == max(sides.values())


def test_words_are_what_is_between_spaces():
    words = find_words(" ab\u202fc\n")
    assert words.spans == [(1, 3), (4, 5)]
    assert words.of_character == [-1, 0, 0, 0, 1, 1]
    assert words.touched(0, 1) == (0, 0) and words.touched(1, 5) == (0, 1)
    text, offsets = words.joined(0, 1)
    assert (text, offsets) == ("ab c", [1, 2, 3, 4])


def test_an_answer_is_the_tokens_that_share_a_character_with_it():
    context = tokenize_context(LETTERS, "a bcd  e")
    assert context.offsets.tolist() == [[0, 1], [2, 3], [3, 4], [4, 5], [7, 8]]
    assert context.word_of_token.tolist() == [0, 1, 1, 1, 2]
    assert answer_tokens(context, "cd  e", 3) == (2, 4)
    assert answer_tokens(context, " ", 5) is None
    assert np.asarray(context.ids).dtype == np.int32


def asked(answers, context="by  MR Smith"):
    return QuestionExample("f:1", "0", "q", context, answers)


def test_the_answer_that_is_learned_is_the_first_with_an_offset():
    assert training_answer(asked((("x", -1), ("Mr Smith", 4), ("by", 0)))) == ("Mr Smith", 4)
    assert training_answer(asked((("x", -1),))) is None
    assert answer_is_there(asked((("mr smith", 4),)))
    assert not answer_is_there(asked((("mr smith", 3),)))
    assert not answer_is_there(asked(((" ", 2),))) and not answer_is_there(asked(()))
