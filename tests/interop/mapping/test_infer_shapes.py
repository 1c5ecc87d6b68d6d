"""What shapes tell of a configuration, and what they do not."""

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG

from electra_jax.errors import UserError
from electra_jax.interop.mapping import names
from electra_jax.interop.mapping.infer_shapes import (
    check_inferred,
    count_layers,
    expected_shapes,
    heads,
    infer_bert,
    infer_modern,
    labels_of,
    module_of,
)
from electra_jax.interop.mapping.tensors import scatter

MODERN = CONFIG.replace(block="modern", embedding_size=32, num_hidden_layers=3)


def _tensors(config, dialect="huggingface"):
    params = networks.random_params(config, "discriminator")
    return scatter(names.model_rows(config, "discriminator"), params, dialect)


@pytest.mark.parametrize(("dialect", "prefix"), [("huggingface", "electra."), ("tf1", "electra/")])
def test_all_fields_of_a_bert_network_but_the_heads_follow_from_shapes(dialect, prefix):
    tensors = _tensors(CONFIG, dialect)
    found = infer_bert(tensors, dialect, where="here", encoder=prefix)
    assert set(found) == {
        *("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"),
        *("intermediate_size", "max_position_embeddings", "type_vocab_size"),
    }
    assert all(found[name] == getattr(CONFIG, name) for name in found)
    with pytest.raises(UserError, match="here: no tensors named other"):
        infer_bert(tensors, dialect, where="here", encoder="other" + prefix[-1])


def test_a_modern_network_s_fields_follow_from_shapes():
    found = infer_modern(_tensors(MODERN), where="here")
    assert all(found[name] == getattr(MODERN, name) for name in found)
    assert found["num_hidden_layers"] == 3 and found["intermediate_size"] == 48
    with pytest.raises(UserError, match=r"no tensor model\.embeddings\.tok_embeddings"):
        infer_modern({}, where="here")


def test_layers_are_counted_by_the_highest_number():
    names = ["a.layer.0.x", "a.layer.11.x", "b.layer.20.x"]
    assert count_layers(names, "a.layer.{i}.") == 12
    assert count_layers(names, "c.layer.{i}.") == 0


def test_heads_are_given_or_assumed_with_a_note():
    notes = []
    assert heads(128, 8, "--n", notes, "network") == 8 and notes == []
    assert heads(128, None, "--n", notes, "network") == 2
    assert heads(48, None, "--n", notes, "network") == 1
    assert ["assuming 2" in notes[0], "assuming 1" in notes[1], len(notes)] == [True, True, 2]
    for width, given in ((128, 3), (128, 0)):
        with pytest.raises(UserError, match=f"--n={given} does not divide"):
            heads(width, given, "--n", notes, "network")
    with pytest.raises(UserError, match=r"hidden size 129 is no multiple of 64.*give --n=N"):
        heads(129, None, "--n", notes, "network")


def test_a_configuration_is_compared_with_the_shapes_where_it_has_the_field():
    check_inferred({"hidden_size": 32}, {"hidden_size": None, "vocab_size": 9}, "here")
    with pytest.raises(UserError, match="hidden_size is 64 in the configuration and 32 in the ten"):
        check_inferred({"hidden_size": 32}, {"hidden_size": 64}, "here")


def test_labels_are_counted_of_classifiers_alone():
    for kind in ("sequence_classification", "token_classification"):
        for config in (CONFIG, MODERN):
            shapes = expected_shapes(config, kind, 7)
            params = {"classifier": {"bias": np.zeros(shapes.get("classifier/bias", 0))}}
            if "classifier/out_proj/bias" in shapes:
                params = {"classifier": {"out_proj": {"bias": np.zeros(7)}}}
            assert labels_of(kind, params) == 7
    assert labels_of("question_answering", {}) is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="no network here is called 'regression'"):
        module_of(CONFIG, "regression")
