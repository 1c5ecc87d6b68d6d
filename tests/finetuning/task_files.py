"""Reading task files in tests: a task's examples, and the one line that an error is."""

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.task_table import TASKS


def read(task, path, columns=None, **options):
    return list(read_examples(TASKS[task], path, columns, **options))


def assert_fails(match, task, path, columns=None, **options):
    with pytest.raises(UserError, match=match) as caught:
        read(task, path, columns, **options)
    assert "\n" not in str(caught.value)
