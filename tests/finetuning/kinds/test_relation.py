"""Relations: two marked entities, kept where the text is cut; spans of characters or words."""

import json

import pytest
from finetuning.letters import VOCAB, A, B, C, D, E, F, G, H, codec_of, encode

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import TextExample
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.task_table import TASKS
from electra_jax.text.tokenizers.tokenizer import tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options


def test_a_text_is_cut_around_its_entities():
    tokenizer = tokenizer_from_vocab((*VOCAB, "$", "#"), Options(True, None, True))
    head, tail = tokenizer.encode("$ #")
    example = TextExample("f:1", "0", ("a b c d $ e $ f # g # h a b",), "x")

    def ids(length):
        codec = codec_of("relation", ("x", "y"), tokenizer=tokenizer, max_length=length)
        feature = encode(codec, example, train=True)
        assert feature["label"] == 0 and codec.truncated == (length < 16)
        return feature["input_ids"].tolist()[1:-1], codec.lost_entities

    entities = [head, E, head, F, tail, G, tail]
    assert ids(16) == ([A, B, C, D, *entities, H, A, B], 0)
    assert ids(15) == ([A, B, C, D, *entities, H, A], 0)  # both fit at the beginning
    assert ids(12) == ([D, *entities, H, A], 0)
    assert ids(9) == (entities, 0)
    assert ids(8) == (entities[:-1], 1)


def text_of(tmp_path, **record):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"label": "x", **record}) + "\n")
    (example,) = read_examples(TASKS["relation"], str(file), {})
    return example.texts[0]


SENTENCE = "Ada met Bob in Rome"


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ([0, 3], [8, 11]),
        ({"span": [0, 3]}, {"start": 8, "end": 11, "text": "Bob"}),
    ],
)
def test_spans_of_characters_become_marks(tmp_path, head, tail):
    assert text_of(tmp_path, text=SENTENCE, head=head, tail=tail) == "$ Ada $ met # Bob # in Rome"


def test_spans_of_a_list_count_words(tmp_path):
    marked = text_of(tmp_path, text=SENTENCE.split(), head=[2, 3], tail=[0, 1])
    assert marked == "# Ada # met $ Bob $ in Rome"


@pytest.mark.parametrize("span", [[3, 3], [0, 99], [-1, 2], [0.0, 3.0], "Ada", None])
def test_a_span_outside_the_text_is_named(tmp_path, span):
    with pytest.raises(UserError, match=r":1: head must have a span \[start, end\) of characters"):
        text_of(tmp_path, text=SENTENCE, head=span, tail=[8, 11])


def test_an_entity_s_text_must_be_at_its_span(tmp_path):
    with pytest.raises(UserError, match=r'tail says "Rome", but characters 8 to 11 .* are "Bob"'):
        text_of(tmp_path, text=SENTENCE, head=[0, 3], tail={"span": [8, 11], "text": "Rome"})
