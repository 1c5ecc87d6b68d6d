"""Tags and spans: against seqeval on random tags, broken ones included, and the recorded ones."""

import json

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from electra_jax.errors import UserError
from electra_jax.finetuning.metrics.spans import (
    SCHEMES,
    Span,
    find_spans,
    is_span_tag,
    scheme_of,
    write_tags,
)


def random_tags(letters: str, seed: int, sentences: int = 400) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC", "a-b"))]
    return [rng.choice(tags, rng.integers(1, 14)).tolist() for _ in range(sentences)]


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_spans_of_any_tags_equal_seqevals(letters):
    for tags in random_tags(letters, seed=1):
        expected = [Span(kind, start, end + 1) for kind, start, end in get_entities(tags)]
        assert find_spans(tags) == expected, tags


def test_the_letters_of_bmes_mean_those_of_bioes():
    for tags in random_tags("BIES", seed=4):
        renamed = [tag.replace("I-", "M-") for tag in tags]
        assert find_spans(renamed) == find_spans(tags)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_written_tags_are_read_back(scheme):
    rng = np.random.default_rng(5)
    for _ in range(200):
        length = int(rng.integers(1, 20))
        spans, start = [], 0
        while (start := start + int(rng.integers(0, 3))) < length:
            end = min(length, start + int(rng.integers(1, 4)))
            spans.append(Span(str(rng.choice(["PER", "LOC"])), start, end))
            start = end
        tags = write_tags(spans, length, scheme)
        assert find_spans(tags) == spans
        assert len(tags) == length


def test_recorded_spans_differ_only_where_the_type_changes_inside(oracles):
    """The reference ignores E and a change of type inside a span, and names a span by its last
    tag; conlleval and seqeval do not. Where no such tag occurs all agree."""
    recorded = json.loads((oracles / "metrics/scorers.json").read_text())["span_conversion"]
    agreeing = 0
    for case in recorded:
        expected = [Span(kind, start, end + 1) for start, end, kind in case["spans"]]
        pairs = list(zip(["O", *case["tags"]], case["tags"]))
        quirk = any(
            a != "O" and b[0] in "IE" and (a[0] in "ES" or a[1:] != b[1:]) for a, b in pairs
        )
        assert (find_spans(case["tags"]) == expected) == (not quirk), case
        if not quirk:
            assert write_tags(expected, len(case["tags"]), "BIOES") == case["bioes"]
            assert write_tags(expected, len(case["tags"]), "BIO") == case["bio"]
            agreeing += 1
    assert 5 < agreeing < len(recorded)


def test_schemes_are_recognised_by_their_letters():
    assert scheme_of(["O", "B-X", "I-X"]) == "BIO"
    assert scheme_of(["O", "B-X", "E-X", "S-X"]) == "BIOES"
    assert scheme_of(["O", "B-X", "M-X", "E-X"]) == "BMES"


def test_tags_without_a_letter_are_refused_by_name():
    assert not is_span_tag("NOUN")
    assert is_span_tag("B")
    with pytest.raises(UserError, match="'NOUN' marks no span"):
        find_spans(["O", "NOUN"])


def test_spans_that_overlap_are_not_written():
    with pytest.raises(ValueError, match="overlaps"):
        write_tags([Span("A", 0, 2), Span("B", 1, 3)], 3, "BIO")
