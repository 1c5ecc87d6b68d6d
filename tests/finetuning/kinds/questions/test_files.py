"""Questions from files: every accepted form, and what is said of a broken one."""

import gzip
import json

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.kinds.questions.files import read_questions

CONTEXT = "Rollo was their leader."


def written(path, *records, **options):
    lines = "".join(json.dumps(record, **options) + "\n" for record in records)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def qa(**fields):
    return {
        "id": "q0",
        "question": "Who?",
        "answers": [{"text": "Rollo", "answer_start": 0}],
    } | fields


def article(*qas):
    return {"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": list(qas)}]}]}


def expected(where, **fields):
    given = {"id": "q0", "question": "Who?", "context": CONTEXT, "answers": (("Rollo", 0),)}
    return QuestionExample(where=where, **(given | fields))


def test_squads_nested_json(tmp_path):
    none = qa(id="q1", answers=[], is_impossible=True)
    path = written(tmp_path / "v2.json", article(qa(is_impossible=False), none), indent=1)
    place = f"{path}: data[0].paragraphs[0].qas"
    assert list(read_questions(path)) == [
        expected(f"{place}[0]"),
        expected(f"{place}[1]", id="q1", answers=(), is_impossible=True),
    ]


@pytest.mark.parametrize(
    "record",
    [
        qa(context=CONTEXT),
        qa(context=CONTEXT, answers=[{"text": "Rollo", "start": 0}]),
        qa(context=CONTEXT, answers={"text": ["Rollo"], "answer_start": [0]}),
        qa(context=CONTEXT, answers={"text": "Rollo", "answer_start": 0}),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_flat_lines(tmp_path, record, name):
    path = written(tmp_path / name, record)
    assert list(read_questions(path)) == [expected(f"{path}:1")]


def test_lines_with_several_questions_each(tmp_path):
    path = written(tmp_path / "a.jsonl.gz", {"context": CONTEXT, "qas": [qa(), qa(id="q1")]})
    assert [(e.where, e.id) for e in read_questions(path)] == [
        (f"{path}:1, qas[0]", "q0"),
        (f"{path}:1, qas[1]", "q1"),
    ]


def test_mrqas_lines_keep_places_apart_from_accepted_texts(tmp_path):
    question = {
        "qid": "q0",
        "question": "Who?",
        "answers": ["rollo", "Rollo I"],
        "detected_answers": [{"text": "Rollo", "char_spans": [[0, 4], [9, 13]]}],
    }
    path = written(tmp_path / "a.jsonl", {"header": {}}, {"context": CONTEXT, "qas": [question]})
    answers = (("Rollo", 0), ("rollo", -1), ("Rollo I", -1))
    assert list(read_questions(path)) == [expected(f"{path}:2, qas[0]", answers=answers)]


def test_questions_without_answers_are_impossible_and_without_ids_numbered(tmp_path):
    record = {"question": "Who?", "context": CONTEXT, "answers": {"text": [], "answer_start": []}}
    path = written(tmp_path / "a.jsonl", record, record)
    assert [(e.id, e.is_impossible) for e in read_questions(path)] == [("0", True), ("1", True)]


def test_prediction_input_needs_no_answers_and_reads_none(tmp_path):
    bare = {"question": "Who?", "context": CONTEXT}
    path = written(tmp_path / "a.jsonl", bare, qa(context=CONTEXT, answers="what ever"))
    first, second = read_questions(path, labelled=False)
    assert first.answers == second.answers == ()
    assert not first.is_impossible


def test_columns_of_other_names_and_half_characters(tmp_path):
    columns = {"question": "q", "context": "body", "answers": "a", "id": "uid"}
    record = {"uid": "u1", "q": "Who?", "body": CONTEXT, "a": ["Rollo"]}
    path = written(tmp_path / "a.jsonl", record)
    (example,) = read_questions(path, columns=columns)
    assert (example.id, example.question, example.answers) == ("u1", "Who?", (("Rollo", -1),))
    with pytest.raises(UserError, match=r'has no "question"; .*columns\.question=NAME'):
        list(read_questions(path))
    half = written(tmp_path / "b.json", article(qa(question="Who\ud83d?")))
    assert next(read_questions(half)).question == "Who\ufffd?"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"context": CONTEXT, "answers": []}, r':1 has no "question"; it has context, answers'),
        ({"question": "Who?", "answers": []}, r':1 has no "context"'),
        ({"question": "Who?", "context": CONTEXT}, r':1 has no "answers"'),
        (qa(context="  "), r':1: "context" is empty'),
        (qa(context=CONTEXT, question=7), r':1: "question" holds 7, not a text'),
        (qa(context=CONTEXT, answers="Rollo"), r':1: "answers" holds "Rollo", not a list'),
        (
            qa(context=CONTEXT, answers=[{"text": "Rollo"}]),
            r':1, answers\[0\] has no "answer_start"; it has text',
        ),
        (
            qa(context=CONTEXT, answers=[{"text": "Rollo", "start": "0"}]),
            r":1, answers\[0\]: the answer's offset is \"0\", not a whole number",
        ),
        (
            qa(context=CONTEXT, answers={"text": ["Rollo"], "answer_start": []}),
            r":1, answers: .* lists of one length",
        ),
        (qa(context=CONTEXT, answers=[{"text": "", "start": 0}]), r':1, answers\[0\]: "text" is'),
        (qa(context=CONTEXT, answers=[], is_impossible=False), r":1: there is no answer, but"),
        (qa(context=CONTEXT, is_impossible="no"), r':1: "is_impossible" holds "no", not true'),
        ({"context": CONTEXT, "qas": {}}, r":1, qas holds \{\}, not a list"),
        ({"context": CONTEXT, "qas": [qa(), 3]}, r":1, qas\[1\] holds 3, not a JSON object"),
        (
            {"context": CONTEXT, "qas": [qa(detected_answers=[{"text": "R", "char_spans": []}])]},
            r":1, qas\[0\], detected_answers\[0\]: \"char_spans\" holds \[\]",
        ),
    ],
)
def test_broken_records_are_named_by_file_and_line(tmp_path, record, message):
    path = written(tmp_path / "a.jsonl", record)
    with pytest.raises(UserError, match=message) as raised:
        list(read_questions(path))
    assert str(raised.value).startswith(f"{path}:1")


def test_broken_json_is_named_by_file_and_line(tmp_path):
    path = written(tmp_path / "a.jsonl", qa(context=CONTEXT))
    path.write_text(path.read_text() + '{"question": \n')
    with pytest.raises(UserError, match=f"{path}:2 is not JSON"):
        list(read_questions(path))
    whole = tmp_path / "a.json"
    whole.write_text('{"data": [\n{"title" 1}\n]}')
    with pytest.raises(UserError, match=f"{whole}:2 is not JSON"):
        list(read_questions(whole))
    whole.write_text('{"question": "Who?"}\n{"question": "Who?"}\n')
    with pytest.raises(UserError, match=r"must be named \.jsonl"):
        list(read_questions(whole))
    whole.write_text('{"version": "1.1"}')
    with pytest.raises(UserError, match='has no "data"; it has version'):
        list(read_questions(whole))


@pytest.mark.parametrize(
    ("folder", "split", "count"),
    [("squad_v1.1", "dev", 851), ("squad_v2.0", "dev", 845), ("cmrc2018", "dev", 490)],
)
def test_real_files_are_read_whole_and_their_answers_are_where_they_say(
    shared_data, folder, split, count
):
    questions = list(read_questions(shared_data / folder / f"{split}.jsonl.gz"))
    assert len(questions) == len({q.id for q in questions}) == count
    for question in questions:
        assert bool(question.answers) != question.is_impossible
        for text, start in question.answers:
            assert question.context[start : start + len(text)] == text
