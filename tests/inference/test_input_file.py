"""What predict and evaluate read: standard input and pipes, and lines that are wrong."""

import json
import os
import threading

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import BadExample, CodecSettings
from electra_jax.finetuning.export import TrainedTask
from electra_jax.finetuning.task_table import get_task
from electra_jax.inference.input_file import InputFile, good


class Labels:
    """The one thing that is read of a codec."""

    def __init__(self, *labels):
        self.labels = labels


def opened(path, task="classification", labels=(), labelled=False, on_error="stop", **columns):
    trained = TrainedTask(get_task(task), Labels(*labels), None, None, CodecSettings(), {}, {})
    return InputFile(path, trained, columns, labelled, on_error)


@pytest.fixture
def standard_input(monkeypatch):
    """Puts bytes into this process's standard input."""
    kept, ends = os.dup(0), []

    def put(content):
        out, into = os.pipe()
        os.dup2(out, 0)
        os.close(out)
        threading.Thread(target=lambda: (os.write(into, content), os.close(into))).start()
        ends.append(into)

    yield put
    os.dup2(kept, 0)
    os.close(kept)


@pytest.mark.parametrize("path", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_is_json_lines(standard_input, path):
    standard_input(b'{"text": "a river"}\n\n{"text": "caf\\u00e9", "id": "x"}\n')
    file = opened(path)
    assert not file.can_be_read_twice
    assert [(e.id, e.texts) for e in file.examples()] == [("0", ("a river",)), ("x", ("café",))]


def test_a_wrong_line_of_standard_input_is_named(standard_input):
    standard_input(b'{"text": "a river"}\nid,text\n')
    with pytest.raises(UserError, match=r"/dev/stdin:2 is not JSON"):
        list(opened("-").examples())


def test_a_pipe_is_read_by_its_ending_or_as_json_lines(tmp_path):
    for name, content in (("pipe", b'{"text": "a"}\n'), ("pipe.tsv", b"text\tid\na\tx\n")):
        os.mkfifo(tmp_path / name)
        write = (tmp_path / name).write_bytes
        writer = threading.Thread(target=write, args=(content,))
        writer.start()
        (example,) = opened(tmp_path / name).examples()
        writer.join()
        assert example.texts == ("a",)


def test_a_pattern_is_answered_with_what_to_do(tmp_path):
    for name in ("a[1].jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}\n')
    with pytest.raises(UserError, match=r"it matches 2 files.*cat .*\*\.jsonl \| electra-jax"):
        opened(tmp_path / "*.jsonl")
    with pytest.raises(UserError, match="it matches no file"):
        opened(tmp_path / "*.csv")
    assert len(list(opened(tmp_path / "a[1].jsonl").examples())) == 1


WRONG = {
    "jsonl": (
        "classification",
        '{"text": "a", "label": "x"}\nnot json\n[1]\n{"text": " ", "label": "x"}\n'
        '{"text": "b", "label": "odd"}\n{"text": "c", "label": "y"}\n',
        [0, 4, 5],  # an unseen label counts as missed
    ),
    "csv": ("classification", "text,label\na,x\nb\nc,,d\nd,y\n", [0, 3]),
    "tsv": ("classification", "text\tlabel\na\tx\nb\nc\ty\n", [0, 2]),
    "tagging.jsonl": (
        "tagging",
        '{"tokens": ["a"], "tags": ["x"]}\n{"tokens": ["a", "b"], "tags": ["x"]}\n'
        '{"tokens": [], "tags": []}\n{"tokens": ["c"], "tags": ["y"]}\n',
        [0, 3],
    ),
    "questions.jsonl": (
        "question_answering",
        '{"question": "q", "context": "c d", "answers": ["c"]}\n{"question": "q"}\n{]\n'
        '{"question": "", "context": "c", "answers": ["c"]}\n'
        '{"context": "c d", "qas": [{"question": "q", "answers": ["d"]}, {"id": 3}]}\n',
        [0, 4],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_lines_are_passed_over_in_their_places(tmp_path, caplog, name):
    task, content, right = WRONG[name]
    path = tmp_path / f"in.{name}"
    path.write_text(content)
    labels = () if task.startswith("question") else ("x", "y")
    with pytest.raises(UserError, match=f"in.{name}:[23]"):
        list(opened(path, task, labels, True).examples())
    file = opened(path, task, labels, True, "skip")
    for _ in range(2):  # counted anew in each pass
        found = list(file.examples())
        assert [i for i, e in enumerate(found) if not isinstance(e, BadExample)] == right
        assert list(good(found)) == [found[i] for i in right]
    file.warn()
    wrong = len(found) - len(right)
    assert (
        f"{wrong} line{'s are' if wrong > 1 else ' is'} wrong and answered by null" in caplog.text
    )
    assert f"{path}:" in caplog.text.partition("the first: ")[2]


def test_a_file_without_a_right_line_is_an_error_all_the_same(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"body": "a"}) + "\n" + json.dumps({"body": "b"}) + "\n")
    with pytest.raises(UserError, match=r"in\.jsonl:1 has no column for the text"):
        list(opened(path, on_error="skip").examples())
    path.write_text("")
    with pytest.raises(UserError, match="no examples"):
        list(opened(path, on_error="skip").examples())
    with pytest.raises(UserError, match="choose one of stop, skip"):
        opened(path, on_error="ignore")


def test_nothing_is_said_where_nothing_is_wrong(tmp_path, caplog):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n')
    file = opened(path, on_error="skip")
    assert len(list(file.examples())) == 1
    file.warn()
    assert caplog.text == ""
