"""Meshes: the same numbers on any of them, parameters where the table says."""

import json
import re

import jax
import pytest
from devices import run_with_devices
from objectives.tiny import tiny_objective

from electra_jax.errors import UserError
from electra_jax.modeling.trees import flatten
from electra_jax.training.sharding import PARAMETER_AXES, data_parallelism, make_mesh

# Eight devices, one process. The same step takes its replacements from the batch (`free` 0) or
# samples them itself; twenty steps each way on every mesh.
SCRIPT = """
import dataclasses, json, logging, sys
import flax.linen as nn
import jax, jax.numpy as jnp, numpy as np
from objectives.tiny import losses, quick_jit, rows_of, tiny_objective
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.config.training import NO_DECAY
from electra_jax.training.optimizer import build_optimizer, names
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.sharding import (
    LOGICAL_AXES, batch_sharding, make_mesh, replicated, state_shardings)
from electra_jax.training.step import init_state, make_train_step

STEPS = 20
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("electra_jax").addHandler(handler)


class GivenOrSampled(ElectraObjective):
    given = {}

    def sample(self, logits, rows, draws, train=True):
        sampled = super().sample(logits, rows, draws, train)
        ids = jnp.where(self.given["free"][:, None] > 0, sampled, self.given["ids"])
        self.given["chosen"] = ids
        return ids

    def loss(self, params, frozen, batch, draws, train):
        self.given.update(free=batch["free"], ids=batch["ids"])
        terms, metrics = super().loss(params, frozen, batch, draws, train)
        # One row of the global batch each, so that microbatches may be added.
        table = jnp.zeros((8, batch["ids"].shape[1]), jnp.int32).at[draws.rows].set(
            self.given["chosen"])
        return terms, metrics | {"chosen": (table, jnp.ones(()))}


class DropsAShard(GivenOrSampled):
    def loss(self, params, frozen, batch, draws, train):
        def part(params, where):
            return super(DropsAShard, self).loss(
                params, frozen, jax.tree.map(lambda x: x[where], batch),
                dataclasses.replace(draws, rows=draws.rows[where]), train)
        kept = part(params, slice(0, 7))
        return jax.tree.map(jnp.add, kept, part(jax.lax.stop_gradient(params), slice(7, 8)))


tiny = tiny_objective(
    seq_len=16, mask_prob=0.25,
    model={"vocab_size": 64, "initializer_range": 0.1, "num_hidden_layers": 1,
           "intermediate_size": 32, "embedding_size": 16, "max_position_embeddings": 16})
objective = GivenOrSampled(tiny.config, tiny.settings, tiny.masking)
schedule = learning_rate_schedule(1e-3, 1000, 2)
settings = {"name": sys.argv[1], "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6,
            "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0}
shapes, _ = jax.eval_shape(objective.init, jax.random.key(0))
optimizer = build_optimizer(shapes, schedule, settings)
abstract = jax.eval_shape(lambda: init_state(objective, optimizer, 0))
lengths = [[16], [11], [16], [5], [16], [16], [9], [13]]
slots = objective.masking.max_predictions

def batch_of(step, free):
    ids = np.random.default_rng(step).integers(5, 64, (8, slots), np.int32)
    return {"input_ids": np.asarray(rows_of(lengths, 16, seed=step, vocab=64)),
            "ids": ids, "free": np.full(8, free, np.int32)}

def born_sharded(shardings):
    return quick_jit(lambda: init_state(objective, optimizer, 0), out_shardings=shardings)()

fresh = jax.device_get(quick_jit(lambda: init_state(objective, optimizer, 0))())

def on(objective, mesh, accumulate):
    shardings = state_shardings(mesh, abstract)
    with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXES):
        step = quick_jit(make_train_step(objective, optimizer, 0, accumulate),
                         out_shardings=(shardings, replicated(mesh)))
        result = {"losses": [], "drifted": []}
        for free in (1, 0):
            # (2, 2, 2) makes its own state, as a run does; the others get what it must equal.
            state = jax.device_put(fresh, shardings)
            if mesh.shape["fsdp"] == mesh.shape["tensor"] == 2:
                state = born_sharded(shardings)
            begin = flatten(jax.device_get(state.params))
            chosen = []
            for number in range(STEPS):
                placed = jax.device_put(batch_of(number, free), batch_sharding(mesh))
                state, sums = step(state, placed)
                chosen.append(np.asarray(sums.pop("chosen")[0]))
                norm = float(sums["gradient_norm"][0])
                if not free:
                    result["losses"].append(losses(objective, sums) | {"gradient_norm": norm})
            if free:
                result["chosen"] = np.stack(chosen)
            result["drifted"] += [
                n for n, x, s in zip(*map(jax.tree.leaves, (names(state), state, shardings)))
                if not x.sharding.is_equivalent_to(s, x.ndim)]
        result["begin"], result["end"] = begin, flatten(jax.device_get(state.params))
        result["split"] = sorted(
            n for n, x in zip(*map(jax.tree.leaves, (names(state.params), state.params)))
            if x.addressable_shards[0].data.shape != x.shape)
        for name, part in (("parameters", state.params), ("moments", state.opt_state)):
            result[name] = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(part))
        return result | {"compiled": step._cache_size()}

one, result = None, {}
for name, shape, accumulate in (
    ("one", (1, 1, 1), 1), ("accumulated", (1, 1, 1), 4), ("data", (8, 1, 1), 1),
    ("fsdp", (1, 8, 1), 1), ("all", (2, 2, 2), 1), ("tensor", (4, 1, 2), 1),
    ("a shard dropped", (8, 1, 1), 1),
):
    mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape)),
                     jax.devices()[: int(np.prod(shape))])
    del messages[:]
    what = objective
    if name == "a shard dropped":
        what = DropsAShard(tiny.config, tiny.settings, tiny.masking)
    got = on(what, mesh, accumulate)
    chosen, begin, end = (got.pop(key) for key in ("chosen", "begin", "end"))
    one = one or (chosen, end)
    got["flips"] = int((chosen != one[0]).sum())
    got["apart"] = {n: float(np.linalg.norm(end[n] - one[1][n])
                             / np.linalg.norm(one[1][n] - begin[n])) for n in end}
    result[name] = got | {"messages": list(messages)}
print("RESULT" + json.dumps(result))
"""

MESHES = ("accumulated", "data", "fsdp", "all", "tensor")
STEPS, SAMPLES = 20, 20 * 8 * 4


def on_every_mesh(optimizer):
    output = run_with_devices(8, SCRIPT, optimizer, timeout=900)
    return json.loads(output.split("RESULT")[1])


@pytest.fixture(scope="module")
def meshes():
    return on_every_mesh("adam_reference")


def disagreements(result, one):
    """Where a run parts from the one on one device: losses by 1e-5, a tensor's movement by 1e-3."""
    found = [
        (step, key)
        for step, (row, other) in enumerate(zip(result["losses"], one["losses"], strict=True))
        for key in ("loss", "generator_loss", "discriminator_loss")
        if row[key] != pytest.approx(other[key], rel=1e-5)
    ]
    # Attention does not depend on the keys' biases: they move by rounding alone.
    return found + [
        (name, apart)
        for name, apart in result["apart"].items()
        if apart > 1e-3 and not name.endswith("key/bias")
    ]


def test_twenty_steps_agree_on_every_mesh_and_under_accumulation(meshes):
    for name in MESHES:
        assert len(meshes[name]["losses"]) == STEPS
        assert disagreements(meshes[name], meshes["one"]) == [], name


@pytest.mark.slow
def test_twenty_steps_of_muon_agree_too():
    """Each matrix is made orthogonal as a whole, however it is split."""
    found = on_every_mesh("muon")
    for name in MESHES:
        assert disagreements(found[name], found["one"]) == [], name
        assert found[name]["drifted"] == [] and found[name]["compiled"] == 1
    assert found["fsdp"]["moments"] < found["one"]["moments"]
    assert disagreements(found["a shard dropped"], found["one"]) != []


def test_a_shard_whose_gradient_is_dropped_would_be_noticed(meshes):
    found = disagreements(meshes["a shard dropped"], meshes["one"])
    assert len(found) > STEPS
    # A step's loss is computed before its gradient is used, and the first rate of the warm-up is 0.
    assert min(step for step, _ in found if isinstance(step, int)) == 2


def test_samples_that_flip_under_rounding_are_counted(meshes, capsys):
    """Free-running, rounding may choose another token here and there: never many in 20 steps."""
    flips = {name: meshes[name]["flips"] for name in MESHES}
    with capsys.disabled():
        print(f" flips of {SAMPLES} samples: {flips}", end=" ")
    assert meshes["one"]["flips"] == 0
    assert all(count <= 0.02 * SAMPLES for count in flips.values()), flips


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
    assert (meshes["fsdp"]["moments"], meshes["one"]["moments"]) == (4 * 4235, 4 * 10899)
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
