"""What follows from a row of the table of tasks."""

from electra_jax.finetuning.task import Task
from electra_jax.finetuning.task_table import TASKS


def test_runs_compare_by_the_first_metric():
    assert Task("t", "classification", ("f1", "accuracy")).metric == "f1"
    assert TASKS["stsb"].metric == "spearman"


def test_columns_can_be_named_for_the_id_the_texts_and_the_roles():
    assert TASKS["sst2"].column_roles == ("id", "text", "text_pair", "label")
    assert TASKS["squad1"].column_roles == ("id", "question", "context", "answers")
    assert Task("t", "own", ("m",)).column_roles == ("id",)


def test_every_column_role_has_names_to_look_for():
    for task in TASKS.values():
        for role in set(task.column_roles) - {"id", "text", "text_pair"}:
            assert task.roles[role], (task.name, role)
