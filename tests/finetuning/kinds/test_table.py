"""Kinds by name, from the table or from a file."""

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import (
    KINDS,
    as_kind,
    find_kind,
    padding_of_all,
    with_reference_head,
)
from electra_jax.finetuning.task_table import TASKS


def test_names_find_kinds():
    assert find_kind("ranking") is KINDS["ranking"]
    assert "tagging" in with_reference_head() and "ranking" not in with_reference_head()
    with pytest.raises(UserError, match="no kind of task 'ranked'; they are classification, "):
        find_kind("ranked")


def test_a_kind_or_its_name_may_be_given():
    assert as_kind("tagging") is as_kind(KINDS["tagging"]) is KINDS["tagging"]


def test_every_kind_of_the_table_has_a_task():
    assert {task.kind for task in TASKS.values()} == set(KINDS)


def test_kinds_agree_on_how_a_field_is_padded():
    """Batches without a kind of their own are padded by the fields of all kinds."""
    together = padding_of_all()
    for kind in KINDS.values():
        assert {n: together[n] for n in kind.fields} == dict(kind.fields)
