"""What a kind declares: nothing forgotten, and how its fields are padded."""

import numpy as np
import pytest

from electra_jax.finetuning.data.batches import Plan
from electra_jax.finetuning.kinds.base import Kind, Padding
from electra_jax.finetuning.kinds.classification import Classification


def test_a_kind_that_forgets_a_member_cannot_be_listed():
    class Forgetful(Classification):
        divergence = Kind.divergence

    with pytest.raises(TypeError, match="divergence"):
        Forgetful()


def test_a_kind_is_called_by_its_class_unless_it_says_otherwise():
    class Sarcasm(Classification):
        pass

    assert Sarcasm().name == "Sarcasm" and Classification().name == "classification"


def test_fields_are_padded_as_the_kind_says():
    """A target with a length of its own, a vector, positions that are padded with -7."""
    fields = {
        "target_ids": Padding(fill=None, lengths=(4, 16, 32)),
        "vector": Padding(fixed=True),
        "places": Padding(fill=-7),
    }
    plan = Plan((8,), 3, pad_id=9, fields=fields)
    features = [
        {
            "input_ids": np.arange(n, dtype=np.int32),
            "target_ids": np.arange(2 * n, dtype=np.int32),
            "vector": np.full(5, n, np.float32),
            "places": np.arange(2, dtype=np.int32),
        }
        for n in (3, 4)
    ]
    batch = plan.stack(features)
    assert batch["input_ids"].shape == (3, 8) and batch["input_ids"][0, 3:].tolist() == [9] * 5
    assert batch["target_ids"].shape == (3, 16) and batch["target_ids"][1, 8:].tolist() == [9] * 8
    assert batch["vector"].tolist() == [[3.0] * 5, [4.0] * 5, [0.0] * 5]
    assert batch["places"][0].tolist() == [0, 1] + [-7] * 6
    assert plan.stack(features[:1])["target_ids"].shape == (3, 16)
