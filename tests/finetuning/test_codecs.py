"""Codecs: features identical to the reference's, answers, and scores."""

import json

import numpy as np
import pytest
from finetuning.letters import CLS, SEP, codec_of, encode, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.encoding import longest_first
from electra_jax.finetuning.data.examples import ChoiceExample, CodecSettings, TaggedExample
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.data.words import join_words, split_words
from electra_jax.finetuning.metrics.spans import find_spans, write_tags
from electra_jax.finetuning.task_table import TASKS
from electra_jax.text.tokenizers.tokenizer import tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options

# Against the reference.


@pytest.mark.parametrize("max_length", [20, 32])
def test_tagging_features_equal_the_reference_s_where_the_sentence_fits(
    recorded, uncased, max_length
):
    case = recorded[f"tagging_max{max_length}"]
    labels = sorted(case["label_mapping"], key=case["label_mapping"].__getitem__)
    codec = codec_of("chunking", uncased, labels, max_length=max_length, tagging="reference")
    whole = 0
    for row in case["rows"]:
        tags = tuple(write_tags(find_spans(row["tags"]), len(row["tags"]), "BIOES"))
        example = TaggedExample("f:1", "0", tuple(row["words"]), tags)
        feature = encode(codec, example, train=True)
        predicted = int(sum(row["labels_mask"]))
        # The reference begins to cut before it must: what it keeps, we keep, and more.
        assert len(feature["word_positions"]) >= predicted
        assert (
            feature["word_positions"].tolist()[:predicted] == row["labeled_positions"][:predicted]
        )
        assert feature["tags"].tolist() == row["labels"][: len(feature["tags"])]
        if predicted == len(row["words"]):
            whole += 1
            length = sum(row["input_mask"])
            assert feature["input_ids"].tolist() == row["input_ids"][:length]
            assert feature["token_type_ids"].tolist() == row["segment_ids"][:length]
            assert feature["word_positions"].shape == feature["tags"].shape == (predicted,)
    assert whole >= 5


# Texts.


def test_tokens_are_cut_from_the_longer_text_and_of_equals_from_the_second():
    def one_by_one(a, b, limit):
        while a + b > limit:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        return a, b

    for a in range(9):
        for b in range(9):
            for limit in range(a + b + 2):
                assert longest_first(a, b, limit) == one_by_one(a, b, limit)


def test_an_unknown_tag_is_named(letters):
    tags = codec_of("ner", letters, ("B-X", "O"))
    with pytest.raises(UserError, match=r'f:1: unknown label "B-Y"'):
        tags.encode(TaggedExample("f:1", "0", ("a",), ("B-Y",)), True)


def test_a_length_without_room_is_refused(letters):
    with pytest.raises(UserError, match=r"data.max_length=7 holds no text"):
        codec_of("sst2", letters, max_length=7)


@pytest.mark.parametrize(
    "task", [t for t in TASKS.values() if t.kind != "question_answering"], ids=lambda t: t.name
)
def test_every_task_gives_the_score_by_which_it_is_compared(letters, task):
    labels = task.labels or {"tagging": ("A", "B") if task.spans is False else ("B-X", "O")}.get(
        task.kind, ("1", "0")
    )
    codec = make_codec(task, letters, CodecSettings(), labels)
    if task.kind == "tagging":
        examples = [TaggedExample("f:1", "0", ("a", "b"), labels)]
        outputs = {"logits": np.eye(2)}
    elif task.kind in ("multiple_choice", "ranking"):
        examples = [ChoiceExample("f:1", "0", "a", ("b", "c"), 0)]
        outputs = {"logits": np.array([1.0, 0.0])}
    else:
        one = {"regression": 1.0, "multilabel": (labels[0],)}.get(task.kind, labels[0])
        examples = [
            pair("a", label=one),
            pair("b", label=1.5 if task.kind == "regression" else one),
        ]
        outputs = {"logits": np.eye(len(labels))[0]}
        if task.kind == "regression":
            outputs = {"logits": np.array([1.0])}
    features = [codec.encode(example, True) for example in examples]
    answers = [codec.decode(e, f, [outputs]) for e, f in zip(examples, features)]
    json.dumps(answers)
    scores = codec.score(examples, answers)
    assert codec.metric == task.metric
    assert set(task.metrics) <= set(scores)
    assert all(isinstance(value, float) for value in scores.values())


def test_several_labels_are_those_over_the_threshold(letters):
    codec = codec_of("multilabel", letters, ("x", "y", "z"), threshold=0.6)
    example = pair("a", label=("x", "z"))
    feature = encode(codec, example, train=True)
    assert feature["labels"].tolist() == [1, 0, 1]
    assert feature["labels"].dtype == np.float32
    assert encode(codec, pair("a", label=()), train=True)["labels"].tolist() == [0, 0, 0]
    logits = np.array([3.0, -3.0, np.log(1.4)])
    answer = codec.decode(example, [feature], [{"logits": logits}])
    assert answer["labels"] == ["x"]
    assert answer["probabilities"]["z"] == pytest.approx(1.4 / 2.4)
    assert codec.score([example], [answer]) == pytest.approx(
        {"micro_f1": 200 / 3, "macro_f1": 100 / 3, "exact_match": 0}
    )


# Tags.

SENTENCE = TaggedExample(
    "f:1", "7", ("ab", "C", "\u200b", "def", "g"), ("B-X", "I-X", "O", "O", "B-Y")
)
TAGS = ("B-X", "B-Y", "I-X", "O")


def test_a_word_s_tag_is_at_its_first_piece(letters):
    feature = encode(codec_of("ner", letters, TAGS), SENTENCE, train=True)
    assert len(feature["input_ids"]) == 9
    assert feature["word_positions"].tolist() == [1, 3, 4, 4, 7]
    assert feature["tags"].tolist() == [0, 2, 3, 3, 1]
    assert feature["token_type_ids"].tolist() == [0] * 9
    assert {feature[n].dtype for n in feature} == {np.dtype(np.int32)}
    assert "tags" not in encode(codec_of("ner", letters, TAGS), SENTENCE)


def test_an_empty_word_at_the_end_points_to_the_separator(letters):
    codec = codec_of("ner", letters, TAGS, max_length=8)
    words = TaggedExample("f:1", "0", ("abc", "def", "\u200b"), ("O",) * 3)
    feature = encode(codec, words, train=True)
    assert feature["word_positions"].tolist() == [1, 4, 7]
    assert feature["input_ids"][7] == SEP
    assert codec.truncated == codec.missed_words == 0


def test_words_that_do_not_fit_are_missed_and_counted(letters):
    codec = codec_of("ner", letters, TAGS, max_length=8)
    feature = encode(codec, SENTENCE, train=True)
    assert len(feature["input_ids"]) == 8
    assert feature["word_positions"].tolist() == [1, 3, 4, 4]
    assert feature["tags"].tolist() == [0, 2, 3, 3]
    assert (codec.truncated, codec.missed_words) == (1, 1)
    logits = np.eye(4, dtype=np.float32)[[0, 2, 3, 3]] * 5
    answer = codec.decode(SENTENCE, [feature], [{"logits": logits}])
    json.dumps(answer)
    assert answer["tags"] == ["B-X", "I-X", "O", "O", None]
    assert answer["probabilities"][-1] is None
    assert answer["entities"] == [{"type": "X", "start": 0, "end": 2, "text": "ab C"}]
    scores = codec.score([SENTENCE], [answer])
    assert scores == pytest.approx(
        {"f1": 200 / 3, "precision": 100, "recall": 50, "accuracy": 80, "missed_words": 1}
    )


def test_entities_of_running_text_have_their_characters(letters):
    text = "a  bc d, e"
    spans = tuple(split_words(text))
    words = tuple(text[a:b] for a, b in spans)
    example = TaggedExample("f:1", "0", words, None, text, spans)
    logits = np.eye(4, dtype=np.float32)[[3, 0, 2, 3, 1]]
    codec = codec_of("ner", letters, TAGS)
    answer = codec.decode(example, codec.encode(example, False), [{"logits": logits}])
    first, second = answer["entities"]
    assert (first["start"], first["end"], first["text"]) == (1, 3, "bc d")
    assert text[first["start_character"] : first["end_character"]] == "bc d"
    assert (second["start_character"], second["end_character"], second["text"]) == (9, 10, "e")


def test_a_word_that_was_not_predicted_is_wrong_even_outside_of_spans(letters):
    codec = codec_of("ner", letters, TAGS)
    example = TaggedExample("f:1", "0", ("a", "b"), ("B-X", "O"))
    assert codec.score([example], [{"tags": ["B-X", None]}])["accuracy"] == 50


def test_one_tag_a_word_is_scored_by_accuracy(letters):
    example = TaggedExample("f:1", "0", ("a", "b"), ("NOUN", "VERB"))
    for name in ("pos", "tagging"):
        codec = codec_of(name, letters, ("NOUN", "VERB"))
        assert codec.metric == "accuracy"
        answer = codec.decode(example, [], [{"logits": np.array([[1, 0], [1, 0]])}])
        assert set(answer) == {"id", "words", "tags", "probabilities"}
        assert codec.score([example], [answer]) == {"accuracy": 50.0, "missed_words": 0.0}
    assert codec_of("tagging", letters, TAGS).metric == "f1"
    with pytest.raises(UserError, match=r'the tag "NOUN" marks no span .*the task ner'):
        codec_of("ner", letters, ("NOUN", "VERB"))
    with pytest.raises(UserError, match="names of the tags in place of their numbers"):
        codec_of("ner", letters, ("0", "1"))


def test_casing_follows_the_tokenizer():
    cased = tokenizer_from_vocab(
        ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A"), Options(False, None, True)
    )
    feature = encode(codec_of("ner", cased, TAGS), TaggedExample("f:1", "0", ("a", "A")))
    assert feature["input_ids"].tolist() == [CLS, 5, 6, SEP]


def test_chinese_words_are_separated_unless_the_reference_is_asked_for(uncased):
    example = TaggedExample("f:1", "0", ("東京",))
    pieces = {}
    for tagging in ("standard", "reference"):
        feature = encode(codec_of("ner", uncased, TAGS, tagging=tagging), example)
        pieces[tagging] = uncased.ids_to_tokens(feature["input_ids"])[1:-1]
    assert pieces == {"standard": ["東", "京"], "reference": ["東", "##京"]}
    with pytest.raises(UserError, match=r"data\.tagging=x: give standard or reference"):
        codec_of("ner", uncased, TAGS, tagging="x")


def test_words_are_joined_as_they_are_written():
    assert join_words(["New", "York"]) == "New York"
    assert join_words(["北", "京", "，", "a", "b"]) == "北京，a b"
    assert join_words(["東京", "Tower", "の"]) == "東京Towerの"


# Real data.


@pytest.mark.parametrize(
    ("name", "folder"),
    [("semeval2010_8", "re_semeval2010_8"), ("ner", "ner_resume_zh"), ("ranking", "dlg_sgd")],
)
def test_real_data_is_encoded(shared_data, uncased, name, folder):
    file = next(
        (shared_data / folder).glob("*train.jsonl.gz" if name != "ranking" else "rs_train*")
    )
    examples = [e for e, _ in zip(read_examples(TASKS[name], file), range(50))]
    labels = {tag for e in examples for tag in getattr(e, "tags", None) or ()}
    codec = codec_of(name, uncased, tuple(sorted(labels)), max_length=64)
    for example in examples:
        feature = encode(codec, example, train=True)
        ids = feature["input_ids"]
        for row in ids if isinstance(ids, list) else [ids]:
            assert row[0] == 101
            assert row[-1] == 102
            assert len(row) <= 64
