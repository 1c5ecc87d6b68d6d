"""The reference's heads: names of their layers, and the beam against the end given a start."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG

from electra_jax.config.finetuning import QuestionSettings
from electra_jax.modeling.heads.reference import HEADS, Reference, at_positions
from electra_jax.modeling.trees import flatten

JOINT = QuestionSettings(beam_size=4)
SHAPES = {"classification": (3, 5), "regression": (3, 1), "tagging": (3, 6, 5)}


def _batch(length=20):
    rng = np.random.default_rng(0)
    mask = np.zeros((3, length), np.int32)
    mask[:, 0] = mask[:, 8:15] = 1
    return {
        "answer_mask": mask,
        "start_positions": np.array([8, 10, 14], np.int32),
        "word_positions": rng.integers(0, length, (3, 6)).astype(np.int32),
    }


def _model(kind, outputs=1, question=JOINT):
    return Reference(CONFIG, (("task", kind, outputs),), 0.1, question)


def _params(model, batch):
    inputs = networks.inputs_of(CONFIG, networks.random_batch(CONFIG))
    init = partial(model.init, inputs=inputs, batch=batch, train=True)
    shapes = jax.eval_shape(init, jax.random.key(0))["params"]
    rng = np.random.default_rng(1)
    return inputs, jax.tree.map(lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes)


def _names(question):
    model, batch = _model("question_answering", question=question), _batch()
    tree = _params(model, batch)[1]["task_specific"]["task"]
    return {name.removesuffix("/kernel") for name in flatten(tree) if name.endswith("/kernel")}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"dense", "qa_hidden", "dense_1", "dense_2", "dense_3"}),
        ({"start_pooled": False}, {"dense", "qa_hidden", "dense_1", "dense_2"}),
        ({"joint": False}, {"dense", "dense_1", "dense_2", "dense_3"}),
        ({"joint": False, "answerable": False}, {"dense", "dense_1"}),
    ],
)
def test_layers_have_the_names_of_the_reference_s_checkpoints(changes, names):
    assert _names(dataclasses.replace(JOINT, **changes)) == names


def test_a_beam_s_ends_are_those_given_its_starts():
    model, batch = _model("question_answering"), _batch()
    inputs, params = _params(model, batch)

    @partial(jax.jit, static_argnums=1)
    def apply(batch, train):
        return model.apply({"params": params}, inputs, batch, None, train)["task"]

    beam = apply(batch, False)
    allowed = batch["answer_mask"] > 0
    starts = np.asarray(beam["start_top_index"])
    assert starts.shape == (3, 4) and "end_logits" not in beam
    assert np.take_along_axis(allowed, starts, 1).all()
    best = np.sort(jax.nn.log_softmax(beam["start_logits"]))[:, ::-1][:, :4]
    np.testing.assert_allclose(beam["start_top_log_probs"], best, rtol=1e-5)
    for k in range(4):
        given = apply({**batch, "start_positions": starts[:, k]}, True)
        ends = np.asarray(jax.nn.log_softmax(given["end_logits"]))
        np.testing.assert_array_equal(beam["end_top_index"][:, k, 0], ends.argmax(-1))
        found = beam["end_top_log_probs"][:, k, 0]
        np.testing.assert_allclose(found, ends.max(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SHAPES)
def test_other_heads_are_one_dense_layer(kind):
    outputs = SHAPES[kind][-1]
    model, batch = _model(kind, outputs), _batch()
    inputs, params = _params(model, batch)
    found = model.apply({"params": params}, inputs, batch)["task"]["logits"]
    assert found.shape == SHAPES[kind] and found.dtype == jnp.float32
    assert {n for n in flatten(params) if n.startswith("task_specific/")} == {
        "task_specific/task/dense/kernel",
        "task_specific/task/dense/bias",
    }


def test_positions_are_gathered_row_by_row():
    values = np.arange(24).reshape(2, 4, 3)
    found = at_positions(jnp.asarray(values), jnp.asarray([[3, 0], [1, 1]]))
    np.testing.assert_array_equal(found, [[values[0, 3], values[0, 0]], [values[1, 1]] * 2])


def test_an_unknown_head_is_an_error_that_names_the_known():
    with pytest.raises(ValueError, match=f"'ranking'.*{HEADS[0]}"):
        _params(_model("ranking"), _batch())
