"""Labels of data, their order, and the loss of one right label."""

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.labels import labels_in, natural_order
from electra_jax.finetuning.kinds.table import find_kind


def test_integers_are_in_the_order_of_their_values_and_names_in_that_of_their_letters():
    assert natural_order(["10", "9", "-1"]) == ("-1", "9", "10")
    assert natural_order(["10", "9", "x"]) == ("10", "9", "x")
    assert natural_order(["b", "B", "a"]) == ("B", "a", "b")


def test_labels_that_leave_nothing_to_learn_are_refused():
    assert labels_in(["ab", "b"], tuple) == {"a", "b"}
    assert labels_in(["a", ""], tuple, least=1) == {"a"}
    with pytest.raises(UserError, match=r'all 2 training examples have the same label, "a"'):
        labels_in(["a", "a"], tuple)
    with pytest.raises(UserError, match="none of the 2 training examples has a label"):
        labels_in(["", ""], tuple, least=1)


def test_a_row_s_loss_is_the_cross_entropy_of_its_label_and_its_weight_the_label_s():
    kind = find_kind("classification")
    batch = {"label": jnp.array([0, 1, 0]), "weight": jnp.array([1.0, 1.0, 0.0])}
    outputs = {"logits": jnp.log(jnp.array([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]]))}
    losses = kind.row_losses(outputs, batch, LossSettings())
    assert losses.tolist() == pytest.approx(-np.log([0.25, 0.75, 0.5]), rel=1e-5)
    weights = kind.row_weights(batch, LossSettings(class_weights=(3.0, 0.5)))
    assert weights.tolist() == [3.0, 0.5, 0.0]
    assert kind.row_weights(batch, LossSettings()).tolist() == [1.0, 1.0, 0.0]
