"""A training loop of one's own: the steps, the start and the model folders are `pretrain`'s."""

import jax
import numpy as np
import pytest

import electra_jax


def test_a_loop_over_make_train_step_trains_as_pretrain_does(run, tiny, rows, tmp_path):
    config = electra_jax.get_config("pretrain:tiny", {**tiny, "data.path": rows})
    parts = electra_jax.build_pretraining(config, tmp_path)
    assert list(tmp_path.iterdir()) == []
    step = electra_jax.make_train_step(parts.objective, parts.optimizer, parts.seed)
    step = jax.jit(step, donate_argnums=0)
    state, losses = parts.init(), []
    with parts.batches(0) as batches:
        for _ in range(parts.steps):
            state, sums = step(state, next(batches))
            losses.append(parts.objective.summarize(jax.device_get(sums))["loss"])
    logged = [row["loss"] for row in run.history() if "loss" in row]
    assert losses == pytest.approx(logged, rel=1e-5) and len(logged) == parts.steps == 24
    assert losses[-1] < losses[0]
    folders = parts.save(state.params)
    assert set(folders) == set(run.models)
    for name, folder in folders.items():
        mine, theirs = electra_jax.load(folder), electra_jax.load(run.models[name])
        for a, b in zip(jax.tree.leaves(mine.params), jax.tree.leaves(theirs.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_the_start_is_the_model_that_init_names(run, tiny, rows, tmp_path):
    start = {"init": run.workdir / "model"}
    config = electra_jax.get_config("pretrain:tiny", {**tiny, "data.path": rows, **start})
    state = electra_jax.build_pretraining(config, tmp_path).init()
    expected = electra_jax.load(run.workdir).params
    assert jax.tree.structure(state.params) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
        assert np.array_equal(a, b)
    assert int(state.step) == 0
