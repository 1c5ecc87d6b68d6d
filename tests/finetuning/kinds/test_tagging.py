"""Tagging: words and tags, their features, answers and scores."""

from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.task_table import TASKS, collect_labels


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
    assert_fails(r'a.conll:1: the tag "NN" marks no span', "chunking", write("a.conll", "a NN"))
    last = write("a.conll", "a ORG-B")
    assert_fails(r'"ORG-B" marks no span .*write the letter first \(B-ORG\)', "ner", last)


def test_a_chunk_of_another_length_than_any_in_training_is_no_unknown_label(write):
    train = read("chunking", write("train.conll", "as B-CONJP", "well I-CONJP", "", "a B-NP"))
    labels = collect_labels(TASKS["chunking"], train)
    assert labels == tuple(sorted(f"{x}-{y}" for x in "BIES" for y in ("CONJP", "NP")))
    dev = write("dev.conll", "and B-CONJP", "a B-NP", "b I-NP", "c I-NP")
    (example,) = read("chunking", dev, labels=labels)
    assert example.tags == ("S-CONJP", "B-NP", "I-NP", "E-NP")
    other = write("other.conll", "a B-VP")
    assert_fails('unknown label "S-VP"', "chunking", other, labels=labels)


def test_words_and_tags_of_tables_are_lists_written_as_text(write):
    for words, tags in (("['a', 'b c']", "['X', 'Y']"), ("['a' 'b c']", '[""X"", ""Y""]')):
        path = write("a.csv", "tokens,pos_tags", f'"{words}","{tags}"')
        (example,) = read("pos", path)
        assert (example.words, example.tags) == (("a", "b c"), ("X", "Y"))
        assert read("pos", path, labelled=False)[0].words == ("a", "b c")
    text = write("b.csv", "text", "\"['a', 'b c']\"", "['quoted] he said", "[deleted]")
    assert [e.words[0] for e in read("ner", text, labelled=False)] == ["a", "[", "["]
    assert read("pos", write("c.csv", "tokens,pos_tags", "a b,X Y"))[0].tags == ("X", "Y")
    numbers = write("d.csv", "tokens,pos_tags", "a b,[3 0]")
    assert read("pos", numbers)[0].tags == ("3", "0")
