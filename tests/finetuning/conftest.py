"""One tiny model, one tiny classification task and the tokenizers for all tests of this room."""

import json

import pytest
from finetuning import tiny_task
from finetuning.letters import letter_tokenizer

from electra_jax.text.tokenizers.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model folder: random encoder, trained tokenizer."""
    return tiny_task.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A folder with train.jsonl and dev.jsonl: one text, two labels."""
    return tiny_task.write_task(tmp_path_factory.mktemp("data"), tiny_task.classification)


@pytest.fixture(scope="session")
def letters():
    """A tokenizer of the letters a … h."""
    return letter_tokenizer()


@pytest.fixture(scope="session")
def uncased(oracles):
    """BERT's uncased vocabulary."""
    return load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")


@pytest.fixture(scope="session")
def recorded(oracles):
    """Features of fine-tuning tasks as the reference makes them."""
    return json.loads((oracles / "finetune_features" / "features.json").read_text())
