"""Tagging: words and tags, their features, answers and scores."""

import json

import numpy as np
import pytest
from finetuning.letters import CLS, SEP, codec_of, encode
from finetuning.task_files import assert_fails, read

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import TaggedExample
from electra_jax.finetuning.data.words import split_words
from electra_jax.finetuning.metrics.spans import find_spans, write_tags
from electra_jax.finetuning.task_table import TASKS, collect_labels
from electra_jax.text.tokenizers.tokenizer import load_tokenizer, tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options


@pytest.fixture(scope="module")
def uncased(oracles):
    return load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")


@pytest.fixture(scope="module")
def recorded(oracles):
    return json.loads((oracles / "finetune_features" / "features.json").read_text())


def test_running_text_becomes_words_with_their_places(write):
    text = "In  New York, J. Smith's 我爱北京。"
    (example,) = read("ner", write("a.jsonl", {"text": text}), labelled=False)
    expected = ["In", "New", "York", ",", "J.", "Smith", "'s", *"我爱北京。"]
    assert list(example.words) == expected == [text[a:b] for a, b in example.offsets]
    assert example.text == text
    # Words that somebody has separated stay as they are.
    given = {"tokens": "a, b.", "id": 1}, {"text": "a, b.", "tags": "O O"}
    for record in given:
        (kept,) = read("ner", write("b.jsonl", record), labelled=False)
        assert kept.words == ("a,", "b.") and kept.text is None


def test_chunks_are_learnt_in_the_reference_s_scheme(write):
    path = write("a.conll", "a B-NP", "b I-NP", "c B-VP", "d O")
    assert read("chunking", path)[0].tags == ("B-NP", "E-NP", "S-VP", "O")
    assert read("ner", path)[0].tags == ("B-NP", "I-NP", "B-VP", "O")
    assert_fails(r"a.conll:1: tag 'NN' marks no span", "chunking", write("a.conll", "a NN"))


def test_a_chunk_of_another_length_than_any_in_training_is_no_unknown_label(write):
    train = read("chunking", write("train.conll", "as B-CONJP", "well I-CONJP", "", "a B-NP"))
    labels = collect_labels(TASKS["chunking"], train)
    assert labels == tuple(sorted(f"{x}-{y}" for x in "BIES" for y in ("CONJP", "NP")))
    dev = write("dev.conll", "and B-CONJP", "a B-NP", "b I-NP", "c I-NP")
    (example,) = read("chunking", dev, labels=labels)
    assert example.tags == ("S-CONJP", "B-NP", "I-NP", "E-NP")
    other = write("other.conll", "a B-VP")
    assert_fails('unknown label "S-VP"', "chunking", other, labels=labels)


@pytest.mark.parametrize("max_length", [20, 32])
def test_tagging_features_equal_the_reference_s_where_the_sentence_fits(
    recorded, uncased, max_length
):
    case = recorded[f"tagging_max{max_length}"]
    labels = sorted(case["label_mapping"], key=case["label_mapping"].__getitem__)
    codec = codec_of("chunking", labels, uncased, max_length=max_length, tagging="reference")
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


SENTENCE = TaggedExample(
    "f:1", "7", ("ab", "C", "\u200b", "def", "g"), ("B-X", "I-X", "O", "O", "B-Y")
)


TAGS = ("B-X", "B-Y", "I-X", "O")


def test_a_word_s_tag_is_at_its_first_piece():
    feature = encode(codec_of("ner", TAGS), SENTENCE, train=True)
    assert len(feature["input_ids"]) == 9
    assert feature["word_positions"].tolist() == [1, 3, 4, 4, 7]
    assert feature["tags"].tolist() == [0, 2, 3, 3, 1]
    assert feature["token_type_ids"].tolist() == [0] * 9
    assert {feature[n].dtype for n in feature} == {np.dtype(np.int32)}
    assert "tags" not in encode(codec_of("ner", TAGS), SENTENCE)


def test_an_empty_word_at_the_end_points_to_the_separator():
    codec = codec_of("ner", TAGS, max_length=8)
    words = TaggedExample("f:1", "0", ("abc", "def", "\u200b"), ("O",) * 3)
    feature = encode(codec, words, train=True)
    assert feature["word_positions"].tolist() == [1, 4, 7]
    assert feature["input_ids"][7] == SEP
    assert codec.truncated == codec.missed_words == 0


def test_words_that_do_not_fit_are_missed_and_counted():
    codec = codec_of("ner", TAGS, max_length=8)
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


def test_entities_of_running_text_have_their_characters():
    text = "a  bc d, e"
    spans = tuple(split_words(text))
    words = tuple(text[a:b] for a, b in spans)
    example = TaggedExample("f:1", "0", words, None, text, spans)
    logits = np.eye(4, dtype=np.float32)[[3, 0, 2, 3, 1]]
    codec = codec_of("ner", TAGS)
    answer = codec.decode(example, codec.encode(example, False), [{"logits": logits}])
    first, second = answer["entities"]
    assert (first["start"], first["end"], first["text"]) == (1, 3, "bc d")
    assert text[first["start_character"] : first["end_character"]] == "bc d"
    assert (second["start_character"], second["end_character"], second["text"]) == (9, 10, "e")


def test_a_word_that_was_not_predicted_is_wrong_even_outside_of_spans():
    codec = codec_of("ner", TAGS)
    example = TaggedExample("f:1", "0", ("a", "b"), ("B-X", "O"))
    assert codec.score([example], [{"tags": ["B-X", None]}])["accuracy"] == 50


def test_one_tag_a_word_is_scored_by_accuracy():
    example = TaggedExample("f:1", "0", ("a", "b"), ("NOUN", "VERB"))
    for name in ("pos", "tagging"):
        codec = codec_of(name, ("NOUN", "VERB"))
        assert codec.metric == "accuracy"
        answer = codec.decode(example, [], [{"logits": np.array([[1, 0], [1, 0]])}])
        assert set(answer) == {"id", "words", "tags", "probabilities"}
        assert codec.score([example], [answer]) == {"accuracy": 50.0, "missed_words": 0.0}
    assert codec_of("tagging", TAGS).metric == "f1"
    with pytest.raises(UserError, match=r'the tag "NOUN" marks no span .*the task ner'):
        codec_of("ner", ("NOUN", "VERB"))
    with pytest.raises(UserError, match="names of the tags in place of their numbers"):
        codec_of("ner", ("0", "1"))


def test_casing_follows_the_tokenizer():
    cased = tokenizer_from_vocab(
        ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A"), Options(False, None, True)
    )
    feature = encode(codec_of("ner", TAGS, cased), TaggedExample("f:1", "0", ("a", "A")))
    assert feature["input_ids"].tolist() == [CLS, 5, 6, SEP]


def test_chinese_words_are_separated_unless_the_reference_is_asked_for(uncased):
    example = TaggedExample("f:1", "0", ("東京",))
    pieces = {}
    for tagging in ("standard", "reference"):
        feature = encode(codec_of("ner", TAGS, uncased, tagging=tagging), example)
        pieces[tagging] = uncased.ids_to_tokens(feature["input_ids"])[1:-1]
    assert pieces == {"standard": ["東", "京"], "reference": ["東", "##京"]}
    with pytest.raises(UserError, match=r"data\.tagging=x: give standard or reference"):
        codec_of("ner", TAGS, uncased, tagging="x")
