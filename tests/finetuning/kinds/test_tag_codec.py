"""Tags as features and answers."""

import json

import numpy as np
import pytest
import tokenizers
from finetuning.letters import CLS, LETTERS, SEP, VOCAB, codec_of, encode

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import TaggedExample
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.data.words import split_words
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.kinds.tag_codec import IGNORED_TAG, NO_PIECE
from electra_jax.finetuning.metrics.spans import find_spans, write_tags
from electra_jax.text.tokenizers.tokenizer import load_tokenizer, tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options


@pytest.fixture(scope="module")
def uncased(oracles):
    return load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")


@pytest.fixture(scope="module")
def recorded(oracles):
    return json.loads((oracles / "finetune_features" / "features.json").read_text())


@pytest.fixture(scope="module")
def cased():
    """Keeps accents, and so variation selectors, which become [UNK]."""
    return tokenizer_from_vocab(VOCAB, Options(False, None, True))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator(
        ["the quick brown fox"] * 9,
        vocab_size=300,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    folder = tmp_path_factory.mktemp("byte_level")
    model.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


@pytest.mark.parametrize("max_length", [20, 32])
def test_tagging_features_equal_the_reference_s_where_the_sentence_fits(
    recorded, uncased, max_length
):
    case = recorded[f"tagging_max{max_length}"]
    labels = sorted(case["label_mapping"], key=case["label_mapping"].__getitem__)
    codec = codec_of("chunking", labels, uncased, max_length=max_length, tagging="reference")
    whole = blank = 0
    for row in case["rows"]:
        tags = tuple(write_tags(find_spans(row["tags"]), len(row["tags"]), "BIOES"))
        example = TaggedExample("f:1", "0", tuple(row["words"]), tags)
        feature = encode(codec, example, train=True)
        predicted = int(sum(row["labels_mask"]))
        # The reference begins to cut before it must: what it keeps, we keep, and more.
        assert len(feature["word_positions"]) >= predicted
        # It tags a word without word pieces at the next one's, and we do not.
        pieces = row["tokens_per_word"][1 : 1 + len(row["words"])]
        there = np.array([bool(p) for p in pieces])[: len(feature["tags"])]
        blank += int((~there).sum())
        positions, tags = feature["word_positions"], feature["tags"]
        assert (positions[~there] == NO_PIECE).all() and (tags[~there] == IGNORED_TAG).all()
        recorded_positions = np.array(row["labeled_positions"][: len(tags)])
        kept = there & (np.arange(len(tags)) < predicted)
        assert positions[kept].tolist() == recorded_positions[kept].tolist()
        assert tags[there].tolist() == np.array(row["labels"][: len(tags)])[there].tolist()
        if predicted == len(row["words"]):
            whole += 1
            length = sum(row["input_mask"])
            assert feature["input_ids"].tolist() == row["input_ids"][:length]
            assert feature["token_type_ids"].tolist() == row["segment_ids"][:length]
            assert feature["word_positions"].shape == feature["tags"].shape == (predicted,)
    assert whole >= 5 and blank >= 1


SENTENCE = TaggedExample(
    "f:1", "7", ("ab", "C", "\u200b", "def", "g"), ("B-X", "I-X", "O", "O", "B-Y")
)


TAGS = ("B-X", "B-Y", "I-X", "O")


def test_a_word_s_tag_is_at_its_first_piece():
    feature = encode(codec_of("ner", TAGS), SENTENCE, train=True)
    assert len(feature["input_ids"]) == 9
    assert feature["word_positions"].tolist() == [1, 3, NO_PIECE, 4, 7]
    assert feature["tags"].tolist() == [0, 2, IGNORED_TAG, 3, 1]
    assert feature["token_type_ids"].tolist() == [0] * 9
    assert {feature[n].dtype for n in feature} == {np.dtype(np.int32)}
    assert "tags" not in encode(codec_of("ner", TAGS), SENTENCE)


# Words that nothing can be seen of.

BLANK = (" ", "\u200b", "\u200e\u200d", "\ufe0f", "\u00ad", "\u3000", "\u3164", "")


def decoded(codec, words, tags):
    """The answer where the network's outputs are `tags`, whatever it read."""
    example = TaggedExample("f:1", "0", tuple(words))
    logits = np.eye(len(codec.labels))[[codec.labels.index(tag) for tag in tags]]
    return codec.decode(example, codec.encode(example, False), [{"logits": logits}])


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("tokenizer", ["letters", "cased", "byte_level"])
def test_a_blank_word_leaves_no_trace_in_what_is_learnt(blank, tokenizer, request):
    tokenizer = LETTERS if tokenizer == "letters" else request.getfixturevalue(tokenizer)
    codec = codec_of("ner", TAGS, tokenizer)
    words, tags = ("a", blank, "b", blank), ("B-X", "O", "I-X", "B-Y")
    whole = encode(codec, TaggedExample("f:1", "0", words, tags), train=True)
    without = encode(codec, TaggedExample("f:1", "0", ("a", "b"), ("B-X", "I-X")), train=True)
    assert whole["input_ids"].tolist() == without["input_ids"].tolist() or blank == " "
    there = whole["tags"] != IGNORED_TAG
    assert there.tolist() == [True, False, True, False]
    for name in ("word_positions", "tags"):
        assert whole[name][there].tolist() == without[name].tolist()
    assert not whole["word_positions"][~there].any()


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_word_is_answered_by_no_entity(blank):
    codec = codec_of("ner", TAGS)
    answer = decoded(codec, ["a", blank, "b", blank], ["O", "B-X", "B-X", "I-X"])
    assert answer["tags"] == ["O", "O", "B-X", "O"]
    assert [p is None for p in answer["probabilities"]] == [False, True, False, True]
    assert answer["entities"] == [{"type": "X", "start": 2, "end": 3, "text": "b"}]
    json.dumps(answer)


def test_a_blank_word_divides_no_entity_and_stays_in_the_gold_tags():
    codec = codec_of("ner", TAGS)
    words = ("a", " ", "b", "c", " ")
    answer = decoded(codec, words, ["B-X", "B-Y", "I-X", "B-Y", "B-Y"])
    assert answer["tags"] == ["B-X", "O", "I-X", "B-Y", "O"]
    assert [(e["start"], e["end"]) for e in answer["entities"]] == [(0, 3), (3, 4)]
    for inside in ("O", "I-X"):  # as corpora have it either way
        gold = TaggedExample("f:1", "0", words, ("B-X", inside, "I-X", "B-Y", "O"))
        scores = codec.score([gold], [answer])
        assert (scores["f1"], scores["missed_words"]) == (100, 0)
        assert scores["accuracy"] == (100 if inside == "O" else 80)
    other = TaggedExample("f:1", "0", words, ("B-X", "O", "I-X", "B-Y", "B-X"))
    assert codec.score([other], [answer])["recall"] == pytest.approx(200 / 3)


def test_a_blank_word_has_no_tag_where_none_says_that_there_is_nothing():
    codec = codec_of("pos", ("NOUN", "VERB"))
    answer = decoded(codec, ["a", "\u200b", "b"], ["NOUN", "VERB", "VERB"])
    assert answer["tags"] == ["NOUN", None, "VERB"]
    gold = TaggedExample("f:1", "0", ("a", "\u200b", "b"), ("NOUN", "NOUN", "VERB"))
    assert codec.score([gold], [answer])["accuracy"] == pytest.approx(200 / 3)
    assert decoded(codec_of("pos", ("NOUN", "O")), ["\u200b"], ["NOUN"])["tags"] == ["O"]


def test_a_sentence_of_blank_words_is_not_trained_on():
    codec = codec_of("ner", TAGS)
    example = TaggedExample("f:1", "0", ("\u200b", " "), ("O", "O"))
    assert codec.encode(example, True) == []
    assert decoded(codec, example.words, ["B-X", "B-X"])["entities"] == []


def test_blank_words_around_the_cut_are_not_missed():
    codec = codec_of("ner", TAGS, max_length=8)
    words = ("abc", " ", "def", " ", "g", " ", "h")
    feature = encode(codec, TaggedExample("f:1", "0", words, ("O",) * 7), train=True)
    assert feature["word_positions"].tolist() == [1, NO_PIECE, 4]
    assert (codec.truncated, codec.missed_words) == (1, 2)


def test_words_have_the_spaces_of_running_text_where_spaces_are_parts_of_tokens(byte_level):
    """Byte-level BPE: "Ġfox" and "fox" are different tokens, and pretraining shows the first."""
    codec = codec_of("ner", TAGS, byte_level)
    words = ("the", "quick", "brown", "fox")
    feature = encode(codec, TaggedExample("f:1", "0", words))
    assert feature["input_ids"].tolist()[1:-1] == byte_level.encode("the quick brown fox")
    letters = (*"the", " ", *"fox")
    feature = encode(codec, TaggedExample("f:1", "0", letters))
    tokens = byte_level.ids_to_tokens(feature["input_ids"][feature["word_positions"]])
    assert tokens == ["t", "h", "e", "<s>", "Ġf", "o", "x"] or tokens[4].startswith("Ġ")
    assert [t.startswith("Ġ") for t in tokens] == [False] * 4 + [True, False, False]
    wide = encode(codec, TaggedExample("f:1", "0", ("東", "京")))
    assert wide["input_ids"].tolist()[1:-1] == byte_level.encode("東京")


def test_words_that_do_not_fit_are_missed_and_counted():
    codec = codec_of("ner", TAGS, max_length=8)
    feature = encode(codec, SENTENCE, train=True)
    assert len(feature["input_ids"]) == 8
    assert feature["word_positions"].tolist() == [1, 3, NO_PIECE, 4]
    assert feature["tags"].tolist() == [0, 2, IGNORED_TAG, 3]
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
        answer = codec.decode(
            example, codec.encode(example, False), [{"logits": np.array([[1, 0], [1, 0]])}]
        )
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


def test_words_without_a_gold_tag_are_in_neither_loss_nor_score():
    codec = codec_of("ner", TAGS)
    gold = TaggedExample("f:1", "0", ("a", "b", "c"), ("B-X", Missing("-100"), "O"))
    assert encode(codec, gold, train=True)["tags"].tolist() == [0, IGNORED_TAG, 3]
    scores = codec.score([gold], [decoded(codec, gold.words, ["B-X", "B-Y", "O"])])
    assert (scores["f1"], scores["accuracy"]) == (100, 100)
    assert codec.encode(TaggedExample("f:1", "0", ("a",), (Missing(""),)), True) == []
    assert find_kind("tagging").labels_of(gold) == ["B-X", "O"]


def test_tags_that_training_has_not_seen_are_missed():
    codec = codec_of("ner", TAGS)
    gold = TaggedExample("f:1", "0", ("a", "b"), ("B-NEW", "B-X"))
    answer = decoded(codec, gold.words, ["O", "B-X"])
    scores = codec.score([gold], [answer])
    assert (scores["recall"], scores["precision"], scores["accuracy"]) == (50, 100, 50)
    (block,) = find_kind("tagging").errors([gold], [answer], TAGS)
    assert block["matrix"]["labels"] == [*TAGS, "B-NEW"]
