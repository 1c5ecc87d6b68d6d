"""One tiny model and one tiny classification task for all tests of this room."""

import pytest
from finetuning import tiny_task


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model folder: random encoder, trained tokenizer."""
    return tiny_task.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A folder with train.jsonl and dev.jsonl: one text, two labels."""
    return tiny_task.write_task(tmp_path_factory.mktemp("data"), tiny_task.classification)
