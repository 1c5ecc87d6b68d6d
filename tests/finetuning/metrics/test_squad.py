"""Scores of answers: the official definitions on cases worked out by hand.

The recorded official scores of SQuAD 1.1, 2.0 and MRQA are compared in test_question_answering.
"""

import pytest

from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.metrics.squad import (
    cmrc_f1,
    cmrc_scores,
    mixed_segmentation,
    mrqa_scores,
    normalize_answer,
    split_words,
    squad_v1_f1,
    squad_v1_scores,
    squad_v2_f1,
    squad_v2_scores,
)


def question(name: str, *answers: str, offset: int = 0) -> QuestionExample:
    return QuestionExample(
        where="x:1",
        id=name,
        question="?",
        context="c",
        answers=tuple((answer, offset) for answer in answers),
        is_impossible=not answers,
    )


def test_answers_are_compared_without_case_articles_punctuation_and_spaces():
    assert normalize_answer(" The  U.S.A., an 'island' ") == "usa island"
    assert normalize_answer("Theatre-a") == "theatrea"
    assert squad_v1_f1("the red house", "a red car") == pytest.approx(0.5)
    assert squad_v1_f1("dog dog cat", "dog dog dog") == pytest.approx(2 / 3)


def test_nothing_equals_nothing_only_in_squad_2():
    assert squad_v1_f1("The.", "") == 0
    assert squad_v2_f1("The.", "") == 1
    assert squad_v2_f1("house", "") == 0


def test_squad_1_takes_the_best_gold_answer():
    questions = [question("a", "blue", "dark blue"), question("b", "red"), question("b", "red")]
    scores = squad_v1_scores(questions, ["Dark blue!", "red wine", ""])
    assert scores == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (1 + 2 / 3) / 3})


def test_mrqa_scores_against_its_accepted_texts_not_the_detected_ones():
    detected = QuestionExample("x:1", "a", "?", "c", (("found", 3), ("accepted", -1)))
    assert mrqa_scores([detected], ["accepted"])["exact_match"] == 100
    assert mrqa_scores([detected], ["found"])["exact_match"] == 0
    assert mrqa_scores([question("a", "only")], ["only"])["f1"] == 100


QUESTIONS = [question("has", "blue"), question("has too", "red"), question("none")]
PREDICTIONS = ["blue", "red wine", "guess"]
ODDS = [-5.0, 1.0, 0.0]


def test_squad_2_at_a_threshold():
    scores = squad_v2_scores(QUESTIONS, PREDICTIONS, ODDS, threshold=0.5)
    assert scores["total"] == 3
    assert (scores["HasAns_total"], scores["NoAns_total"]) == (2, 1)
    assert scores["HasAns_exact"] == scores["HasAns_f1"] == 50  # "red wine" became no answer
    assert scores["NoAns_exact"] == scores["NoAns_f1"] == 0
    assert scores["exact"] == scores["f1"] == pytest.approx(100 / 3)


def test_null_odds_at_the_threshold_keep_the_answer():
    scores = squad_v2_scores(QUESTIONS, PREDICTIONS, ODDS, threshold=1.0)
    assert scores["HasAns_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_squad_2_searches_the_best_threshold_among_the_null_odds():
    scores = squad_v2_scores(QUESTIONS, PREDICTIONS, ODDS, threshold=0.5)
    # Accepting "has" gains 1, then "none" loses 1, then "has too" gains 0 or 2/3.
    assert scores["best_exact"] == scores["best_f1"] == pytest.approx(200 / 3)
    assert scores["best_exact_thresh"] == scores["best_f1_thresh"] == -5


def test_squad_2_without_null_odds_takes_empty_texts_for_no_answer():
    scores = squad_v2_scores(QUESTIONS, ["blue", "red", ""])
    assert scores["exact"] == scores["NoAns_f1"] == 100
    assert "best_exact" not in scores


def test_a_gold_answer_of_punctuation_alone_is_no_answer_to_squad_2():
    scores = squad_v2_scores([question("a", "...")], [""])
    assert scores["HasAns_exact"] == 100


def test_chinese_is_split_by_character_and_other_scripts_by_word():
    assert mixed_segmentation("光荣和ω-Force 1958年。") == [*"光荣和", "ωforce", "1958", "年"]
    assert mixed_segmentation("《Tokyo Tower》") == ["tokyo", "tower"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{t|gtk#}gtk#", ["{", "t|gtk", "#", "}", "gtk", "#"]),
        ("(galbreath, 31)", ["(", "galbreath", ",", "31", ")"]),
        ('"r. d. ranjitsinhi"', ["``", "r.", "d.", "ranjitsinhi", "''"]),
        (';}"casino royale"1967', [";", "}", "''", "casino", "royale", "''", "1967"]),
        ("1,234.5 u.s.", ["1,234.5", "u.s", "."]),
        ("don't you'll tom's 50%", ["do", "n't", "you", "'ll", "tom", "'s", "50", "%"]),
        ("wait... 2007–08", ["wait", "...", "2007", "–", "08"]),
    ],
)
def test_words_are_split_as_nltk_splits_them(text, words):
    assert split_words(text) == words


def test_chinese_f1_is_of_the_longest_common_run():
    # Common run 古代民族 (4) of 6 gold and 7 predicted characters.
    assert cmrc_f1("古代民族时间", "大古代民族部分") == pytest.approx(2 * 4 / (6 + 7))
    assert cmrc_f1("上海", "北京") == 0
    # Two runs of 2 count once: 上海 of 4 and 5.
    assert cmrc_f1("上海北京", "上海的北京") == pytest.approx(2 * 2 / (4 + 5))


def test_chinese_scores_ignore_punctuation():
    scores = cmrc_scores([question("a", "《上海》。"), question("b", "北京")], ["上海", ""])
    assert scores == pytest.approx({"exact_match": 50, "f1": 50, "average": 50})
