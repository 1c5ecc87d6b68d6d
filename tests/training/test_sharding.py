"""Meshes: the same numbers on any of them, parameters where the table says."""

import json
import re

import jax
import pytest
from devices import run_with_devices
from objectives.tiny import tiny_objective

from electra_jax.errors import UserError
from electra_jax.interop.names import flatten
from electra_jax.training.sharding import PARAMETER_AXES, data_parallelism, make_mesh

# Eight devices, one process: a tiny pair takes two steps on each mesh, given the sampled ids.
SCRIPT = """
import dataclasses, json, logging
import flax.linen as nn
import jax, jax.numpy as jnp, numpy as np
from objectives.tiny import draws_of, losses, quick_jit, rows_of, tiny_objective
from electra_jax.training.optimizer import NO_DECAY, build_optimizer, names
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.sharding import (
    LOGICAL_AXES, batch_sharding, make_mesh, replicated, state_shardings)
from electra_jax.training.step import init_state, make_train_step, run_key

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("electra_jax").addHandler(handler)

objective = tiny_objective(
    seq_len=16, mask_prob=0.25,
    model={"vocab_size": 64, "initializer_range": 0.1, "num_hidden_layers": 1,
           "intermediate_size": 32, "embedding_size": 16, "max_position_embeddings": 16})
schedule = learning_rate_schedule(1e-3, 100, 0, decay="constant")
settings = {"name": "adam_reference", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6,
            "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0}
shapes, _ = jax.eval_shape(objective.init, jax.random.key(0))
optimizer = build_optimizer(shapes, schedule, settings)
ids = rows_of([[16], [11], [16], [5], [16], [16], [9], [13]], 16, vocab=64)
draws = dataclasses.replace(draws_of(8), key=run_key(0, "train"))
targets = objective.masking.mask({"input_ids": ids}, draws).targets
sampled = jnp.where(jnp.arange(targets.shape[1]) % 2 == 0, targets, 50)
batch = {"input_ids": np.asarray(ids), "sampled_ids": np.asarray(sampled)}
abstract = jax.eval_shape(lambda: init_state(objective, optimizer, 0))

def on(mesh, accumulate):
    shardings = state_shardings(mesh, abstract)
    with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXES):
        state = quick_jit(lambda: init_state(objective, optimizer, 0), out_shardings=shardings)()
        step = quick_jit(make_train_step(objective, optimizer, 0, accumulate),
                         out_shardings=(shardings, replicated(mesh)))
        placed = jax.device_put(batch, batch_sharding(mesh))
        rows = []
        for _ in range(2):
            state, sums = step(state, placed)
            norm = float(sums["gradient_norm"][0])
            rows.append(losses(objective, sums) | {"gradient_norm": norm})
        drifted = [n for n, x, s in zip(*map(jax.tree.leaves, (names(state), state, shardings)))
                   if not x.sharding.is_equivalent_to(s, x.ndim)]
        split = sorted(n for n, x in zip(*map(jax.tree.leaves, (names(state.params), state.params)))
                       if x.addressable_shards[0].data.shape != x.shape)
        moments = sum(x.addressable_shards[0].data.size for x in jax.tree.leaves(state.opt_state))
    return {"rows": rows, "drifted": drifted, "split": split, "compiled": step._cache_size(),
            "moments": moments}

result = {}
for name, shape, accumulate in (
    ("one", (1, 1, 1), 1), ("accumulated", (1, 1, 1), 2), ("data", (8, 1, 1), 1),
    ("fsdp", (1, 8, 1), 1), ("all", (2, 2, 2), 2),
):
    devices = jax.devices()[: int(np.prod(shape))]
    mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape)), devices)
    del messages[:]
    result[name] = on(mesh, accumulate) | {"messages": list(messages)}
print("RESULT" + json.dumps(result))
"""


@pytest.fixture(scope="module")
def meshes():
    output = run_with_devices(8, SCRIPT, timeout=900)
    return json.loads(output.split("RESULT")[1])


def test_losses_agree_on_every_mesh_and_under_accumulation(meshes):
    for name, result in meshes.items():
        for step, (row, one) in enumerate(zip(result["rows"], meshes["one"]["rows"])):
            assert row == pytest.approx(one, rel=1e-5, abs=1e-5), (name, step)
    assert set(meshes) == {"one", "accumulated", "data", "fsdp", "all"}


def test_no_parameter_s_sharding_drifts_and_each_step_compiles_once(meshes):
    for name, result in meshes.items():
        assert result["drifted"] == [], name
        assert result["compiled"] == 1, name


def test_parameters_are_split_where_the_mesh_has_room(meshes):
    assert meshes["one"]["split"] == meshes["data"]["split"] == []
    assert "electra/embeddings/word_embeddings" in meshes["fsdp"]["split"]
    kernels = "electra/encoder/layer/attention/self/query/kernel"
    assert kernels in meshes["fsdp"]["split"] and kernels in meshes["all"]["split"]
    # Optimizer moments are split with their parameters.
    # Numbers on one device: an eighth of what 8 divides, the whole of what it does not.
    assert (meshes["fsdp"]["moments"], meshes["one"]["moments"]) == (4235, 10899)
    assert meshes["data"]["moments"] == meshes["one"]["moments"]


def test_a_dimension_that_does_not_divide_is_replicated_and_logged(meshes):
    """The generator is 12 wide: 8 does not divide it, 2 does."""
    assert any("12 over fsdp" in m for m in meshes["fsdp"]["messages"])
    assert meshes["all"]["messages"] == meshes["one"]["messages"] == []
    assert "generator/encoder/layer/output/dense/kernel" not in meshes["fsdp"]["split"]
    assert "generator/encoder/layer/output/dense/kernel" in meshes["all"]["split"]


# In this process: one device is enough to ask where things would lie.


def test_a_mesh_that_does_not_fit_the_devices_is_refused():
    devices = jax.devices() * 8
    assert make_mesh({"data": -1, "fsdp": 2}, devices[:8]).shape == {
        "data": 4,
        "fsdp": 2,
        "tensor": 1,
    }
    assert data_parallelism(make_mesh({"data": -1, "fsdp": 2}, devices[:8])) == 8
    for shape, message in (
        ({"data": 3}, r"needs 3 devices, 8 are here"),
        ({"data": -1, "fsdp": -1}, "at most one is -1"),
        ({"data": 0}, "sizes are positive"),
        ({"data": -1, "fsdp": 3}, "devices"),
    ):
        with pytest.raises(UserError, match=message):
            make_mesh(shape, devices[:8])


@pytest.mark.parametrize("block", ["bert", "modern"])
def test_every_parameter_has_a_row_of_the_table_that_fits_its_shape(block):
    """Only norms, biases of the residual stream and the smallest heads fall through to the end."""
    params, _ = jax.eval_shape(tiny_objective(block, sharing="none").init, jax.random.key(0))
    for name, leaf in flatten(params).items():
        axes = next(axes for pattern, axes in PARAMETER_AXES if re.search(pattern, name))
        assert len(axes) <= len(leaf.shape), name
        if name.endswith(("kernel", "embeddings")) and "dense_1" not in name:
            assert axes, name
        if name.endswith("scale"):
            assert axes == (), name
