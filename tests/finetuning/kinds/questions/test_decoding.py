"""From outputs to answers: which spans are possible, projected texts."""

import json

import numpy as np
import pytest

from electra_jax.finetuning.kinds.questions.decoding import (
    Candidate,
    candidates,
    detokenized,
    distinct_answers,
    project,
    softmax,
)


def feature(words, best=None):
    words = np.asarray(words)
    best = words >= 0 if best is None else np.asarray(best, bool)
    return {"host": {"words": words, "max_context": best}}


# [CLS] question [SEP] three words [SEP]
WINDOW = feature([-1, -1, -1, 0, 1, 2, -1])


def spans(window, starts, ends, n_best=5, longest=30):
    outputs = {}
    for name, given in (("start_logits", starts), ("end_logits", ends)):
        logits = np.full(7, -9.0, np.float32)
        logits[list(given)] = list(given.values())
        outputs[name] = logits
    return [(c.start, c.end) for c in candidates([window], [outputs], n_best, longest)]


def test_answers_lie_in_the_context_and_end_after_they_start():
    found = spans(WINDOW, {0: 9, 4: 5, 3: 1}, {0: 9, 6: 8, 3: 6, 5: 2}, n_best=4)
    assert found[:2] == [(4, 5), (3, 3)]  # both score 7: in the order of the head
    assert all(3 <= start <= end <= 5 for start, end in found)


def test_answers_are_no_longer_than_the_longest():
    assert spans(WINDOW, {3: 5}, {5: 5}, n_best=1) == [(3, 5)]
    assert spans(WINDOW, {3: 5}, {5: 5}, n_best=1, longest=2) == []


def test_answers_start_in_the_window_of_most_context():
    elsewhere = feature(WINDOW["host"]["words"], [0, 0, 0, 0, 1, 1, 0])
    assert spans(elsewhere, {3: 5, 4: 4}, {5: 5}, n_best=2)[0] == (4, 5)


def test_beams_pair_each_start_with_its_own_ends():
    beam = {
        "start_top_log_probs": np.array([-1.0, -2.0], np.float32),
        "start_top_index": np.array([4, 3]),
        "end_top_log_probs": np.array([[-1.0, -3.0], [-0.5, -9.0]], np.float32),
        "end_top_index": np.array([[5, 3], [3, 40]]),
    }
    found = candidates([WINDOW], [beam], 20, 30)
    assert [(c.start, c.end) for c in found] == [(4, 5), (3, 3)]  # 3 < 4, and 40 is no position
    assert float(found[0].start_score + found[0].end_score) == -2.0


def test_equal_texts_are_one_answer():
    found = [Candidate(0, i, i, np.float32(5 - i), np.float32(0)) for i in range(4)]
    texts = ["a", "b", "a", "c"]
    answers = distinct_answers(found, lambda c: (texts[c.start], c.start, c.start + 1), 3)
    assert [(x.text, x.start, x.start_logit) for x in answers] == [
        ("a", 0, 5.0),
        ("b", 1, 4.0),
        ("c", 3, 2.0),
    ]


def test_probabilities_do_not_overflow():
    assert softmax([1000.0, 1000.0]) == [0.5, 0.5] and softmax([]) == []


def test_word_pieces_become_words():
    assert detokenized(["18", "##95", "-", "mr", "##s"]) == "1895 - mrs"


@pytest.mark.parametrize(
    ("words", "original", "found"),
    [
        ("smith", "Mr. Smith's", "Smith"),
        ("1895", "(1895).", "1895"),
        ("cafe", "café!", "café"),
        ("jones", "Mr Smith", "Mr Smith"),  # not found: all of it
        ("", "Mr Smith", "Mr Smith"),
    ],
)
def test_words_are_projected_onto_the_original(words, original, found):
    first, last = project(words, original, True)
    assert original[first:last] == found


def test_recorded_projections(oracles):
    recorded = json.loads((oracles / "qa_decoding/final_text.json").read_text())
    assert len(recorded) > 100
    for case in recorded:
        for lower, result in ((True, "result_lower"), (False, "result_cased")):
            start, end = project(case["pred_text"], case["orig_text"], lower)
            assert case["orig_text"][start:end] == case[result], case
