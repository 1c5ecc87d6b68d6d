"""Lines of texts and n-best lists, and those that are neither."""

import json

import pytest

from electra_jax.errors import UserError
from electra_jax.inference.text_file import read_items

LIST = {"hypotheses": [{"text": "a b", "score": -1}, {"text": "a c", "score": -2.5}]}


def test_texts_come_from_lines_records_and_tables(tmp_path):
    files = {
        "a.txt": "one text\nanother\n",
        "a.jsonl": '{"text": "one text"}\n\n{"text": "another", "id": 3}\n',
        "a.tsv": "id\ttext\n1\tone text\n2\tanother\n",
        "a.csv": 'text,id\n"one text",1\nanother,2\n',
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        texts = [item.texts for item in read_items(tmp_path / name)]
        assert texts == [("one text",), ("another",)], name


def test_lists_keep_their_scores_and_reference(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(LIST) + "\n" + json.dumps({**LIST, "reference": "a c"}) + "\n")
    one, two = read_items(file)
    assert one.texts == two.texts == ("a b", "a c")
    assert one.scores == (-1.0, -2.5) and one.reference is None and two.reference == "a c"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"txt": "a"}, r"a\.jsonl:2 has no text, nor hypotheses; it has txt"),
        ({"text": " "}, r"a\.jsonl:2: text is empty or no string: ' '"),
        ({"text": 5}, "text is empty or no string: 5"),
        ({"hypotheses": []}, r"hypotheses is no list of \{text, score\}"),
        ({"hypotheses": ["a"]}, "hypothesis 1 is no mapping with text and score: 'a'"),
        ({"hypotheses": [{"text": "a", "score": "1"}]}, "hypothesis 1: score is no finite number"),
        ({"hypotheses": [{"text": "a", "score": float("nan")}]}, "no finite number: nan"),
        ({"hypotheses": [{"score": 1}]}, "hypothesis 1 has no text; it has score"),
        ({**LIST, "reference": ""}, "reference is no text"),
    ],
)
def test_a_wrong_line_is_named_or_passed_over(tmp_path, record, message):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "right"}\n' + json.dumps(record) + '\n{"text": "too"}\n')
    with pytest.raises(UserError, match=message):
        list(read_items(file))
    items = list(read_items(file, lenient=True))
    assert [item.texts for item in items] == [("right",), (), ("too",)]
    with pytest.raises(UserError, match=message):
        raise items[1].error


def test_broken_json_is_a_wrong_line_too(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "right"}\n{"text": \n')
    with pytest.raises(UserError, match=r"a\.jsonl:2 is not JSON"):
        list(read_items(file))
    assert list(read_items(file, lenient=True))[1].error is not None


def test_a_file_without_a_right_line_is_refused(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("\n\n")
    with pytest.raises(UserError, match=r"a\.txt:1: text is empty"):
        list(read_items(file, lenient=True))
    file.write_text("")
    with pytest.raises(UserError, match="there are no texts in it"):
        list(read_items(file))
