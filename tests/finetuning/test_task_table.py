"""The task table: what is in it, and which labels a task has."""

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import TaggedExample, TextExample
from electra_jax.finetuning.task_table import TASKS, collect_labels, get_task


def texts(*labels):
    return [TextExample(f"f:{i}", str(i), ("a",), label) for i, label in enumerate(labels)]


def test_the_promised_tasks_are_there():
    glue = "cola sst2 mrpc stsb qqp mnli qnli rte wnli ax".split()
    generic = "classification pair multilabel regression tagging pos ner chunking multiple_choice"
    others = "ranking relation semeval2010_8 question_answering squad1 squad2 cmrc2018"
    assert set(glue) | set(generic.split()) | set(others.split()) <= set(TASKS)
    assert [name for name, task in TASKS.items() if task.glue_file] == glue
    assert all(TASKS[name].tfds == f"glue/{name}" for name in glue)


def test_an_unknown_task_is_answered_with_the_nearest_names():
    with pytest.raises(UserError, match=r'unknown task "sst-2"; did you mean sst2'):
        get_task("sst-2")
    with pytest.raises(UserError, match=r"did you mean question_answering"):
        get_task("question-answering")
    with pytest.raises(UserError, match=r'unknown task "xyzzy"; the tasks are: cola, sst2'):
        get_task("xyzzy")


def test_the_reference_s_tasks_have_its_labels_epochs_and_lengths():
    assert TASKS["mnli"].labels == ("contradiction", "entailment", "neutral")
    assert TASKS["rte"].labels == TASKS["qnli"].labels == ("entailment", "not_entailment")
    assert all(TASKS[name].labels == ("0", "1") for name in ("cola", "sst2", "mrpc", "qqp"))
    assert {n: t.epochs for n, t in TASKS.items() if t.glue_file and t.epochs != 3} == {
        "stsb": 10,
        "rte": 10,
    }
    assert {n for n, t in TASKS.items() if t.double_unordered} == {"mrpc", "stsb"}
    assert TASKS["chunking"].max_length == 256
    assert TASKS["squad2"].max_length == 512
    assert TASKS["squad2"].epochs == 2


def test_semeval_has_nineteen_labels():
    labels = TASKS["semeval2010_8"].labels
    assert len(labels) == len(set(labels)) == 19
    assert labels[:2] == ("Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)")


def test_labels_come_from_the_table_or_else_sorted_from_the_data():
    assert collect_labels(TASKS["mnli"], texts("neutral")) == TASKS["mnli"].labels
    any_text = TASKS["classification"]
    assert collect_labels(any_text, texts("b", "a", "b")) == ("a", "b")
    assert collect_labels(any_text, texts("10", "9", "-1")) == ("-1", "9", "10")
    assert collect_labels(any_text, texts("10", "9", "x")) == ("10", "9", "x")
    assert collect_labels(TASKS["multilabel"], texts(("b",), (), ("a", "b"))) == ("a", "b")
    tagged = [TaggedExample("f:1", "0", ("x", "y"), ("O", "B-A"))]
    assert collect_labels(TASKS["ner"], tagged) == ("B-A", "O")
    assert collect_labels(TASKS["regression"], texts(1.0)) == ()
    assert collect_labels(TASKS["multiple_choice"], []) == ()


def test_one_label_alone_is_refused():
    with pytest.raises(UserError, match=r'all 2 training examples have the same label, "a"'):
        collect_labels(TASKS["classification"], texts("a", "a"))
    with pytest.raises(UserError, match="none of the 1 training examples has a label"):
        collect_labels(TASKS["classification"], texts(None))
