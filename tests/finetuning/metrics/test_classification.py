"""Metrics: against scikit-learn, scipy and seqeval on random inputs, and recorded scores."""

import json
import logging
import math
import warnings

import numpy as np
import pytest
import scipy.stats
import seqeval.metrics
import sklearn.metrics

from electra_jax.finetuning.metrics.classification import (
    accuracy,
    binary_f1,
    confusion_matrix,
    directed_relation_scores,
    entity_scores,
    macro_f1,
    matthews_correlation,
    mean_reciprocal_rank,
    mean_squared_error,
    multilabel_scores,
    pearson_correlation,
    rank_of,
    recall_at,
    scores_of_counts,
    spearman_correlation,
    token_accuracy,
)

EXACT = {"rel": 1e-9, "abs": 1e-9}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def recorded(oracles):
    return json.loads((oracles / "metrics/scorers.json").read_text())


def recorded_cases(recorded, kind):
    cases = [case for name, case in recorded.items() if name.startswith(kind)]
    assert len(cases) > 2
    return cases


def test_classification_equals_scikit_learn(rng):
    for classes in (2, 3, 7):
        for _ in range(10):
            gold, said = rng.integers(0, classes, (2, int(rng.integers(2, 60))))
            if len(set(gold)) < 2 or len(set(said)) < 2:
                continue
            assert accuracy(gold, said) == pytest.approx(
                100 * sklearn.metrics.accuracy_score(gold, said), **EXACT
            )
            assert matthews_correlation(gold, said) == pytest.approx(
                100 * sklearn.metrics.matthews_corrcoef(gold, said), **EXACT
            )
            theirs = sklearn.metrics.f1_score(gold, said, average="macro", zero_division=0)
            assert macro_f1(gold, said) == pytest.approx(100 * theirs, **EXACT)
            np.testing.assert_array_equal(
                confusion_matrix(gold, said), sklearn.metrics.confusion_matrix(gold, said)
            )
            theirs = sklearn.metrics.precision_recall_fscore_support(
                gold == 1, said == 1, average="binary", zero_division=0
            )
            assert binary_f1(gold, said)[:3] == pytest.approx(
                [100 * x for x in theirs[:3]], **EXACT
            )


def test_named_labels_count_like_numbers():
    gold, said = ["no", "yes", "yes", "no"], ["no", "yes", "no", "maybe"]
    assert accuracy(gold, said) == 50
    assert binary_f1(gold, said, "yes").recall == 50
    assert confusion_matrix(gold, said, ["yes", "no", "maybe"]).tolist() == [
        [1, 1, 0],
        [0, 1, 1],
        [0, 0, 0],
    ]
    with pytest.raises(ValueError, match="'maybe' is not among"):
        confusion_matrix(gold, said, ["yes", "no"])


def test_a_mean_over_some_labels_equals_scikit_learns(rng):
    gold, said = rng.integers(0, 5, (2, 50))
    theirs = sklearn.metrics.f1_score(gold, said, labels=[1, 3], average="macro")
    assert macro_f1(gold, said, [1, 3]) == pytest.approx(100 * theirs, **EXACT)


def test_multilabel_equals_scikit_learn(rng):
    gold, said = rng.random((2, 40, 6)) < 0.4
    ours = multilabel_scores(gold, said)
    for average in ("micro", "macro"):
        theirs = sklearn.metrics.f1_score(gold, said, average=average)
        assert ours[f"{average}_f1"] == pytest.approx(100 * theirs, **EXACT)
    assert ours["exact_match"] == pytest.approx(100 * sklearn.metrics.accuracy_score(gold, said))


def test_correlations_equal_scipy_with_and_without_ties(rng):
    for decimals in (1, 9):
        for _ in range(20):
            gold, said = np.round(rng.random((2, 30)), decimals)
            assert pearson_correlation(gold, said) == pytest.approx(
                100 * scipy.stats.pearsonr(gold, said).statistic, **EXACT
            )
            assert spearman_correlation(gold, said) == pytest.approx(
                100 * scipy.stats.spearmanr(gold, said).statistic, **EXACT
            )
            assert mean_squared_error(gold, said) == pytest.approx(
                sklearn.metrics.mean_squared_error(gold, said), **EXACT
            )


def random_sentences(rng, letters, count=60):
    tags = ["O"] * 3 + [f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC", "ORG")]
    lengths = rng.integers(1, 12, count)
    return [[rng.choice(tags, n).tolist() for n in lengths] for _ in range(2)]


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_entity_scores_equal_seqeval(rng, letters):
    for _ in range(15):
        gold, said = random_sentences(rng, letters)
        for sentence, other in zip(gold[::2], said[::2]):
            other[:] = sentence  # so that enough spans are right
        report = seqeval.metrics.classification_report(
            gold, said, output_dict=True, zero_division=0
        )
        ours = entity_scores(gold, said)
        assert list(ours) == ["overall", "LOC", "ORG", "PER"]
        for name, scores in ours.items():
            expected = report["micro avg" if name == "overall" else name]
            shares = [100 * expected[key] for key in ("precision", "recall", "f1-score")]
            assert scores[:3] == pytest.approx(shares, **EXACT)
            assert scores.support == expected["support"]


def test_predictions_shorter_than_gold_are_refused():
    with pytest.raises(ValueError, match="sentence 1 has 2 gold tags and 1 predicted"):
        entity_scores([["O"], ["B-X", "O"]], [["O"], ["B-X"]])
    assert token_accuracy([["A"], ["B", "C"]], [["A"], ["B", "A"]]) == pytest.approx(200 / 3)


# A published output of the official scorer: right and confused relations, wrong directions (of
# which 3 of Cause-Effect, 8 of Component-Whole, …), and what it printed.
RELATIONS = "C-E C-W C-C E-D E-O I-A M-C M-T P-P Other".split()
CONFUSION = """
300 0 0 0 4 1 0 2 2 12
1 235 5 1 1 11 11 6 3 29
0 5 160 7 2 0 1 1 1 11
0 2 7 264 0 0 0 1 1 16
3 1 1 4 226 1 0 1 3 16
0 4 1 1 1 118 0 4 5 21
0 4 0 0 2 0 206 1 0 19
1 5 0 1 2 0 2 229 1 19
5 1 2 0 4 9 0 3 177 27
16 25 18 23 27 24 29 33 26 231
"""
WRONG_WAY = [3, 8, 4, 1, 1, 0, 0, 1, 2]
PRINTED = {
    "C-E": (91.19, 92.59, 91.88),
    "C-W": (81.03, 75.56, 78.20),
    "I-A": (71.95, 76.13, 73.98),
    "P-P": (80.09, 76.96, 78.49),
    "Other": (57.61, 51.11, 54.16),
    "micro": (83.08, 84.96, 84.01),
    "macro": (82.24, 84.38, 83.25),
}


def test_relation_scores_are_those_the_official_scorer_printed():
    def directed(name, way="(e1,e2)"):
        return name if name == "Other" else name + way

    pairs = []
    rows = np.array(CONFUSION.split(), int).reshape(10, 10)
    for right, row in zip(RELATIONS, rows):
        for said, count in zip(RELATIONS, row):
            pairs += [(directed(right), directed(said))] * count
    for name, count in zip(RELATIONS, WRONG_WAY):
        pairs += [(directed(name), directed(name, "(e2,e1)"))] * count
    scores = directed_relation_scores(*zip(*pairs))
    for name, printed in PRINTED.items():
        assert [round(x, 2) for x in scores[name][:3]] == list(printed), name


def test_a_relation_without_gold_is_left_out_of_the_official_mean():
    scores = directed_relation_scores(["A(e1,e2)", "Other"], ["A(e1,e2)", "B(e1,e2)"])
    assert scores["macro"].f1 == 100
    assert "B" not in scores


def test_ranks_count_ties_against_the_right_answer():
    assert rank_of([0.1, 0.9, 0.5], 1) == 1
    assert rank_of([0.1, 0.9, 0.5], 0) == 3
    assert rank_of([0.5, 0.5, 0.5], 0) == 3
    assert rank_of([0.5, float("nan")], 1) == 2
    ranks = [1, 2, 4, 10]
    assert recall_at(1, ranks) == 25
    assert recall_at(5, ranks) == 75
    assert mean_reciprocal_rank(ranks) == pytest.approx(100 * (1 + 0.5 + 0.25 + 0.1) / 4)


@pytest.mark.parametrize(
    ("compute", "value", "words"),
    [
        (lambda: matthews_correlation([0, 1], [1, 1]), 0, "all predictions are the same"),
        (lambda: matthews_correlation([1, 1], [0, 1]), 0, "all gold labels are the same"),
        (lambda: binary_f1([0, 0], [0, 1]).f1, 0, "no gold label is 1"),
        (lambda: pearson_correlation([1, 2], [3, 3]), math.nan, "all predictions are the same"),
        (lambda: spearman_correlation([1], [1]), math.nan, "1 examples are too few"),
        (lambda: entity_scores([["O"]], [["B-X"]])["overall"].f1, 0, "gold tags hold no span"),
        (lambda: multilabel_scores([[1, 0]], [[1, 0]])["macro_f1"], 50, "1 of 2 labels never"),
        (lambda: accuracy([], []), 0, "no examples"),
    ],
)
def test_undefined_metrics_are_what_official_scripts_give_with_one_warning(
    compute, value, words, caplog
):
    with caplog.at_level(logging.WARNING):
        assert compute() == pytest.approx(value, nan_ok=True)
    assert len(caplog.records) == 1
    assert words in caplog.text


def test_undefined_values_are_scikit_learns_and_scipys():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sklearn.metrics.matthews_corrcoef([0, 1], [1, 1]) == 0
        assert sklearn.metrics.f1_score([0, 0], [0, 1]) == 0
        assert math.isnan(scipy.stats.pearsonr([1, 2], [3, 3]).statistic)


def test_recorded_classification_scores(recorded):
    for case in recorded_cases(recorded, "binary"):
        gold, said = case["labels"], case["predictions"]
        assert accuracy(gold, said) == pytest.approx(case["accuracy"]["accuracy"], abs=1e-6)
        assert matthews_correlation(gold, said) == pytest.approx(case["mcc"]["mcc"], abs=1e-6)


def test_recorded_f1_counts_gold_only_where_predicted_which_is_not_reproduced(recorded):
    """In the reference a gold positive counts only where it was predicted, so recall is precision;
    our precision is its precision, our recall is scikit-learn's."""
    differing = 0
    for case in recorded_cases(recorded, "binary"):
        theirs = case["f1_as_the_reference_computes_it"]
        gold, said = case["labels"], case["predictions"]
        ours = binary_f1(gold, said)
        assert ours.precision == pytest.approx(theirs["precision"], abs=1e-6)
        assert theirs["recall"] == theirs["precision"] == pytest.approx(theirs["f1"])
        assert ours.recall == pytest.approx(100 * sklearn.metrics.recall_score(gold, said))
        differing += abs(ours.recall - theirs["recall"]) > 1
    assert differing


def test_recorded_regression_scores(recorded):
    for case in recorded_cases(recorded, "regression"):
        gold, said = case["targets"], case["predictions"]
        result = case["result"]
        # Relative: the reference computes in float32.
        assert pearson_correlation(gold, said) == pytest.approx(result["pearson"], rel=1e-6)
        assert spearman_correlation(gold, said) == pytest.approx(result["spearman"], rel=1e-6)
        assert mean_squared_error(gold, said) == pytest.approx(result["mse"], rel=1e-6)


def spans_as_the_reference_reads_them(tags):
    """It begins spans at B, S and after O alone, and names each by its last tag."""
    spans, start = set(), 0
    for i, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"])):
        if tag[0] in "BSO" and before != "O":
            spans.add((before[2:], start, i))
        if tag[0] in "BS" or before == "O":
            start = i
    return spans


def test_recorded_tagging_scores(recorded):
    """Token accuracy is the reference's. Its spans are not conlleval's where tags are broken, and
    its loss has every sentence twice in the sum and its words once in the count; neither is
    reproduced."""
    tagging = recorded["tagging"]
    names = {i: tag for tag, i in tagging["label_mapping"].items()}
    gold, said = (
        [
            [names[i] for i, kept in zip(s[side], s["labels_mask"]) if kept]
            for s in tagging["sentences"]
        ]
        for side in ("labels", "predictions")
    )
    assert token_accuracy(gold, said) == pytest.approx(tagging["accuracy"]["accuracy"], abs=1e-6)

    ours, theirs = entity_scores(gold, said)["overall"], tagging["entity_f1"]
    seqevals = seqeval.metrics.precision_score(gold, said), seqeval.metrics.recall_score(gold, said)
    assert ours[:2] == pytest.approx([100 * share for share in seqevals], **EXACT)
    pairs = [[spans_as_the_reference_reads_them(t) for t in sides] for sides in zip(gold, said)]
    correct = sum(len(a & b) for a, b in pairs)
    read_its_way = scores_of_counts(
        correct, sum(len(b) for _, b in pairs), sum(len(a) for a, _ in pairs)
    )
    for name in ("precision", "recall", "f1"):
        assert getattr(read_its_way, name) == pytest.approx(theirs[name], abs=1e-6)
        assert abs(getattr(ours, name) - theirs[name]) > 1
    loss = sum(s["loss"] for s in tagging["sentences"]) / sum(map(len, gold))
    assert theirs["loss"] == pytest.approx(2 * loss, rel=1e-6)
