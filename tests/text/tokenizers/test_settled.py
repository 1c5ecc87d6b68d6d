"""Case that a user states: used where no file states it, refused where one states otherwise."""

import json

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.settled import with_case
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "us", "US", "may", "May"]


@pytest.fixture
def bare(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    return tmp_path


@pytest.mark.parametrize("cased", [True, False])
@pytest.mark.parametrize("config", [None, {"model_max_length": 64}])
def test_a_bare_vocabulary_gets_the_case_that_is_stated(bare, cased, config, caplog):
    if config:
        (bare / "tokenizer_config.json").write_text(json.dumps(config))
    folder = with_case(bare, cased)
    assert folder != bare
    assert load_tokenizer(folder).do_lower_case != cased
    assert load_tokenizer(folder).ids_to_tokens(range(9)) == TOKENS
    assert "come" not in caplog.text  # nothing is guessed


@pytest.mark.parametrize("lower", [True, False])
def test_a_folder_that_states_it_stays_itself(bare, lower):
    (bare / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    assert with_case(bare, False) == bare
    if lower:
        with pytest.raises(UserError, match="ignores case by its own settings, against --cased"):
            with_case(bare, True)
    else:
        assert with_case(bare, True) == bare
    load_tokenizer(bare).save(bare / "saved")
    assert with_case(bare / "saved", False) == bare / "saved"
