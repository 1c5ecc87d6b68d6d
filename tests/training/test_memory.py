"""What a run needs, told beforehand: the state exactly, the rest by XLA or by an estimate."""

import functools
import importlib.util
import sys

import jax
import jax.numpy as jnp
import pytest
from objectives.tiny import quick_jit, tiny_objective

from electra_jax.config.training import NO_DECAY
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.modeling.trees import flatten
from electra_jax.pretraining.dry_run import AssumedRows
from electra_jax.pretraining.plan import Plan
from electra_jax.training import memory
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.sharding import abstract_mesh, make_mesh, state_shardings
from electra_jax.training.step import PackedStep, init_state

LARGE = ["--config=configs/pretrain.py:large"]
# The pair of the published size, 30,522 tokens.
LARGE_PARAMETERS = 354_655_291


@functools.cache
def large():
    """(state, parameters by name) of `large`, abstract."""
    config, _ = load_config(LARGE)
    plan = Plan.of(config, AssumedRows(30522, 512), None)
    params, _ = jax.eval_shape(plan.objective.init, jax.random.key(0))
    optimizer = plan.optimizer(params)
    return jax.eval_shape(lambda: init_state(plan.objective, optimizer, 0)), flatten(params)


@pytest.mark.parametrize(
    ("devices", "mesh", "parts"),
    [
        (16, {"data": -1}, 1),
        (16, {"data": 4, "fsdp": 4}, 4),
        (16, {"data": 1, "fsdp": 16}, 16),
        (8, {"data": 1, "fsdp": 8}, 8),
        (8, {"data": 8}, 1),
    ],
)
def test_bytes_of_large_s_state_are_exact(devices, mesh, parts):
    """On 16 devices (a v4-32) and on 8: matrices and tables are split, vectors are not."""
    state, params = large()
    sizes = {name: leaf.size for name, leaf in params.items()}
    assert sum(sizes.values()) == LARGE_PARAMETERS
    split = sum(
        size
        for name, size in sizes.items()
        if name.endswith(("kernel", "embeddings")) and "dense_1" not in name
    )
    each = 4 * (split // parts + LARGE_PARAMETERS - split)
    found = memory.state_bytes(state, state_shardings(abstract_mesh(mesh, devices), state))
    # Two moments, and two counts of steps.
    assert found == (each, 2 * each + 8)


@pytest.mark.parametrize(
    ("remat", "accumulate", "block"),
    [("none", 1, "bert"), ("full", 4, "modern")],
)
def test_the_estimate_is_near_xla_s_account(remat, accumulate, block):
    width = 64
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "remat": remat,
             "num_hidden_layers": 6, "max_position_embeddings": 64,
             "embedding_size": width}  # fmt: skip
    objective = tiny_objective(block, seq_len=64, model=shape)
    params, _ = jax.eval_shape(objective.init, jax.random.key(0))
    settings = {"name": "adam_reference", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6,
                "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0}  # fmt: skip
    optimizer = build_optimizer(params, learning_rate_schedule(1e-3, 100, 2), settings)
    state = jax.eval_shape(lambda: init_state(objective, optimizer, 0))
    shardings = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), state)
    batch = {"input_ids": jax.ShapeDtypeStruct((64, 64), jnp.int32)}
    step = PackedStep(objective, optimizer, 0, accumulate)
    traced = quick_jit(step, donate_argnums=(0,)).trace(state, batch)
    mesh = abstract_mesh({}, 1)
    guess = memory.estimated(traced, state, shardings, mesh, 64 // accumulate)
    known = memory.compiled(traced.lower().compile(), state, shardings)
    assert (guess.parameters, guess.optimizer) == (known.parameters, known.optimizer)
    assert 0.6 < guess.step / known.step < 1.7, (guess.step, known.step)
    assert guess.source == "an estimate" and "XLA" in known.source


def test_a_slice_needs_libtpu():
    if importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is installed")
    with pytest.raises(UserError, match=r"--topology=v4:2x2x4: .* install libtpu, or give"):
        memory.tpu_devices("v4:2x2x4")


def test_too_little_memory_is_told_with_what_to_do():
    told = memory.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: 3 GiB\nlong trace"))
    for word in ("3 GiB", "train.accumulate", "model.remat", "mesh.fsdp"):
        assert word in told
    assert "long trace" not in told


def test_bytes_are_written_with_three_digits():
    numbers = (0, 999, 1000, 1536, 355_967_212, 12_375_568_076, 5 * 1024**4)
    assert [memory.human_bytes(n) for n in numbers] == [
        "0 B", "999 B", "0.977 KiB", "1.5 KiB", "339 MiB", "11.5 GiB", "5120 GiB"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "gradients", "room", "rows", "accumulate", "parts"),
    [
        (100, 10, 60, 8, 1, 4),  # 2 × 10 + 90 / 2 = 65 is more than there is, 20 + 22 is not
        (100, 10, 200, 8, 1, 2),
        (55, 10, 60, 8, 2, 4),  # of a step that is already in two parts
        (100, 10, 35, 8, 1, 8),
        (100, 10, 30, 8, 1, None),  # not even one row at a time
        (100, 10, 60, 6, 1, 3),  # parts are whole
    ],
)
def test_the_accumulation_that_fits(step, gradients, room, rows, accumulate, parts):
    assert memory.fitting_parts(step, gradients, room, rows, accumulate) == parts


def test_a_step_that_does_not_fit_is_warned_of_with_the_remedy(monkeypatch):
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1})
    monkeypatch.setattr(memory, "process_memory", lambda: 500 << 20)
    monkeypatch.setattr(memory, "free_memory", lambda: 4 << 30)
    need = memory.Memory(100 << 20, 200 << 20, 6 << 30, "XLA's account of the compiled step")
    lines = memory.outlook(need, 64, 1, mesh)
    assert "this process: 500 MiB now" in lines[0] and "4 GiB free" in lines[0]
    assert "train.accumulate=2 should fit" in lines[1] and len(lines) == 2
    small = memory.Memory(100 << 20, 200 << 20, 3 << 30, "XLA's account of the compiled step")
    assert len(memory.outlook(small, 64, 1, mesh)) == 1


def test_tensorflow_is_counted_apart_where_a_run_may_import_it(monkeypatch):
    """A short run never imports it; what is warned of is the run that does."""
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1})
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    monkeypatch.setattr(memory, "process_memory", lambda: 500 << 20)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    need = memory.Memory(100 << 20, 200 << 20, 400 << 20, "XLA's account of the compiled step")
    # 500 + 400, as much as the heap cannot reuse of it (256), checkpoints (100); TensorFlow 550
    for free, warned in ((1310 << 20, False), (1300 << 20, True)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        first, *rest = memory.outlook(need, 64, 1, mesh, imports_later=True)
        assert "now, about 1.23 GiB at its peak, 1.76 GiB once TensorFlow reads batches;" in first
        assert bool(rest) == warned
    (line,) = memory.outlook(need, 64, 1, mesh)
    assert "about 1.23 GiB at its peak; the host" in line
