"""Optimizers: recorded trajectories of the reference, textbook steps, and what names decide."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives.tiny import configured_objective, tiny_objective

from electra_jax.config.pretraining import PretrainOptimizer
from electra_jax.config.training import NO_DECAY
from electra_jax.errors import UserError
from electra_jax.interop.convert import load_moments
from electra_jax.interop.load import load_model_folder
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import ParameterGroup
from electra_jax.pretraining.run import starting_moments
from electra_jax.training.optimizer import (
    AdamState,
    build_optimizer,
    first_match,
    matches,
    names,
    optimizer_groups,
    with_adam_moments,
)
from electra_jax.training.schedules import learning_rate_schedule

SETTINGS = {
    "name": "adam_reference",
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-6,
    "weight_decay": 0.01,
    "no_decay": NO_DECAY,
    "clip_norm": 1.0,
}


def adam_state(state):
    """The moments inside an optimizer's state."""
    found = [
        x
        for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, AdamState))
        if isinstance(x, AdamState)
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "tag", ["pretraining_12_steps", "power_and_past_the_end", "layerwise_decay"]
)
def test_recorded_trajectories(oracles, tag):
    recorded = np.load(oracles / f"optimizer/{tag}.npz")
    notes = json.loads((oracles / f"optimizer/{tag}.json").read_text())
    hyper = notes["hyperparameters"]
    variables = [v["name"] for v in notes["variables"]]
    start = {n: jnp.asarray(recorded[f"init/{n}"]) for n in variables}
    total = hyper["num_train_steps"]
    warmup = hyper.get("warmup_steps", hyper.get("warmup_proportion", 0) * total)
    schedule = learning_rate_schedule(
        hyper["learning_rate"], total, warmup, power=hyper.get("lr_decay_power", 1.0)
    )
    settings = {
        **SETTINGS,
        "epsilon": hyper["epsilon"],
        "weight_decay": hyper["weight_decay_rate"],
        "clip_norm": hyper["clip_norm"],
    }
    multipliers = notes.get("multiplier_by_variable")
    optimizer = build_optimizer(start, schedule, settings, multipliers)
    decayed = jax.tree.map(lambda no: not no, matches(start, settings["no_decay"]))
    if hyper["weight_decay_rate"]:
        assert decayed == {v["name"]: v["weight_decay_applied"] for v in notes["variables"]}

    @jax.jit
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = start, optimizer.init(start)
    steps = len(notes["grad_global_norm_before_clip"])
    assert steps >= 12
    norms = notes["grad_global_norm_before_clip"]
    assert min(norms) < 1 < max(norms)
    for t in range(steps):
        grads = {n: jnp.asarray(recorded[f"grad/{n}"][t]) for n in variables}
        np.testing.assert_allclose(optax.tree.norm(grads), norms[t], rtol=1e-5)
        params, state = step(params, state, grads)
        moments = adam_state(state)
        for name in variables:
            for ours, kind in ((moments.m, "m"), (moments.v, "v")):
                want = recorded[f"{kind}/{name}"][t]
                error = np.linalg.norm(ours[name] - want)
                assert error <= 1e-5 * np.linalg.norm(want) + 1e-20, (t, kind, name)
            want = recorded[f"param/{name}"][t] - recorded[f"init/{name}"]
            got = np.asarray(params[name]) - recorded[f"init/{name}"]
            if t == 0:  # the learning rate is 0
                np.testing.assert_array_equal(got, 0)
                continue
            assert np.linalg.norm(want) > 0, name
            assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want), (t, name)


def test_a_sparse_table_is_clipped_by_the_dense_norm_here(oracles):
    """The reference's norm counts repeated rows of a lookup un-summed; fed with that norm, our
    steps are its steps. Ours sums them first, as a dense gradient does on its TPUs.
    """
    recorded = np.load(oracles / "optimizer/sparse_embedding_clip.npz")
    ids, upstream = recorded["ids"], jnp.asarray(recorded["upstream"])
    params = {n: jnp.asarray(recorded[n]) for n in ("table", "w")}

    def loss(params):
        return jnp.sum(upstream * (params["table"][ids] @ params["w"]))

    def reference_norm(params, grads):
        rows = upstream @ params["w"].T
        return jnp.sqrt(jnp.sum(rows**2) + jnp.sum(grads["w"] ** 2))

    grads = jax.grad(loss)(params)
    for name in params:
        np.testing.assert_allclose(grads[name], recorded[f"grad_{name}"], rtol=1e-5, atol=1e-6)
    dense, used = float(optax.tree.norm(grads)), float(reference_norm(params, grads))
    np.testing.assert_allclose(dense, recorded["norm_dense"], rtol=1e-6)
    np.testing.assert_allclose(used, recorded["norm_as_used"], rtol=1e-6)
    assert abs(dense / used - 1) > 0.01
    ours, _ = optax.clip_by_global_norm(1.0).update(grads, optax.EmptyState())
    for name in params:
        np.testing.assert_allclose(
            ours[name] * dense / used, recorded[f"clipped_{name}"], rtol=1e-5
        )

    schedule = learning_rate_schedule(1e-2, 10, 2)
    optimizer = build_optimizer(params, schedule, {**SETTINGS, "clip_norm": None})
    with pytest.raises(UserError, match=r"clip_norm=-1\.0: must not be negative"):
        build_optimizer(params, schedule, {**SETTINGS, "clip_norm": -1.0})
    state, start = optimizer.init(params), params
    for t in (1, 2, 3):
        grads = jax.grad(loss)(params)
        scale = jnp.minimum(1.0, 1.0 / reference_norm(params, grads))
        clipped = optax.tree.scale(scale, grads)
        updates, state = optimizer.update(clipped, state, params)
        params = optax.apply_updates(params, updates)
        for name in params:
            want = recorded[f"{name}_after_{t}"] - np.asarray(start[name])
            got = np.asarray(params[name] - start[name])
            assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want), (t, name)


def one_step(name, params, grads, **settings):
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    optimizer = build_optimizer(params, constant, {**SETTINGS, "name": name, **settings})
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return {n: np.asarray(x) for n, x in updates.items()}


PARAMS = {"kernel": jnp.asarray([[3.0, -4.0]]), "bias": jnp.asarray([1.0])}
GRADS = {"kernel": jnp.asarray([[0.3, 0.4]]), "bias": jnp.asarray([-0.2])}


def test_reference_adam_has_no_bias_correction():
    """First step: 0.1 g / (√0.001 |g| + ε), 3.16 times the corrected one."""
    updates = one_step("adam_reference", PARAMS, GRADS, weight_decay=0.0)
    for name, g in GRADS.items():
        expected = -0.1 * 0.1 * np.asarray(g) / (np.sqrt(0.001) * np.abs(g) + 1e-6)
        np.testing.assert_allclose(updates[name], expected, rtol=1e-5)


def test_adamw_is_bias_corrected_and_decays_decoupled():
    updates = one_step("adamw", PARAMS, GRADS)
    kernel = -0.1 * (np.sign(GRADS["kernel"]) + 0.01 * PARAMS["kernel"])
    np.testing.assert_allclose(updates["kernel"], kernel, rtol=1e-4)
    np.testing.assert_allclose(updates["bias"], -0.1 * np.sign(GRADS["bias"]), rtol=1e-4)


def test_lamb_moves_a_tensor_by_its_own_norm():
    updates = one_step("lamb", PARAMS, GRADS, weight_decay=0.0)
    np.testing.assert_allclose(np.linalg.norm(updates["kernel"]), 0.1 * 5.0, rtol=1e-4)
    np.testing.assert_allclose(updates["bias"], [0.1 * 1.0], rtol=1e-4)


def stable_adamw(gradients, start, rate=0.1, b1=0.9, b2=0.98, eps=1e-6, decay=0.01):
    """Algorithm 2 of arXiv:2304.13013 on one tensor, with its decay rates that unbias moments."""
    p, m, v = np.array(start, np.float64), 0.0, 0.0
    for t, g in enumerate(np.asarray(gradients, np.float64), 1):
        at = [b * (1 - b ** (t - 1)) / (1 - b**t) for b in (b1, b2)]
        m, v = at[0] * m + (1 - at[0]) * g, at[1] * v + (1 - at[1]) * g**2
        eta = rate / max(1.0, np.sqrt(np.mean(g**2 / np.maximum(v, eps**2))))
        p = p - eta * decay * p - eta * m / (np.sqrt(v) + eps)
    return p


def test_stable_adamw_limits_the_update_of_each_tensor_and_layer():
    """A jump of the gradient, in one layer of a stack and in a tensor of its own."""
    rng = np.random.default_rng(0)
    shapes = {"electra/encoder/layer/a/kernel": (2, 3, 4), "word_embeddings": (5, 4)}
    start = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    gradients = {n: rng.normal(size=(4, *s)).astype(np.float32) for n, s in shapes.items()}
    gradients["electra/encoder/layer/a/kernel"][2:, 1] *= 50
    gradients["word_embeddings"][3] *= 20
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    found = {}
    for name in ("stable_adamw", "adamw"):
        settings = {**SETTINGS, "name": name, "beta2": 0.98, "clip_norm": None}
        optimizer = build_optimizer(start, constant, settings)
        params, state = start, optimizer.init(start)
        for t in range(4):
            updates, state = optimizer.update(
                {n: g[t] for n, g in gradients.items()}, state, params
            )
            params = optax.apply_updates(params, updates)
        found[name] = params
    (stack, table), ours = shapes, found["stable_adamw"]
    want = [stable_adamw(gradients[stack][:, i], start[stack][i]) for i in (0, 1)]
    np.testing.assert_allclose(ours[stack], want, atol=1e-6)
    np.testing.assert_allclose(ours[table], stable_adamw(gradients[table], start[table]), atol=1e-6)
    for name in shapes:
        assert np.abs(ours[name] - found["adamw"][name]).max() > 0.01


def test_gradients_are_clipped_by_their_norm_over_all_tensors():
    # Adam hides a common factor but for ε: a large ε shows it.
    grads = jax.tree.map(lambda g: 1e3 * g, GRADS)
    clipped, whole = (
        one_step("adam_reference", PARAMS, grads, epsilon=1.0, weight_decay=0.0, clip_norm=c)
        for c in (1.0, None)
    )
    g = np.asarray(grads["kernel"]) / float(optax.tree.norm(grads))
    expected = -0.1 * 0.1 * g / (np.sqrt(0.001) * np.abs(g) + 1.0)
    np.testing.assert_allclose(clipped["kernel"], expected, rtol=1e-5)
    assert (np.abs(whole["kernel"]) > 5 * np.abs(clipped["kernel"])).all()


def test_multipliers_scale_the_learning_rate_of_each_tensor():
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    for name in ("adam_reference", "lamb"):
        plain = one_step(name, PARAMS, GRADS)
        optimizer = build_optimizer(
            PARAMS, constant, {**SETTINGS, "name": name}, {"kernel": 0.5, "bias": 2.0}
        )
        updates, _ = optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)
        np.testing.assert_allclose(updates["kernel"], 0.5 * plain["kernel"], rtol=1e-6)
        np.testing.assert_allclose(updates["bias"], 2.0 * plain["bias"], rtol=1e-6)


@pytest.fixture(scope="module", params=["bert", "modern"])
def abstract(request):
    params, _ = jax.eval_shape(tiny_objective(request.param).init, jax.random.key(0))
    return request.param, params


def test_norms_and_biases_do_not_decay_and_everything_else_does(abstract):
    _, params = abstract
    excluded = flatten(matches(params, NO_DECAY))
    for name, no_decay in excluded.items():
        last = name.split("/")[-1]
        assert no_decay == (last in ("scale", "bias", "output_bias")), name
    assert sum(not x for x in excluded.values()) >= 8
    table = flatten(params)
    assert not any(excluded[n] for n in table if n.endswith(("kernel", "embeddings")))


def test_no_decay_is_measured_in_the_update(abstract):
    """With no gradient, what moves is what decays."""
    _, shapes = abstract
    params = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes)
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    optimizer = build_optimizer(params, constant, SETTINGS)
    updates, _ = optimizer.update(
        jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params
    )
    for name, update in flatten(updates).items():
        decays = name.endswith(("kernel", "embeddings"))
        np.testing.assert_allclose(update, -0.1 * 0.01 if decays else 0.0, rtol=1e-5, err_msg=name)


def test_frozen_tensors_do_not_move_and_have_no_moments():
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    optimizer = build_optimizer(PARAMS, constant, {**SETTINGS, "freeze": ("^bias",)})
    state = optimizer.init(PARAMS)
    updates, state = optimizer.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["bias"], 0)
    assert (np.asarray(updates["kernel"]) != 0).all()
    shapes = [x.shape for x in jax.tree.leaves(state) if hasattr(x, "shape") and x.ndim]
    assert (1,) not in shapes and (1, 2) in shapes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"name": "sgd"},
            "optimizer.name='sgd': choose one of adam_reference, adamw, lamb, muon, stable_adamw",
        ),
        ({"freeze": ("",)}, "freezes every parameter"),
        ({"freeze": ("(",)}, "not a regular expression"),
        ({"no_decay": ("*",)}, "not a regular expression"),
    ],
)
def test_wrong_optimizer_settings_are_named(settings, message):
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    with pytest.raises(UserError, match=message):
        build_optimizer(PARAMS, constant, {**SETTINGS, **settings})


def grouped(*groups, **settings):
    constant = learning_rate_schedule(0.1, 10, 0, decay="constant")
    optimizer = build_optimizer(PARAMS, constant, {**SETTINGS, **settings}, groups=groups)
    state = optimizer.init(PARAMS)
    return optimizer.update(GRADS, state, PARAMS)


def test_groups_have_their_own_rate_clip_and_freezing():
    whole = ParameterGroup("rest", "")
    (alone, _), (halved, _) = (
        grouped(ParameterGroup("bias", "^bias", rate, clip_norm=0.0), whole) for rate in (1.0, 0.5)
    )
    np.testing.assert_allclose(halved["bias"], 0.5 * np.asarray(alone["bias"]), rtol=1e-6)
    np.testing.assert_array_equal(halved["kernel"], alone["kernel"])
    # A group is clipped by its own norm: moments tell, as Adam's step hides a factor.
    for clip in (0.0, 1e-3):
        _, state = grouped(ParameterGroup("bias", "^bias", clip_norm=clip), whole)
        m = next(x for x in jax.tree.leaves(state) if getattr(x, "shape", None) == (1,))
        size = np.linalg.norm(GRADS["bias"]) if clip == 0.0 else clip
        np.testing.assert_allclose(np.linalg.norm(m), 0.1 * size, rtol=1e-4)
    updates, _ = grouped(ParameterGroup("bias", "^bias", frozen=True), whole)
    np.testing.assert_array_equal(updates["bias"], 0)
    assert (np.asarray(updates["kernel"]) != 0).all()


def test_freezing_by_name_comes_before_groups():
    updates, _ = grouped(ParameterGroup("all", ""), freeze=("^bias",))
    np.testing.assert_array_equal(updates["bias"], 0)
    assert (np.asarray(updates["kernel"]) != 0).all()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([("a", "^bias")], "parameter_groups: no pattern covers kernel"),
        ([("a", "^bias"), ("a", "")], "names must differ from each other"),
        ([("frozen", "")], "names must differ from each other and from 'frozen'"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, message):
    with pytest.raises(UserError, match=message):
        grouped(*(ParameterGroup(*group) for group in groups))


def test_the_first_pattern_that_matches_a_name_decides():
    tree = {"a": {"kernel": 0, "bias": 0}, "b": {"kernel": 0}}
    table = [("a/.*kernel", 1), ("kernel", 2), ("bias", 3)]
    assert first_match(tree, table, "t") == {"a": {"kernel": 1, "bias": 3}, "b": {"kernel": 2}}
    assert names(tree)["a"]["kernel"] == "a/kernel"


def test_an_uncovered_name_is_an_error_that_prints_it():
    tree = {"a": {"kernel": 0, "bias": 0}}
    with pytest.raises(UserError, match=r"layer table: no pattern covers a/bias"):
        first_match(tree, [("kernel", 1)], "layer table")


def test_moments_of_a_checkpoint_take_the_place_of_fresh_ones(oracles):
    """With its slots a TF1 checkpoint goes on as it would have in the reference."""
    path = oracles / "pretrain/default/ckpt_with_slots"
    params = load_model_folder(path, num_attention_heads=4, generator_num_attention_heads=2).params
    moments = starting_moments({"init": str(path), "init_slots": True})
    slots = load_moments(path)
    optimizer = build_optimizer(params, lambda step: 1e-3, SETTINGS)
    fresh = optimizer.init(params)
    state = moments(fresh)
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    adam = adam_state(state)
    for found, expected in ((adam.m, slots["adam_m"]), (adam.v, slots["adam_v"])):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        )
    assert max(float(np.abs(x).max()) for x in jax.tree.leaves(adam.m)) > 0
    assert starting_moments({"init": str(path), "init_slots": False}) is None
    with pytest.raises(UserError, match="with optimizer slots"):
        starting_moments({"init": str(path.parent / "ckpt_stripped"), "init_slots": True})


def test_only_the_reference_s_optimizer_takes_them():
    params = {"a": jnp.zeros(3)}
    other = build_optimizer(params, lambda step: 1e-3, {**SETTINGS, "name": "adamw"})
    with pytest.raises(UserError, match="adam_reference"):
        with_adam_moments(other.init(params), params, params)
    own = build_optimizer(params, lambda step: 1e-3, SETTINGS)
    with pytest.raises(UserError, match="not of this run's"):
        with_adam_moments(own.init(params), {"a": jnp.zeros(4)}, params)


# An optimizer for each network


def test_each_network_has_its_own_rate_clip_and_decay():
    objective = tiny_objective(sharing="none")
    assert optimizer_groups(objective, PretrainOptimizer()) == ()
    settings = PretrainOptimizer(
        clip_norm=0.5, weight_decay=0.0, generator_factor=2.0, discriminator_clip_norm=0.25,
        generator_weight_decay=0.1, no_decay=(),
    )  # fmt: skip
    groups = optimizer_groups(objective, settings)
    assert [(g.name, g.learning_rate, g.clip_norm, g.weight_decay) for g in groups] == [
        ("generator", 2.0, None, 0.1), ("discriminator", 1.0, 0.25, None),
    ]  # fmt: skip
    params = jax.eval_shape(objective.init, jax.random.key(0))[0]
    params = jax.tree.map(lambda x: jnp.ones(x.shape), params)
    schedule = learning_rate_schedule(1e-3, 100, 0, decay="constant")
    optimizer = build_optimizer(params, schedule, settings, groups=groups)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    of = {"generator": [], "discriminator": []}
    for name, update in flatten(updates).items():
        of["generator" if name.startswith("generator") else "discriminator"].append(update)
    for name, clip, rate, decay in (
        ("generator", 0.5, 2e-3, 0.1),
        ("discriminator", 0.25, 1e-3, 0),
    ):
        size = sum(x.size for x in of[name])
        gradient = clip / np.sqrt(size)
        moment = 0.1 * gradient / (np.sqrt(0.001) * gradient + 1e-6)
        for update in of[name]:
            np.testing.assert_allclose(update, -rate * (moment + decay), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "masked_lm",
            {"generator_factor": 2.0},
            r"generator_factor=2\.0: MaskedLMObjective trains",
        ),
        ("masked_lm", {"order": "sequential"}, r"order='sequential': MaskedLMObjective .*leave it"),
        (
            "electra",
            {"order": "sequential"},
            r"order='sequential': ElectraObjective updates .*gdes",
        ),
    ],
)
def test_one_network_has_one_optimizer_and_shared_ones_one_update(name, settings, message):
    with pytest.raises(UserError, match=message):
        optimizer_groups(configured_objective(name), PretrainOptimizer(**settings))
