"""One tiny model, one tiny classification task and the tokenizers for all tests of this room."""

import gzip
import json

import pytest
from finetuning import tiny_task

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
def uncased(oracles):
    """BERT's uncased vocabulary."""
    return load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")


@pytest.fixture(scope="session")
def recorded(oracles):
    """Features of fine-tuning tasks as the reference makes them."""
    return json.loads((oracles / "finetune_features" / "features.json").read_text())


@pytest.fixture
def write(tmp_path):
    """Writes a file: records as jsonl, or text as it is."""

    def write(name, *content):
        file = tmp_path / name
        lines = [c if isinstance(c, str) else json.dumps(c, ensure_ascii=False) for c in content]
        data = "".join(line + "\n" for line in lines).encode()
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(file)

    return write
